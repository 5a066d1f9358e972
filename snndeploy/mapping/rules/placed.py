"""What rules look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from ...chip import Target
from ...ir.placement import Placement
from ...ir.program import Program
from ..count.axons import recount
from ..count.memory import Memory


@dataclass(frozen=True, eq=False)
class Subject:
    """A placed program on a target, and the chips of the board it is for."""

    program: Program
    placement: Placement
    target: Target
    chips: int
    memory: Memory = field(repr=False)

    @cached_property
    def cores(self) -> Mapping[int, tuple[tuple[str, ...], Mapping[str, int]]]:
        """Groups on every core, and what they take together (counted anew, not trusted)."""
        slices: dict[int, list[tuple[str, Mapping[str, int]]]] = {}
        used = recount(self.memory, self.placement)
        for s, resources in zip(self.placement.slices, used, strict=True):
            slices.setdefault(s.core, []).append((s.group, resources))
        return {
            core: (
                tuple(dict.fromkeys(g for g, _ in parts)),
                self.memory.family.combined(r for _, r in parts),
            )
            for core, parts in slices.items()
        }
