"""What would make a program fit, tried before it is told.

Every suggestion that changes memory only is carried out on the program, placed and checked again;
its effect is what that run found. What would need the network again, such as another reset, is not
proposed: nothing is told that was not tried.

Placing a large program takes long, and finding the gentlest change takes many tries. Whether a change
fits the board is therefore estimated by bounds first, which place nothing, and rules about single cores
are tried on the neighbourhood of the layers concerned; only what seems to hold is placed in full, once,
and nothing is tried twice for two findings. For large programs the search ends after a while.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ...chip import Target, family_class, family_of, load_target, target_names
from ...ir.arrays import size
from ...ir.finding import Finding, Fix
from ...ir.program import Program
from ...progress import StopWatch, silent
from ..bound.bounds import group_bounds
from ..bound.verdict import fewest_cores
from ..count.memory import Memory
from ..place import Effort, place_program
from ..rules.rules import shrinking_codes, violations
from .shrink import fewer_bits, fewer_channels, neighbourhood, pruned

DENSITIES = (0.5, 0.3, 0.2, 0.1, 0.05)
"""Fractions of a layer's weights that pruning is tried with."""
_OF_THE_REST = (0.9, 0.7, 0.5, 0.3, 0.2, 0.1)
"""Where these are not enough: fractions of the weights that a sparse layer still has."""
_LARGE = 300_000
"""Weights and neurons from which on a change is placed with less effort, and the search ends in time."""
SECONDS = 20.0
"""How long fixes of a large program are looked for."""
Tell = Callable[[str, int, int], None]
"""Is told what is tried now, how many findings are done, and how many there are."""
_FITS = "this rule then holds"


@dataclass(frozen=True)
class Bench:
    """A program that does not fit, and what was tried on it.

    ``removable`` are the groups that may lose channels (None: all hidden ones).
    """

    program: Program
    target: Target
    chips: int
    removable: frozenset[str] | None = None
    tried: dict[Hashable, tuple[Finding, ...]] = field(default_factory=dict, repr=False)
    began: float = field(default_factory=time.monotonic, repr=False)

    @property
    def large(self) -> bool:
        """Whether placing takes seconds."""
        weights = sum(s.mantissa.size for s in self.program.synapses)
        return weights + sum(size(g.shape) for g in self.program.groups) > _LARGE

    @property
    def late(self) -> bool:
        """Whether a large program has had its time."""
        return self.large and time.monotonic() - self.began > SECONDS

    def may_fit(
        self, fix: Fix | None = None, target: Target | None = None, chips: int | None = None
    ) -> bool:
        """Whether no bound rules out that the board has enough cores; nothing is placed.

        Where limits of cores are broken all the same, bounds say nothing about the number of cores.
        """
        program = self.program if fix is None else carry_out(self.program, fix)
        chip, many = target or self.target, self.chips if chips is None else chips
        bounds = group_bounds(Memory(program, chip))
        if any(bound.impossible for bound in bounds.values()):
            return True
        return fewest_cores(bounds, chip)[0] <= many * chip.chip.cores.limit

    def breaches(
        self,
        fix: Fix | None = None,
        *,
        target: Target | None = None,
        chips: int | None = None,
        near: frozenset[str] | None = None,
        effort: Effort = "normal",
    ) -> tuple[Finding, ...]:
        """What is violated after a fix, on another target or board, or ``near`` some groups only."""
        target = target or self.target
        chips = self.chips if chips is None else chips
        key = (fix and fix.options, target.name, chips, near, effort)
        if key not in self.tried:
            program = self.program if fix is None else carry_out(self.program, fix)
            if near is not None:
                program = neighbourhood(program, near)
            placed = place_program(program, target, chips, effort=effort)
            self.tried[key] = violations(program, placed, target, chips)
        return self.tried[key]

    def named(self, names: frozenset[str]) -> str:
        """Layers in words."""
        return (
            "all layers" if len(names) == len(self.program.synapses) else ", ".join(sorted(names))
        )

    def quantization(self, names: frozenset[str], bits: int) -> Fix:
        """Fewer bits for some synapse groups."""
        return Fix(
            action="quantize",
            text=f"quantize {self.named(names)} to {bits} bits",
            options=(("layers", ",".join(sorted(names))), ("bits", bits)),
            effect=_FITS,
        )

    def pruning(self, names: frozenset[str], density: float) -> Fix:
        """Fewer weights for some synapse groups."""
        share = f"{1 - density:.0%}" if density >= DENSITIES[-1] else f"all but {density:.1%}"
        return Fix(
            action="prune",
            text=f"prune {share} of the weights of {self.named(names)}",
            options=(("layers", ",".join(sorted(names))), ("density", density)),
            effect=_FITS,
        )

    def removal(self, name: str, count: int) -> Fix:
        """Fewer channels for a group."""
        group = self.program.group(name)
        one = "kernels" if len(group.shape) > 1 else "neurons"
        return Fix(
            action="remove-kernels",
            text=f"remove {count} of {group.shape[0]} {one} of {name}",
            options=(("layers", name), ("count", count)),
            effect=_FITS,
        )


