"""How many messages go from core to core: one per spike and core that hears it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import UsageError, did_you_mean
from ..ir.arrays import Array, size
from ..ir.placement import Slice
from .memory import Memory

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
                "rates-group-unknown", f"there are rates for {name!r}, which is no group",
                hint=did_you_mean(name, names),
            )  # fmt: skip
    parts: dict[str, list[Slice]] = {g.name: [] for g in memory.program.groups}
    for s in slices:
        parts[s.group].append(s)
    entries: list[tuple[Array, Array, Array]] = []
    for group in memory.program.groups:
        spikes = _per_neuron(rates, group.name, group.shape)
        own = parts[group.name]
        owner = np.zeros(group.shape, np.int32)
        for i, s in enumerate(own):
            owner[tuple(slice(*b) for b in s.bounds)] = i
        cores = np.array([s.core for s in own] or [HOST])
        for core, sent in _heard(memory, group.name, parts, spikes, owner, len(cores)).items():
            senders = np.flatnonzero(sent)
            entries.append((cores[senders], np.full(len(senders), core), sent[senders]))
    return _summed(entries)


def _heard(
    memory: Memory, group: str, parts: Mapping[str, Sequence[Slice]], spikes: Array, owner: Array,
    senders: int,
) -> dict[int, Array]:  # fmt: skip
    """For every core that hears a group, the messages from each slice of it."""
    hearing: dict[int, list[tuple[str, Slice]]] = {}
    for s in memory.out_of[group]:
        for part in parts[s.target]:
            hearing.setdefault(part.core, []).append((s.name, part))
    result = {}
    for core, heard in hearing.items():
        region, mask, _ = memory.reaching(heard[0][0], heard[0][1].bounds)
        box = tuple(slice(*b) for b in region)
        if len(heard) > 1:  # a spike goes to a core once, whichever of its slices hear it
            union = np.zeros(spikes.shape, bool)
            for name, part in heard:
                region, mask, _ = memory.reaching(name, part.bounds)
                union[tuple(slice(*b) for b in region)] |= mask
            box, mask = tuple(slice(None) for _ in spikes.shape), union
        sent = (spikes[box] * mask).reshape(-1)
        result[core] = np.bincount(owner[box].reshape(-1), weights=sent, minlength=senders)
    return result


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
            "rates-shape", f"rates have the shape {values.shape}, the group has {shape}",
            where=group, hint="give one number per neuron, or their total",
        )  # fmt: skip
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
