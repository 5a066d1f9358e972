"""What would make a program fit, tried before it is told.

Every suggestion that changes memory only is carried out on the program, placed and checked again;
its effect is what that run found. What would need the network again, such as another reset, is not
proposed: nothing is told that was not tried.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ..ir.finding import Finding, Fix
from ..ir.program import Program
from ..target import Target, load_target, target_names
from .place import place_program
from .rules import violations
from .shrink import fewer_bits, fewer_channels, pruned

_MEMORY = ("synapse-memory", "axon-words", "core-memory", "input-axons", "board", "core-neurons",
           "core-compartments", "output-axons", "axon-map", "axon-memory")  # fmt: skip
"""Codes of the rules that a smaller network obeys."""
_DENSITIES = (0.5, 0.3, 0.2, 0.1, 0.05)


@dataclass(frozen=True)
class _Trial:
    """The finding to get rid of, and where."""

    finding: Finding
    program: Program
    target: Target
    chips: int

    def ratio(
        self, program: Program, target: Target | None = None, chips: int | None = None
    ) -> float:
        """How far the rule is overrun in the same place by another program (at most 1: it fits)."""
        target = target or self.target
        chips = self.chips if chips is None else chips
        found = violations(program, place_program(program, target, chips), target, chips)
        return max((f.ratio or float("inf") for f in found if self._same(f)), default=0.0)

    def _same(self, f: Finding) -> bool:
        # Layers that share cores are told by other names when sharing changes.
        mine, other = set(self.finding.where.split(" + ")), set(f.where.split(" + "))
        return f.code == self.finding.code and bool(mine & other)

    def synapses(self) -> frozenset[str]:
        """The synapse groups that the finding is about (all for the network's own findings)."""
        groups = set(self.finding.where.split(" + "))
        near = {s.name for s in self.program.synapses if s.target in groups or s.name in groups}
        return frozenset(near or {s.name for s in self.program.synapses})


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


def _fixes(trial: _Trial) -> Iterator[Fix]:
    code = trial.finding.code
    if code in _MEMORY:
        yield from _fewer_bits(trial)
        yield from _prune(trial)
        yield from _remove(trial)
    if code == "weight-bits":
        yield from _fewer_bits(trial)
    if code == "board":
        yield from _bigger_board(trial)
    yield from _other_target(trial)


def _fewer_bits(trial: _Trial) -> Iterator[Fix]:
    names = trial.synapses()
    widest = max(s.weight_bits for s in trial.program.synapses if s.name in names)
    legal = [b for b in trial.target.synapse.weight.widths if 1 < b < widest]
    for bits in sorted(legal, reverse=True):
        if trial.ratio(fewer_bits(trial.program, names, bits)) <= 1:
            yield Fix(
                action="quantize", text=f"quantize {_list(trial, names)} to {bits} bits",
                options=(("layers", ",".join(sorted(names))), ("bits", bits)), effect=_FITS,
            )  # fmt: skip
            return


def _prune(trial: _Trial) -> Iterator[Fix]:
    names = trial.synapses()
    for density in _DENSITIES:
        if trial.ratio(pruned(trial.program, names, density)) <= 1:
            yield Fix(
                action="prune", text=f"prune {_list(trial, names)} to {density:.0%} of its weights",
                options=(("layers", ",".join(sorted(names))), ("density", density)), effect=_FITS,
            )  # fmt: skip
            return


def _remove(trial: _Trial) -> Iterator[Fix]:
    """The fewest channels to remove, of the layer itself or of one that feeds it."""
    own = set(trial.finding.where.split(" + "))
    feeding = {o.group for s in trial.program.synapses if s.target in own for o in s.sources}
    hidden = [g.name for g in trial.program.on_chip if g.role == "hidden"]
    names = sorted((own | feeding).intersection(hidden))
    if trial.finding.code == "board" and hidden:  # the layer that takes most cores
        placed = place_program(trial.program, trial.target, trial.chips)
        names = [max(hidden, key=lambda name: len(placed.of_group(name)))]
    for name in names:
        channels = trial.program.group(name).shape[0]
        low, high, works = 1, channels - 1, 0
        while low <= high:  # fewer channels never need more
            count = (low + high) // 2
            smaller = fewer_channels(trial.program, name, count)
            if smaller is None:
                break
            if trial.ratio(smaller) <= 1:
                works, high = count, count - 1
            else:
                low = count + 1
        if works:
            one = "kernels" if len(trial.program.group(name).shape) > 1 else "neurons"
            yield Fix(
                action="remove-kernels", text=f"remove {works} of {channels} {one} of {name}",
                options=(("layers", name), ("count", works)), effect=_FITS,
            )  # fmt: skip


def _bigger_board(trial: _Trial) -> Iterator[Fix]:
    boards = sorted(trial.target.boards.items(), key=lambda item: item[1].limit)
    for name, chips in boards:
        if chips.limit > trial.chips and trial.ratio(trial.program, chips=chips.limit) <= 1:
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
        if other.inherits is None and trial.ratio(trial.program, other, other.chips()) <= 1:
            yield Fix(
                action="target", text=f"compile for {name} ({other.default_board})",
                options=(("target", name),), effect="this rule holds there",
            )  # fmt: skip


_FITS = "this rule then holds"


def _list(trial: _Trial, names: frozenset[str]) -> str:
    return "all layers" if len(names) == len(trial.program.synapses) else ", ".join(sorted(names))
