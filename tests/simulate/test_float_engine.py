"""The float engine against a slow reference that follows `Neuron`'s docstring one neuron at a time."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from snndeploy.errors import InputError, UsageError
from snndeploy.ir.arrays import Array, frozen
from snndeploy.ir.network import Network, Population, Projection, Source
from snndeploy.ir.neurons import Neuron
from snndeploy.ir.ops import Conv, Dense, Pointwise, Reshape, SumPool, index_map
from snndeploy.ir.weights import Weight
from snndeploy.simulate.float import engine as float_engine
from snndeploy.simulate.float import neuron as float_neuron
from snndeploy.simulate.float.engine import run_float
from snndeploy.simulate.float.neuron import NeuronState
from tests.support.builders import inputs, lif, project
from tests.support.scalar_step import float_step


def synapses(projection: Projection, shape: tuple[int, ...]) -> Array:
    """The projection as a dense matrix, from the index maps alone."""
    matrix = np.eye(int(np.prod(shape)))
    for op in projection.ops:
        m = index_map(op, shape)
        weight = projection.weight.values().reshape(-1)
        step = np.zeros((m.out_size, m.in_size))
        values = 1.0 if m.weight_index is None else weight[m.weight_index]
        np.add.at(step, (m.out_index, m.in_index), values)
        matrix = step @ matrix
        shape = op.out_shape(shape)
    return matrix


def at(array: Array, shape: tuple[int, ...], i: int) -> float:
    return float(np.broadcast_to(array, shape).reshape(-1)[i])


def reference(network: Network, x: Array) -> dict[str, Array]:
    """One sample, one neuron after the other, in Python floats."""
    steps = x.shape[0]
    out = {p.name: np.zeros((steps, int(np.prod(p.shape)))) for p in network.populations}
    out["input"] = x.reshape(steps, -1)
    matrices = {p.name: synapses(p, network.source_shape(p)) for p in network.projections}
    state = {
        p.name: [
            {"u": 0.0, "v": at(p.neuron.v_init, p.shape, i), "n": 0.0}
            for i in range(int(np.prod(p.shape)))
        ]
        for p in network.populations
        if p.neuron is not None
    }
    for t in range(steps):
        for name in network.order:
            population = network.population(name)
            if population.neuron is None:
                continue
            arriving = np.zeros(out[name].shape[1])
            for projection in network.incoming(name):
                added = np.zeros(matrices[projection.name].shape[1])
                for source in projection.sources:
                    shape = network.population(source.population).shape
                    for i in range(added.size):
                        past = t - int(at(source.delay, shape, i))
                        added[i] += out[source.population][past, i] if past >= 0 else 0.0
                arriving += matrices[projection.name] @ added
                if projection.bias is not None and t >= max(
                    s.max_delay for s in projection.sources
                ):
                    arriving += np.broadcast_to(projection.bias, population.shape).reshape(-1)
            for i, one in enumerate(state[name]):
                out[name][t, i] = one_step(population.neuron, population.shape, i, one, arriving[i])
    return out


def one_step(
    neuron: Neuron, shape: tuple[int, ...], i: int, s: dict[str, float], x: float
) -> float:
    values = {
        name: None if getattr(neuron, name) is None else at(getattr(neuron, name), shape, i)
        for name in ("leak", "syn_leak", "threshold", "v_floor", "bias", "drive")
    }
    return float_step(neuron.rule, values, s, x)


def dyadic(rng: np.random.Generator, *shape: int) -> Array:
    """Multiples of 1/16, so that sums are exact in any order."""
    return rng.integers(-16, 17, shape) / 16


def draw_neuron(data: st.DataObject, rng: np.random.Generator, shape: tuple[int, ...]) -> Neuron:
    timing = data.draw(st.sampled_from(["immediate", "next-step", "snntorch-immediate"]))
    late = timing == "snntorch-immediate"
    many = not late and data.draw(st.booleans())
    spiking = data.draw(st.integers(0, 4)) > 0
    fields: dict[str, Any] = {
        "leak": data.draw(st.sampled_from([0.0, 0.5, 0.75, 1.0])),
        "syn_leak": data.draw(st.sampled_from([None, 0.5])),
        "v_floor": data.draw(st.sampled_from([None, -1.0])),
        "v_init": dyadic(rng, *shape),
        "bias": dyadic(rng, *shape) / 4,
        "drive": data.draw(st.sampled_from([0.0, 0.125])),
    }
    if spiking:
        fields |= {
            "threshold": rng.integers(4, 12, shape) / 8,
            "compare": data.draw(st.sampled_from([">", ">="])),
            "reset": "subtract"
            if late
            else data.draw(st.sampled_from(["zero", "subtract", "none"])),
            "reset_timing": timing,
            "spikes_per_step": "many" if many else "one",
            "max_spikes": data.draw(st.sampled_from([None, 2])) if many else None,
        }
    return Neuron.create(shape, **fields)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@given(data=st.data(), seed=st.integers(0, 10**6))
@settings(max_examples=60)
def test_the_compiled_loop_gives_the_bits_that_torch_gives(
    dtype: str, data: st.DataObject, seed: int
) -> None:
    """Any numbers, not only those whose sums are exact; in one go or in two."""
    rng = np.random.default_rng(seed)
    shape = data.draw(st.sampled_from([(3,), (2, 2, 3)]))
    neuron = draw_neuron(data, rng, shape)
    noisy = {
        name: value * rng.uniform(0.5, 1.0, shape) for name, value in neuron.parameters().items()
    }
    neuron = dataclasses.replace(neuron, **noisy)
    x = torch.tensor(rng.normal(0, 1.5, (9, 4, *shape)), dtype=getattr(torch, dtype))
    emitted, states = [], []
    for kernel, cuts in ((True, (0, 9)), (False, (0, 9)), (True, (0, 4, 9))):
        state, out = NeuronState(neuron, shape, 4, x.dtype, kernel=kernel), torch.empty_like(x)
        for low, high in itertools.pairwise(cuts):
            state.run(x[low:high], out[low:high])
        emitted.append(out.numpy())
        states.append((state.u.numpy(), state.v.numpy()))
    for other, state in zip(emitted[1:], states[1:], strict=True):
        np.testing.assert_array_equal(other, emitted[0])
        np.testing.assert_array_equal(state, states[0])


def test_threads_share_the_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    neuron = Neuron.create((5,), leak=0.9, threshold=1.0)
    x = torch.tensor(np.random.default_rng(0).normal(size=(20, 7, 5)))
    alone, together = torch.empty_like(x), torch.empty_like(x)
    NeuronState(neuron, (5,), 7, x.dtype, kernel=True).run(x, alone)
    monkeypatch.setattr(float_neuron, "_WORTH_THREADS", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    NeuronState(neuron, (5,), 7, x.dtype, kernel=True).run(x, together)
    np.testing.assert_array_equal(alone.numpy(), together.numpy())
    assert alone.any()


def delays(data: st.DataObject, rng: np.random.Generator, n: int, low: int = 0) -> Array:
    if data.draw(st.booleans()):
        return frozen(data.draw(st.integers(low, 2)), np.int64)
    return frozen(rng.integers(low, 4, n), np.int64)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_against_the_reference(data: st.DataObject) -> None:
    """Any neuron, recurrence, delays per neuron, two sources, delayed bias, in small time blocks."""
    rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    network = Network(
        (
            inputs((3,)),
            Population("a", (4,), draw_neuron(data, rng, (4,))),
            Population("b", (4,), draw_neuron(data, rng, (4,)), "output"),
        ),
        (
            Projection(
                "in",
                (Source("input", delays(data, rng, 3)),),
                "a",
                (Dense(4, 3),),
                Weight(dyadic(rng, 4, 3)),
            ),
            Projection(
                "rec",
                (Source("a", delays(data, rng, 4, 1)),),
                "a",
                (Dense(4, 4),),
                Weight(dyadic(rng, 4, 4) / 4),
                frozen(dyadic(rng, 4) / 4),
            ),
            Projection(
                "sum",
                (Source("a"), Source("b", delays(data, rng, 4, 1))),
                "b",
                (Pointwise((4,), (4,)),),
                Weight(dyadic(rng, 4)),
            ),
            Projection(
                "skip",
                (Source("input", frozen(1, np.int64)),),
                "b",
                (Dense(4, 3),),
                Weight(dyadic(rng, 4, 3)),
            ),
        ),
    ).verify()
    x = rng.integers(0, 2, (10, 2, 3)).astype(float)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(float_engine, "_BLOCK_VALUES", data.draw(st.sampled_from([1, 30, 10**6])))
        run = run_float(network, x, dtype="float64")
    for sample in range(2):
        want = reference(network, x[:, sample])
        for name in ("a", "b"):
            # leaks of 3/4 outgrow the mantissa after some steps: states agree to rounding
            np.testing.assert_allclose(
                run.spikes[name][:, sample], want[name], rtol=1e-9, atol=1e-9
            )


def test_convolutions_against_the_reference() -> None:
    rng = np.random.default_rng(0)
    shape = (3, 2, 2)
    network = Network(
        (inputs((2, 7, 6)), lif("a", (4, 4, 6)), lif("b", (3,), "output")),
        (
            project(
                "c",
                "input",
                "a",
                Conv(4, 2, (3, 2), (2, 1), ((1, 1), (1, 0)), (1, 1)),
                dyadic(rng, 4, 2, 3, 2),
            ),
            project(
                "d",
                "a",
                "b",
                (
                    SumPool((2, 3), (2, 3), (0, 0)),
                    Conv(3, 4, (1, 1), (1, 1), ((0, 0),) * 2, (1, 1)),
                    SumPool(shape[1:], (1, 1)),
                    Reshape((3,)),
                ),
                dyadic(rng, 3, 4, 1, 1),
            ),
        ),
    ).verify()
    x = rng.integers(0, 2, (8, 3, 2, 7, 6))
    run = run_float(network, x, dtype="float64")
    for sample in range(3):
        want = reference(network, x[:, sample].astype(float))
        for name in ("a", "b"):
            got = run.spikes[name][:, sample].reshape(8, -1)
            np.testing.assert_array_equal(got, want[name])
            assert got.any()


def small() -> Network:
    return Network(
        (inputs((2,)), lif("a", (3,), "output", leak=1.0)),
        (project("fc", "input", "a", Dense(3, 2), np.full((3, 2), 0.5)),),
    )


def test_records_states_when_asked() -> None:
    run = run_float(small(), np.ones((3, 1, 2)), record=("spikes", "a"))
    np.testing.assert_array_equal(run.u["a"][:, 0, 0], [1, 1, 1])
    np.testing.assert_array_equal(run.v["a"][:, 0, 0], [1, 0, 1])  # 1 is not above 1; 2 is
    np.testing.assert_array_equal(run.spikes["a"][:, 0, 0], [0, 1, 0])
    assert run_float(small(), np.ones((3, 1, 2))).v == {}


def test_recorded_types() -> None:
    run = run_float(small(), np.ones((3, 1, 2), np.int8))
    assert run.spikes["a"].dtype == np.uint8
    assert run.spikes["input"].dtype == np.int8
    assert list(run.spikes) == ["input", "a"]


def test_quantised_weights_enter_with_their_values() -> None:
    codes = Weight(np.ones((3, 2), np.int8), scale=np.full((3, 1), 0.5), bits=8)
    network = small()
    network = network.replace(projections=[project("fc", "input", "a", Dense(3, 2), codes)])
    x = np.ones((4, 1, 2))
    np.testing.assert_array_equal(
        run_float(network, x).spikes["a"], run_float(small(), x).spikes["a"]
    )


def test_several_inputs() -> None:
    network = Network(
        (inputs((2,), "x"), inputs((2,), "y"), lif("a", (2,), "output", leak=0.0, threshold=1.5)),
        (
            project("px", "x", "a", Pointwise((2,)), np.array(1.0)),
            project("py", "y", "a", Pointwise((2,)), np.array(1.0)),
        ),
    ).verify()
    x, y = np.array([[[1, 1]], [[0, 1]]]), np.array([[[1, 0]], [[1, 1]]])
    run = run_float(network, {"x": x, "y": y})
    np.testing.assert_array_equal(run.spikes["a"], x & y)


@pytest.mark.parametrize(
    ("data", "code", "message"),
    [
        (np.ones((3, 2)), "input-shape", r"data of shape \(3, 2\), expected \(steps, samples, 2\)"),
        (np.ones(()), "input-shape", "expected"),
        (np.ones((3, 0, 2)), "input-shape", r"data of shape \(3, 0, 2\)"),
        (np.ones((3, 1, 2), complex), "input-dtype", "complex128 are not numbers"),
        (np.full((3, 1, 2), np.nan), "input-not-finite", "hold NaN or infinity"),
        ({"x": np.ones((3, 1, 2))}, "input-names", "there is no input 'x'"),
        ({}, "input-names", "no data for the input 'input'"),
    ],
)
def test_bad_inputs(data: Any, code: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        run_float(small(), data)
    assert caught.value.code == code


def test_one_array_for_two_inputs() -> None:
    network = Network(
        (inputs((2,), "x"), inputs((2,), "y"), lif("a", (2,), "output")),
        (
            project("px", "x", "a", Pointwise((2,)), np.array(1.0)),
            project("py", "y", "a", Pointwise((2,)), np.array(1.0)),
        ),
    )
    with pytest.raises(InputError, match="has 2 inputs, one array was given"):
        run_float(network, np.ones((1, 1, 2)))
    with pytest.raises(InputError, match="inputs differ in"):
        run_float(network, {"x": np.ones((1, 1, 2)), "y": np.ones((2, 1, 2))})


def test_bad_options() -> None:
    with pytest.raises(UsageError, match="dtype 'float23' is not supported") as caught:
        run_float(small(), np.ones((1, 1, 2)), dtype="float23")  # type: ignore[arg-type]
    assert caught.value.code == "float-dtype"
    assert caught.value.hint == "did you mean 'float32'?"
    with pytest.raises(InputError, match="there is no population 'b'"):
        run_float(small(), np.ones((1, 1, 2)), record=("b",))
    with pytest.raises(InputError, match="an input has no u and v") as refused:
        run_float(small(), np.ones((1, 1, 2)), record=("input",))
    assert refused.value.code == "no-state"
