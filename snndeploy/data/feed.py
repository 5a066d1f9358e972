"""Samples as passes see them: one array per input population of a network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from ..ir.arrays import Array, Shape
from ..ir.network import Network
from ..ir.program import Program
from .samples import Samples


def input_shapes(model: Network | Program) -> dict[str, Shape]:
    """The shapes of a network's or a program's inputs, by name, as `load_samples` takes them."""
    if isinstance(model, Network):
        return {p.name: p.shape for p in model.with_role("input")}
    return {g.name: g.shape for g in model.groups if g.kind == "input"}


@dataclass(frozen=True, eq=False)
class Feed:
    """Samples that feed every input population of a network.

    Only what is asked for is read from disk, once, when a pass first looks at it.

    Args:
        network: whose inputs are fed.
        samples: what feeds them.
        first: how many samples count, from the first one on (None: all).
        steps: how many time steps of each count (None: all).
    """

    network: Network
    samples: Samples
    first: int | None = None
    steps: int | None = None

    @cached_property
    def inputs(self) -> Mapping[str, Array]:
        """``(steps, samples, *shape)`` by input population."""
        some = self.samples.first(self.first)
        found = some.by_input(p.name for p in self.network.with_role("input"))
        return {name: x[: self.steps] for name, x in found.items()}

    @property
    def labels(self) -> Array | None:
        """One class per sample or per step, where they are known."""
        labels = self.samples.first(self.first).labels
        return labels[:, : self.steps] if labels is not None and labels.ndim > 1 else labels

    @property
    def targets(self) -> Array | None:
        """Values that the output should emit, ``(samples, neurons)``, where they are known."""
        return self.samples.first(self.first).targets

    @property
    def window(self) -> int:
        """Over how many steps answers per step are smoothed."""
        return self.samples.window
