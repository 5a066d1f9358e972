"""What one spike of each neuron causes on a placed program: operations, messages, hops.

One set of synaptic operations counts for energy and for time: an operation per synapse whose weight is
not zero and, where a chip stores zeros in dense lists, as many per stored zero as its target file says
(``synapse.zero_ops``, with its source and certainty).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from ...chip import Target
from ...chip.counting import Stored
from ...ir.arrays import Array, size
from ...ir.ops import SumPool
from ...ir.placement import Bounds, Placement
from ...ir.program import Program, SynapseGroup
from ..count.memory import Memory
from ..route.fan_out import fan_out
from ..rules.validate import listed


@dataclass(frozen=True, kw_only=True, eq=False)
class Operations:
    """Synaptic operations of one slice per spike of each source neuron in ``region``."""

    synapses: str
    core: int
    region: Bounds
    least: Array
    most: Array


@dataclass(frozen=True, kw_only=True, eq=False)
class Effects:
    """What a spike of each neuron causes, and what every step costs.

    Attributes:
        fans: messages, hops in x and hops in y, ``(3, neurons)`` per group (`fan_out`).
        synops: operations at least and at most, ``(2, source neurons)`` per synapse group.
        updates: state updates in a step, per group (two compartments of a neuron are two).
    """

    fans: Mapping[str, Array]
    synops: Mapping[str, Array]
    updates: Mapping[str, int]


def effects(program: Program, placement: Placement, target: Target) -> Effects:
    """Count what spikes cause on a placed program."""
    memory = Memory(program, target)
    synops = {s.name: np.zeros((2, *program.source_shape(s)), np.int64) for s in program.synapses}
    for part in operations(memory, placement):
        box = tuple(slice(*b) for b in part.region)
        synops[part.synapses][0][box] += part.least
        synops[part.synapses][1][box] += part.most
    updates = {
        g.name: sum(
            memory.family.updates(s.resources, s.neurons) for s in placement.of_group(g.name)
        )
        for g in program.groups
    }
    return Effects(
        fans=fan_out(program, placement, target),
        synops={name: counts.reshape(2, -1) for name, counts in synops.items()},
        updates=updates,
    )


def operations(memory: Memory, placement: Placement) -> Iterator[Operations]:
    """Operations per spike, slice by slice."""
    program, zero_ops = memory.program, memory.target.synapse.zero_ops
    for s in program.synapses:
        joined = _Joined(program, s) if overlaps(s) else None
        for part in placement.of_group(s.target):
            stored = memory.stored(s.name, part.bounds)
            if joined is None:
                into = memory.fans[s.name].into(part.bounds)
                region, full, nonzero = into.region, into.full, into.stored
            else:
                rows = part.members(program.group(s.target).shape)
                region, full, nonzero = joined.into(rows)
            zeros = full - nonzero if holds_zeros(stored) else np.zeros_like(nonzero)
            yield Operations(
                synapses=s.name,
                core=part.core,
                region=region,
                least=nonzero + zero_ops.low * zeros,
                most=nonzero + zero_ops.high * zeros,
            )


def holds_zeros(stored: Stored) -> bool:
    """Whether zeros take entries of their own: in dense lists, but not in kernels."""
    return not stored.skips_zeros and not stored.shared


def overlaps(s: SynapseGroup) -> bool:
    """Whether windows overlap on the way, so that several paths join in one synapse."""
    return any(
        isinstance(op, SumPool) and any(k > n for k, n in zip(op.kernel, op.stride, strict=True))
        for op in s.ops[:-1]
    )


class _Joined:
    """Synapses of a group one by one, the paths between two neurons added up to one."""

    def __init__(self, program: Program, s: SynapseGroup) -> None:
        self._shape = program.source_shape(s)
        self._nonzero, _ = listed(s, self._shape)
        self._full, _ = listed(replace(s, mantissa=np.ones_like(s.mantissa)), self._shape)

    def into(self, rows: Array) -> tuple[Bounds, Array, Array]:
        """The whole source as a region, all pairs and those that are not zero, per source."""
        n = size(self._shape)
        full, nonzero = (
            np.bincount(places[np.isin(places // n, rows)] % n, minlength=n).reshape(self._shape)
            for places in (self._full, self._nonzero)
        )
        return tuple((0, length) for length in self._shape), full, nonzero
