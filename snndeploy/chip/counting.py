"""What families count with: synapses as stored, spikes on their way out, and rules."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from ..ir.arrays import Array, size
from ..ir.finding import Certainty
from ..ir.placement import Bounds
from ..ir.program import Program

Resources = dict[str, int]
"""What a slice, or a core, takes of each resource."""
Count = TypeVar("Count", int, Array)
"""Of one slice, or of all tiles of a grid."""
Cuts = Sequence[Sequence[tuple[int, int]]]
"""The intervals of a grid of tiles along each axis."""


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A synapse group as stored for one slice.

    Attributes:
        encoding: the family's name of the way it is stored.
        words: units of the family's memory.
        longest: those of the longest list of one axon.
        axons: input axons.
        slots: output axon slots of each neuron that it hears (1 where the chip has no slots).
        synapses: the entries held in memory.
        nonzero: those of them that are not zero.
        shared: whether positions share one kernel, rather than each having its own synapses.
        skips_zeros: whether zeros are left out, and the axons of sources with nothing else too.
    """

    encoding: str
    words: int
    longest: int
    axons: int
    slots: int
    synapses: int
    nonzero: int
    shared: bool = False
    skips_zeros: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Sent:
    """The spikes of a group, or of a box of it, on their way to the slices that hear them.

    ``slots`` counts the output axon slots of every neuron, ``kernels`` the slices that hold its
    synapses as a shared kernel. ``listed`` tells whether spikes go neuron by neuron, to lists or to the
    host, and ``heard`` whether any synapse is stored for them: where all weights are zero, none is.
    """

    slots: Array
    kernels: Array
    listed: bool
    heard: bool

    def within(self, bounds: Bounds) -> Sent:
        """Those of the neurons in a box."""
        box = tuple(slice(*b) for b in bounds)
        return Sent(
            slots=self.slots[box], kernels=self.kernels[box], listed=self.listed, heard=self.heard
        )


@dataclass(frozen=True, kw_only=True)
class CoreRule:
    """A rule about a core: none of the ``resources`` may exceed its limit.

    Attributes:
        code: of its findings.
        resources: what it limits.
        sentence: what must hold; message and documentation.
        of_memory: whether the counts rest on the widths of stored fields, and so on their certainty.
        shrinks: whether a smaller network helps: fewer bits, weights or neurons.
    """

    code: str
    resources: tuple[str, ...]
    sentence: str
    of_memory: bool = False
    shrinks: bool = False


@dataclass(frozen=True, kw_only=True)
class Breach:
    """What breaks a rule: where, what it uses, and the limit with its source."""

    where: str
    message: str
    resource: str
    used: float | None = None
    limit: float | None = None
    unit: str = ""
    source: str = ""
    certainty: Certainty | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Cycles:
    """Clock cycles of steps, where a formula for the whole chip is published.

    Attributes:
        parts: cycles of each kind of work, (steps,).
        ns: nanoseconds of a cycle.
        certainty: of the formula and of the clock.
        not_counted: what it leaves out.
    """

    parts: Mapping[str, Array]
    ns: float
    certainty: Certainty
    not_counted: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ProgramRule:
    """A rule about programs that only one family of chips has.

    Attributes:
        code: of its findings.
        sentence: what must hold; message and documentation.
        run: yields a `Breach` for everything that breaks it, given the family and the program.
        shrinks: whether a smaller network helps: fewer bits, weights or neurons.
    """

    code: str
    sentence: str
    run: Callable[[Any, Program], Iterator[Breach]]
    shrinks: bool = False


def neurons_in(bounds: Bounds) -> int:
    """Neurons of a box."""
    return size(high - low for low, high in bounds)


def added(parts: Sequence[Mapping[str, int]]) -> Resources:
    """The sum of every resource."""
    total: Resources = {}
    for part in parts:
        for name, used in part.items():
            total[name] = total.get(name, 0) + used
    return total


def tile_sums(values: Array, cuts: Cuts) -> Array:
    """Sums of ``values``, one per neuron, over all tiles that cuts along each axis make."""
    for axis, intervals in enumerate(cuts):
        values = np.add.reduceat(values, [low for low, _ in intervals], axis=axis)
    return values
