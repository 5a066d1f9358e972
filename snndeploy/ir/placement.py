"""`Placement`: which part of which group sits on which core, and what it uses there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np

from ..brief import brief, brief_html
from .arrays import Array, Shape, size

Bounds = tuple[tuple[int, int], ...]
VerdictKind = Literal["optimal", "gap", "impossible", "not-found"]


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
class Verdict:
    """What a search for few cores has proved.

    ``kind`` is ``optimal`` (it fits, and nothing takes fewer cores), ``gap`` (it fits, and what takes
    fewest may take fewer), ``impossible`` (no cut of the groups into boxes fits the board) or
    ``not-found`` (none was found with this effort, and none was ruled out).

    ``cores`` were taken of ``available`` ones, ``bound`` is the fewest that any placement of the kind
    in ``shared`` (whether slices may share a core) takes, ``tried`` counts the splits that were
    compared, and ``reason`` says what the bound rests on.
    """

    kind: VerdictKind
    cores: int
    available: int
    bound: int
    shared: bool
    tried: int
    reason: str

    __repr__ = brief
    _repr_html_ = brief_html

    @property
    def gap(self) -> float:
        """How many more cores than the bound were taken, as a share of it (0: none)."""
        return self.cores / self.bound - 1 if self.bound else 0.0

    def __str__(self) -> str:
        told = {
            "optimal": "proved optimal",
            "gap": f"best found, gap ≤ {100 * self.gap:.0f} %",
            "impossible": "proved impossible",
            "not-found": "not found with this effort",
        }[self.kind]
        if self.kind in ("impossible", "not-found"):
            return f"{told}: {self.reason}"
        question = "fewest cores, slices sharing them"
        if not self.shared:
            question = "fastest spread, a core each"
        return f"{question}: {told}: {self.reason}"


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Slices on numbered cores: ``c`` is core ``c % cores_per_chip`` of chip ``c // cores_per_chip``.

    ``search`` says how good the number of cores is (None: nothing was searched).
    """

    target: str
    cores_per_chip: int
    slices: tuple[Slice, ...]
    search: Verdict | None = None

    __repr__ = brief
    _repr_html_ = brief_html

    @property
    def cores(self) -> tuple[int, ...]:
        return tuple(sorted({s.core for s in self.slices}))

    @property
    def chips(self) -> int:
        return len({c // self.cores_per_chip for c in self.cores})

    @cached_property
    def _on_core(self) -> dict[int, list[Slice]]:
        found: dict[int, list[Slice]] = {}
        for s in self.slices:
            found.setdefault(s.core, []).append(s)
        return found

    @cached_property
    def _of_group(self) -> dict[str, list[Slice]]:
        found: dict[str, list[Slice]] = {}
        for s in self.slices:
            found.setdefault(s.group, []).append(s)
        return found

    def on_core(self, core: int) -> tuple[Slice, ...]:
        return tuple(self._on_core.get(core, ()))

    def of_group(self, group: str) -> tuple[Slice, ...]:
        return tuple(self._of_group.get(group, ()))
