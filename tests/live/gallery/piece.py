"""A live module with all that is needed to run it apart from the code under test."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

SAMPLES = 3
STEPS = 6


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A module as people write it.

    Args:
        module: in evaluation, with parameters that integers hold exactly where ``exact``.
        shapes: of one frame, by the names of the network's inputs.
        run: the module on frames (steps, samples, *shape), from its initial state.
        sample: what one call takes, of these frames.
        outputs: for each tensor that ``run`` returns, the population that it is.
        exact: whether integers hold all parameters and states, so that the chip's arithmetic agrees.
        one_frame: whether one frame stands for all steps.
        steps: how many steps it runs.
        density: how often an input spikes.
    """

    module: nn.Module
    shapes: Mapping[str, tuple[int, ...]]
    run: Callable[[nn.Module, list[torch.Tensor]], list[torch.Tensor]]
    sample: Callable[[list[torch.Tensor]], Any]
    outputs: tuple[str, ...]
    exact: bool = True
    one_frame: bool = False
    steps: int = STEPS
    density: float = 0.4
    notes: tuple[str, ...] = field(default=())

    def frames(self) -> dict[str, np.ndarray[Any, Any]]:
        """Random spikes for each input, (steps, samples, *shape)."""
        rng = np.random.default_rng(5)
        found = {}
        for name, shape in self.shapes.items():
            full = (self.steps, SAMPLES, *shape)
            drawn = (rng.random(full) < self.density).astype(np.float32)
            found[name] = np.broadcast_to(drawn[:1], full).copy() if self.one_frame else drawn
        return found


def dyadic(module: nn.Module, unit: float = 1 / 8, gain: float = 1.5) -> nn.Module:
    """Weights and biases as multiples of ``unit``, large enough for neurons to fire."""
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, (nn.Linear, nn.modules.conv._ConvNd)):
                fan_in = layer.weight[0].numel()
                for value in (layer.weight, layer.bias):
                    if value is not None:
                        value.normal_(0.1, gain / math.sqrt(fan_in))
                        value.copy_(torch.round(value / unit).clamp(-10, 10) * unit)
    return module.eval()


def norm(channels: int) -> nn.BatchNorm2d:
    """Batch norm whose factors are powers of two."""
    layer = nn.BatchNorm2d(channels, eps=0.0)
    with torch.no_grad():
        layer.running_var.copy_(torch.tensor([0.25, 1.0, 4.0, 1.0] * channels)[:channels])  # type: ignore[union-attr]
        layer.running_mean.copy_(torch.tensor([0.0, 0.25, -0.5, 0.0] * channels)[:channels])  # type: ignore[union-attr]
        layer.bias.copy_(torch.tensor([0.125, 0.0, 0.25, -0.125] * channels)[:channels])
    return layer
