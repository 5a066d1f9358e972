"""The least that a synapse group takes of any box, in whichever encoding; see `bounds`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...chip import Target
from ...ir.arrays import Array
from ...ir.ops import Conv
from ..count.encodings import WORD, delay_bits
from ..fan.fan import Fan


@dataclass(frozen=True, eq=False)
class Least:
    """What one synapse group adds to boxes of its target."""

    fan: Fan
    target: Target

    @property
    def _two(self) -> bool:
        return self.target.memory_model == "loihi2"

    @property
    def _stored(self) -> int:
        """Bits of a weight with its delay."""
        weight = self.target.synapse.weight.holding(self.fan.synapses.weight_bits)
        return weight + delay_bits(self.fan)

    @property
    def _bits(self) -> int:
        """The fewest bits of a synapse in a list; only Loihi 2 stores an index in every encoding."""
        return self._stored + (min(self.target.synapse.index.widths) if self._two else 0)

    @property
    def _heard(self) -> int:
        """The fewest synapses into any neuron: as many lists reach every box."""
        return int(self.fan.synapses_per_target.min())

    def words_per_neuron(self) -> Array:
        """Words that each neuron adds to its box, and no other neuron pays for."""
        fan = self.fan
        if fan.separable:  # neurons may share a kernel
            return np.zeros(fan.target_shape)
        if fan.one_to_one:  # a list of its own, of a word or more
            return (fan.synapses_per_target > 0) * float(fan.delay_patterns)
        return fan.synapses_per_target * (self._bits * fan.delay_patterns / WORD)

    def axons_per_neuron(self) -> Array:
        """Input axons that each neuron adds to its box, and no other neuron shares."""
        alone = self.fan.one_to_one * (self.fan.synapses_per_target > 0)
        return alone * float(len(self.fan.synapses.sources))

    def once(self) -> tuple[float, float]:
        """Words and input axons that every box takes, however small it is."""
        fan = self.fan
        if fan.one_to_one:
            return 0.0, 0.0
        if fan.separable:
            one = np.ones((len(fan.target_shape) - 1, 1), int)
            return float(self.words(np.array([1]), one)[0]), float(self.axons(one)[0])
        header = self.target.synapse.header_bits.limit
        words = self._heard * header * fan.delay_patterns / WORD
        return words, float(self._heard * len(fan.synapses.sources))

    def words(self, channels: Array, extents: Array) -> Array:
        """Words of a convolution into boxes of so many channels and (axis, box) spatial extents."""
        fan, op, synapse = self.fan, self.fan.synapses.op, self.target.synapse
        assert isinstance(op, Conv)
        header, places = synapse.header_bits.limit, extents.prod(axis=0)
        lists = self._heard * (channels * places * self._bits + header) / WORD * fan.delay_patterns
        if self._two:
            groups = -(-channels // (op.out_channels // op.groups))
            row = -(-(channels * (self._stored + 1) + header * groups) // WORD)
            kernel = op.in_channels // op.groups * fan.taps * np.maximum(groups, row)
        else:
            assert synapse.base_count is not None
            weights = channels * int(fan.weights_per_target.min())
            shifts = -(-places // synapse.base_count.limit)
            kernel = weights * (self._stored + min(synapse.index.widths)) / WORD * shifts
        return np.asarray(np.minimum(lists, kernel * len(fan.latencies)))

    def axons(self, extents: Array) -> Array:
        """Input axons of a convolution into boxes of so much extent per spatial (axis, box)."""
        fan, sources = self.fan, len(self.fan.synapses.sources)
        if self._two:
            kernel = self.target.axons.in_kernel
            assert kernel is not None
            return np.full(extents.shape[1], min(kernel.limit, self._heard) * sources)
        places = np.ones(extents.shape[1], np.int64)
        for axis, extent in enumerate(extents):
            places = places * fan.fewest_places(axis)[extent - 1]
        return np.minimum(places, places if fan.nonzero is None else self._heard) * sources

    def words_of_all_boxes(self) -> float:
        """Words of a convolution over all boxes: each channel is in some box, in its encoding."""
        fan, op = self.fan, self.fan.synapses.op
        if not fan.separable or not isinstance(op, Conv):
            return 0.0
        lists = fan.synapses_per_target.reshape(op.out_channels, -1).sum(axis=1)
        lists = lists * self._bits * fan.delay_patterns
        if self._two:
            rows = op.in_channels // op.groups * fan.taps
            kernel = rows * (self._stored + 1) * len(fan.latencies)
        else:  # the neuron with most weights has them all in its box, in any encoding
            weights = fan.weights_per_target.reshape(op.out_channels, -1).max(axis=1)
            kernel = weights * self._bits
        return float(np.minimum(lists, kernel).sum()) / WORD
