"""Sigma-delta networks: engines against the plain rule, against Lava's own processes, and recordings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from snndeploy import read_netx
from snndeploy.ir.arrays import Array, frozen
from snndeploy.ir.graded.delta import DeltaRule
from snndeploy.ir.ops import Conv, Dense, Pointwise, Reshape
from snndeploy.ir.program import CompartmentGroup, Program, SynapseGroup, SynapseSource
from snndeploy.ir.step import LOIHI
from snndeploy.simulate.integer.engine import run_integer
from snndeploy.simulate.lava.engine import run_lava
from snndeploy.simulate.lava.env import LavaEnv
from tests.support.conformance_programs import pack
from tests.support.conformance_reference import matrix
from tests.support.random_deltas import random_deltas
from tests.support.recordings import assert_equal
from tests.support.scalar_delta import ScalarDelta, int32

STEPS, SAMPLES, PER_RUN = 9, 2, 10


def groups(program: Program) -> list[str]:
    return [g.name for g in program.on_chip]


def messages(program: Program, seed: int) -> dict[str, Array]:
    """Data that change slowly, jump, or stay as they are."""
    rng = np.random.default_rng(seed)
    found = {}
    for g in program.groups:
        if g.kind == "input":
            most = (1 << (g.message_bits - 1)) - 1
            change = rng.integers(-most, most + 1, (STEPS, SAMPLES, *g.shape)) // 3
            change[rng.random(STEPS) < 0.4] = 0
            found[g.name] = np.clip(change.cumsum(axis=0), -most, most)
    return found


def plain(program: Program, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Messages, neuron by neuron in Python's numbers and in the chip's time."""
    sent: dict[str, Array] = {
        name: x.reshape(*x.shape[:2], -1).astype(np.int64) for name, x in inputs.items()
    }
    for sample in range(SAMPLES):
        neurons = {g.name: _scalars(g) for g in program.on_chip}
        for g in program.on_chip:
            sent.setdefault(g.name, np.zeros((STEPS, SAMPLES, len(neurons[g.name])), np.int64))
        for chip in range(STEPS + program.depth):
            for g in program.on_chip:
                t = chip - g.depth
                if not 0 <= t < STEPS:
                    continue
                a = np.zeros(len(neurons[g.name]), np.int64)
                for s in program.incoming(g.name):
                    for o in s.sources:
                        then = chip - int(o.latency) - program.group(o.group).depth
                        if 0 <= then < STEPS:
                            sums = matrix(program, s) @ sent[o.group][then, sample]
                            wrapped = [int32(int(x)) for x in sums]
                            e = s.exponent
                            a += [int32(x << e) if e >= 0 else x >> -e for x in wrapped]
                sent[g.name][t, sample] = [
                    n.step(int32(int(x))) for n, x in zip(neurons[g.name], a, strict=True)
                ]
    return {g.name: sent[g.name].reshape(STEPS, SAMPLES, *g.shape) for g in program.on_chip}


def _scalars(g: CompartmentGroup) -> list[ScalarDelta]:
    rule = g.dynamics
    assert rule is not None
    bias = np.broadcast_to(g.bias_mant, g.shape).reshape(-1)
    return [
        ScalarDelta(
            rule.form,
            int(g.vth),
            int(b),
            rule.spike_exp,
            rule.state_exp,
            relu=rule.activation == "relu",
            cumulates=rule.cumulates,
        )
        for b in bias
    ]


@pytest.mark.parametrize("seed", range(20))
def test_the_engine_equals_neurons_in_pythons_numbers(seed: int) -> None:
    program = random_deltas(seed)
    inputs = messages(program, seed)
    run = run_integer(program, inputs)
    for name, expected in plain(program, inputs).items():
        np.testing.assert_array_equal(run.spikes[name], expected, name)


@pytest.mark.parametrize("seed", range(8))
def test_routes_devices_and_watching_change_nothing(seed: int) -> None:
    program = random_deltas(seed)
    inputs = messages(program, seed)
    first = run_integer(program, inputs, record_states=groups(program))
    for options in (
        {"route": "events"},
        {"route": "dense"},
        {"device": "cpu"},
        {"watch": True},
        {"batch": 1},
    ):
        other = run_integer(program, inputs, record_states=groups(program), **options)  # type: ignore[arg-type]
        assert_equal(first, other, groups(program))


def test_random_networks_are_what_they_are_for() -> None:
    """Both times, all forms, messages that come and go, and states that wrap."""
    together, forms, shares, wide = set(), set(), [], 0
    for seed in range(40):
        program = random_deltas(seed)
        run = run_integer(program, messages(program, seed), record_states=groups(program))
        for g in program.on_chip:
            assert g.dynamics is not None
            forms.add(g.dynamics.form)
            shares.append(float((run.spikes[g.name] != 0).mean()))
            wide += int((np.abs(run.u[g.name]) > 2**24).any())
        together.add(len({g.depth for g in program.on_chip}) == 1)
    assert (together, forms) == ({False, True}, {"delta", "sigma-delta", "sigma"})
    assert np.mean([0.02 < share < 0.98 for share in shares]) > 0.6
    assert wide > 3


