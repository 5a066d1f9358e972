"""Samples as passes see them: one array per input population of a network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from ..ir.arrays import Array
from ..ir.network import Network
from .samples import Samples


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
        x = self.samples.first(self.first).inputs[: self.steps]
        return {p.name: x for p in self.network.with_role("input")}

    @property
    def labels(self) -> Array | None:
        """One class per sample, where they are known."""
        return self.samples.first(self.first).labels
