"""All that pictures show, from what a bundle (or a compilation) holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from ...chip import Target
from ...ir.arrays import Array
from ...ir.network import Network
from ...ir.placement import Placement
from ...ir.program import Program
from .codes import CodeCounts, codes_of
from .cores import Mesh, mesh_of
from .layers import GraphEdge, LayerNode, edges_of, nodes_of
from .trains import LayerTrains, trains_of


@dataclass(frozen=True, kw_only=True)
class Sight:
    """A placed program, to be drawn.

    ``steps`` and ``samples`` are those of the golden run that rates, messages and trains are of (0:
    there is none).
    """

    nodes: tuple[LayerNode, ...]
    edges: tuple[GraphEdge, ...]
    mesh: Mesh
    codes: tuple[CodeCounts, ...]
    trains: tuple[LayerTrains, ...]
    steps: int
    samples: int


def sight_of(
    program: Program,
    placement: Placement,
    target: Target,
    networks: Mapping[str, Network] = MappingProxyType({}),
    golden: Mapping[str, Array] = MappingProxyType({}),
) -> Sight:
    """Count what pictures show.

    Args:
        program: what runs.
        placement: where.
        target: the chip.
        networks: as of `Bundle`; the trained one runs on the golden inputs.
        golden: as of `Bundle`; empty where nothing has run.
    """
    rates: dict[str, Array] = {}
    for name, train in golden.items():
        group = name.removeprefix("input.").removeprefix("spikes.")
        if program.group(group).kind != "readout":
            rates[group] = (train != 0).mean(axis=(0, 1))
    lead = next(iter(golden.values())).shape[:2] if golden else (0, 0)
    return Sight(
        nodes=nodes_of(program, {name: float(np.mean(rate)) for name, rate in rates.items()}),
        edges=edges_of(program),
        mesh=mesh_of(program, placement, target, rates if golden else None),
        codes=codes_of(program),
        trains=trains_of(program, networks, golden),
        steps=int(lead[0]),
        samples=int(lead[1]),
    )
