"""What synapses and neurons do: a plain engine in integers, as the arithmetic of a program says.

Dense layers, convolutions and sums over windows are one thing here, a window: a dense layer is one
without axes, and a sum has weights of one, channel by channel.

A group that is ``depth`` steps behind the input starts that much later, and a spike arrives ``latency``
steps after it was sent, which is at least one. Each group has its steps counted from its own start: what
it sends then reaches a group at the same step or later, and the shallower of two groups goes first.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from types import SimpleNamespace
from typing import Any

import numpy as np

from .files import NEURONS, allow

NATIVE = {"compare": ">", "reset": "zero", "reset_timing": "immediate", "spikes_per_step": "one"}
"""What every neuron does that is not a custom one."""
TAUGHT = frozenset({"v_floor"})
"""Registers of neuron programs that `step` obeys and `thresholds` knows."""
EXACT = float(1 << 53)
"""Integers below this are exact in float64, which is what is multiplied fast."""
AT_ONCE = 1 << 16
"""Values of one layer that are computed together (fewer than a step never are): what caches hold."""


def weight_shape(op: Any) -> tuple[int, ...] | None:
    """The shape of an operator's weights (None: it has none)."""
    if op.type == "Dense":
        return (op.out_features, op.in_features)
    if op.type == "Conv":
        return (op.out_channels, op.in_channels // op.groups, *op.kernel)
    return tuple(op.weight_shape) if op.type == "Pointwise" else None


def weighted(ops: Any) -> int:
    """The position of a chain's one weighted operator."""
    (place,) = [i for i, op in enumerate(ops) if weight_shape(op) is not None]
    return place


def window(op: Any, channels: int) -> Any:
    """A dense layer, a convolution or a sum, in the form of a convolution."""
    if op.type == "Conv":
        return op
    plain: dict[str, Any] = {"kernel": (), "stride": (), "padding": (), "groups": 1}
    if op.type == "Dense":
        plain |= {"in_channels": op.in_features, "out_channels": op.out_features}
    else:
        plain |= vars(op) | {"padding": [(p, p) for p in op.padding], "groups": channels}
        plain |= {"in_channels": channels, "out_channels": channels}
    return SimpleNamespace(**plain, dilation=[1] * len(plain["kernel"]))


def chain(ops: Any, shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """The shapes before the first operator, between operators and behind the last."""
    shapes = [shape]
    for op in ops:
        out = tuple(getattr(op, "shape", shape))
        if op.type in ("Reshape", "Pointwise"):
            fits = prod(shape) == prod(out) if op.type == "Reshape" else shape == out
        else:
            w = window(op, shape[0])
            sizes = [n + sum(p) for n, p in zip(shape[1:], w.padding, strict=True)]
            fits = shape[0] == w.in_channels and w.in_channels % w.groups == 0
            fits = fits and w.out_channels % w.groups == 0 and prod(w.kernel) <= 1 << 16
            fits = fits and prod(sizes) * shape[0] <= NEURONS
            axes = zip(sizes, w.kernel, w.stride, w.dilation, strict=True)
            out = (w.out_channels, *((n - d * (k - 1) - 1) // s + 1 for n, k, s, d in axes))
        fits = fits and min(out) > 0 and prod(out) <= NEURONS
        allow(fits, f"has an operator {op.type} that takes {shape} to {out}")
        shapes.append(shape := out)
    return shapes


def apply(ops: Any, weight: Any, x: Any) -> Any:
    """What neurons get (batch, target) where sources send ``x`` (batch, source): exact integers.

    Sums beyond 63 bits wrap.
    """
    peak = float(np.abs(x).max(initial=0))
    for op in ops:
        if op.type == "SumPool":
            peak *= prod(op.kernel)
        elif op.type != "Reshape":
            rows = np.abs(weight).astype(np.float64).reshape(*weight.shape[:1], -1)
            peak *= rows.max() if op.type == "Pointwise" else rows.sum(1).max()
    kind = np.float32 if peak < 1 << 24 else np.float64 if peak < EXACT else np.int64
    weight, x, shapes = weight.astype(kind), x.astype(kind), chain(ops, x.shape[1:])
    for op, before, after in zip(ops, shapes, shapes[1:], strict=False):
        x = _through(op, weight, x, before, after, back=False)
    return x.astype(np.int64)


def pull(ops: Any, weight: Any, y: Any, shape: tuple[int, ...]) -> Any:
    """The transpose of `apply`: what each source (batch, ``shape``) passes on to weights ``y``."""
    shapes = chain(ops, shape)
    for op, before, after in reversed(list(zip(ops, shapes, shapes[1:], strict=False))):
        y = _through(op, weight, y, before, after, back=True)
    return y


def _through(op: Any, weight: Any, x: Any, before: Any, after: Any, *, back: bool) -> Any:
    """One operator between two shapes, forwards or backwards."""
    if op.type == "Reshape":
        return x.reshape(len(x), *(before if back else after))
    if op.type == "Pointwise":
        return x * weight
    w = window(op, before[0])
    if op.type == "SumPool":
        weight = np.ones((before[0], 1, *op.kernel), x.dtype)
    whole = slice(None)
    sizes = [n + sum(p) for n, p in zip(before[1:], w.padding, strict=True)]
    padded = np.zeros((len(x), before[0], *sizes), x.dtype)
    kept = (slice(p[0], p[0] + n) for n, p in zip(before[1:], w.padding, strict=True))
    inside = padded[(whole, whole, *kept)]
    out = np.zeros((len(x), *after), x.dtype)
    if not back:
        inside[:] = x
    for tap in np.ndindex(*w.kernel):
        axes = zip(tap, w.dilation, w.stride, after[1:], strict=True)
        reads = (slice(t * d, t * d + (n - 1) * s + 1, s) for t, d, s, n in axes)
        place = padded[(whole, whole, *reads)]
        mixed = weight[(whole, whole, *tap)].reshape(w.groups, -1, weight.shape[1])
        if back:
            place += _mix(np.swapaxes(mixed, 1, 2), x)
        else:
            out += _mix(mixed, place)
    return inside if back else out


def _mix(w: Any, x: Any) -> Any:
    """Channels to channels, by weights (group, to, from)."""
    grouped = np.moveaxis(x.reshape(len(x), len(w), w.shape[2], -1), 0, 2)
    mixed = w @ grouped.reshape(*grouped.shape[:2], -1)
    apart = mixed.reshape(*mixed.shape[:2], len(x), -1)
    return np.moveaxis(apart, 2, 0).reshape(len(x), -1, *x.shape[2:])


def by_target(projections: Any, names: Any) -> dict[str, list[Any]]:
    """What ends on each group."""
    found: dict[str, list[Any]] = {name: [] for name in names}
    for projection in projections:
        found[projection.target].append(projection)
    return found


def legs(program: Any, target: Any) -> Iterator[SimpleNamespace]:
    """Every delay at which a source reaches a group: which synapses, from where, which neurons."""
    for synapses in program.into[target.name]:
        for o in synapses.sources:
            source = program.group[o.group]
            delays = o.latency - (target.depth - source.depth)
            for delay in np.unique(delays).tolist():
                only = None if delays.size == 1 else np.broadcast_to(delays == delay, source.shape)
                yield SimpleNamespace(synapses=synapses, source=source, delay=delay, only=only)


def signed(x: Any, bits: int) -> Any:
    """Two's complement overflow of a register of ``bits``."""
    half = 1 << (bits - 1)
    return ((x + half) & (2 * half - 1)) - half


def shift(x: Any, exponent: int) -> Any:
    """Times 2**exponent, rounded down."""
    return x << exponent if exponent >= 0 else x >> -exponent


def decayed(x: Any, d: Any, arithmetic: Any) -> Any:
    """What is left of a register after one step, rounded toward zero."""
    size = np.abs(x)
    if arithmetic.decay == "shift":
        return np.sign(x) * (size - (size >> d))
    if arithmetic.decay == "floor-shift":  # rounded down, and at least one toward zero
        return x - np.where(x >> d == 0, np.sign(x), x >> d)
    return np.sign(x) * (size * ((1 << arithmetic.decay_bits) - d) >> arithmetic.decay_bits)


def run(program: Any, inputs: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Run on ``inputs`` (steps, samples, shape): what groups emit, and how large u and v become.

    That is (u or v, steps, samples), the largest of a group before it is put into its register.
    """
    sent = {name: x.astype(np.int32) for name, x in inputs.items()}
    peaks: dict[str, Any] = {}
    like = next(iter(inputs.values())).shape[:2]
    rest = sorted((g for g in program.groups if g.name not in sent), key=lambda g: g.depth)
    while rest:  # group by group for all steps; what is left at the first loop, step by step
        alone = all(leg.source.name in sent for leg in program.legs[rest[0].name])
        some, rest = (rest[:1], rest[1:]) if alone else (rest, [])
        peaks |= _run_together(program, some, sent, *like)
    return {name: x for name, x in sent.items() if name not in inputs}, peaks


def _run_together(program: Any, groups: Any, sent: Any, steps: int, samples: int) -> dict[str, Any]:
    """Run groups that wait for each other, add to ``sent``, return how large u and v become."""
    a, states, drive, inner, peaks = program.arithmetic, {}, {}, {}, {}
    for g in groups:
        states[g.name] = SimpleNamespace(u=0, v=0, fired=0)
        peaks[g.name] = np.zeros((2, steps, samples), np.int64)
        drive[g.name] = np.zeros((steps, samples, *g.shape), np.int64)
        inner[g.name] = [leg for leg in program.legs[g.name] if leg.source.name not in sent]
        for leg in (leg for leg in program.legs[g.name] if leg.source.name in sent):
            _arrive(leg, sent[leg.source.name], drive[g.name], 0, steps, a.sum_bits)
    for g in groups:
        sent[g.name] = np.full(drive[g.name].shape, g.kind == "constant", np.int32)
    for t, g in ((t, g) for t in range(steps) for g in groups if g.kind != "constant"):
        for leg in inner[g.name]:
            _arrive(leg, sent[leg.source.name], drive[g.name], t, t + 1, a.sum_bits)
        now = signed(drive[g.name][t], a.sum_bits)
        sent[g.name][t] = step(g, a, states[g.name], now, peaks[g.name][:, t])
    return peaks


def _arrive(leg: Any, sent: Any, drive: Any, first: int, last: int, bits: int) -> None:
    """Add to the drive of some steps what arrives through one leg, some steps at a time."""
    rows = max(1, AT_ONCE // max(sent[0].size, drive[0].size))
    for t in range(max(first, leg.delay), last, rows):
        now = drive[t : min(t + rows, last)]
        x = sent[t - leg.delay :][: len(now)].reshape(-1, *leg.source.shape)
        x = x if leg.source.message_bits else x != 0  # a plain spike carries no number
        x = x if leg.only is None else x * leg.only
        sums = signed(apply(leg.synapses.ops, leg.synapses.mantissa, x), bits)
        now += signed(shift(sums, leg.synapses.exponent), bits).reshape(now.shape)


def thresholds(g: Any, _: Any) -> tuple[Any, Any]:
    """The least and the most that v is ever compared with, and that a spike takes off."""
    return g.theta, g.theta


def step(g: Any, arithmetic: Any, state: Any, drive: Any, peaks: Any) -> Any:
    """One step of a group; changes ``state``, fills ``peaks`` and returns what the group emits."""
    most = (1 << (arithmetic.state_bits - 1)) - 1
    wide = decayed(state.u, g.decay_u, arithmetic) + (drive << arithmetic.state_shift)
    peaks[0] = np.abs(wide).reshape(len(wide), -1).max(axis=1)
    wide = signed(wide, 32)
    if arithmetic.u_overflow == "wrap":  # once, and +2**(bits - 1) stays: as lava-nc does
        low, half = wide <= -most - 1, most + 1
        state.u = np.where(wide > half, wide - 2 * half, np.where(low, wide + 2 * half, wide))
    else:
        state.u = np.maximum(np.minimum(wide, most), -most)
    late = g.reset_timing != "immediate"
    before = fires(g, state.v) if g.reset_timing == "snntorch-immediate" else state.fired
    x = decayed(state.v, g.dv, arithmetic) + state.u + g.bias
    if late and g.reset == "subtract":
        x = x - before * g.theta
    peaks[1] = np.abs(x).reshape(len(x), -1).max(axis=1)
    x = signed(x, 32)
    wraps = arithmetic.v_overflow == "wrap"
    held = signed(x, arithmetic.state_bits) if wraps else np.maximum(np.minimum(x, most), -most)
    v = state.v = held
    if g.kind == "readout":
        return v
    if late and g.reset == "zero":
        v = np.where(before > 0, 0, v)
    fired = fires(g, v)
    if g.spikes_per_step == "many":
        fired = fired * np.minimum(v // np.maximum(g.theta, 1), g.max_spikes or most)
    if g.reset_timing == "snntorch-immediate":
        v = v - (fired - before) * g.theta
    elif g.reset_timing == "immediate" and g.reset != "none":
        v = v - fired * g.theta if g.reset == "subtract" else np.where(fired > 0, 0, v)
    state.v, state.fired = v if g.v_floor is None else np.maximum(v, g.v_floor), fired
    return fired


def fires(g: Any, v: Any) -> Any:
    """Where v is enough for a spike."""
    return np.asarray(v >= g.theta if g.compare == ">=" else v > g.theta).astype(np.int64)
