"""Rules about cores and boards: what a placement takes of each resource.

The docstring of a rule is its message and its documentation. A rule yields a `Breach` for everything
that breaks it; it never raises.
"""

from __future__ import annotations

from collections.abc import Iterator

from ...chip import Target, weakest
from ...ir.finding import Certainty
from .placed import Breach, Subject


def neurons_per_core(s: Subject) -> Iterator[Breach]:
    """A core holds a limited number of neurons."""
    yield from _per_core(s, "neurons")


def compartments(s: Subject) -> Iterator[Breach]:
    """A core holds a limited number of compartments; a subtracting reset takes two per neuron."""
    yield from _per_core(s, "compartments")


def groups_per_core(s: Subject) -> Iterator[Breach]:
    """A core holds neurons of a limited number of groups."""
    yield from _per_core(s, "groups")


def synapse_memory(s: Subject) -> Iterator[Breach]:
    """The synapse lists of a core must fit its synapse memory; dense lists store their zeros."""
    yield from _per_core(s, "synapse_words")


def axon_memory(s: Subject) -> Iterator[Breach]:
    """The synapse list behind one input axon has a largest length."""
    yield from _per_core(s, "axon_words")


def input_axons(s: Subject) -> Iterator[Breach]:
    """Every source neuron of a dense layer takes an input axon on each core of the layer."""
    yield from _per_core(s, "axon_in")
    yield from _per_core(s, "in_axons")


def output_axons(s: Subject) -> Iterator[Breach]:
    """Every neuron takes output axons for each core that its spikes go to."""
    yield from _per_core(s, "out_axons")


def axon_map(s: Subject) -> Iterator[Breach]:
    """Every neuron (in front of convolutions: every position) takes an entry of the axon map."""
    yield from _per_core(s, "axon_map")


def axon_routes(s: Subject) -> Iterator[Breach]:
    """Positions whose spikes go to several cores take axon memory for each."""
    yield from _per_core(s, "axon_mem")


def pool(s: Subject) -> Iterator[Breach]:
    """Neurons, axons and synapses of a core share one pool of memory."""
    yield from _per_core(s, "pool_words")


def profiles(s: Subject) -> Iterator[Breach]:
    """A core has few registers for different decays, thresholds and synapse formats."""
    for resource in ("compartment_profiles", "threshold_profiles", "synapse_formats"):
        yield from _per_core(s, resource)


def delay_memory(s: Subject) -> Iterator[Breach]:
    """The longer the delays on a core, the fewer compartments it holds."""
    yield from _per_core(s, "delay_slots")


def board(s: Subject) -> Iterator[Breach]:
    """The placement must not need more cores than the board has."""
    cores = s.target.chip.cores
    have, need = s.chips * cores.limit, len(s.placement.cores)
    if need > have:
        least = s.placement.search.bound if s.placement.search else 1
        why = f"not proved, {least:,} is the lower bound"
        if least > have:
            why = f"proved: within all limits it takes at least {least:,}"
        yield Breach(
            where="network",
            resource="cores",
            used=need,
            limit=have,
            unit="cores",
            source=cores.source,
            certainty=weakest((cores.certainty, _memory_certainty(s.target))),
            message=f"{need:,} of {have:,} cores on {s.chips} chip{'s'[: s.chips != 1]} ({why})",
        )


def _memory_certainty(target: Target) -> Certainty:
    """How sure the counts of words are: they rest on the widths of the fields."""
    return weakest((target.synapse.index.certainty, target.synapse.header_bits.certainty))


def _per_core(s: Subject, resource: str) -> Iterator[Breach]:
    """One breach for each set of groups that share cores: their fullest core."""
    if resource not in s.target.core:
        return
    limit = s.target.core[resource]
    over: dict[tuple[str, ...], list[tuple[int, int]]] = {}
    cores: dict[tuple[str, ...], int] = {}
    for core, (groups, used) in s.cores.items():
        cores[groups] = cores.get(groups, 0) + 1
        if used.get(resource, 0) > limit.limit:
            over.setdefault(groups, []).append((used[resource], -core))
    words = resource.endswith("words") or resource.startswith("axon")
    memory = [_memory_certainty(s.target)] if words else []
    for groups, found in over.items():
        used_most, core = max(found)
        share = f"core {-core}"
        if len(found) > 1:
            each = len(found) == cores[groups]
            share = (
                f"each of {len(found)} cores" if each else f"{len(found)} of {cores[groups]} cores"
            )
        yield Breach(
            where=" + ".join(groups),
            resource=resource,
            used=used_most,
            limit=limit.limit,
            unit=limit.unit,
            source=limit.source,
            certainty=weakest((limit.certainty, *memory)),
            message=f"{resource.replace('_', ' ')}: {used_most:,} of {limit.limit:,} "
            f"{limit.unit} on {share}",
        )
