"""Random small programs of every structure, and chips that are too small for them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from snndeploy.chip import Target
from snndeploy.ir.arrays import frozen, size
from snndeploy.ir.ops import Conv, Dense, Pointwise, Reshape, chain_shapes
from snndeploy.ir.placement import Bounds, Placement, Slice
from snndeploy.ir.program import Program, SynapseSource
from snndeploy.ir.step import LOIHI
from snndeploy.mapping.cut.grid import tiles
from tests.support.mapping_programs import (
    POOL,
    cnn,
    conv,
    group,
    mlp,
    synapses,
    with_group,
    with_synapses,
)


def random_program(seed: int) -> Program:
    """A chain, a loop, a sum of branches, grouped or strided convolutions, delays, zeros."""
    rng = np.random.default_rng(seed)
    bits = int(rng.choice([2, 4, 6, 8]))
    density = float(rng.choice([1.0, 0.6, 0.1]))
    kind = seed % 6
    if kind == 0:
        program = mlp(*rng.integers(1, 90, rng.integers(2, 5)).tolist(), bits=bits, density=density)
    elif kind == 1:
        channels = rng.integers(1, 9, rng.integers(2, 4)).tolist()
        extent = int(rng.choice([4, 8, 9]))
        program = cnn(*channels, extent=extent, bits=bits, density=density)
    elif kind == 2:
        n = int(rng.integers(4, 60))
        base = mlp(int(rng.integers(2, 40)), n, 5, bits=bits, density=density)
        loops = [synapses("l1", "l1", Dense(n, n), bits=bits, density=density, seed=seed)]
        if rng.random() < 0.5:
            self_loop = synapses("l1", "l1", Pointwise((n,), (n,)), bits=bits)
            loops.append(replace(self_loop, name="self"))
        program = replace(base, synapses=(*base.synapses, *loops))
    elif kind == 3:
        program = _branches(rng, bits, density)
    elif kind == 4:
        program = _grouped(rng, bits, density)
    else:
        program = _constant(rng, bits, density)
    return _delayed(program, rng).verify()


def _branches(rng: np.random.Generator, bits: int, density: float) -> Program:
    """Two branches that add up in front of a strided convolution, and a shortcut around one."""
    c, extent = int(rng.integers(1, 6)), int(rng.choice([6, 7]))
    shape = (c, extent, extent)
    join = conv(3, c, stride=2)
    out = join.out_shape(shape)
    groups = (
        group("in", (2, extent, extent), 0),
        group("a", shape, 1),
        group("b", shape, 2),
        group("c", out, 3),
        group("out", (4,), 4, role="output"),
    )
    layers = (
        synapses("in", "a", conv(c, 2), bits=bits, density=density, seed=1),
        synapses("a", "b", conv(c, c, kernel=1), bits=bits, density=density, seed=2),
        synapses("in", "b", conv(c, 2, kernel=1), bits=bits, latency=2, seed=3),
        replace(
            synapses(("a", "b"), "c", join, bits=bits, density=density, seed=4),
            sources=(
                SynapseSource("a", frozen(2, np.int64)),
                SynapseSource("b", frozen(1, np.int64)),
            ),
        ),
        synapses("c", "out", Reshape((size(out),)), Dense(4, size(out)), bits=bits, seed=5),
    )
    return Program(arithmetic=LOIHI, target="any", groups=groups, synapses=layers)


def _grouped(rng: np.random.Generator, bits: int, density: float) -> Program:
    """Depthwise, then grouped with a hole and no padding, then one to one."""
    c, extent = 2 * int(rng.integers(1, 4)), 8
    first = conv(2 * c, c, groups=c)
    second = Conv(c, 2 * c, (3, 2), (1, 2), ((0, 0), (1, 0)), (2, 1), 2)
    shape = chain_shapes((first, second), (c, extent, extent))[-1]
    groups = (
        group("in", (c, extent, extent), 0),
        group("a", (2 * c, extent, extent), 1),
        group("b", shape, 2),
        group("out", shape, 3, role="output"),
    )
    layers = (
        synapses("in", "a", first, bits=bits, density=density, seed=1),
        synapses("a", "b", second, bits=bits, density=density, seed=2),
        synapses("b", "out", Pointwise(shape, (c, 1, 1)), bits=bits, seed=3),
    )
    return Program(arithmetic=LOIHI, target="any", groups=groups, synapses=layers)


def _constant(rng: np.random.Generator, bits: int, density: float) -> Program:
    """Pooling in front of a dense layer, a bias compartment, resets by subtraction."""
    c = int(rng.integers(1, 5))
    flat = size(POOL.out_shape((c, 6, 6)))
    n = int(rng.integers(2, 40))
    groups = (
        group("in", (c, 6, 6), 0),
        group("one", (1,), 0, kind="constant", role="hidden"),
        group("h", (n,), 1, kind="custom", reset="subtract"),
        group("out", (3,), 2, role="output", vth=frozen(rng.integers(1, 99, 3), np.int64)),
    )
    layers = (
        synapses("in", "h", POOL, Reshape((flat,)), Dense(n, flat), bits=bits, density=density),
        synapses("one", "h", Dense(n, 1), bits=bits, seed=1),
        synapses("h", "out", Dense(3, n), bits=bits, density=density, seed=2),
    )
    return Program(arithmetic=LOIHI, target="any", groups=groups, synapses=layers)


def _delayed(program: Program, rng: np.random.Generator) -> Program:
    """Sometimes a delay per neuron on the last projection."""
    last = program.synapses[-1]
    if rng.random() < 0.7 or len(last.sources) > 1:
        return program
    shape = program.source_shape(last)
    late = frozen(rng.integers(1, 6, shape), np.int64)
    return with_synapses(program, last.name, sources=(SynapseSource(last.sources[0].group, late),))


def broken_program(seed: int) -> Program:
    """A random program some of whose numbers are beyond what any shipped target can do."""
    program, rng = random_program(seed), np.random.default_rng([seed, 1])
    name = program.on_chip[int(rng.integers(len(program.on_chip)))].name
    s = program.synapses[int(rng.integers(len(program.synapses)))].name
    changes = {
        1: lambda p: with_group(p, name, vth=frozen(131072 + 5, np.int64)),
        2: lambda p: with_synapses(p, s, exponent=int(rng.choice([-12, 9]))),
        3: lambda p: with_group(p, name, bias_mant=frozen(-5000, np.int64), bias_exp=9),
        4: lambda p: with_synapses(p, s, weight_bits=11),
        5: lambda p: with_group(p, name, dv=frozen(4097, np.int64)),
        6: lambda p: with_group(p, program.groups[0].name, message_bits=30),
    }
    for number, change in changes.items():
        if rng.random() < 0.1 * (number < 7):
            program = change(program)
    return program


def small_chip(target: Target, seed: int) -> Target:
    """The same chip with fewer cores, and limits cut down at random."""
    rng = np.random.default_rng([seed, 2])
    core = {
        name: limit.model_copy(
            update={"limit": max(1, int(limit.limit // rng.choice([1, 4, 64, 1024])))}
        )
        for name, limit in target.core.items()
    }
    most = min(8, target.chip.cores.limit)
    few = target.chip.cores.model_copy(update={"limit": int(rng.integers(1, most + 1))})
    chip = target.chip.model_copy(update={"cores": few})
    return target.model_copy(update={"core": core, "chip": chip})


def cut_at_random(program: Program, rng: np.random.Generator, *, together: int = 1) -> Placement:
    """Every group in a grid of a few boxes, so many on a core, few cores on a chip."""
    parts: list[tuple[str, Bounds]] = []
    for g in program.groups:
        if g.kind != "input":
            counts = tuple(int(rng.integers(1, min(n, 3) + 1)) for n in g.shape)
            parts += [(g.name, bounds) for bounds in tiles(g.shape, counts)]
    cores = rng.permutation(len(parts)) // together
    return Placement(
        target="any",
        cores_per_chip=int(rng.integers(1, 4)),
        slices=tuple(
            Slice(group=name, bounds=bounds, core=int(core))
            for (name, bounds), core in zip(parts, cores, strict=True)
        ),
    )