def against_lava(seeds: range, lava: LavaEnv) -> int:
    """Run networks on both, several in a run of Lava; returns how many values were compared."""
    program = pack([random_deltas(seed) for seed in seeds])
    inputs = messages(program, seeds[0])
    here = run_integer(program, inputs, record_states=groups(program))
    real = run_lava(program, inputs, record_states=groups(program), lava=lava, timeout_s=120)
    used = {real.processes[name] for name in groups(program)}
    assert used <= {"WindowedDelta", "WindowedSigmaDelta", "WindowedSigma"}
    return assert_equal(here, real, groups(program))


@pytest.mark.lava
def test_lavas_own_neurons_do_the_same(lava: LavaEnv) -> None:
    assert against_lava(range(12), lava) > 5_000


@pytest.mark.slow
@pytest.mark.lava
@pytest.mark.parametrize("first", range(0, 200, PER_RUN))
def test_lavas_own_neurons_do_the_same_200_times(first: int, lava: LavaEnv) -> None:
    assert against_lava(range(first, first + PER_RUN), lava) > 4_000


# --- recordings of Loihi's own runs -------------------------------------------------------------------


@pytest.fixture(scope="module")
def recorded(shared_data: Path) -> Mapping[str, Array]:
    path = shared_data / "nir_models/lava_dl/pilotnet_sdnn_ground_truth.npz"
    with np.load(path, allow_pickle=False) as data:
        return dict(data)


@pytest.fixture(scope="module")
def pilotnet(shared_data: Path) -> Path:
    return shared_data / "nir_models/lava_dl/pilotnet_sdnn.net"


def trains(recording: Mapping[str, Array], name: str) -> Array:
    """A recorded array (x, y, channels, steps) as (steps, channels, y, x)."""
    return recording[name].astype(np.int64).T


@pytest.mark.slow
def test_pilotnet_as_it_was_recorded(pilotnet: Path, recorded: Mapping[str, Array]) -> None:
    """One frame, held: the messages of its encoder, the sums of two layers, and its answers."""
    program = read_netx(pilotnet)
    frame = np.repeat(trains(recorded, "input")[:, np.newaxis], 20, axis=0)
    run = run_integer(program, frame, record_states=["conv-1", "conv-2"])
    np.testing.assert_array_equal(run.spikes["input-0"][:, 0], trains(recorded, "act0"))
    for layer in (1, 2):
        np.testing.assert_array_equal(
            run.u[f"conv-{layer}"][:, 0], trains(recorded, f"sigma{layer}")
        )
    assert run.spikes["dense-9"][:9, 0, 0].tolist() == recorded["output"][0].tolist()
    sent = {g.name: int(np.count_nonzero(run.spikes[g.name])) for g in program.on_chip}
    assert sum(sent.values()) == 56_193


@pytest.mark.slow
@pytest.mark.lava
def test_pilotnet_on_lava_as_it_was_recorded(
    pilotnet: Path, recorded: Mapping[str, Array], lava: LavaEnv
) -> None:
    program = read_netx(pilotnet)
    frame = np.repeat(trains(recorded, "input")[:, np.newaxis], 9, axis=0)
    real = run_lava(program, frame, lava=lava, timeout_s=300)
    assert real.spikes["dense-9"][:, 0, 0].tolist() == recorded["output"][0].tolist()
    here = run_integer(program, frame)
    for g in program.on_chip:
        np.testing.assert_array_equal(real.spikes[g.name], here.spikes[g.name], g.name)


def test_pilotnet_answers_otherwise_in_the_time_of_the_sample(
    pilotnet: Path, recorded: Mapping[str, Array]
) -> None:
    """What SLAYER trains is another network: every layer at rest until the frame reaches it."""
    program = read_netx(pilotnet, starts="sample")
    frame = np.repeat(trains(recorded, "input")[:, np.newaxis], 3, axis=0)
    run = run_integer(program, frame)
    assert run.spikes["dense-9"][:, 0, 0].tolist() == [0, 0, 0]
    assert recorded["output"][0, -1] == -31_026


