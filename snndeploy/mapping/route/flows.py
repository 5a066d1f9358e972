"""How many messages go from core to core: one per spike and core that hears it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...errors import UsageError, did_you_mean
from ...ir.arrays import Array, size
from ...ir.placement import Slice
from ...ir.program import CompartmentGroup
from ..count.memory import Memory

HOST = -1
"""The sender of what comes from input groups."""


@dataclass(frozen=True, eq=False)
class Flows:
    """Messages ``weight`` from core ``source`` (or `HOST`) to core ``target``, one entry per pair."""

    source: Array
    target: Array
    weight: Array

    def between_cores(self) -> Flows:
        """The messages that cross the mesh: neither the host's nor those that stay on a core."""
        keep = (self.source != HOST) & (self.source != self.target)
        return Flows(self.source[keep], self.target[keep], self.weight[keep])


def flows(
    memory: Memory, slices: Sequence[Slice], rates: Mapping[str, Array | float] | None = None
) -> Flows:
    """Count messages between the cores of placed slices.

    Args:
        memory: the program and its target.
        slices: where its groups are.
        rates: spikes of each group, one number per neuron or their total (see `place_program`).

    Raises:
        UsageError: rates of a group that is not there, or of another shape, or not finite.
    """
    names = [g.name for g in memory.program.groups]
    for name in rates or ():
        if name not in names:
            raise UsageError(
                "rates-group-unknown",
                f"there are rates for {name!r}, which is no group",
                hint=did_you_mean(name, names),
            )
    parts: dict[str, list[Slice]] = {g.name: [] for g in memory.program.groups}
    for s in slices:
        parts[s.group].append(s)
    entries: list[tuple[Array, Array, Array]] = []
    for group in memory.program.groups:
        spikes, owner = (
            _per_neuron(rates, group.name, group.shape),
            owners(group, parts[group.name]),
        )
        cores = np.array([s.core for s in parts[group.name]] or [HOST])
        for core, box, mask in hearing(memory, group, parts):
            of, weights = owner[box].reshape(-1), (spikes[box] * mask).reshape(-1)
            sent = np.bincount(of, weights=weights, minlength=len(cores))
            senders = np.flatnonzero(sent)
            entries.append((cores[senders], np.full(len(senders), core), sent[senders]))
    return _summed(entries)


def owners(group: CompartmentGroup, parts: Sequence[Slice]) -> Array:
    """The slice that each neuron of a group is in, as its number among ``parts`` (0 on the host)."""
    owner = np.zeros(group.shape, np.int32)
    for i, part in enumerate(parts):
        owner[tuple(slice(*b) for b in part.bounds)] = i
    return owner


def hearing(
    memory: Memory, group: CompartmentGroup, parts: Mapping[str, Sequence[Slice]]
) -> Iterator[tuple[int, tuple[slice, ...], Array]]:
    """Every core that hears a group, with a box of the group and which neurons in it are heard.

    Args:
        memory: the program and its target.
        group: who spikes.
        parts: the slices of every group.
    """
    heard: dict[int, list[tuple[str, Slice]]] = {}
    for s in memory.out_of[group.name]:
        for part in parts[s.target]:
            heard.setdefault(part.core, []).append((s.name, part))
    for core, pairs in heard.items():
        region, mask, _ = memory.reaching(pairs[0][0], pairs[0][1].bounds)
        box = tuple(slice(*b) for b in region)
        if len(pairs) > 1:  # a spike goes to a core once, whichever of its slices hear it
            union = np.zeros(group.shape, bool)
            for name, part in pairs:
                region, mask, _ = memory.reaching(name, part.bounds)
                union[tuple(slice(*b) for b in region)] |= mask
            box, mask = tuple(slice(None) for _ in group.shape), union
        yield core, box, mask


def _per_neuron(
    rates: Mapping[str, Array | float] | None, group: str, shape: tuple[int, ...]
) -> Array:
    given = None if rates is None else rates.get(group)
    if given is None:
        return np.ones(shape)
    values = np.asarray(given, float)
    if values.ndim == 0:
        values = np.full(shape, values / size(shape))
    if values.shape != shape:
        raise UsageError(
            "rates-shape",
            f"rates have the shape {values.shape}, the group has {shape}",
            where=group,
            hint="give one number per neuron, or their total",
        )
    if not np.isfinite(values).all() or values.min() < 0:
        raise UsageError("rates-invalid", "rates must be finite and not negative", where=group)
    return values


def _summed(entries: Sequence[tuple[Array, Array, Array]]) -> Flows:
    if not entries:
        return Flows(np.zeros(0, int), np.zeros(0, int), np.zeros(0))
    source, target, weight = (np.concatenate(column) for column in zip(*entries, strict=True))
    span = int(target.max(initial=0)) + 1
    pair, where = np.unique((source + 1) * span + target, return_inverse=True)
    return Flows(pair // span - 1, pair % span, np.bincount(where, weights=weight))
