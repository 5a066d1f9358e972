"""What a placement uses, layer by layer, for reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..ir.arrays import Array
from ..ir.finding import Certainty, Finding
from ..ir.placement import Placement
from ..ir.program import Program
from ..target import STRENGTH, Target, weakest
from .memory import Memory, combined
from .mesh import hops


@dataclass(frozen=True, kw_only=True)
class LayerUse:
    """One group: its cores, neurons and synapses, and what its slices take.

    ``encodings`` names how its synapses are stored, ``used`` sums each resource over its slices and
    ``fullest`` is the largest share (0 to 1, and beyond where it does not fit) of a core's limit that
    one slice takes, for the resource ``binding``.
    """

    name: str
    cores: int
    neurons: int
    synapses_stored: int
    synapses_nonzero: int
    encodings: tuple[str, ...]
    used: Mapping[str, int]
    fullest: float
    binding: str


@dataclass(frozen=True, kw_only=True)
class Summary:
    """A placement as a whole; ``certainty`` is the weakest one that the verdict rests on."""

    layers: tuple[LayerUse, ...]
    cores: int
    cores_available: int
    chips: int
    core_share: Mapping[int, float]
    certainty: Certainty


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """Spike messages of a sample: one per spike and core that it goes to.

    ``hops_x`` and ``hops_y`` are router to router within chips, ``off_chip`` messages leave theirs,
    ``from_host`` messages come from input groups; ``busiest`` is the most that one core receives.
    """

    messages: float
    hops_x: float
    hops_y: float
    off_chip: float
    from_host: float
    busiest: float


def summarise(
    program: Program, placement: Placement, target: Target, findings: tuple[Finding, ...] = (),
    chips: int | None = None,
) -> Summary:  # fmt: skip
    """Sum up a placement and what `check_program` found in it."""
    memory = Memory(program, target)
    limits = {name: limit.limit for name, limit in target.core.items()}
    share = {
        core: max(_shares(combined(s.resources for s in placement.on_core(core)), limits).values())
        for core in placement.cores
    }
    return Summary(
        layers=tuple(_layer(memory, placement, g.name, limits) for g in program.on_chip),
        cores=len(placement.cores),
        cores_available=target.chip.cores.limit * (target.chips() if chips is None else chips),
        chips=placement.chips,
        core_share=share,
        certainty=verdict_certainty(target, findings),
    )


def verdict_certainty(target: Target, findings: tuple[Finding, ...]) -> Certainty:
    """How sure the verdict is.

    One violation is enough for "does not fit", so that rests on the surest of them; "fits" rests on
    every limit and on the widths that words are counted with.
    """
    broken = [f.certainty for f in findings if f.severity == "error" and f.certainty]
    if broken:
        return min(broken, key=STRENGTH.index)
    rests_on = [limit.certainty for limit in target.core.values()]
    synapse = (target.synapse.index, target.synapse.header_bits)
    return weakest((*rests_on, *(s.certainty for s in synapse), target.chip.cores.certainty))


def _layer(memory: Memory, placement: Placement, name: str, limits: Mapping[str, int]) -> LayerUse:
    slices = placement.of_group(name)
    stored = [
        memory.stored(s.name, part.bounds) for s in memory.program.incoming(name) for part in slices
    ]
    shares = [_shares(part.resources, limits) for part in slices]
    worst = max(shares, key=lambda s: max(s.values()))
    binding = max(worst, key=lambda resource: worst[resource])
    return LayerUse(
        name=name, cores=len({part.core for part in slices}),
        neurons=sum(part.neurons for part in slices),
        synapses_stored=sum(s.synapses for s in stored),
        synapses_nonzero=sum(s.nonzero for s in stored),
        encodings=tuple(dict.fromkeys(s.encoding for s in stored)),
        used=combined(part.resources for part in slices),
        fullest=worst[binding], binding=binding,
    )  # fmt: skip


def _shares(used: Mapping[str, int], limits: Mapping[str, int]) -> dict[str, float]:
    return {name: used.get(name, 0) / max(limit, 1) for name, limit in limits.items()}


def traffic(
    program: Program, placement: Placement, target: Target, spikes: Mapping[str, Array | float]
) -> Traffic:
    """Estimate the messages of a sample.

    Args:
        program: what was placed.
        placement: where.
        target: the chip.
        spikes: spikes per sample of each group: one number per neuron (in the group's shape), or
            their total, which is then spread evenly.
    """
    memory = Memory(program, target)
    counts = {g.name: _per_neuron(spikes.get(g.name, 0.0), g.shape) for g in program.groups}
    sums = dict.fromkeys(("messages", "hops_x", "hops_y", "off_chip", "from_host"), 0.0)
    received: dict[int, float] = {}
    for group in program.groups:
        reached = _reached_cores(memory, placement, group.name)
        for core, mask in reached.items():
            total = float(counts[group.name][mask].sum())
            received[core] = received.get(core, 0.0) + total
            sums["messages"] += total
            if group.kind == "input":
                sums["from_host"] += total
            for part in placement.of_group(group.name):
                box = tuple(slice(*b) for b in part.bounds)
                sent = float((counts[group.name][box] * mask[box]).sum())
                distance = hops(part.core, core, target)
                if distance is None:
                    sums["off_chip"] += sent
                else:
                    sums["hops_x"] += sent * distance[0]
                    sums["hops_y"] += sent * distance[1]
    return Traffic(**sums, busiest=max(received.values(), default=0.0))


def _per_neuron(spikes: Array | float, shape: tuple[int, ...]) -> Array:
    if isinstance(spikes, np.ndarray):
        return np.broadcast_to(spikes, shape)
    return np.full(shape, spikes / max(int(np.prod(shape)), 1))


def _reached_cores(memory: Memory, placement: Placement, group: str) -> dict[int, Array]:
    """For every core that hears a group, which of its neurons the core hears."""
    shape = memory.program.group(group).shape
    reached: dict[int, Array] = {}
    for s in memory.program.outgoing(group):
        for part in placement.of_group(s.target):
            region, mask, _ = memory.reaching(s.name, part.bounds)
            heard = reached.setdefault(part.core, np.zeros(shape, bool))
            heard[tuple(slice(*b) for b in region)] |= mask
    return reached
