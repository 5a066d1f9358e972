"""Spikes of the golden run: as the trained network gives them, beside those of the compiled one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ...ir.arrays import Array, size
from ...ir.network import Network
from ...ir.program import Program
from ...verify import kept_kernels

_RASTER_NEURONS = 40
_RASTER_POINTS = 20_000
"""Spikes that all rasters of a page show together."""
_LEAST_POINTS = 400
_MOST_LAYERS = 24
_MOST_VALUES = 1 << 24
"""Places (step, sample, neuron) that the trained network is run for."""

BOTH, TRAINED, COMPILED = range(3)
"""Who spikes at a place of a raster."""


@dataclass(frozen=True, kw_only=True)
class LayerTrains:
    """The spikes of one layer.

    Attributes:
        name: of the layer.
        steps: of a sample.
        rate: spikes per neuron and step, compiled.
        trained_rate: likewise as trained; None where its neurons are others, or nothing ran.
        differing: share of the neurons that differ, by step; empty where nothing can be compared.
        neurons: indices of those in the raster.
        raster: (step, row of the raster, who spikes: `BOTH`, `TRAINED`, `COMPILED`) of the first sample.
    """

    name: str
    steps: int
    rate: float
    trained_rate: float | None
    differing: tuple[float, ...]
    neurons: tuple[int, ...]
    raster: tuple[tuple[int, int, int], ...]


def trains_of(
    program: Program, networks: Mapping[str, Network], golden: Mapping[str, Array]
) -> tuple[LayerTrains, ...]:
    """The layers that spike, as far as the golden run (of the integer engine) has them."""
    spiking = [
        g
        for g in program.on_chip
        if g.kind not in ("readout", "constant") and f"spikes.{g.name}" in golden
    ]
    if not spiking:
        return ()
    trained = _trained(program, networks, golden)
    share = max(_LEAST_POINTS, _RASTER_POINTS // len(spiking))
    return tuple(
        _layer(g.name, golden[f"spikes.{g.name}"], trained.get(g.name), share)
        for g in spiking[:_MOST_LAYERS]
    )


def _trained(
    program: Program, networks: Mapping[str, Network], golden: Mapping[str, Array]
) -> dict[str, Array]:
    """Spikes of the trained network on the golden inputs, without kernels that were removed."""
    from ...simulate.float.engine import run_float

    if "float" not in networks:
        return {}
    inputs = {
        g.name: golden[f"input.{g.name}"] / float(g.scale)
        for g in program.groups
        if g.kind == "input"
    }
    steps, samples = next(iter(inputs.values())).shape[:2]
    each = steps * sum(size(p.shape) for p in networks["float"].populations)
    samples = min(samples, _MOST_VALUES // max(1, each))
    if not samples:
        return {}
    run = run_float(networks["float"], {name: x[:, :samples] for name, x in inputs.items()})
    kept = kept_kernels(networks)
    return {
        name: spikes[:, :, kept[name]] if name in kept else spikes
        for name, spikes in run.spikes.items()
    }


def _layer(name: str, compiled: Array, trained: Array | None, points: int) -> LayerTrains:
    if trained is not None and trained.shape[2:] != compiled.shape[2:]:
        trained = None
    steps, samples = compiled.shape[:2]
    after = compiled.reshape(steps, samples, -1)
    before = None
    differing: tuple[float, ...] = ()
    if trained is not None:
        before = trained.reshape(steps, trained.shape[1], -1)
        apart = before != after[:, : before.shape[1]]
        differing = tuple(round(float(v), 6) for v in apart.mean(axis=(1, 2)))
    neurons, raster = _raster(after[:, 0], None if before is None else before[:, 0], points)
    return LayerTrains(
        name=name,
        steps=steps,
        rate=float(after[:, : samples if before is None else before.shape[1]].mean()),
        trained_rate=None if before is None else float(before.mean()),
        differing=differing,
        neurons=neurons,
        raster=raster,
    )


def _raster(
    after: Array, before: Array | None, points: int
) -> tuple[tuple[int, ...], tuple[tuple[int, int, int], ...]]:
    """Some neurons that spike, evenly over the layer, and when; fewer where they spike much."""
    compiled = after != 0
    trained = compiled if before is None else before != 0
    either = compiled | trained
    active = np.flatnonzero(either.any(axis=0))
    count = min(len(active), _RASTER_NEURONS)
    while count:
        chosen = active[np.linspace(0, len(active) - 1, count).round().astype(int)]
        if count == 1 or int(either[:, chosen].sum()) <= points:
            break
        count = max(1, count * 3 // 4)
    else:
        return (), ()
    who = np.where(compiled & trained, BOTH, np.where(trained, TRAINED, COMPILED))[:, chosen]
    at = np.argwhere(either[:, chosen])
    raster = tuple((int(t), int(row), int(who[t, row])) for t, row in at)
    return tuple(int(n) for n in chosen), raster