def test_the_square_of_pilotnet(pilotnet: Path, recorded: Mapping[str, Array]) -> None:
    """Four convolutions from the recorded messages of the encoder alone."""
    whole = read_netx(pilotnet)
    entry = CompartmentGroup(
        name="act0", shape=(3, 33, 33), role="input", kind="input", depth=1, message_bits=16
    )
    held, synapses = [entry], []
    for s in whole.synapses[1:5]:
        (op,) = s.ops
        assert isinstance(op, Conv)
        if s.target == "conv-3":  # the square network strides and pads both axes alike
            op = replace(op, stride=(2, 2), padding=((1, 1), (1, 1)))
        before = held[-1]
        group = whole.group(s.target)
        shape = op.out_shape(before.shape)
        held.append(CompartmentGroup(**{**vars(group), "shape": shape}))
        source = SynapseSource(before.name, frozen(1, np.int64))
        synapses.append(SynapseGroup(**{**vars(s), "sources": (source,), "ops": (op,)}))
    program = Program(
        target="loihi2", arithmetic=LOIHI, groups=tuple(held), synapses=tuple(synapses)
    ).verify()
    names = [g.name for g in held[1:]]
    inputs = trains(recorded, "act0")[:, np.newaxis, :, :, :33]
    run = run_integer(program, inputs, record_states=names)
    for layer, name in enumerate(names, 1):
        expected = trains(recorded, f"sigma{layer}_square")
        np.testing.assert_array_equal(run.u[name][:, 0], expected, name)


def test_the_tiny_blocks_as_they_were_recorded(shared_data: Path) -> None:
    """An encoder on moving data, a convolution at its first step, and a sum of binary messages."""
    with np.load(shared_data / "nir_models/lava_dl/tinynet_sdnn_ground_truth.npz") as data:
        rec = dict(data)
    encoder = _alone(DeltaRule(form="delta"), Pointwise((3, 16, 16)), np.ones((), np.int64), 20)
    phase = np.sin(2 * np.pi * np.arange(15) / 15)
    x = (rec["input_bias"].T[np.newaxis].astype(float) * phase[:, None, None, None]).astype(
        np.int64
    )
    run = run_integer(encoder, x[:, np.newaxis])
    np.testing.assert_array_equal(run.spikes["out"][:, 0], trains(rec, "input"))

    kernel = rec["layer1_kernel"].astype(np.int64).transpose(0, 3, 2, 1)[:, :, ::-1, ::-1]
    op = Conv(24, 3, (5, 5), (2, 2), ((0, 0), (0, 0)), (1, 1))
    bias = rec["layer1_bias"].astype(np.int64).reshape(24, 1, 1)
    layer = _alone(DeltaRule(form="sigma-delta"), op, kernel, 20, bias)
    run = run_integer(layer, np.zeros((1, 1, 3, 16, 16), np.int64))
    np.testing.assert_array_equal(run.spikes["out"][0, 0], trains(rec, "layer1")[0])

    weight = rec["layer2_weight"].astype(np.int64)
    order = (rec["layer1"] != 0).astype(np.int64).reshape(864, 16).T  # x, y, channel as it was run
    sums = _alone(DeltaRule(form="sigma"), Dense(100, 864), weight, 0)
    run = run_integer(sums, np.concatenate([np.zeros((1, 864), np.int64), order])[:16, np.newaxis])
    np.testing.assert_array_equal(run.spikes["out"][:, 0], rec["layer2"].T)


def _alone(
    rule: DeltaRule,
    op: Conv | Dense | Pointwise | Reshape,
    weight: Array,
    vth: int,
    bias: object = 0,
) -> Program:
    """One layer, which a number reaches in the step in which it enters."""
    shape = (3, 16, 16) if not isinstance(op, Dense) else (op.in_features,)
    entry = CompartmentGroup(
        name="in", shape=shape, role="input", kind="input", depth=0, message_bits=16
    )
    layer = CompartmentGroup(
        name="out",
        shape=op.out_shape(shape),
        role="output",
        kind="delta",
        depth=1,
        message_bits=16,
        vth=frozen(vth, np.int64),
        bias_mant=frozen(bias, np.int64),
        dynamics=rule,
    )
    synapses = SynapseGroup(
        name="s",
        sources=(SynapseSource("in", frozen(1, np.int64)),),
        target="out",
        ops=(op,),
        mantissa=frozen(weight, np.int64),
        exponent=0,
        sign_mode="mixed",
        weight_bits=9,
    )
    return Program(
        target="loihi2", arithmetic=LOIHI, groups=(entry, layer), synapses=(synapses,)
    ).verify()


def test_what_a_watched_run_tells() -> None:
    """The largest sum and activation before they wrap, and how often they do."""
    program = _alone(DeltaRule(form="sigma", state_exp=0), Dense(1, 1), np.full((1, 1), 255), 0)
    x = np.full((3, 1, 1), 32_767, np.int64)
    used = run_integer(program, x, watch=True).registers["out"]
    assert (used.u_peak, used.wraps, used.limit) == (3 * 255 * 32_767, 0, 2**31 - 1)
    grown = replace(program.synapses[0], exponent=8)
    used = run_integer(replace(program, synapses=(grown,)), x, watch=True).registers["out"]
    first = 255 * 32_767 << 8  # 2,139,029,760: the second step takes it over the end
    assert (used.u_peak, used.wraps) == (2 * first, 1)
