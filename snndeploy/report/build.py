"""Assemble reports as JSON-compatible dictionaries; terminals and files render the same data."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..chip import Target
from ..ir.finding import Finding
from ..ir.placement import Verdict
from ..ir.program import CompartmentGroup, Program
from ..ir.text import chain_text
from ..mapping import LayerUse, StepTime, Summary, fits
from ..measure.energy import Activity, EnergyEstimate
from ..measure.neurobench import NeuroBench
from ..verify import Comparison, Verification
from .tables import energy_kind
from .verification import verification_record


def compile_report(
    *,
    network: Mapping[str, Any],
    program: Program,
    summary: Summary,
    target: Target,
    board: str,
    findings: Sequence[Finding],
    passes: Sequence[Mapping[str, Any]],
    recipe: str,
    differing_on: str = "",
) -> dict[str, Any]:
    """Describe one compilation: semantics, passes, layers, cores and findings.

    ``network`` and ``passes`` are records already: what was read, and counts after each pass.
    ``differing_on`` says on what the program's differing spikes were counted.
    ``certainty`` is the weakest one that the verdict rests on.
    """
    layers = zip(program.on_chip, summary.layers, strict=True)
    core, share = max(summary.core_share.items(), key=lambda item: item[1])
    return {
        "fits": fits(findings),
        "certainty": summary.certainty,
        "target": target.name,
        "board": board,
        "recipe": recipe,
        "network": dict(network),
        "program": {"digest": program.digest, "depth": program.depth},
        "passes": [dict(step) for step in passes],
        "layers": [_layer(program, group, use) for group, use in layers],
        "spikes_differing_on": differing_on if program.differing else None,
        "synapses": [_synapses(program, s.name) for s in program.synapses],
        "cores": {
            "used": summary.cores,
            "limit": summary.cores_available,
            "chips": summary.chips,
            "fullest": {"core": core, "share": round(share, 4)},
            "search": _search(summary.search),
            "published": summary.published,
        },
        "time": time_record(summary.time),
        "findings": [finding_record(f) for f in findings],
    }


def _search(search: Verdict | None) -> dict[str, Any] | None:
    """What is proved about the number of cores, in numbers and in words."""
    if search is None:
        return None
    return {**dataclasses.asdict(search), "gap": round(search.gap, 4), "text": str(search)}


def time_record(time: StepTime | None) -> dict[str, Any] | None:
    """The time of a step in nanoseconds, the term that sets it first."""
    if time is None:
        return None
    terms = [
        {
            "what": t.what,
            "where": t.where,
            "layers": list(t.layers),
            "count": round(t.count, 3),
            "count_high": round(t.count_high, 3),
            "low_ns": round(t.low, 3),
            "high_ns": round(t.high, 3),
        }
        for t in time.terms
    ]
    return {
        "low_ns": round(time.low, 3),
        "high_ns": round(time.high, 3),
        "terms": terms,
        "activity": time.activity,
        "certainty": time.certainty,
        "not_counted": list(time.not_counted),
    }


def finding_record(finding: Finding) -> dict[str, Any]:
    """A finding without its empty fields, its ratio spelled out."""
    record = {k: v for k, v in dataclasses.asdict(finding).items() if v not in ("", None, ())}
    record["fixes"] = [dataclasses.asdict(fix) for fix in finding.fixes]
    if finding.ratio and math.isfinite(finding.ratio):
        record["ratio"] = round(finding.ratio, 4)
    return record


def _layer(program: Program, group: CompartmentGroup, use: LayerUse) -> dict[str, Any]:
    record: dict[str, Any] = {
        "name": group.name,
        "shape": list(group.shape),
        "neurons": use.neurons,
        "depth": group.depth,
        "route": group.route,
        "cores": use.cores,
        "synapses": use.synapses,
        "encodings": list(use.encodings),
        "resources": dict(use.used),
        "fullest": {"resource": use.binding, "share": round(use.fullest, 4)},
    }
    if group.kind in ("lif", "custom"):
        record["threshold"] = [int(group.vth.min()), int(group.vth.max())]
        record["scale"] = [float(np.min(group.scale)), float(np.max(group.scale))]
    if group.name in program.headroom:
        room = program.headroom[group.name]
        record["headroom"] = {**dataclasses.asdict(room), "wraps": room.wraps}
        record["rounding"] = dataclasses.asdict(program.rounding[group.name])
    if group.name in program.differing:
        record["spikes_differing"] = round(program.differing[group.name], 5)
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


def run_report(
    *,
    samples: int,
    steps: int,
    output: str,
    outputs: Sequence[str],
    accuracy: Mapping[str, float],
    errors: Mapping[str, Mapping[str, float]],
    predictions: Mapping[str, Sequence[Any]],
    labelled_steps: int | None,
    labels: Sequence[int] | None,
    comparisons: Sequence[Comparison],
    activity: Activity | None,
    energy: Mapping[str, EnergyEstimate],
    time: StepTime | None,
    neurobench: Mapping[str, NeuroBench],
    verification: Verification | None,
) -> dict[str, Any]:
    """Describe runs of the same samples on several engines.

    ``output`` of the ``outputs`` is the population whose answers are counted: one per sample, or one per
    step where steps have labels (``labelled_steps`` of them). ``errors`` are those of its values, where
    there are target values. ``labels`` are the classes of the samples, where they are known.
    """
    return {
        "samples": samples,
        "steps": steps,
        "output": output,
        "outputs": list(outputs),
        "accuracy": dict(accuracy),
        "errors": {engine: dict(e) for engine, e in errors.items()},
        "labelled_steps": labelled_steps,
        "predictions": {engine: list(p) for engine, p in predictions.items()},
        "labels": None if labels is None else list(labels),
        "comparisons": [dataclasses.asdict(c) | {"equal": c.equal} for c in comparisons],
        "activity": None if activity is None else _activity(activity),
        "energy": {
            model: {**dataclasses.asdict(e), "kind": energy_kind(model)}
            for model, e in energy.items()
        },
        "time": time_record(time),
        "neurobench": {stage: dataclasses.asdict(m) for stage, m in neurobench.items()},
        "verification": None
        if verification is None
        else verification_record(verification, accuracy, labelled_steps or samples),
    }


def _activity(activity: Activity) -> dict[str, Any]:
    """Totals of the run, means per sample, and what every sample and every layer did."""
    n = max(activity.samples, 1)
    dense = sum(activity.dense_synops.values())
    return {
        "samples": activity.samples,
        "steps": activity.steps,
        "spikes": activity.spikes,
        "synops": dict(activity.synops),
        "most_synops": activity.most_synops,
        "dense_synops": dict(activity.dense_synops),
        "updates": activity.updates,
        "messages": activity.messages,
        "hops": list(activity.hops),
        "layers": {name: dataclasses.asdict(layer) for name, layer in activity.layers.items()},
        "per_sample": {name: counts.tolist() for name, counts in activity.per_sample.items()},
        "synops_per_sample": activity.total_synops / n,
        "most_synops_per_sample": activity.most_synops / n,
        "dense_synops_per_sample": dense / n,
        "messages_per_sample": activity.messages / n,
        "spikes_per_sample": sum(activity.spikes.values()) / n,
    }
