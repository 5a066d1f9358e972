"""Content digests that do not depend on names or order."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from .arrays import Array
from .neurons import PARAMETERS

if TYPE_CHECKING:
    from .network import Network, Population, Projection
    from .program import Program


def _hash(*parts: str | bytes) -> str:
    h = hashlib.sha256()
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        h.update(len(raw).to_bytes(8, "little") + raw)
    return h.hexdigest()


def array_digest(array: Array | None) -> str:
    """Digest of dtype kind, shape and values (little-endian, canonical zero)."""
    if array is None:
        return "-"
    values = array + 0 if array.dtype.kind == "f" else array  # -0.0 -> 0.0
    little = np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<"))
    return _hash(str(little.dtype), str(array.shape), little.tobytes())


def _population_content(population: Population) -> str:
    neuron = population.neuron
    if neuron is None:
        return _hash(population.role, str(population.shape))
    options = (neuron.compare, neuron.reset, neuron.reset_timing, neuron.spikes_per_step)
    arrays = (array_digest(getattr(neuron, name)) for name in PARAMETERS)
    return _hash(population.role, str(population.shape), *options, str(neuron.max_spikes), *arrays)


def _projection_content(projection: Projection) -> str:
    weight = projection.weight
    arrays = (weight.data, weight.scale, weight.mask, projection.bias)
    levels = () if weight.levels is None else (weight.levels,)
    return _hash(
        repr(projection.ops), str(weight.bits), *(array_digest(a) for a in arrays), *levels
    )


def _combine(own: str, neighbours: Iterable[str]) -> str:
    return _hash(own, *sorted(neighbours))


def network_digest(network: Network) -> str:
    """Weisfeiler-Lehman refinement over populations, seeded with their full content.

    Each round mixes into a population what arrives and what leaves, so after as many rounds as there
    are populations the sorted labels describe the whole graph without using a name.
    """
    label = {p.name: _population_content(p) for p in network.populations}
    content = {p.name: _projection_content(p) for p in network.projections}

    def tag(projection: Projection) -> str:
        sources = sorted(
            _hash(label[s.population], array_digest(s.delay)) for s in projection.sources
        )
        return _hash(content[projection.name], label[projection.target], *sources)

    for _ in network.populations:
        tags = {p.name: tag(p) for p in network.projections}
        label = {
            p.name: _combine(
                label[p.name],
                [_hash("in", tags[q.name]) for q in network.incoming(p.name)]
                + [_hash("out", tags[q.name]) for q in network.outgoing(p.name)],
            )
            for p in network.populations
        }
    return _combine("network", label.values())


def program_digest(program: Program) -> str:
    """Digest of everything the chip runs, names included (a program is an artefact, not a question)."""
    groups = (
        _hash(
            repr(
                (
                    g.name,
                    g.shape,
                    g.role,
                    g.kind,
                    g.depth,
                    g.message_bits,
                    g.bias_exp,
                    g.compare,
                    g.reset,
                    g.reset_timing,
                    g.spikes_per_step,
                    g.max_spikes,
                )
            ),
            *(array_digest(a) for a in (g.scale, g.du, g.dv, g.vth, g.bias_mant, g.v_floor)),
        )
        for g in program.groups
    )
    synapses = (
        _hash(
            repr((s.name, s.target, s.ops, s.exponent, s.sign_mode, s.weight_bits)),
            *(_hash(o.group, array_digest(o.latency)) for o in s.sources),
            array_digest(s.mantissa),
            array_digest(s.alive),
        )
        for s in program.synapses
    )
    return _hash(program.target, repr(program.arithmetic), *groups, *synapses)
