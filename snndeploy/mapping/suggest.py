"""What would make a program fit, tried before it is told.

Every suggestion that changes memory only is carried out on the program, placed and checked again;
its effect is what that run found. What would need the network again, such as another reset, is not
proposed: nothing is told that was not tried.

Placing a large program takes long, and finding the gentlest change takes many tries. Rules about single
cores are therefore tried on the neighbourhood of the layers concerned first; only what holds there is
placed in full, once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from ..ir.finding import Finding, Fix
from ..ir.program import Program
from ..target import Target, load_target, target_names
from .place import Effort, place_program
from .rules import violations
from .shrink import fewer_bits, fewer_channels, neighbourhood, pruned

T = TypeVar("T")

MEMORY_RULES = (
    "synapse-memory", "axon-words", "core-memory", "input-axons", "board", "core-neurons",
    "core-compartments", "output-axons", "axon-map", "axon-memory",
)  # fmt: skip
"""Codes of the rules that a smaller network obeys."""
DENSITIES = (0.5, 0.3, 0.2, 0.1, 0.05)
"""Fractions of a layer's weights that pruning is tried with."""
_LARGE = 300_000
"""Weights from which on the size of a change is searched with less effort, and only then proved."""


@dataclass(frozen=True)
class _Trial:
    """The finding to get rid of, and where."""

    finding: Finding
    program: Program
    target: Target
    chips: int
    removable: frozenset[str] | None = None

    def holds(
        self, program: Program, *, target: Target | None = None, chips: int | None = None,
        effort: Effort = "normal",
    ) -> bool:  # fmt: skip
        """Whether another program, placed in full, obeys the rule in the same place."""
        target = target or self.target
        chips = self.chips if chips is None else chips
        placed = place_program(program, target, chips, effort=effort)
        return not any(
            same_place(self.finding, f) for f in violations(program, placed, target, chips)
        )

    def seems_to_hold(self, program: Program, target: Target | None = None) -> bool:
        """The same, as far as it can be told quickly."""
        if self.finding.code == "board":
            large = sum(s.mantissa.size for s in self.program.synapses) > _LARGE
            return self.holds(program, target=target, effort="low" if large else "normal")
        return self.holds(neighbourhood(program, self.groups), target=target)

    @property
    def groups(self) -> frozenset[str]:
        """The groups that the finding names, itself or by what arrives at them."""
        named = set(self.finding.where.split(" + "))
        into = {s.target for s in self.program.synapses if s.name in named}
        return frozenset(g.name for g in self.program.groups if g.name in named | into)

    def synapses(self) -> frozenset[str]:
        """The synapse groups that the finding is about (all for the network's own findings)."""
        groups = set(self.finding.where.split(" + "))
        near = {s.name for s in self.program.synapses if s.target in groups or s.name in groups}
        return frozenset(near or {s.name for s in self.program.synapses})

    def shrinkable(self, *, every: bool = False) -> list[str]:
        """Groups that may lose channels: the finding's, those that feed them, of a network that is
        too large the one that takes most cores (or ``every`` one)."""
        own = set(self.finding.where.split(" + "))
        feeding = {o.group for s in self.program.synapses if s.target in own for o in s.sources}
        free = [
            g.name for g in self.program.on_chip
            if g.role == "hidden" and (self.removable is None or g.name in self.removable)
            and fewer_channels(self.program, g.name, 1) is not None
        ]  # fmt: skip
        if self.finding.code != "board":
            return sorted((own | feeding).intersection(free))
        if every or not free:
            return free
        placed = place_program(self.program, self.target, self.chips, effort="low")
        return [max(free, key=lambda name: len(placed.of_group(name)))]

    def gentlest(self, options: Sequence[T], change: Callable[[T], Program | None]) -> T | None:
        """The first of ever stronger changes after which the rule holds (None: it never does)."""

        def first(start: int, test: Callable[[Program], bool]) -> int:
            low, high = start, len(options)
            while low < high:
                middle = (low + high) // 2
                changed = change(options[middle])
                if changed is not None and test(changed):
                    high = middle
                else:
                    low = middle + 1
            return low

        last = len(options) - 1
        likely = min(first(0, self.seems_to_hold), last)
        if likely < 0:
            return None
        for position in dict.fromkeys((likely, last)):
            changed = change(options[position])
            if changed is not None and self.holds(changed):
                return options[position if position == likely else first(likely, self.holds)]
        return None


def same_place(a: Finding, b: Finding) -> bool:
    """Whether two findings break one rule in one place."""
    # Layers that share cores are told by other names when sharing changes.
    return a.code == b.code and bool(set(a.where.split(" + ")) & set(b.where.split(" + ")))


def suggest_fixes(
    findings: tuple[Finding, ...], program: Program, target: Target, chips: int,
    *, worst: int = 3,
) -> tuple[Finding, ...]:  # fmt: skip
    """Add fixes to the findings.

    Args:
        findings: what `violations` found.
        program: what it found it in.
        target: the chip.
        chips: chips of the board.
        worst: how many findings to try fixes for (each try places the program anew).
    """
    tried = [
        replace(f, fixes=(*f.fixes, *_fixes(_Trial(f, program, target, chips))))
        if i < worst and f.severity == "error" else f
        for i, f in enumerate(findings)
    ]  # fmt: skip
    return tuple(tried)


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


