"""The checker's engine and bounds, against the compiler's engine and inputs that reach them."""

from __future__ import annotations

import numpy as np
import pytest

from snndeploy.certify.bounds import bounds
from snndeploy.certify.engine import run
from snndeploy.ir.arrays import frozen
from snndeploy.ir.ops import Conv, Dense, Op, chain_shapes
from snndeploy.ir.program import CompartmentGroup, Program, SynapseGroup, SynapseSource
from snndeploy.ir.step import LOIHI
from snndeploy.simulate.integer.engine import run_integer
from tests.support.checked import checked
from tests.support.conformance_programs import DELAYED, UNDELAYED, make, random_inputs

FEATURES = [*UNDELAYED, *DELAYED]


@pytest.mark.parametrize("wild", [False, True])
@pytest.mark.parametrize("feature", FEATURES)
def test_it_computes_what_the_integer_engine_computes(feature: str, wild: bool) -> None:
    program = make(feature, 3, wild=wild)
    inputs = random_inputs(program, 12, 2, 3)
    spikes, _ = run(checked(program), inputs)
    expected = run_integer(program, inputs).spikes
    assert spikes.keys() == {g.name for g in program.on_chip}
    for name, found in spikes.items():
        np.testing.assert_array_equal(found, expected[name], err_msg=name)


@pytest.mark.parametrize("feature", FEATURES)
def test_no_run_leaves_the_bounds(feature: str) -> None:
    program = make(feature, 4)
    inputs = random_inputs(program, 40, 3, 4)
    if any(g.message_bits for g in program.groups):  # the least message of a width has no opposite
        most = {g.name: 2 ** max(g.message_bits - 1, 1) - 1 for g in program.groups}
        inputs = {name: np.clip(x, -most[name], most[name]) for name, x in inputs.items()}
    read = checked(program)
    found = bounds(read)
    _, peaks = run(read, inputs)
    names = [g.name for g in program.on_chip if g.kind != "constant"]
    states = run_integer(program, inputs, record_states=names)
    for name in names:
        b = found[name]
        assert peaks[name][0].max() <= b.u.max()
        assert peaks[name][1].max() <= b.v.max() or not b.safe  # what wrapped can be anything
        assert (np.abs(states.u[name]).max(axis=(0, 1)) <= b.u).all()
        assert (states.v[name].max(axis=(0, 1)) <= b.v_high).all(), name
        assert (-states.v[name].min(axis=(0, 1)) <= b.v_low).all(), name