@dataclass(frozen=True)
class _Trial:
    """The finding to get rid of, and where."""

    finding: Finding
    bench: Bench

    def holds(self, fix: Fix | None = None, **where: object) -> bool:
        """Whether the rule holds in the same place, all of the program placed anew."""
        if self.bench.large:
            where.setdefault("effort", "low")
        found = self.bench.breaches(fix, **where)  # type: ignore[arg-type]
        return not any(same_place(self.finding, f) for f in found)

    def seems_to_hold(self, fix: Fix | None = None, target: Target | None = None) -> bool:
        """The same, as far as it can be told quickly."""
        if self.finding.code == "board":
            if not self.bench.may_fit(fix, target):
                return False
            return self.bench.large or self.holds(fix, target=target)
        return self.holds(fix, target=target, near=self.groups, effort="low")

    @property
    def groups(self) -> frozenset[str]:
        """The groups that the finding names, itself or by what arrives at them."""
        program, named = self.bench.program, set(self.finding.where.split(" + "))
        into = {s.target for s in program.synapses if s.name in named}
        return frozenset(g.name for g in program.groups if g.name in named | into)

    @property
    def synapses(self) -> frozenset[str]:
        """The synapse groups that the finding is about (all for the network's own findings)."""
        program, groups = self.bench.program, set(self.finding.where.split(" + "))
        near = {s.name for s in program.synapses if s.target in groups or s.name in groups}
        return frozenset(near or {s.name for s in program.synapses})

    def shrinkable(self) -> list[str]:
        """Groups that may lose channels: the finding's own and those that feed them, or all."""
        program, removable = self.bench.program, self.bench.removable
        own = set(self.finding.where.split(" + "))
        feeding = {o.group for s in program.synapses if s.target in own for o in s.sources}
        return [
            g.name
            for g in program.on_chip
            if (self.finding.code == "board" or g.name in own | feeding)
            and (removable is None or g.name in removable)
            and fewer_channels(program, g.name, 1) is not None
        ]

    def gentlest(self, fixes: Sequence[Fix]) -> Iterator[Fix]:
        """The first of ever stronger changes after which the rule holds, if it does after any."""

        def first(start: int, test: Callable[[Fix], bool]) -> int:
            low, high = start, len(fixes)
            while low < high:
                middle = (low + high) // 2
                if test(fixes[middle]):
                    high = middle
                else:
                    low = middle + 1
            return low

        if not fixes or self.bench.late:
            return
        last = len(fixes) - 1
        if self.finding.code == "board" and not self.bench.may_fit(fixes[last]):
            return
        likely = min(first(0, self.seems_to_hold), last)
        if self.holds(fixes[likely]):
            yield fixes[likely]
        elif self.holds(fixes[last]):
            yield fixes[first(likely, self.holds)]


def may_fit(program: Program, target: Target, chips: int) -> bool:
    """Whether no bound rules out that a program fits so many chips; nothing is placed."""
    bounds = group_bounds(Memory(program, target))
    if any(bound.impossible for bound in bounds.values()):
        return False
    return fewest_cores(bounds, target)[0] <= chips * target.chip.cores.limit


def same_place(a: Finding, b: Finding) -> bool:
    """Whether two findings break one rule in one place."""
    # Layers that share cores are told by other names when sharing changes.
    return a.code == b.code and bool(set(a.where.split(" + ")) & set(b.where.split(" + ")))


def suggest_fixes(
    findings: tuple[Finding, ...],
    program: Program,
    target: Target,
    chips: int,
    *,
    worst: int = 3,
    seconds: float | None = None,
    tell: Tell = silent,
) -> tuple[Finding, ...]:
    """Add fixes to the findings; a note says so where the time was not enough for all.

    Args:
        findings: what `violations` found.
        program: what it found it in.
        target: the chip.
        chips: chips of the board.
        worst: how many findings to try fixes for (each try places the program anew).
        seconds: when no other finding is begun (None: all of them are).
        tell: is told what is tried, and how many of how many findings are done.
    """
    bench, watch = Bench(program, target, chips), StopWatch()
    broken = [f for f in findings[:worst] if f.severity == "error"]
    helped: dict[int, Finding] = {}
    for turn, finding in enumerate(broken):
        tell(f"what helps against {finding.code} at {finding.where}", turn, len(broken))
        fixes = list(finding.fixes)
        for fix in _fixes(_Trial(finding, bench)):
            fixes.append(fix)
            if seconds is not None and watch.seconds > seconds:
                break
        helped[id(finding)] = replace(finding, fixes=tuple(fixes))
        if seconds is not None and watch.seconds > seconds and turn + 1 < len(broken):
            left = Finding(
                code="fixes-not-tried",
                severity="note",
                where="check",
                message=f"what helps was tried for {seconds:g} s, against {turn + 1} of "
                f"{len(broken)} violations",
            )
            return (*(helped.get(id(f), f) for f in findings), left)
    return tuple(helped.get(id(f), f) for f in findings)


