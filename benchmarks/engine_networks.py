"""The networks and inputs of the benchmarks: as integer programs, and in float with a peer's neurons."""

from __future__ import annotations

import dataclasses
import gzip
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import snndeploy
from snndeploy.data import load_samples
from snndeploy.data.encode import rate
from snndeploy.ir.arrays import frozen
from snndeploy.ir.network import Network, Population, Projection, Source
from snndeploy.ir.neurons import Compare, Neuron
from snndeploy.ir.ops import Conv, Dense, Op, Reshape, SumPool
from snndeploy.ir.program import CompartmentGroup, Program, SynapseGroup, SynapseSource
from snndeploy.ir.step import LOIHI
from snndeploy.ir.weights import Weight
from snndeploy.lower import InputCoding

Array = npt.NDArray[Any]
STEPS = 32

_COMPARE: dict[str, Compare] = {"snntorch": ">", "norse": ">", "spikingjelly": ">="}
"""How each peer's neuron fires. They leak, integrate and return to zero alike: snnTorch resets one step
late, but before it leaks.
"""


def chain(shape: tuple[int, ...], layers: list[tuple[Op, ...]], firing: float) -> Program:
    """A feed-forward program with random 8-bit weights; thresholds let about ``firing`` spike."""
    rng = np.random.default_rng(0)
    groups = [CompartmentGroup(name="input", shape=shape, role="input", kind="input", depth=0)]
    synapses = []
    for depth, ops in enumerate(layers, start=1):
        for op in ops:
            shape = op.out_shape(shape)
        op = ops[-1]
        assert isinstance(op, (Dense, Conv))
        fan_in = int(np.prod(op.weight_shape[1:]))
        last = depth == len(layers)
        threshold = max(1, int(145 * np.sqrt(fan_in) * firing))
        groups.append(
            CompartmentGroup(
                name="output" if last else f"layer{depth}",
                shape=shape,
                kind="lif",
                depth=depth,
                role="output" if last else "hidden",
                vth=frozen(threshold, np.int64),
                dv=frozen(256, np.int64),
            )
        )
        weight = rng.integers(-128, 128, op.weight_shape) * 2
        synapses.append(
            SynapseGroup(
                name=f"w{depth}",
                sources=(SynapseSource(groups[-2].name, frozen(1, np.int64)),),
                target=groups[-1].name,
                ops=ops,
                mantissa=frozen(weight, np.int64),
                exponent=0,
                sign_mode="mixed",
                weight_bits=8,
            )
        )
    return Program(
        arithmetic=LOIHI, target="benchmark", groups=tuple(groups), synapses=tuple(synapses)
    ).verify()


def _conv(cin: int, cout: int, stride: int) -> Conv:
    return Conv(cout, cin, (3, 3), (stride, stride), ((1, 1), (1, 1)), (1, 1))


_FLAT = 32 * 17 * 17
SHAPES: dict[str, tuple[tuple[int, ...], list[tuple[Op, ...]]]] = {
    "784-512-10": ((784,), [(Dense(512, 784),), (Dense(10, 512),)]),
    "34x34x2-16-32s2-10": (
        (2, 34, 34),
        [(_conv(2, 16, 1),), (_conv(16, 32, 2),), (Reshape((_FLAT,)), Dense(10, _FLAT))],
    ),
}
"""Input shape and layers of the networks with random weights."""


def random_program(title: str) -> Program:
    """One of `SHAPES` in integers, about a tenth of its dense and a hundredth of its others spiking."""
    shape, layers = SHAPES[title]
    return chain(shape, layers, 1.0 if len(shape) == 1 else 0.6)


def random_network(title: str) -> Network:
    """One of `SHAPES` in float, with normal weights."""
    rng = np.random.default_rng(0)
    shape, layers = SHAPES[title]
    populations = [Population("input", shape, None, "input")]
    projections = []
    for depth, ops in enumerate(layers, start=1):
        for op in ops:
            shape = op.out_shape(shape)
        weighted = ops[-1]
        assert isinstance(weighted, (Dense, Conv))
        fan_in = np.prod(weighted.weight_shape[1:])
        weight = rng.normal(0, 2 / np.sqrt(fan_in), weighted.weight_shape).astype(np.float32)
        last = depth == len(layers)
        neuron = Neuron.create(shape, leak=0.9, threshold=1.0)
        name = "output" if last else f"layer{depth}"
        source = (Source(populations[-1].name),)
        projections.append(Projection(f"w{depth}", source, name, ops, Weight(weight)))
        populations.append(Population(name, shape, neuron, "output" if last else "hidden"))
    return Network(tuple(populations), tuple(projections))


