"""What a core or a layer holds, what fills it, and whom it talks to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from ...chip import Target
from ...errors import UsageError, did_you_mean
from ...ir.arrays import Shape
from ...ir.finding import Certainty
from ...ir.placement import Bounds, Placement, Slice
from ...ir.program import Program
from ..count.memory import Memory
from ..route.flows import HOST
from ..route.mesh import spot
from ..route.traffic import Rates, messages


@dataclass(frozen=True, kw_only=True)
class Words:
    """Words that one thing takes, and their share of the ``limit`` they count against."""

    what: str
    words: int
    share: float


@dataclass(frozen=True, kw_only=True)
class Use:
    """A resource of a core: used, its limit, their ratio, and how sure the limit is."""

    resource: str
    used: int
    limit: int
    unit: str
    share: float
    certainty: Certainty


@dataclass(frozen=True, kw_only=True)
class Held:
    """A synapse group on a core or of a layer: how it is stored, and its input axons."""

    name: str
    sources: tuple[str, ...]
    encodings: tuple[str, ...]
    words: int
    axons: int
    synapses: int
    nonzero: int


@dataclass(frozen=True, kw_only=True)
class Neighbour:
    """Where messages come from or go to (``core`` None: the host), with its groups, per step."""

    core: int | None
    chip: int | None
    groups: tuple[str, ...]
    messages: float


@dataclass(frozen=True, kw_only=True)
class CoreContents:
    """Everything on one core. ``words`` and ``uses`` start with what fills it most."""

    core: int
    chip: int
    router: tuple[int, int]
    slices: tuple[tuple[str, Bounds, int], ...]
    fullest: str
    words: tuple[Words, ...]
    limit: int
    uses: tuple[Use, ...]
    synapses: tuple[Held, ...]
    axons_in: int
    axons_out: int
    incoming: tuple[Neighbour, ...]
    outgoing: tuple[Neighbour, ...]


@dataclass(frozen=True, kw_only=True)
class LayerContents:
    """Everything of one layer over all of its cores; ``uses`` are those of its fullest core."""

    layer: str
    shape: Shape
    neurons: int
    cores: tuple[int, ...]
    tile: Shape
    fullest_core: int
    fullest: str
    words: tuple[Words, ...]
    limit: int
    uses: tuple[Use, ...]
    synapses: tuple[Held, ...]
    axons_in: int
    axons_out: int
    incoming: tuple[Neighbour, ...]
    outgoing: tuple[Neighbour, ...]


def explain_core(
    program: Program, placement: Placement, target: Target, core: int, spikes: Rates
) -> CoreContents:
    """Tell what is on a core.

    Args:
        program: what was placed.
        placement: where.
        target: the chip.
        core: number of the core.
        spikes: spikes of each group in a mean step, for the messages.

    Raises:
        UsageError: nothing is on that core.
    """
    slices = placement.on_core(core)
    if not slices:
        raise UsageError(
            "core-empty",
            f"nothing is on core {core}",
            where="--core",
            hint=f"cores in use: {_ranges(placement.cores)}",
        )
    memory = Memory(program, target)
    place = spot(core, target)
    used = memory.family.combined(s.resources for s in slices)
    uses = _uses(used, target)
    incoming, outgoing = _neighbours(memory, placement, {core}, spikes)
    return CoreContents(
        core=core,
        chip=place.chip,
        router=(place.x, place.y),
        slices=tuple((s.group, s.bounds, s.neurons) for s in slices),
        fullest=uses[0].resource,
        words=_words(memory, slices),
        limit=_limit(memory),
        uses=uses,
        synapses=tuple(_held(memory, slices)),
        axons_in=memory.family.axons_in(used),
        axons_out=memory.family.axons_out(used),
        incoming=incoming,
        outgoing=outgoing,
    )


def explain_layer(
    program: Program, placement: Placement, target: Target, layer: str, spikes: Rates
) -> LayerContents:
    """Tell what a layer takes: a group on the chip, or the one that a projection ends in.

    Args and errors are those of `explain_core`.
    """
    ends = {s.name: s.target for s in program.synapses}
    known = [g.name for g in program.on_chip]
    name = layer if layer in known else ends.get(layer, "")
    if not name:
        raise UsageError(
            "layer-unknown",
            f"no layer is called {layer!r}",
            where="--layer",
            hint=did_you_mean(layer, {*known, *ends}),
        )
    memory = Memory(program, target)
    slices = placement.of_group(name)
    cores = tuple(sorted({s.core for s in slices}))
    loads = {
        core: _uses(memory.family.combined(s.resources for s in placement.on_core(core)), target)
        for core in cores
    }
    fullest = max(cores, key=lambda core: (loads[core][0].share, -core))
    used = memory.family.combined(s.resources for s in slices)
    incoming, outgoing = _neighbours(memory, placement, set(cores), spikes)
    return LayerContents(
        layer=name,
        shape=program.group(name).shape,
        neurons=sum(s.neurons for s in slices),
        cores=cores,
        tile=max(slices, key=lambda s: s.neurons).shape,
        fullest_core=fullest,
        fullest=loads[fullest][0].resource,
        words=_words(memory, slices),
        limit=_limit(memory) * len(cores),
        uses=loads[fullest],
        synapses=tuple(_held(memory, slices)),
        axons_in=memory.family.axons_in(used),
        axons_out=memory.family.axons_out(used),
        incoming=incoming,
        outgoing=outgoing,
    )


def _limit(memory: Memory) -> int:
    """The words that a core has for what `_words` lists."""
    return memory.family.limits[memory.family.filled]


def _words(memory: Memory, slices: Iterable[Slice]) -> tuple[Words, ...]:
    """Words by kind, most first; they add up to the memory that the family fills."""
    words: dict[str, int] = {}
    cores = set()
    for part in slices:
        cores.add(part.core)
        stored = {
            s.name: memory.stored(s.name, part.bounds) for s in memory.program.incoming(part.group)
        }
        for what, count in memory.family.contents(part.group, part.resources, stored):
            if count:
                words[what] = words.get(what, 0) + count
    limit = _limit(memory) * len(cores)
    return tuple(
        Words(what=what, words=count, share=count / limit)
        for what, count in sorted(words.items(), key=lambda item: (-item[1], item[0]))
    )


def _uses(used: Mapping[str, int], target: Target) -> tuple[Use, ...]:
    rows = [
        Use(
            resource=name,
            used=used.get(name, 0),
            limit=limit.limit,
            unit=limit.unit,
            share=used.get(name, 0) / max(limit.limit, 1),
            certainty=limit.certainty,
        )
        for name, limit in target.core.items()
    ]
    return tuple(sorted(rows, key=lambda use: -use.share))


def _held(memory: Memory, slices: Iterable[Slice]) -> Iterator[Held]:
    parts = list(slices)
    for s in memory.program.synapses:
        stored = [memory.stored(s.name, p.bounds) for p in parts if p.group == s.target]
        if stored:
            yield Held(
                name=s.name,
                sources=tuple(o.group for o in s.sources),
                encodings=tuple(dict.fromkeys(p.encoding for p in stored)),
                words=sum(p.words for p in stored),
                axons=sum(p.axons for p in stored),
                synapses=sum(p.synapses for p in stored),
                nonzero=sum(p.nonzero for p in stored),
            )


def _neighbours(
    memory: Memory, placement: Placement, cores: set[int], spikes: Rates
) -> tuple[tuple[Neighbour, ...], tuple[Neighbour, ...]]:
    """Cores that send messages to some cores, and those that get messages from them."""
    sent = messages(memory, placement, spikes)
    groups: dict[int, dict[str, None]] = {}
    for s in placement.slices:
        groups.setdefault(s.core, {})[s.group] = None
    hosts = tuple(g.name for g in memory.program.groups if g.kind == "input")
    came: dict[int, float] = {}
    went: dict[int, float] = {}
    for a, b, n in zip(
        sent.source.tolist(), sent.target.tolist(), sent.weight.tolist(), strict=True
    ):
        if b in cores:
            came[a] = came.get(a, 0.0) + n
        if a in cores:
            went[b] = went.get(b, 0.0) + n

    def listed(amounts: Mapping[int, float]) -> tuple[Neighbour, ...]:
        return tuple(
            Neighbour(
                core=None if core == HOST else core,
                chip=None if core == HOST else core // placement.cores_per_chip,
                groups=hosts if core == HOST else tuple(groups[core]),
                messages=n,
            )
            for core, n in sorted(amounts.items(), key=lambda item: (-item[1], item[0]))
        )

    return listed(came), listed(went)


def _ranges(numbers: Iterable[int]) -> str:
    """``0-4, 7``."""
    parts: list[list[int]] = []
    for n in sorted(numbers):
        if parts and parts[-1][-1] == n - 1:
            parts[-1][1:] = [n]
        else:
            parts.append([n])
    return ", ".join("-".join(map(str, p)) for p in parts)
