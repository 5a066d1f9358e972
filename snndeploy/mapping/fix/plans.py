"""Changes of a whole program that may make it fit, the gentlest first, found without placing anything.

A plan keeps so many channels of some groups, so many weights of all layers and so many bits of each.
What is ruled out by bounds is left out, and so is what changes more in every respect than another plan.
Those that stay are ordered by an estimate of their membrane error, for the caller to carry out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from ...chip import Target
from ...ir.finding import Fix
from ...ir.program import Program, SynapseGroup
from ..bound.bounds import group_bounds
from ..count.memory import Memory
from .shrink import fewer_bits, fewer_channels, pruned
from .suggest import DENSITIES, Bench, may_fit

_NONE = 0
"""No number of bits is enough."""
_SHARES = (7 / 8, 3 / 4, 5 / 8, 1 / 2, 3 / 8, 1 / 4, 1 / 8)
"""Shares of a group's channels that are kept."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Changes of a program.

    Attributes:
        bits: of all weights (None: as they are).
        density: share of all weights that is kept.
        keep: channels that stay, by group.
        error: estimate of what they do to membranes; see `membrane_error`.
        fixes: the changes one by one, in the order in which they are carried out.
    """

    bits: int | None
    density: float
    keep: Mapping[str, int] = field(default_factory=dict)
    error: float
    fixes: tuple[Fix, ...]

    def gentler(self, other: Plan) -> bool:
        """Whether it changes no more than another plan in any respect, and less in one."""
        groups = {*self.keep, *other.keep}
        pairs = [
            (self.bits or 99, other.bits or 99),
            (self.density, other.density),
            *((self.keep.get(g, 1 << 30), other.keep.get(g, 1 << 30)) for g in groups),
        ]
        return all(a >= b for a, b in pairs) and any(a > b for a, b in pairs)


def plans(
    program: Program,
    target: Target,
    chips: int,
    *,
    removable: frozenset[str] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> list[Plan]:
    """Plans after which no bound rules out that the program fits, the least membrane error first.

    Args:
        program: what does not fit.
        target: the chip.
        chips: chips of the board.
        removable: groups that may lose channels (None: all hidden ones).
        stop: whether to leave it at what was found so far.
    """
    found: list[Plan] = []
    bench = Bench(program, target, chips, removable)
    names = frozenset(s.name for s in program.synapses)
    widest = max(s.weight_bits for s in program.synapses)
    widths: list[int | None] = [
        None,
        *sorted((b for b in target.synapse.weight.widths if 1 < b < widest), reverse=True),
    ]
    for keep in _keeps(program, target, removable):
        smaller = program
        for name, n in keep.items():
            changed = fewer_channels(smaller, name, smaller.group(name).shape[0] - n)
            assert changed is not None
            smaller = changed
        for density in (1.0, *DENSITIES):
            if stop():
                break
            sparser = smaller if density == 1 else pruned(smaller, names, density)
            unchanged = not keep and density == 1
            bits = _widest(sparser, target, chips, names, widths[unchanged:])
            if bits == _NONE:
                continue
            found.append(_plan(bench, keep, density, bits, names))
            if bits is None:
                break  # fewer weights are harsher
    kept = [p for p in found if not any(other.gentler(p) for other in found)]
    return sorted(kept, key=lambda plan: plan.error)


def _widest(
    program: Program, target: Target, chips: int, names: frozenset[str], widths: list[int | None]
) -> int | None:
    """The most bits (None: as they are) that may fit, or `_NONE`; fewer never take more."""
    low, high = 0, len(widths)
    while low < high:
        middle = (low + high) // 2
        bits = widths[middle]
        narrow = program if bits is None else fewer_bits(program, names, bits)
        if may_fit(narrow, target, chips):
            high = middle
        else:
            low = middle + 1
    return widths[low] if low < len(widths) else _NONE


def _keeps(
    program: Program, target: Target, removable: frozenset[str] | None
) -> Iterator[dict[str, int]]:
    """Channels that stay: all; fewer of the group that takes most cores; fewer of all groups."""
    yield {}
    able = [
        g.name
        for g in program.on_chip
        if (removable is None or g.name in removable) and fewer_channels(program, g.name, 1)
    ]
    if not able:
        return
    bounds = group_bounds(Memory(program, target))
    top = max(able, key=lambda name: bounds[name].slices)
    for groups in dict.fromkeys(((top,), tuple(able))):
        for share in _SHARES:
            sizes = {name: program.group(name).shape[0] for name in groups}
            keep = {name: max(1, round(share * n)) for name, n in sizes.items()}
            if keep := {name: n for name, n in keep.items() if n < sizes[name]}:
                yield keep


def _plan(
    bench: Bench, keep: Mapping[str, int], density: float, bits: int | None, names: frozenset[str]
) -> Plan:
    shapes = {name: bench.program.group(name).shape[0] for name in keep}
    fixes = [bench.removal(name, shapes[name] - n) for name, n in keep.items()]
    fixes += [] if density == 1 else [bench.pruning(names, density)]
    fixes += [] if bits is None else [bench.quantization(names, bits)]
    error = membrane_error(bench.program, fixes)
    return Plan(bits=bits, density=density, keep=dict(keep), error=error, fixes=tuple(fixes))


def membrane_error(program: Program, fixes: tuple[Fix, ...] | list[Fix]) -> float:
    """What changes do to membranes, estimated from weights alone.

    Per layer, the mean squared change of what arrives over its mean square, where all sources spike
    equally often and independently; the sum over layers. Pruned are the smallest weights, removed the
    channels whose outgoing weights are smallest, and rounding adds a twelfth of the squared step.
    """
    total = 0.0
    kept = {s.name: _Kept(s) for s in program.synapses}
    for fix in fixes:
        options = dict(fix.options)
        for name in str(options["layers"]).split(","):
            if fix.action == "remove-kernels":
                for s in program.outgoing(name):
                    kept[s.name].lose_channels(int(options["count"]), program.group(name).shape[0])
            elif fix.action == "prune" and name in kept:
                kept[name].prune(float(options["density"]))
            elif fix.action == "quantize" and name in kept:
                kept[name].round(int(options["bits"]))
    for layer in kept.values():
        total += layer.error
    return total


class _Kept:
    """The weights of a layer while changes are made to them."""

    def __init__(self, s: SynapseGroup) -> None:
        self._bits = s.weight_bits
        self._before = s.mantissa.astype(np.float64)
        self._now = self._before.copy()
        self._noise = 0.0

    def lose_channels(self, count: int, channels: int) -> None:
        if self._now.ndim < 2 or self._now.shape[1] % channels:
            return
        by_channel = self._now.reshape(self._now.shape[0], channels, -1)
        order = np.argsort((by_channel**2).sum(axis=(0, 2)), kind="stable")
        by_channel[:, order[:count]] = 0

    def prune(self, density: float) -> None:
        flat = self._now.reshape(-1)
        order = np.argsort(-np.abs(flat), kind="stable")
        flat[order[round(flat.size * density) :]] = 0

    def round(self, bits: int) -> None:
        if bits < self._bits:
            step = float(np.abs(self._before).max(initial=0)) / (2 ** (bits - 1) - 1)
            self._noise = step**2 / 12

    @property
    def error(self) -> float:
        power = float((self._before**2).sum())
        lost = float(((self._before - self._now) ** 2).sum())
        rounded = self._noise * np.count_nonzero(self._now)
        return (lost + rounded) / power if power else 0.0
