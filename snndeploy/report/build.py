"""Assemble reports as JSON-compatible dictionaries; terminals and files render the same data."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..ir.arrays import size
from ..ir.finding import Finding
from ..ir.placement import Placement
from ..ir.program import CompartmentGroup, Program
from ..ir.text import chain_text
from ..simulate.energy import Activity, EnergyEstimate
from ..target import Target
from ..verify import Comparison


def compile_report(
    *,
    network: Mapping[str, Any],
    program: Program,
    placement: Placement,
    target: Target,
    board: str,
    findings: Sequence[Finding],
    passes: Sequence[Mapping[str, Any]],
    recipe: str,
) -> dict[str, Any]:
    """Describe one compilation: semantics, passes, layers, cores and findings.

    ``network`` and ``passes`` are records already: what was read, and counts after each pass.
    """
    chips = target.chips(board)
    return {
        "fits": not any(f.severity == "error" for f in findings),
        "target": target.name,
        "board": board,
        "recipe": recipe,
        "network": dict(network),
        "program": {"digest": program.digest, "depth": program.depth},
        "passes": [dict(step) for step in passes],
        "layers": [_layer(program, placement, g) for g in program.on_chip],
        "synapses": [_synapses(program, s.name) for s in program.synapses],
        "cores": {
            "used": len(placement.cores),
            "limit": target.chip.cores.limit * chips,
            "chips": placement.chips,
            "busiest": _busiest(placement, target),
        },
        "findings": [finding_record(f) for f in findings],
    }


def finding_record(finding: Finding) -> dict[str, Any]:
    """A finding without its empty fields, its ratio spelled out."""
    record = {k: v for k, v in dataclasses.asdict(finding).items() if v not in ("", None, ())}
    record["fixes"] = [dataclasses.asdict(fix) for fix in finding.fixes]
    if finding.ratio:
        record["ratio"] = round(finding.ratio, 4)
    return record


def _layer(program: Program, placement: Placement, group: CompartmentGroup) -> dict[str, Any]:
    slices = placement.of_group(group.name)
    record: dict[str, Any] = {
        "name": group.name,
        "shape": list(group.shape),
        "neurons": size(group.shape),
        "depth": group.depth,
        "route": group.route,
        "cores": len({s.core for s in slices}),
        "resources": _summed([s.resources for s in slices]),
    }
    if group.kind in ("lif", "custom"):
        record["threshold"] = [int(group.vth.min()), int(group.vth.max())]
        record["scale"] = [float(np.min(group.scale)), float(np.max(group.scale))]
    if group.name in program.headroom:
        room = program.headroom[group.name]
        record["headroom"] = {**dataclasses.asdict(room), "wraps": room.wraps}
        record["rounding"] = dataclasses.asdict(program.rounding[group.name])
    return record


def _synapses(program: Program, name: str) -> dict[str, Any]:
    s = next(s for s in program.synapses if s.name == name)
    return {
        "name": name,
        "sources": [o.group for o in s.sources],
        "target": s.target,
        "ops": chain_text(s.ops),
        "weights": int(s.mantissa.size),
        "nonzero": int(np.count_nonzero(s.mantissa)),
        "bits": s.weight_bits,
        "exponent": s.exponent,
        "latency": sorted({int(v) for o in s.sources for v in np.unique(o.latency)}),
    }


def _summed(parts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    keys = dict.fromkeys(key for part in parts for key in part)
    return {key: sum(part.get(key, 0) for part in parts) for key in keys}


def _busiest(placement: Placement, target: Target) -> dict[str, Any]:
    """The resource that is fullest on any core, and how full."""
    best: dict[str, Any] = {}
    for core in placement.cores:
        used = _summed([s.resources for s in placement.on_core(core)])
        for resource, amount in used.items():
            if resource not in target.core:
                continue
            limit = target.core[resource].limit
            if amount / limit > best.get("ratio", 0.0):
                best = {"core": core, "resource": resource, "used": amount, "limit": limit,
                        "ratio": round(amount / limit, 4)}  # fmt: skip
    return best


def run_report(
    *,
    samples: int,
    steps: int,
    accuracy: Mapping[str, float],
    predictions: Mapping[str, Sequence[int]],
    comparisons: Sequence[Comparison],
    activity: Activity | None,
    energy: Mapping[str, EnergyEstimate],
) -> dict[str, Any]:
    """Describe runs of the same samples on several engines."""
    return {
        "samples": samples,
        "steps": steps,
        "accuracy": dict(accuracy),
        "predictions": {engine: list(p) for engine, p in predictions.items()},
        "comparisons": [dataclasses.asdict(c) | {"equal": c.equal} for c in comparisons],
        "activity": None if activity is None else _activity(activity),
        "energy": {model: dataclasses.asdict(e) for model, e in energy.items()},
    }


def _activity(activity: Activity) -> dict[str, Any]:
    per_sample = 1 / max(activity.samples, 1)
    return dataclasses.asdict(activity) | {
        "synops_per_sample": activity.total_synops * per_sample,
        "messages_per_sample": activity.messages * per_sample,
        "spikes_per_sample": sum(activity.spikes.values()) * per_sample,
    }
