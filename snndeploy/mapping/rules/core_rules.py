"""Rules about cores and boards: what a placement takes of each resource.

What cores must obey is for their family to say (`snndeploy.chip.counting.CoreRule`); the board is the
same for all. A rule yields a `Breach` for everything that breaks it; it never raises.
"""

from __future__ import annotations

from collections.abc import Iterator

from ...chip import weakest
from ...chip.counting import Breach, CoreRule
from ...ir.finding import Certainty
from .placed import Subject


def core_rule(s: Subject, rule: CoreRule) -> Iterator[Breach]:
    """What exceeds the resources that a rule of the family limits."""
    for resource in rule.resources:
        yield from _per_core(s, resource, rule.of_memory)


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
            certainty=weakest((cores.certainty, _memory_certainty(s))),
            message=f"{need:,} of {have:,} cores on {s.chips} chip{'s'[: s.chips != 1]} ({why})",
        )


def _memory_certainty(s: Subject) -> Certainty:
    """How sure the counts of words are: they rest on the widths of the fields."""
    return weakest(s.memory.family.memory_certainties)


def _per_core(s: Subject, resource: str, of_memory: bool) -> Iterator[Breach]:
    """One breach for each set of groups that share cores: their fullest core."""
    limit = s.target.core[resource]
    over: dict[tuple[str, ...], list[tuple[int, int]]] = {}
    cores: dict[tuple[str, ...], int] = {}
    for core, (groups, used) in s.cores.items():
        cores[groups] = cores.get(groups, 0) + 1
        if used.get(resource, 0) > limit.limit:
            over.setdefault(groups, []).append((used[resource], -core))
    memory = [_memory_certainty(s)] if of_memory else []
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