def _fixes(trial: _Trial) -> Iterator[Fix]:
    yield from _changes(trial)
    if trial.finding.code == "board":
        yield from _bigger_board(trial)
    yield from _other_target(trial)


def program_fixes(
    finding: Finding, program: Program, target: Target, chips: int,
    removable: frozenset[str] | None = None,
) -> Iterator[Fix]:  # fmt: skip
    """The gentlest change of each kind that removes a finding; `carry_out` makes it.

    ``removable`` are the groups that may lose channels (None: all hidden ones).
    """
    yield from _changes(_Trial(finding, program, target, chips, removable))


def joint_fixes(
    finding: Finding, program: Program, target: Target, chips: int,
    removable: frozenset[str] | None, *, bits: int, density: float, share: float,
) -> list[Fix]:  # fmt: skip
    """Fewer bits, fewer weights and a ``share`` of the channels for all that a finding is about.

    They are not tried: whether they are enough together is for the caller to find out.
    """
    trial = _Trial(finding, program, target, chips, removable)
    names = trial.synapses()
    fixes = []
    for name in trial.shrinkable(every=True):
        channels = program.group(name).shape[0]
        count = channels - max(1, round(share * channels))
        if count:
            fixes.append(_removal(trial, name, count))
    narrower = [b for b in target.synapse.weight.widths if b <= bits]
    widest = max(s.weight_bits for s in program.synapses if s.name in names)
    if narrower and max(narrower) < widest:
        fixes.append(_quantization(trial, names, max(narrower)))
    return [*fixes, _pruning(trial, names, density)]


def _changes(trial: _Trial) -> Iterator[Fix]:
    code = trial.finding.code
    if code == "weight-bits" or code in MEMORY_RULES:
        names = trial.synapses()
        widest = max(s.weight_bits for s in trial.program.synapses if s.name in names)
        legal = [b for b in trial.target.synapse.weight.widths if 1 < b < widest]
        bits = trial.gentlest(
            sorted(legal, reverse=True), lambda bits: fewer_bits(trial.program, names, bits)
        )
        if bits is not None:
            yield _quantization(trial, names, bits)
    if code in MEMORY_RULES:
        density = trial.gentlest(DENSITIES, lambda density: pruned(trial.program, names, density))
        if density is not None:
            yield _pruning(trial, names, density)
        for name in trial.shrinkable():
            yield from _remove(trial, name)


def _remove(trial: _Trial, name: str) -> Iterator[Fix]:
    """The fewest channels of a group to remove."""
    count = trial.gentlest(
        range(1, trial.program.group(name).shape[0]),
        lambda count: fewer_channels(trial.program, name, count),
    )
    if count is not None:
        yield _removal(trial, name, count)


def _quantization(trial: _Trial, names: frozenset[str], bits: int) -> Fix:
    return Fix(
        action="quantize", text=f"quantize {_list(trial, names)} to {bits} bits",
        options=(("layers", ",".join(sorted(names))), ("bits", bits)), effect=_FITS,
    )  # fmt: skip


def _pruning(trial: _Trial, names: frozenset[str], density: float) -> Fix:
    return Fix(
        action="prune", text=f"prune {_list(trial, names)} to {density:.0%} of its weights",
        options=(("layers", ",".join(sorted(names))), ("density", density)), effect=_FITS,
    )  # fmt: skip


def _removal(trial: _Trial, name: str, count: int) -> Fix:
    group = trial.program.group(name)
    one = "kernels" if len(group.shape) > 1 else "neurons"
    return Fix(
        action="remove-kernels", text=f"remove {count} of {group.shape[0]} {one} of {name}",
        options=(("layers", name), ("count", count)), effect=_FITS,
    )  # fmt: skip


def _bigger_board(trial: _Trial) -> Iterator[Fix]:
    boards = sorted(trial.target.boards.items(), key=lambda item: item[1].limit)
    for name, chips in boards:
        if chips.limit > trial.chips and trial.holds(trial.program, chips=chips.limit):
            need = len(place_program(trial.program, trial.target, chips.limit).cores)
            have = chips.limit * trial.target.chip.cores.limit
            yield Fix(
                action="board", text=f"use the board {name} ({chips.limit} chips)",
                options=(("board", name),), effect=f"{need:,} of {have:,} cores",
            )  # fmt: skip
            return


def _other_target(trial: _Trial) -> Iterator[Fix]:
    """Another real chip on which the rule holds, if the published bounds are not all it obeys."""
    for name in target_names():
        other = load_target(name)
        if name == trial.target.name or other.chip.cores.certainty == "fictional":
            continue
        if other.inherits is not None:
            continue
        quick = trial.finding.code == "board" or trial.seems_to_hold(trial.program, other)
        if quick and trial.holds(trial.program, target=other, chips=other.chips()):
            yield Fix(
                action="target", text=f"compile for {name} ({other.default_board})",
                options=(("target", name),), effect="this rule holds there",
            )  # fmt: skip


_FITS = "this rule then holds"


def _list(trial: _Trial, names: frozenset[str]) -> str:
    return "all layers" if len(names) == len(trial.program.synapses) else ", ".join(sorted(names))
