"""The least that boxes take on Loihi."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ....ir.arrays import Array
from ....ir.ops import Conv
from ...counting import Resources
from ...floor import Floor
from ..loihi.floor import Least
from ..loihi.lists import WORD
from .tables import Loihi1Target


@dataclass(frozen=True, eq=False)
class _Least1(Least):
    target: Loihi1Target

    @property
    def bits(self) -> int:
        return self.stored

    def kernel_words(self, channels: Array, places: Array) -> Array:
        synapse = self.target.synapse
        weights = channels * int(self.fan.weights_per_target.min())
        shifts = -(-places // synapse.base_count.limit)
        return np.asarray(weights * (self.stored + min(synapse.index.widths)) / WORD * shifts)

    def axons(self, extents: Array) -> Array:
        fan, sources = self.fan, len(self.fan.synapses.sources)
        places = np.ones(extents.shape[1], np.int64)
        for axis, extent in enumerate(extents):
            places = places * fan.fewest_places(axis)[extent - 1]
        return np.minimum(places, places if fan.nonzero is None else self.heard) * sources

    def kernel_bits(self, op: Conv) -> Array | int:
        # The neuron with most weights has them all in its box, in any encoding.
        weights = self.fan.weights_per_target.reshape(op.out_channels, -1).max(axis=1)
        return np.asarray(weights * self.bits)


@dataclass(frozen=True, eq=False)
class Floor1(Floor):
    """``doubled`` is 1 where every neuron takes a second compartment, ``delay_slots`` what each
    compartment takes of the memory of delays."""

    target: Loihi1Target
    doubled: bool
    delay_slots: int

    @cached_property
    def _parts(self) -> list[_Least1]:
        return [_Least1(fan, self.target) for fan in self.boxes.fans]

    def each(self) -> dict[str, Array]:
        shape, extra = self.boxes.group.shape, float(self.doubled)
        words = sum((part.words_per_neuron() for part in self._parts), np.zeros(shape))
        axons = sum((part.axons_per_neuron() for part in self._parts), np.zeros(shape))
        compartments = np.ones(shape) * (1 + extra)
        return {
            "compartments": compartments,
            "synapse_words": words + extra,
            "in_axons": axons + extra,
            "out_axons": self.boxes.slots + extra,
            "delay_slots": compartments * self.delay_slots,
        }

    def once(self) -> dict[str, float]:
        found = [part.once() for part in self._parts]
        words, axons = sum(w for w, _ in found), sum(a for _, a in found)
        return {"synapse_words": words, "in_axons": axons, "synapse_formats": len(found)}

    def extents(
        self, channels: Array, extents: Array, each: Mapping[str, float]
    ) -> dict[str, Array]:
        neurons = channels * extents.prod(axis=0)
        words, axons = np.zeros(len(neurons)), np.zeros(len(neurons))
        for part in self._parts:
            if part.fan.separable:
                words = words + part.words(channels, extents)
                axons = axons + part.axons(extents)
        return {
            "compartments": neurons * each["compartments"],
            "synapse_words": words + neurons * each["synapse_words"],
            "in_axons": axons + neurons * each["in_axons"],
            "out_axons": neurons * each["out_axons"],
            "delay_slots": neurons * each["delay_slots"],
        }

    def of_all_boxes(self, boxes: int) -> dict[str, float]:
        more = 0.0
        for part in self._parts:
            more += max(0.0, part.words_of_all_boxes() - boxes * part.once()[0])
        return {"synapse_words": more}

    def sending(self, used: Resources, slots: Array) -> Resources:
        return {**used, "out_axons": used["out_axons"] + int(slots.sum())}
