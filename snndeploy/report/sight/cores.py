"""The mesh: where each core in use is, how full it is, and how many messages it gets and sends."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ...chip import Target, family_of
from ...ir.placement import Placement
from ...ir.program import Program
from ...mapping.count.memory import Memory
from ...mapping.route.mesh import spot
from ...mapping.route.traffic import Rates, messages


@dataclass(frozen=True, kw_only=True)
class CoreTile:
    """A core in use.

    Attributes:
        core: its number.
        chip: its chip.
        column: its place among all cores of its chip, from the left.
        row: from the top.
        layers: what is on it.
        neurons: how many.
        fill: the largest share of a limit that is used (beyond 1: it does not fit).
        resource: of which.
        received: messages that arrive in a mean step of the golden run (None: there is none).
        sent: likewise those that leave.
    """

    core: int
    chip: int
    column: int
    row: int
    layers: tuple[str, ...]
    neurons: int
    fill: float
    resource: str
    received: float | None
    sent: float | None


@dataclass(frozen=True, kw_only=True)
class Mesh:
    """The cores in use, and how many a chip has across and down."""

    columns: int
    rows: int
    chips: int
    cores: tuple[CoreTile, ...]


def mesh_of(program: Program, placement: Placement, target: Target, rates: Rates | None) -> Mesh:
    """Every core in use; ``rates`` are spikes of each neuron in a step (None: unknown)."""
    family = family_of(target)
    per_router = target.chip.cores_per_router
    across = math.ceil(math.sqrt(per_router))
    down = -(-per_router // across)
    came: dict[int, float] = {}
    went: dict[int, float] = {}
    if rates is not None:
        sent = messages(Memory(program, target), placement, rates)
        for counts, ends in ((came, sent.target), (went, sent.source)):
            cores, where = np.unique(ends, return_inverse=True)
            totals = np.bincount(where.reshape(-1), weights=sent.weight, minlength=len(cores))
            counts.update(zip(cores.tolist(), totals.tolist(), strict=True))
    tiles = []
    for core in placement.cores:
        slices = placement.on_core(core)
        place = spot(core, target)
        turn = core % target.chip.cores.limit % per_router
        used = family.combined(s.resources for s in slices)
        shares = {r: used.get(r, 0) / max(limit, 1) for r, limit in family.limits.items()}
        fullest = max(shares, key=lambda r: shares[r])
        tiles.append(
            CoreTile(
                core=core,
                chip=place.chip,
                column=place.x * across + turn % across,
                row=place.y * down + turn // across,
                layers=tuple(dict.fromkeys(s.group for s in slices)),
                neurons=sum(s.neurons for s in slices),
                fill=shares[fullest],
                resource=fullest,
                received=None if rates is None else came.get(core, 0.0),
                sent=None if rates is None else went.get(core, 0.0),
            )
        )
    width, height = target.chip.mesh
    return Mesh(
        columns=width * across,
        rows=height * down,
        chips=len({tile.chip for tile in tiles}),
        cores=tuple(tiles),
    )