def published_network(data: Path) -> Network:
    """The N-MNIST network of the NIR paper, as it runs on Loihi: one spike per step, reset to zero."""
    from snndeploy.ingest import read_network

    return read_network(
        data / "nir_models" / "paper" / "cnn_sinabs.nir",
        "sinabs",
        reset="zero",
        spikes_per_step="one",
        v_floor=None,
    )


def published_program(network: Network) -> Program:
    """Its integers: 8-bit weights, for Loihi 2."""
    coding = InputCoding.named("binary")
    return snndeploy.compile(network, recipe="default", inputs=coding).program


def with_pools_in_convolutions(program: Program) -> Program:
    """The same program for Lava, whose ``Conv`` holds no pool: sums of w x w places, then k x k weights,
    are one convolution of w k x w k repeated weights and w times the stride.
    """
    synapses = []
    for s in program.synapses:
        if len(s.ops) == 2 and isinstance(s.ops[0], SumPool) and isinstance(s.op, Conv):
            pool, conv = s.ops[0], s.op
            (wide, _), (pad, _) = pool.kernel, conv.padding
            assert pool.kernel == pool.stride == (wide, wide)
            assert conv.padding == (pad, pad)
            whole = Conv(
                conv.weight_shape[0],
                conv.weight_shape[1],
                (conv.kernel[0] * wide, conv.kernel[1] * wide),
                (conv.stride[0] * wide, conv.stride[1] * wide),
                ((pad[0] * wide, pad[1] * wide),) * 2,
                (1, 1),
            )
            repeated = np.kron(s.mantissa, np.ones((1, 1, wide, wide), np.int64))
            s = dataclasses.replace(s, ops=(whole,), mantissa=frozen(repeated, np.int64))
        synapses.append(s)
    return dataclasses.replace(program, synapses=tuple(synapses)).verify()


def with_neurons_of(network: Network, peer: str) -> Network:
    """The network with the neurons of a peer."""
    changed = []
    for p in network.populations:
        if p.neuron is None:
            changed.append(p)
            continue
        n = p.neuron
        neuron = Neuron.create(p.shape, leak=n.leak, threshold=n.threshold, compare=_COMPARE[peer])
        changed.append(Population(p.name, p.shape, neuron, p.role))
    return Network(tuple(changed), network.projections)


def layers_of(network: Network) -> tuple[list[dict[str, Any]], dict[str, Array]]:
    """A chain of layers as plain data, for interpreters that do not have snndeploy."""
    spec: list[dict[str, Any]] = []
    arrays: dict[str, Array] = {}
    for population in network.populations[1:]:
        (projection,) = network.incoming(population.name)
        for op in projection.ops:
            key = f"weight{len(arrays)}"
            if isinstance(op, Reshape):
                spec.append({"op": "flatten"})
            elif isinstance(op, SumPool):
                spec.append({"op": "pool", "kernel": op.kernel, "stride": op.stride})
            elif isinstance(op, Dense):
                spec.append({"op": "dense", "weight": key})
            else:
                assert isinstance(op, Conv)
                padding = [before for before, _ in op.padding]
                spec.append({"op": "conv", "weight": key, "stride": op.stride, "padding": padding})
            if isinstance(op, (Dense, Conv)):
                arrays[key] = projection.weight.values().astype(np.float32)
        assert projection.bias is None or not projection.bias.any()
        neuron = population.neuron
        assert neuron is not None
        assert neuron.threshold is not None
        spec.append(
            {"op": "neuron", "leak": float(neuron.leak), "threshold": float(neuron.threshold)}
        )
    return spec, arrays


def mnist(data: Path | None, samples: int) -> Array:
    """Rate-coded MNIST test digits, or random spikes of the same rate: uint8 (steps, samples, 784)."""
    if data is None:
        rng = np.random.default_rng(1)
        return (rng.random((STEPS, samples, 784)) < 0.13).astype(np.uint8)
    with gzip.open(data / "mnist" / "t10k-images-idx3-ubyte.gz") as file:
        pixels = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 784)
    return rate(pixels[:samples] / 255.0, STEPS)


def nmnist(data: Path | None, samples: int, bin_ms: float = 1) -> Array:
    """Test recordings of N-MNIST, or random ones: uint8 (steps, samples, 2, 34, 34)."""
    if data is None:
        rng = np.random.default_rng(2)
        return (rng.random((STEPS, samples, 2, 34, 34)) < 0.02).astype(np.uint8)
    path = data / "nmnist_small" / "nmnist_small.npz"
    return load_samples(
        path, (2, 34, 34), bin_ms=bin_ms, steps=STEPS, frames="binary", skip=1000, samples=samples
    ).inputs
