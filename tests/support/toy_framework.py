"""A framework of two layers, to read live modules without any that must be installed.

``Fires`` keeps its state, ``Hands`` is given it. Both integrate with a leak and start again from zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from snndeploy.ir.network import Network
from snndeploy.live.layers import (
    Framework,
    Heard,
    LayerModel,
    TimeForm,
    Told,
    Update,
    loops,
    neuron,
    sequences,
)
from snndeploy.live.read import read_module

WHERE = "from_toy"


class Neurons(nn.Module):
    """What all neurons of the framework are."""

    def __init__(self, leak: float = 0.5, reset: str = "zero") -> None:
        super().__init__()
        self.leak, self.reset = leak, reset

    def step(self, x: Tensor, v: Any) -> tuple[Tensor, Tensor]:
        v = self.leak * v + x
        spikes = (v > 1).to(x.dtype)
        return spikes, v * (1 - spikes) if self.reset == "zero" else v - spikes


class Fires(Neurons):
    def __init__(self, leak: float = 0.5, reset: str = "zero") -> None:
        super().__init__(leak, reset)
        self.v: Any = 0.0

    def forward(self, x: Tensor) -> Tensor:
        spikes, self.v = self.step(x, self.v)
        return spikes


class Lasts(Fires):
    """Takes all steps at once, (steps, samples, *shape)."""

    def forward(self, x: Tensor) -> Tensor:
        step = super().forward
        return torch.stack([step(frame) for frame in x])


class Hands(Neurons):
    def forward(self, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        return self.step(x, v)


class Strange(Neurons):
    """A layer that the framework has, and nobody here knows."""


class Toy(Framework):
    where = WHERE

    @property
    def known(self) -> tuple[type, ...]:
        return (Fires, Hands)

    @property
    def neurons(self) -> tuple[type, ...]:
        return (Neurons,)

    def forms(self, module: nn.Module, sample: Tensor, steps: int) -> Sequence[TimeForm]:
        if any(isinstance(layer, Lasts) for layer in module.modules()):
            return sequences(sample, steps, TimeForm(kind="sequence", time=0, batch=1))
        return loops(sample, steps, TimeForm(kind="steps"))

    def isolated(self, module: nn.Module) -> AbstractContextManager[object]:
        return nullcontext()

    def start(self, module: nn.Module) -> None:
        for layer in module.modules():
            if isinstance(layer, Fires):
                layer.v = 0.0

    def call(self, module: nn.Module, inputs: Sequence[Tensor], before: Any) -> tuple[Any, Any]:
        return module(*inputs), before

    def heard(self, layer: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Heard:
        if isinstance(layer, Fires):
            return Heard(given=args[0])
        return Heard(given=args[0], states=(args[1],), membrane=args[1])

    def told(self, layer: Any, returned: Any) -> Told:
        if isinstance(layer, Fires):
            return Told(emitted=returned, membrane=layer.v)
        return Told(emitted=returned[0], membrane=returned[1], states=tuple(returned))

    def leading(self, layer: Any, form: TimeForm) -> int:
        return 2 if isinstance(layer, Lasts) else 1

    def steps_axis(self, layer: Any) -> int | None:
        return 0 if isinstance(layer, Lasts) else None

    def model(self, name: str, layer: Any, shape: tuple[int, ...]) -> LayerModel:
        options = {"compare": ">", "reset": layer.reset}
        return LayerModel(
            neuron=neuron(shape, Update(leak=layer.leak, threshold=1.0, options=options))
        )


def read(module: nn.Module, sample: Any) -> Network:
    return read_module(Toy(), module, sample)


def answers(module: nn.Module, frames: Sequence[Tensor]) -> list[Tensor]:
    """What a module of ``Fires`` answers step by step, from its initial state."""
    Toy().start(module)
    with torch.no_grad():
        return [module(*frame) for frame in zip(*frames, strict=True)]
