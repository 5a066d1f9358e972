"""Thresholds of a live module in proportion to what compression left of the membranes.

The same as the pass ``correct-threshold``. Frameworks often keep one threshold for a population, so a
threshold that would be multiplied by a factor stays, and what reaches its neuron is divided by it: in
the batch norm behind the layer, or in the layer itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...ir.arrays import Array
from ...passes.second_order.thresholds import threshold_factor
from .hooks import ModuleWatch, Run, Seen

if TYPE_CHECKING:
    from torch import Tensor, nn


class Membranes:
    """Sums of the positive membrane potentials, without reset, in a module as it is."""

    def __init__(self, module: nn.Module, call: Run) -> None:
        self.module, self.call = module, call
        self._known: dict[tuple[int, ...], dict[str, Array]] = {}

    def factor(
        self, result: nn.Module, data: Sequence[Any], seen: Seen, ran: Sequence[Seen]
    ) -> Array:
        """By how much the thresholds behind a layer should change, ``(channels,)``.

        Args:
            result: the module as far as it is compressed.
            data: calls; told apart by identity, so they have to stay alive between two times.
            seen: the layer, one of those that ran.
            ran: all layers whose membranes will be asked for; they are summed together.
        """
        key = tuple(map(id, data))
        if key not in self._known:
            self._known[key] = positive_membranes(self.module, self.call, data, ran)
        (left,) = positive_membranes(result, self.call, data, [seen]).values()
        return threshold_factor(self._known[key][seen.name], left)


def positive_membranes(
    module: nn.Module, call: Run, data: Sequence[Any], layers: Sequence[Seen]
) -> dict[str, Array]:
    """Sum over calls, steps and positions of max(m, 0) for the neurons that layers drive, by layer.

    Returns:
        ``(channels,)`` of each layer; m is the membrane potential without reset.
    """
    sums = {seen.name: _Sum(seen) for seen in layers}

    def reached(seen: Seen, current: Tensor, several: bool) -> None:
        if several:
            sums[seen.name].begin()
        for step in current if several else (current,):
            sums[seen.name].add(step)

    for x in data:
        for total in sums.values():
            total.begin()
        watch = ModuleWatch(module, sums, like=layers, reached=reached)
        watch.run(call, [x])
    return {name: np.asarray(total.positive) for name, total in sums.items()}


class _Sum:
    """Of one layer: its membrane potentials step by step, and the sum of what is positive."""

    def __init__(self, seen: Seen) -> None:
        assert seen.leak is not None
        self.leak, self.syn_leak = seen.leak, seen.syn_leak or 0.0
        self.last = seen.layer.weight.ndim == 2  # a linear layer's channels are the last axis
        self.positive = np.zeros(len(seen.layer.weight))
        self.begin()

    def begin(self) -> None:
        """From rest."""
        self.u: Any = 0.0
        self.v: Any = 0.0

    def add(self, current: Tensor) -> None:
        """One step, ``(samples, …)``."""
        self.u = self.syn_leak * self.u + current.double()
        self.v = self.leak * self.v + self.u
        axis = self.v.ndim - 1 if self.last else 1
        others = [i for i in range(self.v.ndim) if i != axis]
        self.positive = self.positive + self.v.clamp_min(0).sum(others).cpu().numpy()


def can_scale(seen: Seen, ran: Sequence[Seen], per_channel: bool) -> bool:
    """Whether what reaches a layer's neurons can be divided, channel by channel, and by nothing else.

    Args:
        seen: the layer.
        ran: all layers of the module.
        per_channel: whether a layer may have a step of its own for each channel.
    """
    shared = sum(other.norm == seen.norm for other in ran) > 1
    divisible = per_channel if seen.norm is None else not shared
    return seen.leak is not None and seen.alone and seen.scales and divisible


def divide(module: nn.Module, seen: Seen, factor: Array) -> None:
    """Divide what reaches the neurons behind a layer of the module by a factor for each channel."""
    import torch

    part: Any = module.get_submodule(seen.name if seen.norm is None else seen.norm)
    by = torch.as_tensor(factor).to(part.weight)
    part.weight.div_(by.reshape(-1, *(1,) * (part.weight.ndim - 1)))
    if part.bias is not None:
        part.bias.div_(by)
