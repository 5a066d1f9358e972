"""What a placement uses, layer by layer, for reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...chip import STRENGTH, Target, family_of, weakest
from ...ir.finding import Certainty, Finding
from ...ir.placement import Placement, Verdict
from ...ir.program import Program
from ..count.memory import Memory
from ..place import compares, place_program, share_of
from .step_time import StepTime, step_time


@dataclass(frozen=True, kw_only=True)
class LayerUse:
    """One group: its cores, neurons and synapses, and what its slices take.

    ``synapses`` are pairs of neurons joined by a weight that is not zero, ``entries_stored`` what memory
    holds for them (zeros too, and a shared kernel once per slice), ``entries_nonzero`` those of it that
    are not zero. ``encodings`` names how they are stored, ``used`` sums each resource over slices and
    ``fullest`` is the largest share (0 to 1, and beyond where it does not fit) of a core's limit that
    one slice takes, for the resource ``binding``.
    """

    name: str
    cores: int
    neurons: int
    synapses: int
    entries_stored: int
    entries_nonzero: int
    encodings: tuple[str, ...]
    used: Mapping[str, int]
    fullest: float
    binding: str


@dataclass(frozen=True, kw_only=True)
class Summary:
    """A placement as a whole; ``certainty`` is the weakest one that the verdict rests on.

    ``published`` is how many cores the chip's published compiler would take, where that may be more
    (None: it would take as many, or that was not tried). ``time`` is that of a step in which some
    neurons spike (None: the target says nothing about it), ``search`` what is proved about the number
    of cores.
    """

    layers: tuple[LayerUse, ...]
    cores: int
    cores_available: int
    chips: int
    core_share: Mapping[int, float]
    certainty: Certainty
    published: int | None
    time: StepTime | None
    search: Verdict | None


def summarise(
    program: Program,
    placement: Placement,
    target: Target,
    findings: tuple[Finding, ...] = (),
    chips: int | None = None,
) -> Summary:
    """Sum up a placement and what `check_program` found in it."""
    memory = Memory(program, target)
    limits = memory.family.limits
    return Summary(
        layers=tuple(_layer(memory, placement, g.name, limits) for g in program.on_chip),
        cores=len(placement.cores),
        cores_available=target.chip.cores.limit * (target.chips() if chips is None else chips),
        chips=placement.chips,
        core_share=core_shares(placement, target),
        certainty=verdict_certainty(target, findings),
        time=step_time(program, placement, target),
        search=placement.search,
        published=_published(memory, placement, chips),
    )


def core_shares(placement: Placement, target: Target) -> dict[int, float]:
    """How full each core is: the largest share of a resource that its slices take together."""
    family = family_of(target)
    return {
        core: max(
            _shares(
                family.combined(s.resources for s in placement.on_core(core)), family.limits
            ).values()
        )
        for core in placement.cores
    }


def _published(memory: Memory, placement: Placement, chips: int | None) -> int | None:
    """Cores where lists are stored as the published compiler was seen to store them."""
    program, other = memory.program, memory.family.published
    weights = sum(s.mantissa.size for s in program.synapses)
    if other is None or not compares(len(program.groups), weights):
        return None
    ways = {
        memory.stored(s.name, part.bounds).encoding
        for s in program.synapses
        for part in placement.of_group(s.target)
    }
    if "sparse" not in ways:
        return None
    placed = place_program(program, other, chips, share=share_of(placement))
    return len(placed.cores)


def verdict_certainty(target: Target, findings: tuple[Finding, ...]) -> Certainty:
    """How sure the verdict is.

    One violation is enough for "does not fit", so that rests on the surest of them; "fits" rests on
    every limit and on the widths that words are counted with.
    """
    broken = [f.certainty for f in findings if f.severity == "error" and f.certainty]
    if broken:
        return min(broken, key=STRENGTH.index)
    rests_on = [limit.certainty for limit in target.core.values()]
    rests_on += family_of(target).format_certainties
    return weakest((*rests_on, target.chip.cores.certainty))


def _layer(memory: Memory, placement: Placement, name: str, limits: Mapping[str, int]) -> LayerUse:
    slices = placement.of_group(name)
    stored = [
        memory.stored(s.name, part.bounds) for s in memory.program.incoming(name) for part in slices
    ]
    shares = [_shares(part.resources, limits) for part in slices]
    worst = max(shares, key=lambda s: max(s.values()))
    binding = max(worst, key=lambda resource: worst[resource])
    return LayerUse(
        name=name,
        cores=len({part.core for part in slices}),
        neurons=sum(part.neurons for part in slices),
        synapses=sum(
            int(memory.fans[s.name].into(part.bounds).stored.sum())
            for s in memory.program.incoming(name)
            for part in slices
        ),
        entries_stored=sum(s.synapses for s in stored),
        entries_nonzero=sum(s.nonzero for s in stored),
        encodings=tuple(dict.fromkeys(s.encoding for s in stored)),
        used=memory.family.combined(part.resources for part in slices),
        fullest=worst[binding],
        binding=binding,
    )


def _shares(used: Mapping[str, int], limits: Mapping[str, int]) -> dict[str, float]:
    return {name: used.get(name, 0) / max(limit, 1) for name, limit in limits.items()}
