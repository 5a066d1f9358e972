"""Small programs for the mapping, built by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from snndeploy.ir.arrays import Shape, frozen, size
from snndeploy.ir.ops import Conv, Dense, Op, Reshape, SumPool, chain_shapes, weighted_index
from snndeploy.ir.program import CompartmentGroup, Program, SynapseGroup, SynapseSource
from snndeploy.ir.step import LOIHI


def group(name: str, shape: Shape, depth: int, **fields: object) -> CompartmentGroup:
    values: dict[str, object] = {"role": "hidden", "kind": "lif", "vth": frozen(64, np.int64)}
    values |= {"role": "input", "kind": "input"} if depth == 0 else {}
    return CompartmentGroup(name=name, shape=shape, depth=depth, **(values | fields))  # type: ignore[arg-type]


def synapses(
    sources: str | Sequence[str],
    target: str,
    *ops: Op,
    bits: int = 8,
    density: float = 1.0,
    latency: int = 1,
    seed: int = 0,
) -> SynapseGroup:
    """Random even weights, ``density`` of which are not zero."""
    rng = np.random.default_rng(seed)
    shape = ops[weighted_index(ops)].weight_shape  # type: ignore[union-attr]
    mantissa = 2 * rng.integers(1, 2 ** (bits - 1), size=shape) * (rng.random(shape) < density)
    names = (sources,) if isinstance(sources, str) else tuple(sources)
    return SynapseGroup(
        name=f"{'+'.join(names)}->{target}",
        target=target,
        ops=ops,
        mantissa=frozen(mantissa),
        sources=tuple(SynapseSource(n, frozen(latency, np.int64)) for n in names),
        exponent=0,
        sign_mode="mixed",
        weight_bits=bits,
    )


def mlp(*sizes: int, bits: int = 8, density: float = 1.0) -> Program:
    """Dense layers ``l0`` (the input) to ``lN`` (the output)."""
    last = len(sizes) - 1
    groups = [
        group(f"l{i}", (n,), i, **({"role": "output"} if i == last else {}))
        for i, n in enumerate(sizes)
    ]
    layers = [
        synapses(f"l{i}", f"l{i + 1}", Dense(b, a), bits=bits, density=density, seed=i)
        for i, (a, b) in enumerate(pairwise(sizes))
    ]
    return Program(
        arithmetic=LOIHI, target="any", groups=tuple(groups), synapses=tuple(layers)
    ).verify()


def conv(out: int, inp: int, kernel: int = 3, *, stride: int = 1, groups: int = 1) -> Conv:
    pad = (kernel // 2, kernel // 2)
    return Conv(out, inp, (kernel,) * 2, (stride,) * 2, (pad, pad), (1, 1), groups)


POOL = SumPool((2, 2), (2, 2))


def cnn(*channels: int, extent: int = 16, bits: int = 8, density: float = 1.0) -> Program:
    """Convolutions ``c1`` … with pooling between them, then ten outputs ``out``."""
    shape: Shape = (channels[0], extent, extent)
    groups, layers = [group("c0", shape, 0)], []
    for i, (a, b) in enumerate(pairwise(channels)):
        ops: tuple[Op, ...] = (conv(b, a),) if i == 0 else (POOL, conv(b, a))
        shape = chain_shapes(ops, shape)[-1]
        groups.append(group(f"c{i + 1}", shape, i + 1))
        layers.append(synapses(f"c{i}", f"c{i + 1}", *ops, bits=bits, density=density, seed=i))
    flat = size(POOL.out_shape(shape))
    ops = (POOL, Reshape((flat,)), Dense(10, flat))
    last = len(channels) - 1
    groups.append(group("out", (10,), last + 1, role="output"))
    layers.append(synapses(f"c{last}", "out", *ops, bits=bits, density=density, seed=99))
    return Program(
        arithmetic=LOIHI, target="any", groups=tuple(groups), synapses=tuple(layers)
    ).verify()


def with_group(program: Program, name: str, **changes: object) -> Program:
    """The program with some fields of a group replaced."""
    return replace(
        program,
        groups=tuple(
            replace(g, **changes) if g.name == name else g  # type: ignore[arg-type]
            for g in program.groups
        ),
    )


def with_synapses(program: Program, name: str, **changes: object) -> Program:
    """The program with some fields of a synapse group replaced."""
    return replace(
        program,
        synapses=tuple(
            replace(s, **changes) if s.name == name else s  # type: ignore[arg-type]
            for s in program.synapses
        ),
    )
