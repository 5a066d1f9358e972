"""Random programs, one feature each, small enough that many fit into one run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from snndeploy.ir.arrays import Array, Shape, frozen
from snndeploy.ir.ops import (
    Conv,
    Dense,
    Op,
    Pointwise,
    Reshape,
    SumPool,
    chain_shapes,
    weighted_index,
)
from snndeploy.ir.program import CompartmentGroup, Program, SynapseGroup, SynapseSource
from snndeploy.ir.step import LOIHI
from snndeploy.simulate.integer.engine import run_integer

INT = np.int64


class Draft:
    """Groups and synapses of a program in the making, with random parameters."""

    def __init__(self, seed: int, *, wild: bool = False) -> None:
        self.rng = np.random.default_rng(seed)
        self.wild = wild
        self.groups: list[CompartmentGroup] = []
        self.synapses: list[SynapseGroup] = []
        self.drive: dict[str, float] = {}

    def pick(self, *values: Any) -> Any:
        return values[self.rng.integers(len(values))]

    def spread(self, shape: Shape, low: int, high: int) -> Array:
        """Integers from low up to high: one, one per channel, or one per neuron."""
        drawn = self.pick((), shape[:1] + (1,) * (len(shape) - 1), shape)
        return frozen(self.rng.integers(low, high, drawn), INT)

    def input(self, shape: Shape, name: str = "in", bits: int = 0) -> str:
        self.groups.append(
            CompartmentGroup(
                name=name, shape=shape, role="input", kind="input", depth=0, message_bits=bits
            )
        )
        return name

    def constant(self, shape: Shape, name: str = "one") -> str:
        self.groups.append(
            CompartmentGroup(name=name, shape=shape, role="hidden", kind="constant", depth=0)
        )
        return name

    def neurons(self, name: str, shape: Shape, depth: int, **fields: Any) -> str:
        """Neurons whose threshold is set by `finish`, when their drive is known."""
        du = self.pick(frozen(4095, INT), frozen(0, INT), self.spread(shape, 0, 4096))
        dv = self.pick(frozen(0, INT), frozen(4095, INT), self.spread(shape, 0, 4096))
        if self.wild:
            du, dv = self.pick(frozen(-1, INT), du), frozen(self.pick(0, 10), INT)
        defaults = {"role": "hidden", "kind": "lif", "du": du, "dv": dv}
        self.groups.append(
            CompartmentGroup(name=name, shape=shape, depth=depth, **{**defaults, **fields})
        )
        return name

    def biased(self, shape: Shape) -> dict[str, Any]:
        """A bias that alone fires most neurons within a few steps."""
        exponent = int(self.rng.integers(-2, 7))
        return {"bias_mant": self.spread(shape, -400, 4096), "bias_exp": exponent}

    def custom(self, **fields: Any) -> dict[str, Any]:
        return {"kind": "custom", **fields}

    def connect(
        self,
        sources: str | Sequence[tuple[str, Any]],
        target: str,
        *ops: Op,
        density: float = 1.0,
        sign_mode: str = "",
    ) -> None:
        """Connect, each source with its delay in steps of the sample (0 for a bare name)."""
        pairs = [(sources, 0)] if isinstance(sources, str) else sources
        mode = sign_mode or self.pick("mixed", "mixed", "excitatory", "inhibitory")
        bits = int(self.pick(8, 8, 8, self.rng.integers(3, 9)))
        op = ops[weighted_index(ops)]
        unit = 1 << (8 - bits + (mode == "mixed"))
        low, high = {"mixed": (-256, 256), "excitatory": (0, 256), "inhibitory": (-255, 1)}[mode]
        q = np.asarray(self.rng.integers(low, high, op.weight_shape))
        q = (q // unit * unit) if mode != "inhibitory" else -(-q // unit * unit)
        alive = None
        if density < 1:
            alive = self.rng.random(op.weight_shape) < density
            q = q * alive
        exponent = int(self.rng.integers(3, 12) if self.wild else self.rng.integers(-7, 5))
        depth = {g.name: g.depth for g in self.groups}
        self.synapses.append(
            SynapseGroup(
                name=f"{'+'.join(name for name, _ in pairs)}->{target}.{len(self.synapses)}",
                sources=tuple(
                    SynapseSource(name, frozen(np.asarray(d) + depth[target] - depth[name], INT))
                    for name, d in pairs
                ),
                target=target,
                ops=ops,
                mantissa=frozen(q, INT),
                exponent=exponent,
                sign_mode=mode,
                weight_bits=bits,
                alive=alive,
            )
        )
        fan_in = 1 if isinstance(op, Pointwise) else float(np.prod(op.weight_shape[1:]))
        typical = 80 * 2.0**exponent * np.sqrt(fan_in * density)
        self.drive[target] = max(self.drive.get(target, 0.0), typical)

    def finish(self) -> Program:
        """Give every group a threshold that its drive crosses now and then."""
        groups = []
        for group in self.groups:
            if group.kind in ("lif", "custom"):
                scale = self.drive.get(group.name, 100.0) * self.rng.uniform(0.3, 2.5)
                high = int(np.clip(scale, 2, 131_000))
                vth = self.spread(group.shape, max(1, high // 2), high + 1)
                floor = group.v_floor
                if floor is not None:
                    floor = frozen(-self.spread(group.shape, 0, max(high << 6, 1)), INT)
                group = dataclasses.replace(group, vth=vth, v_floor=floor)
            groups.append(group)
        program = Program(
            arithmetic=LOIHI, target="test", groups=tuple(groups), synapses=tuple(self.synapses)
        )
        for s in program.synapses:
            out = chain_shapes(s.ops, program.source_shape(s))[-1]
            assert out == program.group(s.target).shape, (s.name, out)
        return program.verify()


def _tail(d: Draft, source: str, shape: Shape, depth: int, *, readout: bool | None = None) -> None:
    """Flatten into a few output neurons, or a readout."""
    as_readout = bool(d.rng.integers(2)) if readout is None else readout
    out = d.neurons("out", (4,), depth, role="output", kind="readout" if as_readout else "lif")
    count = int(np.prod(shape))
    flat: tuple[Op, ...] = (Reshape((count,)),) if len(shape) > 1 else ()
    d.connect(source, out, *flat, Dense(4, count))


def dense(d: Draft) -> None:
    d.connect(d.input((9,)), d.neurons("a", (7,), 1), Dense(7, 9), sign_mode="mixed")
    _tail(d, "a", (7,), 2)


def pruned(d: Draft) -> None:
    d.connect(d.input((20,)), d.neurons("a", (12,), 1), Dense(12, 20), density=0.15)
    _tail(d, "a", (12,), 2)


def one_to_one(d: Draft) -> None:
    d.connect(
        d.input((3, 2, 2)),
        d.neurons("a", (3, 2, 2), 1),
        Pointwise((3, 2, 2), d.pick((), (3, 1, 1), (3, 2, 2))),
    )
    _tail(d, "a", (3, 2, 2), 2)


def biased(d: Draft) -> None:
    d.connect(d.input((6,)), d.neurons("a", (6,), 1, **d.biased((6,))), Dense(6, 6))
    d.connect("a", d.neurons("b", (5,), 2, **d.biased((5,))), Dense(5, 6))
    d.connect("b", d.neurons("c", (4,), 3, **d.biased((4,)), role="output"), Dense(4, 5))


def _conv(
    d: Draft, shape: Shape, out: int, op: Conv, *before: Op, after: Sequence[Op] = (), **fields: Any
) -> None:
    source = d.input(shape, bits=fields.pop("bits", 0))
    ops = (*before, op, *after)
    target = chain_shapes(ops, shape)[-1]
    d.connect(source, d.neurons("a", target, 1, **fields), *ops)
    _tail(d, "a", target, 2)


def conv(d: Draft) -> None:
    k = (int(d.rng.integers(1, 4)), int(d.rng.integers(1, 4)))
    s, p = (int(d.pick(1, 2)), int(d.pick(1, 2))), (int(d.pick(0, 1)), int(d.pick(0, 2)))
    _conv(d, (2, 6, 5), 3, Conv(3, 2, k, s, ((p[0],) * 2, (p[1],) * 2), (1, 1)))


def conv_dilated(d: Draft) -> None:
    g = int(d.pick(1, 2))
    _conv(d, (4, 7, 6), 4, Conv(4, 4, (2, 3), (1, 2), ((1, 1), (2, 2)), (3, 2), g))


def conv_depthwise(d: Draft) -> None:
    _conv(d, (4, 4, 5), 4, Conv(4, 4, (3, 2), (1, 1), ((1, 1), (0, 0)), (1, 1), 4))


def conv_same(d: Draft) -> None:
    _conv(d, (2, 5, 4), 3, Conv(3, 2, (2, 4), (1, 1), ((0, 1), (1, 2)), (1, 1)))


def conv_1d(d: Draft) -> None:
    _conv(d, (3, 8), 4, Conv(4, 3, (3,), (2,), ((1, 1),), (1,)))


def conv_flat(d: Draft) -> None:
    """A convolution between flat populations: reshapes on both sides."""
    op = Conv(2, 2, (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1))
    _conv(d, (2 * 4 * 3,), 2, op, Reshape((2, 4, 3)), after=(Reshape((24,)),))


def pool_conv(d: Draft) -> None:
    _conv(
        d,
        (2, 6, 6),
        3,
        Conv(3, 2, (2, 2), (1, 1), ((0, 0), (0, 0)), (1, 1)),
        SumPool((2, 2), (2, 2)),
    )


def pool_overlap(d: Draft) -> None:
    """Windows overlap: two neurons meet in several synapses, whose sum is no legal weight."""
    op = Conv(2, 2, (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1))
    _conv(d, (2, 5, 5), 2, op, SumPool((3, 3), (1, 1), (1, 1)))


def conv_pool(d: Draft) -> None:
    op = Conv(3, 2, (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1))
    _conv(d, (2, 6, 6), 3, op, after=(SumPool((2, 2), (2, 2)),))


def pool_dense(d: Draft) -> None:
    d.connect(
        d.input((2, 4, 4)),
        d.neurons("a", (5,), 1),
        SumPool((2, 2), (2, 2)),
        Reshape((8,)),
        Dense(5, 8),
    )
    _tail(d, "a", (5,), 2)


def graded(d: Draft) -> None:
    d.connect(d.input((6,), bits=8), d.neurons("a", (5,), 1), Dense(5, 6))
    _tail(d, "a", (5,), 2)


def graded_conv(d: Draft) -> None:
    _conv(d, (2, 4, 4), 3, Conv(3, 2, (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1)), bits=8)


def readout(d: Draft) -> None:
    d.connect(d.input((6,)), d.neurons("a", (6,), 1), Dense(6, 6))
    d.connect(
        "a", d.neurons("out", (3,), 2, kind="readout", role="output", **d.biased((3,))), Dense(3, 6)
    )


def skip(d: Draft) -> None:
    """A residual of unequal branches: the short one waits."""
    d.connect(d.input((6,)), d.neurons("a", (6,), 1), Dense(6, 6))
    d.connect("a", d.neurons("b", (6,), 2), Dense(6, 6))
    d.connect("b", d.neurons("c", (6,), 3, **d.biased((6,))), Dense(6, 6))
    d.connect("in", "c", Pointwise((6,)))
    _tail(d, "c", (6,), 4)


def many_sources(d: Draft) -> None:
    """Sources of different depth, added before one operator; two projections into one group."""
    d.connect(d.input((6,)), d.neurons("a", (6,), 1), Dense(6, 6))
    d.connect("a", d.neurons("b", (6,), 2), Dense(6, 6))
    d.connect([("a", 0), ("b", 0), ("in", 0)], d.neurons("c", (5,), 3), Dense(5, 6))
    d.connect("b", "c", Dense(5, 6), density=0.2)
    _tail(d, "c", (5,), 4)


def conv_sources(d: Draft) -> None:
    op = Conv(2, 2, (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1))
    d.connect(d.input((2, 4, 4)), d.neurons("a", (2, 4, 4), 1), op)
    d.connect([("in", 0), ("a", 0)], d.neurons("b", (2, 4, 4), 2), op)
    _tail(d, "b", (2, 4, 4), 3)


def constant_bias(d: Draft) -> None:
    d.connect(d.input((5,)), d.neurons("a", (5,), 1), Dense(5, 5))
    d.connect(d.constant((1,)), "a", Dense(5, 1))
    d.connect("a", d.neurons("b", (4,), 2, role="output"), Dense(4, 5))
    d.connect("one", "b", Dense(4, 1))


def two_inputs(d: Draft) -> None:
    d.connect(d.input((5,), "left"), d.neurons("a", (5,), 1), Dense(5, 5))
    d.connect(d.input((4,), "right", bits=int(d.pick(0, 6))), "a", Dense(5, 4))
    _tail(d, "a", (5,), 2)


def recurrent(d: Draft) -> None:
    d.connect(d.input((6,)), d.neurons("a", (6,), 1, **d.pick({}, d.biased((6,)))), Dense(6, 6))
    d.connect([("a", 1)], "a", Dense(6, 6))
    _tail(d, "a", (6,), 2)


def loop(d: Draft) -> None:
    """Two groups that drive each other."""
    d.connect(d.input((5,)), d.neurons("a", (5,), 1), Dense(5, 5))
    d.connect("a", d.neurons("b", (4,), 2, **d.biased((4,))), Dense(4, 5))
    d.connect([("b", 2)], "a", Dense(5, 4))
    _tail(d, "b", (4,), 3)


def conv_recurrent(d: Draft) -> None:
    op = Conv(2, 2, (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1))
    d.connect(d.input((2, 4, 3)), d.neurons("a", (2, 4, 3), 1), op)
    d.connect([("a", 1)], "a", d.pick(op, Pointwise((2, 4, 3), (2, 1, 1))))
    _tail(d, "a", (2, 4, 3), 2)


def delayed(d: Draft) -> None:
    d.connect([(d.input((6,), bits=int(d.pick(0, 7))), 3)], d.neurons("a", (6,), 1), Dense(6, 6))
    d.connect([("a", 2)], d.neurons("b", (5,), 2, **d.biased((5,))), Dense(5, 6))
    _tail(d, "b", (5,), 3)


def delayed_each(d: Draft) -> None:
    """A delay per neuron, dense and sparse."""
    d.connect(
        [(d.input((6,)), d.rng.integers(0, 5, 6))],
        d.neurons("a", (6,), 1, **d.biased((6,))),
        Dense(6, 6),
    )
    d.connect([("a", d.rng.integers(0, 4, 6))], d.neurons("b", (5,), 2), Dense(5, 6), density=0.2)
    d.connect(
        [("a", d.rng.integers(0, 4, 6)), ("in", d.rng.integers(0, 3, (1,)))], "b", Dense(5, 6)
    )
    _tail(d, "b", (5,), 3)


def delayed_conv(d: Draft) -> None:
    op = Conv(2, 2, (3, 2), (1, 1), ((1, 1), (1, 0)), (1, 1))
    delay = d.rng.integers(0, 3, (2, 1, 1))
    d.connect(
        [(d.input((2, 4, 4)), delay)], d.neurons("a", (2, 4, 4), 1), SumPool((1, 1), (1, 1)), op
    )
    _tail(d, "a", (2, 4, 4), 2)


def delayed_constant(d: Draft) -> None:
    d.connect(d.input((5,)), d.neurons("a", (5,), 1), Dense(5, 5))
    d.connect([(d.constant((1,)), 4)], "a", Dense(5, 1))
    _tail(d, "a", (5,), 2)


def custom(d: Draft, **fields: Any) -> None:
    """A neuron program, whose spike counts may travel as graded messages."""
    many = fields.get("spikes_per_step") == "many"
    bits = int(d.pick(0, 8)) if many else 0
    defaults = {
        "compare": d.pick(">", ">="),
        "v_floor": d.pick(None, frozen(0, INT)),
        "message_bits": bits,
        **d.pick({}, d.biased((6,))),
    }
    d.connect(
        d.input((6,)),
        d.neurons("a", (6,), 1, **d.custom(**{**defaults, **fields})),
        Dense(6, 6),
        sign_mode="mixed",
    )
    _tail(d, "a", (6,), 2)


def custom_recurrent(d: Draft) -> None:
    """A neuron program that feeds itself, behind another one."""
    d.connect(
        d.input((6,)),
        d.neurons("a", (6,), 1, **d.custom(reset="subtract", **d.biased((6,)))),
        Dense(6, 6),
    )
    d.connect(
        "a",
        d.neurons("b", (5,), 2, **d.custom(reset="none", reset_timing="next-step")),
        Dense(5, 6),
    )
    d.connect([("b", 1)], "b", Dense(5, 5))
    _tail(d, "b", (5,), 3)


def _customs() -> dict[str, Callable[[Draft], None]]:
    """Every reset with every timing it goes with, one spike and many."""
    pairs = [(reset, "immediate") for reset in ("zero", "subtract", "none")]
    pairs += [("zero", "next-step"), ("subtract", "next-step"), ("subtract", "snntorch-immediate")]
    found: dict[str, Callable[[Draft], None]] = {}
    for reset, timing in pairs:
        for many, most in (("one", None), ("many", None), ("many", 3)):
            if many == "many" and timing == "snntorch-immediate" and most is None:
                continue

            def build(
                d: Draft, r: str = reset, t: str = timing, m: str = many, x: Any = most
            ) -> None:
                custom(d, reset=r, reset_timing=t, spikes_per_step=m, max_spikes=x)

            found[f"custom {reset} {timing} {many} {most or ''}".strip()] = build
    return found


UNDELAYED: dict[str, Callable[[Draft], None]] = {
    f.__name__: f
    for f in (
        dense,
        pruned,
        one_to_one,
        biased,
        conv,
        conv_dilated,
        conv_depthwise,
        conv_same,
        conv_1d,
        conv_flat,
        pool_conv,
        pool_overlap,
        conv_pool,
        pool_dense,
        graded,
        graded_conv,
        readout,
        skip,
        many_sources,
        conv_sources,
        constant_bias,
        two_inputs,
    )
} | _customs()
"""Features without a delay in sample time: samples follow each other without a gap."""
DELAYED: dict[str, Callable[[Draft], None]] = {
    f.__name__: f
    for f in (
        recurrent,
        loop,
        conv_recurrent,
        delayed,
        delayed_each,
        delayed_conv,
        delayed_constant,
        custom_recurrent,
    )
}


def make(feature: str, seed: int, *, wild: bool = False) -> Program:
    """The program of one feature; ``wild`` ones wrap u and clip v.

    Draws again, a few times, until every group spikes and none spikes all the time.
    """
    for attempt in range(20):
        draft = Draft(seed + 1000 * attempt, wild=wild)
        {**UNDELAYED, **DELAYED}[feature](draft)
        program = draft.finish()
        if _lively(program, seed):
            break
    return program


def _lively(program: Program, seed: int) -> bool:
    spikes = run_integer(program, random_inputs(program, 10, 3, seed)).spikes
    rates = [(spikes[g.name] != 0).mean() for g in program.groups if g.kind in ("lif", "custom")]
    return min(rates) > 0.02 and max(rates) < 0.98


def random_inputs(program: Program, steps: int, samples: int, seed: int) -> dict[str, Array]:
    """Spikes at a random rate per sample; graded messages of either sign."""
    rng = np.random.default_rng(seed)
    inputs = {}
    for g in program.groups:
        if g.kind == "input":
            rate = rng.uniform(0.1, 0.9, (samples, *(1 for _ in g.shape)))
            spikes = (rng.random((steps, samples, *g.shape)) < rate).astype(INT)
            high = 2 ** (g.message_bits - 1) if g.message_bits else 2
            low = -high if g.message_bits else 1
            inputs[g.name] = spikes * rng.integers(low, high, spikes.shape)
    return inputs


def pack(programs: Sequence[Program]) -> Program:
    """Independent programs as one, their names prefixed with ``0/``, ``1/`` and so on."""
    groups = tuple(
        dataclasses.replace(g, name=f"{i}/{g.name}")
        for i, p in enumerate(programs)
        for g in p.groups
    )
    synapses = tuple(
        dataclasses.replace(
            s,
            name=f"{i}/{s.name}",
            target=f"{i}/{s.target}",
            sources=tuple(SynapseSource(f"{i}/{o.group}", o.latency) for o in s.sources),
        )
        for i, p in enumerate(programs)
        for s in p.synapses
    )
    return Program(arithmetic=LOIHI, target="test", groups=groups, synapses=synapses).verify()
