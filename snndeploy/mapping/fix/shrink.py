"""Smaller programs, to try what a suggestion would save.

They are for counting only: which weights would really go, and what that costs in accuracy, is for
the compression passes to find out.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np

from ...ir.arrays import Array, Shape, frozen, size
from ...ir.ops import Conv, Dense, Op, Reshape, SumPool, chain_shapes
from ...ir.program import CompartmentGroup, Program, SynapseGroup, SynapseSource


def fewer_bits(program: Program, names: frozenset[str], bits: int) -> Program:
    """Store the weights of some synapse groups in at most ``bits`` bits."""
    return replace(
        program,
        synapses=tuple(
            replace(s, weight_bits=min(s.weight_bits, bits)) if s.name in names else s
            for s in program.synapses
        ),
    )


def pruned(program: Program, names: frozenset[str], density: float) -> Program:
    """Keep the largest weights of some synapse groups, as many as ``density`` says (0 to 1)."""
    return replace(
        program,
        synapses=tuple(_pruned(s, density) if s.name in names else s for s in program.synapses),
    )


def _pruned(s: SynapseGroup, density: float) -> SynapseGroup:
    kept = round(s.mantissa.size * density)
    if np.count_nonzero(s.mantissa) <= kept:
        return s
    order = np.argsort(-np.abs(s.mantissa.reshape(-1)), kind="stable")
    mantissa = s.mantissa.reshape(-1).copy()
    mantissa[order[kept:]] = 0
    return replace(s, mantissa=frozen(mantissa.reshape(s.mantissa.shape)))


def neighbourhood(program: Program, names: frozenset[str]) -> Program:
    """Some groups with all that arrives at them and all that they send to, and nothing else.

    What only feeds them becomes an input, and what they feed sends nowhere.
    """
    near = [
        s for s in program.synapses if s.target in names or names & {o.group for o in s.sources}
    ]
    targets = {s.target for s in near} | names
    sources = {o.group for s in near for o in s.sources} - targets
    groups = [
        replace(g, kind="input", role="input") if g.name in sources else g
        for g in program.groups
        if g.name in sources | targets
    ]
    return replace(program, groups=tuple(groups), synapses=tuple(near), headroom={}, rounding={})


def fewer_channels(program: Program, group: str, count: int) -> Program | None:
    """Remove the last ``count`` channels (neurons, if it has one axis) of a hidden group.

    Returns:
        The program without them, or None where other groups would have to lose channels too
        (one-to-one connections, shared sources) or the group is the output.
    """
    g = program.group(group)
    keep = g.shape[0] - count
    if g.role != "hidden" or keep < 1:
        return None
    synapses = []
    for s in program.synapses:
        sources = {o.group for o in s.sources}
        changed: SynapseGroup | None = s
        if group in sources and len(sources) > 1:
            return None
        if s.target == group:
            changed = _fewer_outputs(s, g, keep)
        if group in sources and changed is not None:
            changed = _fewer_inputs(changed, g, keep)
        if changed is None:
            return None
        synapses.append(changed)
    groups = tuple(_fewer_neurons(other, keep) if other is g else other for other in program.groups)
    return replace(program, groups=groups, synapses=tuple(synapses))


def _fewer_neurons(g: CompartmentGroup, keep: int) -> CompartmentGroup:
    def cut(values: Array) -> Array:
        return _cut(values, keep, len(g.shape))

    values = {f.name: getattr(g, f.name) for f in fields(g)}
    arrays: dict[str, Any] = {n: cut(x) for n, x in values.items() if isinstance(x, np.ndarray)}
    return replace(g, shape=(keep, *g.shape[1:]), **arrays)


def _cut(values: Array, keep: int, axes: int) -> Array:
    """The first channels of an array that broadcasts to a group's shape."""
    return frozen(values[:keep]) if values.ndim == axes and values.shape[0] > 1 else values


def _fewer_outputs(s: SynapseGroup, g: CompartmentGroup, keep: int) -> SynapseGroup | None:
    last = s.ops[-1]  # any other operator: no suggestion is made
    if isinstance(last, Dense) and len(g.shape) == 1:
        op: Op = replace(last, out_features=keep)
    elif isinstance(last, Conv) and last.groups == 1:
        op = replace(last, out_channels=keep)
    else:
        return None
    return _with(s, (*s.ops[:-1], op), s.mantissa[:keep], s.sources)


def _fewer_inputs(s: SynapseGroup, g: CompartmentGroup, keep: int) -> SynapseGroup | None:
    sources = tuple(SynapseSource(o.group, _cut(o.latency, keep, len(g.shape))) for o in s.sources)
    ops: list[Op] = []
    shape: Shape = (keep, *g.shape[1:])
    kept = np.arange(g.shape[0])  # for each value along the first axis, the channel it comes from
    mantissa = s.mantissa
    for op, old in zip(s.ops, chain_shapes(s.ops, g.shape)[:-1], strict=True):
        if isinstance(op, SumPool):
            ops.append(op)
        elif isinstance(op, Reshape) and len(op.shape) == 1:
            ops.append(Reshape((size(shape),)))
            kept = np.repeat(kept, size(old[1:]))
        elif isinstance(op, Dense):
            columns = np.flatnonzero(kept < keep)
            mantissa = mantissa[:, columns]
            ops.append(replace(op, in_features=len(columns)))
        elif isinstance(op, Conv) and op.groups == 1 and len(kept) == g.shape[0]:
            mantissa = mantissa[:, :keep]
            ops.append(replace(op, in_channels=keep))
        else:
            return None  # not shown how it shrinks: no suggestion is made
        shape = ops[-1].out_shape(shape)
    return None if s.op.one_to_one else _with(s, tuple(ops), mantissa, sources)


def _with(
    s: SynapseGroup, ops: tuple[Op, ...], mantissa: Array, sources: tuple[SynapseSource, ...]
) -> SynapseGroup:
    alive = None if s.alive is None else frozen(mantissa != 0)
    return replace(s, ops=ops, mantissa=frozen(mantissa), sources=sources, alive=alive)
