"""What is inside a bundle, core by core and layer by layer."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from ..bundle import Bundle
from ..ir.arrays import Array
from ..mapping import core_shares, explain_core, explain_layer
from ..mapping.route.mesh import spot
from .opening import open_bundle


def explain_bundle(
    bundle: str | Path | Bundle, core: int | None, layer: str | None
) -> dict[str, Any]:
    """Describe a core, a layer, or (where neither is named) every core of a bundle in a line.

    Messages are per mean step of the bundle's golden run.

    Raises:
        InputError: the bundle cannot be read.
        UsageError: nothing is on that core, or there is no such layer.
    """
    b = open_bundle("explain", bundle)
    if core is not None:
        return dataclasses.asdict(
            explain_core(b.program, b.placement, b.target, core, _golden_spikes(b))
        )
    if layer is not None:
        return dataclasses.asdict(
            explain_layer(b.program, b.placement, b.target, layer, _golden_spikes(b))
        )
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


def _golden_spikes(b: Bundle) -> dict[str, Array]:
    """Spikes of every neuron in a mean step of the golden run."""
    spikes = {}
    for name, train in b.golden.items():
        group = name.removeprefix("input.").removeprefix("spikes.")
        if b.program.group(group).kind != "readout":
            spikes[group] = (train != 0).mean(axis=(0, 1))
    return spikes
