"""`Placement`: which part of which group sits on which core, and what it uses there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from .arrays import Array, Shape, size

Bounds = tuple[tuple[int, int], ...]


@dataclass(frozen=True, kw_only=True)
class Slice:
    """A box of a compartment group (half-open ``bounds`` per axis of its shape) on one core.

    ``resources`` maps each resource of the target's memory model to what this slice uses of it.
    """

    group: str
    bounds: Bounds
    core: int
    resources: Mapping[str, int] = field(default_factory=dict)

    @property
    def shape(self) -> Shape:
        return tuple(high - low for low, high in self.bounds)

    @property
    def neurons(self) -> int:
        return size(self.shape)

    def members(self, shape: Shape) -> Array:
        """Flat indices (C order, within the group's ``shape``) of the slice's compartments."""
        box = tuple(slice(low, high) for low, high in self.bounds)
        return np.arange(size(shape)).reshape(shape)[box].reshape(-1)


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Slices on numbered cores: ``c`` is core ``c % cores_per_chip`` of chip ``c // cores_per_chip``."""

    target: str
    cores_per_chip: int
    slices: tuple[Slice, ...]

    @property
    def cores(self) -> tuple[int, ...]:
        return tuple(sorted({s.core for s in self.slices}))

    @property
    def chips(self) -> int:
        return len({c // self.cores_per_chip for c in self.cores})

    def on_core(self, core: int) -> tuple[Slice, ...]:
        return tuple(s for s in self.slices if s.core == core)

    def of_group(self, group: str) -> tuple[Slice, ...]:
        return tuple(s for s in self.slices if s.group == group)
