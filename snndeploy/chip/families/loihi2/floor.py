"""The least that boxes take on Loihi 2."""

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
from .pool import with_pool
from .tables import Loihi2Target


@dataclass(frozen=True, eq=False)
class _Least2(Least):
    target: Loihi2Target

    @property
    def bits(self) -> int:
        """With an index, which every encoding stores."""
        return self.stored + min(self.target.synapse.index.widths)

    def kernel_words(self, channels: Array, places: Array) -> Array:
        op = self.fan.convolution
        header = self.target.synapse.header_bits.limit
        groups = -(-channels // (op.out_channels // op.groups))
        row = -(-(channels * (self.stored + 1) + header * groups) // WORD)
        return np.asarray(op.in_channels // op.groups * self.fan.taps * np.maximum(groups, row))

    def axons(self, extents: Array) -> Array:
        sources, kernel = len(self.fan.synapses.sources), self.target.axons.in_kernel.limit
        return np.full(extents.shape[1], min(kernel, self.heard) * sources)

    def kernel_bits(self, op: Conv) -> Array | int:
        rows = op.in_channels // op.groups * self.fan.taps
        return int(rows * (self.stored + 1) * len(self.fan.latencies))


@dataclass(frozen=True, eq=False)
class Floor2(Floor):
    """``state`` is the words of a neuron."""

    target: Loihi2Target
    state: int

    @cached_property
    def _parts(self) -> list[_Least2]:
        return [_Least2(fan, self.target) for fan in self.boxes.fans]

    def each(self) -> dict[str, Array]:
        shape = self.boxes.group.shape
        ones = np.ones(shape)
        words = sum((part.words_per_neuron() for part in self._parts), np.zeros(shape))
        axons = sum((part.axons_per_neuron() for part in self._parts), np.zeros(shape))
        entries = ones * self.boxes.listed
        return {
            "neurons": ones,
            "synapse_words": words,
            "axon_in": axons,
            "axon_map": entries,
            "pool_words": ones * self.state + words + axons + entries,
        }

    def once(self) -> dict[str, float]:
        found = [part.once() for part in self._parts]
        words, axons = sum(w for w, _ in found), sum(a for _, a in found)
        return {
            "groups": 1.0,
            "synapse_words": words,
            "axon_in": axons,
            "pool_words": 1 + words + axons,
        }

    def extents(
        self, channels: Array, extents: Array, each: Mapping[str, float]
    ) -> dict[str, Array]:
        places = extents.prod(axis=0)
        neurons = channels * places
        words, axons = np.zeros(len(places)), np.zeros(len(places))
        for part in self._parts:
            if part.fan.separable:
                words = words + part.words(channels, extents)
                axons = axons + part.axons(extents)
        words = words + neurons * each["synapse_words"]
        leaves = self.boxes.heard and not self.boxes.listed
        entries = neurons * each["axon_map"] + places * leaves
        axons = axons + neurons * each["axon_in"]
        return {
            "neurons": neurons,
            "synapse_words": words,
            "axon_in": axons,
            "axon_map": entries,
            "pool_words": 1 + neurons * self.state + words + axons + entries,
        }

    def of_all_boxes(self, boxes: int) -> dict[str, float]:
        more = 0.0
        for part in self._parts:
            more += max(0.0, part.words_of_all_boxes() - boxes * part.once()[0])
        return {"synapse_words": more, "pool_words": more}

    def sending(self, used: Resources, slots: Array) -> Resources:
        return with_pool({**used, "axon_map": used["axon_map"] + slots.size * self.boxes.listed})
