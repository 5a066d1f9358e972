"""Surrogate gradients: what stands in for the derivative of a spike.

The derivative is that of a smooth step of the distance ``x = (v - threshold) / |threshold|``, whose
area is 1 and whose extent ``width`` sets, in units of the threshold:

==============  ==================================================  =============================
``arctan``      ``1 / (2 w) / (1 + (pi x / (2 w))^2)``              Fang et al. 2021, alpha = 1 / w
``triangular``  ``max(0, 1 - |x| / w) / w``                         QP-SNN (A1), with g = w
``fast-sigmoid``  ``1 / (2 w) / (1 + |x| / w)^2``                   Zenke & Ganguli 2018
==============  ==================================================  =============================

The module is imported where training starts, as it loads torch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

SurrogateKind = Literal["arctan", "triangular", "fast-sigmoid"]


@dataclass(frozen=True, kw_only=True)
class SpikeGradient:
    """A `snndeploy.simulate.float.neuron.Surrogate`.

    Attributes:
        kind: shape of the derivative.
        width: its extent, in units of the threshold.
        through_reset: whether gradients pass through the reset as well (usually they do not).
        smooth: spikes become the smooth step itself, so that gradients are exact: for tests.
    """

    kind: SurrogateKind = "arctan"
    width: float = 0.5
    through_reset: bool = False
    smooth: bool = False

    def __call__(self, v: Tensor, threshold: Tensor, spikes: Tensor, most: float) -> Tensor:
        """``spikes`` with the gradient of the smooth step."""
        if self.smooth:
            return step((v - threshold) / threshold.abs(), self.kind, self.width)
        spiking: Tensor = _Spike.apply(v, threshold, spikes, most, self.kind, self.width)  # type: ignore[no-untyped-call]
        return spiking


def step(x: Tensor, kind: SurrogateKind, width: float) -> Tensor:
    """The smooth step from 0 to 1 whose derivative is the surrogate's."""
    x = x / width
    if kind == "arctan":
        return torch.atan(x * (math.pi / 2)) / math.pi + 0.5
    if kind == "fast-sigmoid":
        return 0.5 * x / (1 + x.abs()) + 0.5
    rising = x.clamp(-1, 1)
    return 0.5 + rising - 0.5 * rising * rising.abs()


def derivative(x: Tensor, kind: SurrogateKind, width: float) -> Tensor:
    """The surrogate derivative at distance ``x``."""
    x = x / width
    if kind == "arctan":
        return 0.5 / width / (1 + (x * (math.pi / 2)) ** 2)
    if kind == "fast-sigmoid":
        return 0.5 / width / (1 + x.abs()) ** 2
    return (1 - x.abs()).clamp_min(0) / width


class _Spike(torch.autograd.Function):
    """Spikes forward, the surrogate backward.

    A neuron that can spike several times per step has a step at every multiple of its threshold; the
    nearest one counts.
    """

    @staticmethod
    def forward(
        ctx: Any,
        v: Tensor,
        threshold: Tensor,
        spikes: Tensor,
        most: float,
        kind: SurrogateKind,
        width: float,
    ) -> Tensor:
        ctx.save_for_backward(v, threshold)
        ctx.most, ctx.kind, ctx.width = most, kind, width
        return spikes

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        v, threshold = ctx.saved_tensors
        unit = threshold.abs()
        level = threshold
        if ctx.most > 1:
            level = threshold * torch.round(v / threshold).clamp(1, ctx.most)
        slope = gradients[0] * derivative((v - level) / unit, ctx.kind, ctx.width) / unit
        for_threshold = None
        if ctx.needs_input_grad[1]:
            for_threshold = -(slope * (level / threshold)).sum_to_size(threshold.shape)
        return slope, for_threshold, None, None, None, None