def layer(
    op: Op, shape: tuple[int, ...], kind: str, rng: np.random.Generator, bits: int
) -> Program:
    """One layer behind an input, with decays and thresholds of its own for every neuron."""
    out = chain_shapes((op,), shape)[-1]

    def numbers(low: int, high: int) -> np.ndarray:
        return frozen(rng.integers(low, high, out), np.int64)

    groups = (
        CompartmentGroup(
            name="in", shape=shape, role="input", kind="input", depth=0, message_bits=bits
        ),
        CompartmentGroup(
            name="out",
            shape=out,
            role="output",
            kind=kind,  # type: ignore[arg-type]
            depth=1,
            du=numbers(900, 4096),
            dv=numbers(900, 4096),
            vth=numbers(1 << 16, 1 << 17),
            bias_mant=numbers(-9, 10),
        ),
    )
    mantissa = frozen(rng.integers(-20, 20, op.weight_shape) // 2 * 2, np.int64)  # type: ignore[union-attr]
    synapses = SynapseGroup(
        name="s",
        sources=(SynapseSource("in", frozen(1, np.int64)),),
        target="out",
        ops=(op,),
        mantissa=mantissa,
        exponent=int(rng.integers(-2, 2)),
        sign_mode="mixed",
        weight_bits=8,
    )
    return Program(target="any", arithmetic=LOIHI, groups=groups, synapses=(synapses,))


LAYERS = [
    (Dense(5, 7), (7,)),
    (Conv(3, 2, (3, 3), (2, 1), ((1, 0), (1, 1)), (1, 1)), (2, 5, 4)),
    (Conv(4, 4, (3,), (1,), ((1, 1),), (2,), 2), (4, 9)),
]


@pytest.mark.parametrize("bits", [0, 4])
@pytest.mark.parametrize("kind", ["lif", "readout"])
@pytest.mark.parametrize(("op", "shape"), LAYERS, ids=["dense", "conv", "conv1d"])
def test_bounds_behind_an_input_are_reached(
    op: Op, shape: tuple[int, ...], kind: str, bits: int
) -> None:
    """Every neuron has an input that takes u to its bound, and v too where nothing resets it."""
    program = layer(op, shape, kind, np.random.default_rng(7), bits)
    read = checked(program)
    found = bounds(read)["out"]
    low, high = (-7, 7) if bits else (0, 1)
    neurons = found.u.size
    # What each source adds to each neuron, from single spikes: nothing of the checker's is used.
    single = np.eye(np.prod(shape), dtype=np.int64).reshape(1, -1, *shape)
    quiet = dataclass_without_states(program)
    alone = run_integer(quiet, {"in": single}).spikes["out"][0].reshape(-1, neurons)
    for sign in (1, -1):
        toward = (sign * alone > 0).T.reshape(neurons, *shape)
        inputs = np.where(toward, high, low)
        train = np.repeat(inputs[None], 60, axis=0)
        states = run_integer(program, {"in": train}, record_states=["out"])
        u = states.u["out"].reshape(60, neurons, neurons).diagonal(axis1=1, axis2=2) * sign
        reached = u.max(axis=0)
        bound = (found.u_high if sign > 0 else found.u_low).reshape(-1)
        np.testing.assert_array_equal(reached, bound)
        if kind == "readout" or sign < 0:
            v = states.v["out"].reshape(60, neurons, neurons).diagonal(axis1=1, axis2=2) * sign
            bound = (found.v_high if sign > 0 else found.v_low).reshape(-1)
            np.testing.assert_array_equal(v.max(axis=0), bound)


@pytest.mark.parametrize(("reset", "leak"), [("zero", 0), ("subtract", 0), ("subtract", 2048)])
def test_the_bound_of_v_of_a_neuron_that_is_reset_is_reached(reset: str, leak: int) -> None:
    """v stops exactly at the threshold, which is no spike yet, and then gets its largest drive."""
    import dataclasses

    drive = 2 << 6
    start = [drive, drive + drive // 2][leak > 0]  # v after two spikes
    layered = layer(LAYERS[0][0], (7,), "lif", np.random.default_rng(0), 0)
    constant = {"du": 4095, "dv": leak, "vth": start >> 6 if leak else 4, "bias_mant": 0}
    group = dataclasses.replace(
        layered.groups[1],
        kind="lif" if reset == "zero" else "custom",
        reset=reset,  # type: ignore[arg-type]
        **{name: frozen(value, np.int64) for name, value in constant.items()},
    )
    weights = np.zeros((5, 7), np.int64)
    weights[:, 0] = 2
    synapse = dataclasses.replace(
        layered.synapses[0], mantissa=frozen(weights, np.int64), exponent=0
    )
    program = dataclasses.replace(layered, groups=(layered.groups[0], group), synapses=(synapse,))
    bound = bounds(checked(program))["out"].v_high
    theta = int(group.vth) << 6
    np.testing.assert_array_equal(bound, theta - theta * leak // 4096 + drive)
    ran = run_integer(program, {"in": np.ones((9, 1, 7), np.int64)}, record_states=["out"])
    v, fired = ran.v["out"], ran.spikes["out"]
    before = np.concatenate([np.zeros_like(v[:1]), v[:-1]]) * (4096 - leak) // 4096 + drive
    assert fired.any()
    np.testing.assert_array_equal(before.max(axis=(0, 1)), bound)


def dataclass_without_states(program: Program) -> Program:
    """The same layer as readouts that forget everything at once: v is what arrives, 64 times."""
    import dataclasses

    group = dataclasses.replace(
        program.groups[1],
        kind="readout",
        du=frozen(4095, np.int64),
        dv=frozen(4096, np.int64),
        bias_mant=frozen(0, np.int64),
    )
    synapse = dataclasses.replace(program.synapses[0], exponent=0)
    return dataclasses.replace(program, groups=(program.groups[0], group), synapses=(synapse,))
