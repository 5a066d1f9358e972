"""A population of neurons, as far as it was seen while its module ran."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ...ingest.normal_form.neurons import DiscreteNeuron
from ...ir.arrays import Shape
from ..layers import LayerModel
from .code import CodeSpot
from .signals import Signal

if TYPE_CHECKING:
    from torch import Tensor

_HALF = 0.5
FIRES_ON_ANY = DiscreteNeuron(
    {"leak": 0.0, "threshold": _HALF, "compare": ">", "reset": "zero"}, np.ones(())
)
"""A neuron without memory that spikes where any spike arrives."""


@dataclass(eq=False)
class LayerRun:
    """A population, as far as it was seen.

    Attributes:
        name: the layer's, with a number where the layer is used with several states.
        shape: of the population.
        model: what the layer is.
        given: what arrived, for each step.
        emitted: what it emitted, for each step.
        spot: where it was called first.
        layer: name of the layer.
        membranes: v behind each step, where the layer returns it.
        start: v in front of the first step, where the caller hands it over.
    """

    name: str
    shape: Shape
    model: LayerModel
    spot: CodeSpot
    layer: str = ""
    given: list[Signal] = field(default_factory=list)
    emitted: list[Tensor] = field(default_factory=list)
    membranes: list[Tensor] = field(default_factory=list)
    start: Tensor | None = None

    @property
    def steps(self) -> int:
        return len(self.emitted)

    @property
    def is_binary(self) -> bool:
        fields = self.model.neuron.fields
        return "threshold" in fields and fields.get("spikes_per_step", "one") == "one"

    @property
    def is_pooling(self) -> bool:
        """Whether it is no layer, but stands for an operation that picks the largest spike."""
        return self.model.neuron is FIRES_ON_ANY

    @property
    def spikes(self) -> bool:
        return "threshold" in self.model.neuron.fields
