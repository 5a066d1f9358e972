"""What a file holds and how it is read, as JSON-compatible dictionaries."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from ..ingest import Reading
from ..ir.arrays import size
from ..ir.network import Population, Projection
from ..ir.program import CompartmentGroup, Program, SynapseGroup
from ..ir.text import chain_text, network_text
from ..passes.kernels.coupling import CouplingGroup, coupling
from ..passes.metrics import LayerMetrics, measure
from ..report import finding_record


def inspect_report(reading: Reading, *, groups: bool = False) -> dict[str, Any]:
    """Describe a model as it was read: profile, populations, projections, changes and findings.

    With ``groups``, also which kernels and neurons can only be removed together.
    """
    network, profile = reading.network, reading.profile
    notes = network.notes
    counts = measure(network).layers
    coupled = {"groups": [group_record(g) for g in coupling(network)]} if groups else {}
    return {
        "kind": "network",
        "source": reading.raw.source,
        "digest": network.digest,
        "profile": {
            **{k: v for k, v in vars(profile).items() if v is not None},
            "why": reading.why,
            "text": reading.described(),
        },
        "populations": [_population(p) for p in network.populations],
        "projections": [_projection(p, counts[p.name]) for p in network.projections],
        "totals": {
            "neurons": sum(size(p.shape) for p in network.populations if p.neuron is not None),
            "weights": sum(c.weights for c in counts.values()),
            "synapses": sum(c.synapses for c in counts.values()),
        },
        "normalised": notes["normalised"].splitlines() if "normalised" in notes else [],
        "findings": [finding_record(f) for f in reading.findings],
        "notes": dict(notes),
        "text": network_text(network).splitlines(),
        **coupled,
    }


def group_record(group: CouplingGroup) -> dict[str, Any]:
    """What can only shrink together, and what of it stays."""
    return {
        "populations": list(group.populations),
        "units": group.count,
        "kept": {name: group.indices(name).tolist() for name in group.populations},
        "fixed": group.fixed,
        "in": list(group.incoming),
        "out": list(group.outgoing),
        "text": str(group).splitlines(),
    }


def _population(population: Population) -> dict[str, Any]:
    record: dict[str, Any] = {
        "name": population.name,
        "role": population.role,
        "shape": list(population.shape),
        "neurons": size(population.shape),
    }
    neuron = population.neuron
    if neuron is None:
        return record
    record["spiking"] = neuron.spiking
    record["parameters"] = {
        name: [float(values.min()), float(values.max())]
        for name, values in neuron.parameters().items()
    }
    if neuron.spiking:
        record |= {
            "compare": neuron.compare,
            "reset": neuron.reset,
            "reset_timing": neuron.reset_timing,
            "spikes_per_step": neuron.spikes_per_step,
            "max_spikes": neuron.max_spikes,
        }
    return record


def _projection(projection: Projection, counts: LayerMetrics) -> dict[str, Any]:
    weight = projection.weight
    values = weight.values()
    return {
        "name": projection.name,
        "sources": [
            {"population": s.population, "delay": [s.min_delay, s.max_delay]}
            for s in projection.sources
        ],
        "target": projection.target,
        "ops": chain_text(projection.ops),
        "weights": counts.weights,
        "nonzero": counts.nonzero,
        "synapses": counts.synapses,
        "range": [float(np.min(values)), float(np.max(values))],
        "type": f"{weight.bits} bit" if weight.quantized else str(weight.data.dtype),
        "delayed_bias": projection.bias is not None,
    }


def inspect_program(program: Program, source: str) -> dict[str, Any]:
    """Describe an integer program that was read from a file."""
    return {
        "kind": "program",
        "source": source,
        "digest": program.digest,
        "populations": [_group(g) for g in program.groups],
        "projections": [_synapses(s) for s in program.synapses],
        "findings": [finding_record(f) for f in program.findings],
    }


def _group(group: CompartmentGroup) -> dict[str, Any]:
    values = {"du": group.du, "dv": group.dv, "vth": group.vth, "bias": group.bias}
    if group.kind == "delta":
        values = {"vth": group.vth, "bias": group.bias_mant}
    elif group.kind == "resonator":
        values = {"vth": group.vth}
    shown = {} if group.kind == "input" else values
    rule = group.dynamics
    return {
        "name": group.name,
        "role": group.role,
        "kind": group.kind,
        "shape": list(group.shape),
        "neurons": size(group.shape),
        "parameters": {k: [int(v.min()), int(v.max())] for k, v in shown.items()},
        **({} if rule is None else {"dynamics": dataclasses.asdict(rule)}),
    }


def _synapses(synapses: SynapseGroup) -> dict[str, Any]:
    return {
        "name": synapses.name,
        "sources": [
            {"population": o.group, "latency": [int(o.latency.min()), int(o.latency.max())]}
            for o in synapses.sources
        ],
        "target": synapses.target,
        **({"port": synapses.port} if synapses.port else {}),
        "ops": chain_text(synapses.ops),
        "weights": int(synapses.mantissa.size),
        "nonzero": int(np.count_nonzero(synapses.mantissa)),
        "range": [int(synapses.mantissa.min()), int(synapses.mantissa.max())],
        "type": f"{synapses.weight_bits} bit, exponent {synapses.exponent}",
    }
