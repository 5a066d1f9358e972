"""What is inside a bundle, core by core and layer by layer."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from ..bundle import Bundle
from ..data import Samples
from ..ir.arrays import Array
from ..ir.program import Program
from ..mapping import core_shares, explain_core, explain_layer
from ..mapping.route.mesh import spot
from .opening import open_bundle
from .run import program_messages, run_program


def explain_bundle(
    bundle: str | Path | Bundle, core: int | None, layer: str | None, samples: Samples | None = None
) -> dict[str, Any]:
    """Describe a core, a layer, or (where neither is named) every core of a bundle in a line.

    Messages are per mean step of a run of ``samples``, or of the bundle's golden run without any.

    Raises:
        InputError: the bundle cannot be read, or the samples do not fit its inputs.
        UsageError: nothing is on that core, or there is no such layer.
    """
    b = open_bundle("explain", bundle)
    if core is not None or layer is not None:
        spikes = _golden_spikes(b) if samples is None else _spikes(b.program, samples)
    if core is not None:
        return dataclasses.asdict(explain_core(b.program, b.placement, b.target, core, spikes))
    if layer is not None:
        return dataclasses.asdict(explain_layer(b.program, b.placement, b.target, layer, spikes))
    shares = core_shares(b.placement, b.target)
    return {
        "target": b.target.name,
        "cores": [_core(b, core, share) for core, share in shares.items()],
    }


def _core(b: Bundle, core: int, share: float) -> dict[str, Any]:
    place, slices = spot(core, b.target), b.placement.on_core(core)
    return {
        "core": core,
        "chip": place.chip,
        "router": [place.x, place.y],
        "groups": list(dict.fromkeys(s.group for s in slices)),
        "neurons": sum(s.neurons for s in slices),
        "share": round(share, 4),
    }


def _spikes(program: Program, samples: Samples) -> dict[str, Array]:
    """Spikes of every neuron in a mean step of a run of all samples."""
    sums: dict[str, Array] = {}
    steps = 0
    for part in samples.batches():
        run = run_program("integer", program, program_messages(program, part))
        steps += part.steps * len(part)
        for g in program.groups:
            if g.kind != "readout":
                sums[g.name] = sums.get(g.name, 0) + np.count_nonzero(
                    run.spikes[g.name], axis=(0, 1)
                )
    return {name: total / steps for name, total in sums.items()}


def _golden_spikes(b: Bundle) -> dict[str, Array]:
    """Spikes of every neuron in a mean step of the golden run."""
    spikes = {}
    for name, train in b.golden.items():
        group = name.removeprefix("input.").removeprefix("spikes.")
        if b.program.group(group).kind != "readout":
            spikes[group] = (train != 0).mean(axis=(0, 1))
    return spikes