def carry_out(program: Program, fix: Fix) -> Program:
    """The program after a fix that changes it (to quantise, to prune or to remove kernels).

    Raises:
        ValueError: the fix is of another kind (a board, a target), or cannot be carried out.
    """
    options = dict(fix.options)
    names = frozenset(str(options.get("layers", "")).split(","))
    changed: Program | None = None
    if fix.action == "quantize":
        changed = fewer_bits(program, names, int(options["bits"]))
    elif fix.action == "prune":
        changed = pruned(program, names, float(options["density"]))
    elif fix.action == "remove-kernels":
        (name,) = names
        changed = fewer_channels(program, name, int(options["count"]))
    if changed is None:
        raise ValueError(f"{fix.text!r} is no change of this program")
    return changed


def program_fixes(finding: Finding, bench: Bench) -> Iterator[Fix]:
    """The gentlest change of each kind that removes a finding; `carry_out` makes it."""
    trial, program, code = _Trial(finding, bench), bench.program, finding.code
    names = trial.synapses
    shrinking = shrinking_codes(family_class(bench.target.family))
    if code == "weight-bits" or code in shrinking:
        widest = max(s.weight_bits for s in program.synapses if s.name in names)
        legal = [b for b in bench.target.synapse.weight.widths if 1 < b < widest]
        yield from trial.gentlest(
            [bench.quantization(names, b) for b in sorted(legal, reverse=True)]
        )
    if code in shrinking:
        yield from _prunings(trial)
        groups = trial.shrinkable()
        if code == "board" and groups:  # the layer that takes most cores
            placed = place_program(program, bench.target, bench.chips, effort="low")
            groups = [max(groups, key=lambda name: len(placed.of_group(name)))]
        for name in groups:
            channels = program.group(name).shape[0]
            yield from trial.gentlest([bench.removal(name, n) for n in range(1, channels)])


def _prunings(trial: _Trial) -> Iterator[Fix]:
    """As much for all layers; where that is not enough, more for one that is sparse already."""
    bench, found = trial.bench, False
    for fix in trial.gentlest([bench.pruning(trial.synapses, d) for d in DENSITIES]):
        found = True
        yield fix
    for s in () if found else bench.program.synapses:
        left = float(np.count_nonzero(s.mantissa)) / s.mantissa.size
        if s.name in trial.synapses and left < DENSITIES[0]:
            name = frozenset({s.name})
            yield from trial.gentlest([bench.pruning(name, left * d) for d in _OF_THE_REST])


def joint_fixes(
    finding: Finding, bench: Bench, *, bits: int, density: float, share: float
) -> list[Fix]:
    """Fewer bits, fewer weights and a ``share`` of the channels for all that a finding is about.

    They are not tried: whether they are enough together is for the caller to find out.
    """
    trial, program = _Trial(finding, bench), bench.program
    fixes = []
    for name in trial.shrinkable():
        channels = program.group(name).shape[0]
        count = channels - max(1, round(share * channels))
        if count:
            fixes.append(bench.removal(name, count))
    narrower = [b for b in bench.target.synapse.weight.widths if b <= bits]
    widest = max(s.weight_bits for s in program.synapses if s.name in trial.synapses)
    if narrower and max(narrower) < widest:
        fixes.append(bench.quantization(trial.synapses, max(narrower)))
    return [*fixes, bench.pruning(trial.synapses, density)]


def _fixes(trial: _Trial) -> Iterator[Fix]:
    yield from program_fixes(trial.finding, trial.bench)
    if trial.finding.code == "board":
        yield from _bigger_board(trial)
    yield from _other_target(trial)


def _bigger_board(trial: _Trial) -> Iterator[Fix]:
    target = trial.bench.target
    for name, chips in sorted(target.boards.items(), key=lambda item: item[1].limit):
        if chips.limit <= trial.bench.chips or not trial.bench.may_fit(chips=chips.limit):
            continue
        if trial.holds(chips=chips.limit):
            effort: Effort = "low" if trial.bench.large else "normal"
            placed = place_program(trial.bench.program, target, chips.limit, effort=effort)
            need = len(placed.cores)
            have = chips.limit * target.chip.cores.limit
            yield Fix(
                action="board",
                text=f"use the board {name} ({chips.limit} chips)",
                options=(("board", name),),
                effect=f"{need:,} of {have:,} cores",
            )
            return


def _other_target(trial: _Trial) -> Iterator[Fix]:
    """Another real chip on which the rule holds, if the published bounds are not all it obeys."""
    for name in target_names():
        other = load_target(name)
        if name == trial.bench.target.name or other.chip.cores.certainty == "fictional":
            continue
        if other.inherits is not None:
            continue
        if family_of(other).arithmetic != trial.bench.program.arithmetic:
            continue  # the program would have to be lowered again
        if trial.bench.late:
            return
        quick = trial.finding.code == "board" or trial.seems_to_hold(target=other)
        if quick and trial.holds(target=other, chips=other.chips()):
            yield Fix(
                action="target",
                text=f"compile for {name} ({other.default_board})",
                options=(("target", name),),
                effect="this rule holds there",
            )
