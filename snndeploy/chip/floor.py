"""The least that boxes of a group take, however it is cut: what lower bounds are made of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..ir.arrays import Array
from ..ir.fan.fan import Fan
from ..ir.program import CompartmentGroup
from .counting import Resources


@dataclass(frozen=True, kw_only=True, eq=False)
class Boxes:
    """A group whose boxes are bounded.

    Attributes:
        group: the group.
        fans: the synapse groups into it.
        slots: output axon slots that each neuron takes at least, in the group's shape.
        listed: whether its spikes surely go neuron by neuron, to lists or to the host.
        heard: whether they surely go to a synapse.
    """

    group: CompartmentGroup
    fans: Sequence[Fan]
    slots: Array
    listed: bool
    heard: bool


@dataclass(frozen=True, eq=False)
class Floor(ABC):
    """Counts that no box undercuts, whatever its encodings and whatever the cut of the layers behind.

    Every number may be too small, and none too large: the fewest slices and cores follow from them.
    """

    boxes: Boxes

    @abstractmethod
    def each(self) -> dict[str, Array]:
        """What every neuron adds to the box it is in, whichever that is; in the group's shape."""

    @abstractmethod
    def once(self) -> dict[str, float]:
        """What every box takes on top, however small it is."""

    @abstractmethod
    def extents(
        self, channels: Array, extents: Array, each: Mapping[str, float]
    ) -> dict[str, Array]:
        """What boxes of so many channels and (axis, box) spatial extents take.

        ``each`` is the least that any one neuron adds. Asked of groups with axes in space whose
        synapses are convolutions, at least in part.
        """

    @abstractmethod
    def of_all_boxes(self, boxes: int) -> dict[str, float]:
        """What so many boxes that hold the group take together beyond `each` and ``boxes x once``."""

    @abstractmethod
    def sending(self, used: Resources, slots: Array) -> Resources:
        """``used`` (by what arrives at one box) with the least that its spikes take."""


class NoFloor(Floor):
    """Nothing is known: only what a single box takes bounds the slices."""

    def each(self) -> dict[str, Array]:
        return {}

    def once(self) -> dict[str, float]:
        return {}

    def extents(
        self, channels: Array, extents: Array, each: Mapping[str, float]
    ) -> dict[str, Array]:
        return {}

    def of_all_boxes(self, boxes: int) -> dict[str, float]:
        return {}

    def sending(self, used: Resources, slots: Array) -> Resources:
        return used
