"""The least that a synapse group takes of any box of its target, in whichever encoding."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from ....ir.arrays import Array
from ....ir.fan.fan import Fan
from ....ir.ops import Conv
from .lists import WORD, entry_bits
from .tables import ListTarget


@dataclass(frozen=True, eq=False)
class Least(ABC):
    """What one synapse group adds to boxes of its target."""

    fan: Fan
    target: ListTarget

    @property
    def stored(self) -> int:
        """Bits of a weight with its delay."""
        return entry_bits(self.fan, self.target)

    @property
    @abstractmethod
    def bits(self) -> int:
        """The fewest bits of a synapse in a list."""

    @property
    def heard(self) -> int:
        """The fewest synapses into any neuron: as many lists reach every box."""
        return int(self.fan.synapses_per_target.min())

    def words_per_neuron(self) -> Array:
        """Words that each neuron adds to its box, and no other neuron pays for."""
        fan = self.fan
        if fan.separable:  # neurons may share a kernel
            return np.zeros(fan.target_shape)
        if fan.one_to_one:  # a list of its own, of a word or more
            return (fan.synapses_per_target > 0) * float(fan.delay_patterns)
        return fan.synapses_per_target * (self.bits * fan.delay_patterns / WORD)

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
        words = self.heard * header * fan.delay_patterns / WORD
        return words, float(self.heard * len(fan.synapses.sources))

    def words(self, channels: Array, extents: Array) -> Array:
        """Words of a convolution into boxes of so many channels and (axis, box) spatial extents."""
        fan, places = self.fan, extents.prod(axis=0)
        header = self.target.synapse.header_bits.limit
        lists = self.heard * (channels * places * self.bits + header) / WORD * fan.delay_patterns
        kernel = self.kernel_words(channels, places)
        return np.asarray(np.minimum(lists, kernel * len(fan.latencies)))

    @abstractmethod
    def kernel_words(self, channels: Array, places: Array) -> Array:
        """Words of the kernel that boxes of so many channels and places share, at one latency."""

    @abstractmethod
    def axons(self, extents: Array) -> Array:
        """Input axons of a convolution into boxes of so much extent per spatial (axis, box)."""

    def words_of_all_boxes(self) -> float:
        """Words of a convolution over all boxes: each channel is in some box, in its encoding."""
        fan = self.fan
        if not fan.separable:
            return 0.0
        op = fan.convolution
        lists = fan.synapses_per_target.reshape(op.out_channels, -1).sum(axis=1)
        lists = lists * self.bits * fan.delay_patterns
        return float(np.minimum(lists, self.kernel_bits(op)).sum()) / WORD

    @abstractmethod
    def kernel_bits(self, op: Conv) -> Array | int:
        """Bits of every output channel's part of the kernels of all boxes together."""
