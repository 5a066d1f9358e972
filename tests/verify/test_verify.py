"""Stages held against each other: distances, registers, the layer that loses answers, the verdict."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snndeploy.chip import load_target
from snndeploy.ir.arrays import Array, frozen
from snndeploy.ir.network import Network
from snndeploy.ir.ops import Dense
from snndeploy.ir.program import CompartmentGroup, Program, SynapseGroup, SynapseSource
from snndeploy.ir.step import LOIHI
from snndeploy.ir.weights import Weight
from snndeploy.lower import infer_coding, lower
from snndeploy.passes.base import PassContext
from snndeploy.passes.kernels.remove_kernels import RemoveKernels
from snndeploy.simulate.float.engine import run_float
from snndeploy.simulate.integer.engine import run_integer
from snndeploy.simulate.recording import Recording, RegisterUse
from snndeploy.verify import PairResult, Verification, judge
from snndeploy.verify.agreement import AgreementMeter
from snndeploy.verify.distance import van_rossum
from snndeploy.verify.substitution import Substitution, emitted_by
from snndeploy.verify.verdict import sign_test
from tests.support.builders import ZOO, chain_net, conv_net, spikes
from tests.support.exact_networks import FAMILIES, STEPS, exact_inputs, exact_network

LOIHI2 = load_target("loihi2")


def train(steps: int, *at: int) -> Array:
    x = np.zeros((steps, 1), np.uint8)
    for t in at:
        x[t] += 1
    return x


def double_sum(c: Array, tau: float) -> float:
    """D² of the difference ``c`` of two trains, straight from the kernel's autocorrelation."""
    return 0.5 * sum(
        float(c[i]) * float(c[j]) * math.exp(-abs(i - j) / tau)
        for i in range(len(c))
        for j in range(len(c))
    )


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=25),
    st.floats(0.2, 50),
)
def test_the_recursion_is_the_double_sum(pairs: list[tuple[int, int]], tau: float) -> None:
    a, b = (np.array(x)[:, np.newaxis] for x in zip(*pairs, strict=True))
    d = van_rossum(a, b, tau)
    for found, c in ((d.between, a - b), (d.first, a), (d.second, b)):
        assert found[0] == pytest.approx(double_sum(c[:, 0], tau), abs=1e-9)


@pytest.mark.parametrize("tau", [1.0, 10.0])
def test_distances_by_hand(tau: float) -> None:
    assert van_rossum(train(9, 4), train(9), tau).between[0] == pytest.approx(0.5)
    assert van_rossum(train(9, 8), train(9), tau).between[0] == pytest.approx(
        0.5
    )  # its tail counts
    apart = van_rossum(train(9, 2), train(9, 5), tau).between[0]
    assert apart == pytest.approx(1 - math.exp(-3 / tau))
    assert van_rossum(train(9, 1, 7), train(9, 1, 7), tau).between[0] == 0


def test_the_distance_is_the_integral_of_its_definition() -> None:
    """Fine numerical integration of two sums of exponentials, far beyond the last spike."""
    a, b, tau, fine = train(6, 0, 3, 3), train(6, 1, 5), 2.0, 2000
    times = (np.arange(60 * fine) + 0.5) / fine

    def filtered(x: Array) -> Array:
        total = np.zeros_like(times)
        for t in range(len(x)):
            total += float(x[t, 0]) * np.where(times >= t, np.exp(-(times - t) / tau), 0)
        return total

    integral = ((filtered(a) - filtered(b)) ** 2).sum() / fine / tau
    assert van_rossum(a, b, tau).between[0] == pytest.approx(integral, rel=1e-5)


def agreement(parts: Sequence[tuple[Array, Array]], *, spiking: bool = True) -> Any:
    meter = AgreementMeter(5.0, spiking=spiking)
    for a, b in parts:
        meter.add(a, b)
    return meter.result()


def test_agreement_adds_up_over_batches() -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.random((2, 12, 9, 3, 2)) < 0.3).astype(np.uint8)
    whole = agreement([(a, b)])
    parts = agreement([(a[:, :4], b[:, :4]), (a[:, 4:], b[:, 4:])])
    assert dataclasses.astuple(parts) == pytest.approx(dataclasses.astuple(whole))
    rates = (x.mean(axis=0).reshape(-1) for x in (a, b))
    assert whole.rate_correlation == pytest.approx(np.corrcoef(*rates)[0, 1])
    d = van_rossum(a.reshape(12, -1), b.reshape(12, -1), 5.0)
    assert whole.van_rossum == pytest.approx(np.sqrt(d.between).mean())
    assert whole.relative_distance == pytest.approx(d.between.sum() / (d.first + d.second).sum())
    assert whole.match == (a & b).sum() / (a | b).sum()


def test_agreement_at_its_ends() -> None:
    a, silent = train(20, 3, 9)[:, :, np.newaxis], np.zeros((20, 1, 1), np.uint8)
    same = agreement([(a, a)])
    assert (same.van_rossum, same.relative_distance, same.match) == (0, 0, 1)
    assert agreement([(a, silent)]).relative_distance == pytest.approx(1)
    nothing = agreement([(silent, silent)])
    assert (nothing.relative_distance, nothing.match) == (None, 1)
    assert nothing.rate_correlation is None
    values = np.arange(12.0).reshape(2, 3, 2)
    read = agreement([(values, 100 * values + 7)], spiking=False)
    assert read.rate_correlation == pytest.approx(1)
    assert (read.van_rossum, read.match) == (None, None)


def driven(weights: Array, exponent: int, **fields: Any) -> Program:
    """``weights`` times a power of two onto one group of neurons."""
    neurons = CompartmentGroup(
        name="n",
        shape=(len(weights),),
        role="output",
        kind="lif",
        depth=1,
        **{"du": frozen(4095, np.int64), "vth": frozen(131071, np.int64), **fields},
    )
    source = CompartmentGroup(
        name="in", shape=(weights.shape[1],), role="input", kind="input", depth=0
    )
    synapses = SynapseGroup(
        name="w",
        sources=(SynapseSource("in", frozen(1)),),
        target="n",
        ops=(Dense(*weights.shape),),
        mantissa=frozen(weights),
        exponent=exponent,
        sign_mode="mixed",
        weight_bits=8,
    )
    return Program(
        arithmetic=LOIHI, target="loihi2", groups=(source, neurons), synapses=(synapses,)
    ).verify()


def watched(program: Program, x: Array, **options: Any) -> RegisterUse:
    plain, seen = run_integer(program, x), run_integer(program, x, watch=True, **options)
    np.testing.assert_array_equal(plain.spikes["n"], seen.spikes["n"])
    assert plain.registers == {}
    return seen.registers["n"]


def test_registers_by_hand() -> None:
    """One input of weight 254 * 2**e: u is that << 6, v its sum over steps (no leak, no reset)."""
    program = driven(np.array([[254]]), 0)
    assert watched(program, np.ones((3, 2, 1), int)) == RegisterUse(
        limit=LOIHI.state_max, u_peak=254 << 6, v_peak=3 * (254 << 6), wraps=0, clips=0
    )
    use = watched(driven(np.array([[-254]]), 7), np.ones((5, 2, 1), int))
    u = 254 << 13
    assert use.u_peak == u
    # v: -u, -2u, -3u, -4u would all fit below 2**23 up to four steps; the fifth saturates
    assert 4 * u <= LOIHI.state_max < 5 * u
    assert (use.v_peak, use.clips, use.wraps) == (5 * u, 2, 0)
    use = watched(driven(np.array([[254]]), 10), np.array([[[1]], [[0]]]))
    assert LOIHI.state_max < 254 << 16
    assert (use.u_peak, use.wraps) == (254 << 16, 1)


def test_registers_against_a_slow_loop() -> None:
    rng = np.random.default_rng(0)
    weights = 2 * rng.integers(-127, 128, (6, 5))
    program = driven(
        weights,
        8,
        du=frozen(rng.integers(0, 4096, 6)),
        dv=frozen(rng.integers(0, 4096, 6)),
        vth=frozen(rng.integers(10, 131071, 6)),
    )
    x = (rng.random((30, 4, 5)) < 0.6).astype(int)
    group = program.group("n")
    peaks, events = [0, 0], [0, 0]

    def decayed(value: int, d: int) -> int:
        return int(math.copysign((abs(value) * (4096 - d)) >> 12, value))

    for sample in range(4):
        for i in range(6):
            u = v = 0
            for t in range(30):
                wide = decayed(u, int(group.du[i]) + 1) + (int(weights[i] @ x[t, sample]) << 14)
                peaks[0] = max(peaks[0], abs(wide))
                u = wide
                if not -(2**23) < wide <= 2**23:
                    events[0] += 1
                    u = wide - 2**24 if wide > 0 else wide + 2**24
                wide = decayed(v, int(group.dv[i])) + u
                peaks[1] = max(peaks[1], abs(wide))
                events[1] += abs(wide) > LOIHI.state_max
                v = max(-LOIHI.state_max, min(LOIHI.state_max, wide))
                v = 0 if v > int(group.vth[i]) << 6 else v
    expected = RegisterUse(
        limit=LOIHI.state_max, u_peak=peaks[0], v_peak=peaks[1], wraps=events[0], clips=events[1]
    )
    assert min(events) > 0
    assert watched(program, x) == expected
    assert watched(program, x, device="cpu") == expected
    assert watched(program, x, batch=3) == expected


@pytest.mark.parametrize("family", FAMILIES)
def test_watching_changes_nothing(family: str) -> None:
    """Every neuron model; and registers are at least as full as the states that a run leaves in them."""
    net = exact_network(family, 0)
    x = exact_inputs(net, family, 0)
    program = lower(net, LOIHI2, inputs=infer_coding(x), steps=STEPS)
    stepped = [g.name for g in program.on_chip if g.kind != "constant"]
    plain = run_integer(program, x, record_states=stepped)
    seen = run_integer(program, x, watch=True)
    for name, train in plain.spikes.items():
        np.testing.assert_array_equal(seen.spikes[name], train)
    assert list(seen.registers) == stepped
    for name, use in seen.registers.items():
        assert use.wraps == use.clips == 0  # exact: nothing overflowed
        assert use.u_peak == np.abs(plain.u[name]).max()
        assert use.v_peak >= np.abs(plain.v[name]).max()


def changed(net: Network, name: str, rng: np.random.Generator) -> Network:
    """The network with noise on everything that arrives at ``name``."""

    def noisy(w: Weight) -> Weight:
        return Weight((w.data + rng.normal(0, 0.6, w.shape)).astype(np.float32))

    return net.replace(
        projections=[dataclasses.replace(p, weight=noisy(p.weight)) for p in net.incoming(name)]
    )


@pytest.mark.parametrize("build", ZOO)
def test_a_replaced_layer_is_the_network_with_that_layer(build: Any) -> None:
    """Every layer of a changed network, one by one; whole loops where there are some."""
    net, rng = build(), np.random.default_rng(1)
    after = net
    for population in net.populations:
        if population.role != "input":
            after = changed(after, population.name, rng)
    x = spikes(net, samples=6)
    found = Substitution(net, after, {}).answers(run_float(net, x))
    assert {n for unit in found for n in unit.split(", ")} == {
        p.name for p in net.populations if p.role != "input"
    }
    for unit, answers in found.items():
        hybrid = net.replace(
            projections=[p for name in unit.split(", ") for p in after.incoming(name)]
        )
        output = net.with_role("output")[0].name
        np.testing.assert_array_equal(answers, run_float(hybrid, x).predictions(output))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_layer_of_the_program_by_itself(family: str) -> None:
    """Fed what the trained network feeds it, it emits what the trained network's layer emits."""
    for seed in range(3):
        net = exact_network(family, seed)
        x = exact_inputs(net, family, seed)
        program = lower(net, LOIHI2, inputs=infer_coding(x), steps=STEPS)
        run = run_float(net, x)
        substitution = Substitution(net, program, {})
        for unit in substitution.units:
            for name, emitted in emitted_by(program, unit, run.spikes).items():
                np.testing.assert_array_equal(emitted, run.spikes[name], err_msg=name)
        output = net.with_role("output")[0].name
        for answers in substitution.answers(run).values():
            np.testing.assert_array_equal(answers, run.predictions(output))


def verdict_of(runs: dict[str, Recording], program: Program, networks: dict[str, Network]) -> Any:
    labels = runs["float"].predictions("output")
    verification = Verification(program, networks, tau=10.0)
    for low in range(0, len(labels), 16):
        part = {
            n: Recording(engine=n, spikes={k: s[:, low : low + 16] for k, s in r.spikes.items()})
            for n, r in runs.items()
        }
        verification.add(part, labels[low : low + 16])
    right = {n: float((r.predictions("output") == labels).mean()) for n, r in runs.items()}
    return judge(verification.results(), right, len(labels)), verification.results()


def three_layers() -> tuple[Network, Array]:
    rng = np.random.default_rng(3)
    sizes = (12, 24, 24, 6)
    layers = [(rng.integers(-6, 9, (m, n)) / 16).astype(np.float32) for n, m in pairwise(sizes)]
    return chain_net(layers), (rng.random((24, 48, 12)) < 0.4).astype(np.float32)


@pytest.mark.parametrize("culprit", ["h1", "h2", "output"])
def test_the_layer_that_was_spoilt_is_named(culprit: str) -> None:
    """In the compressed network, then in the program: stage and layer are both known."""
    net, x = three_layers()
    spoilt = changed(net, culprit, np.random.default_rng(0))
    program = lower(spoilt, LOIHI2)
    networks = {"float": net, "compressed": spoilt}
    runs = {name: run_float(n, x) for name, n in networks.items()}
    runs["integer"] = run_integer(program, x.astype(int))
    verdict, (first, _) = verdict_of(runs, program, networks)
    assert verdict.drop > 5
    assert (verdict.stages, verdict.layer) == (("float", "compressed"), culprit)
    assert first.alone[culprit] == first.attributed == first.lost
    others = {n: k for n, k in first.alone.items() if n != culprit}
    assert set(others.values()) == {0}
    assert first.no_layer_alone == 0
    assert f"layer {culprit} in its compressed form alone loses {first.lost}." in verdict.text

    program = lower(net, LOIHI2)
    groups = tuple(
        dataclasses.replace(g, vth=frozen(g.vth * 2)) if g.name == culprit else g
        for g in program.groups
    )
    program = dataclasses.replace(program, groups=groups)
    runs = {
        "float": runs["float"],
        "compressed": runs["float"],
        "integer": run_integer(program, x.astype(int)),
    }
    verdict, _ = verdict_of(runs, program, {"float": net, "compressed": net})
    assert (verdict.stages, verdict.layer) == (("compressed", "integer"), culprit)


def test_stages_that_answer_nothing_are_known() -> None:
    """One batch with an answer is enough; a batch of silence alone makes nobody silent."""
    net, x = three_layers()
    program = lower(net, LOIHI2)
    verification = Verification(program, {"float": net}, tau=10.0)
    seen = []
    for spoken in (0, x[:, :8], 0):
        part = np.zeros_like(x[:, :8]) + spoken
        runs = {"float": run_float(net, part), "integer": run_integer(program, part.astype(int))}
        runs["lava"] = Recording(
            engine="lava", spikes={n: np.zeros_like(v) for n, v in runs["integer"].spikes.items()}
        )
        verification.add(runs, None)
        seen.append(verification.silent)
    assert seen == [("float", "integer", "lava"), ("lava",), ("lava",)]


def test_removed_kernels_are_compared_by_those_that_stayed() -> None:
    """Two kernels that never spike go first, then one that does."""
    net = conv_net(seed=7)
    s1 = net.population("s1")
    (conv1,) = net.incoming("s1")
    assert s1.neuron is not None
    mute = np.array(np.broadcast_to(s1.neuron.bias, s1.shape))
    mute[[0, 2]] = -1000
    data = np.array(conv1.weight.data)
    data[[0, 2]] = 0.01
    net = net.replace(
        [dataclasses.replace(s1, neuron=dataclasses.replace(s1.neuron, bias=frozen(mute)))],
        [dataclasses.replace(conv1, weight=Weight(data))],
    )
    x = spikes(net, steps=16, samples=96)

    def removed(net: Network, stay: int) -> Network:
        step = RemoveKernels(layers=("conv1",), keep={"conv1": stay})
        return step.apply(net, PassContext()).network

    once = removed(net, 2)
    twice = removed(once, 1)
    for before, after, left in ((net, once, [1, 3]), (once, twice, None), (net, twice, None)):
        kept = after.population("s1").kept
        assert kept is not None
        assert left is None or kept.tolist() == left
        networks = {"float": before, "compressed": after}
        runs = {name: run_float(n, x) for name, n in networks.items()}
        _, (found,) = verdict_of(runs, lower(after, LOIHI2), networks)
        assert found.not_compared == ()
        assert found.layers["s1"].match == 1  # what stays gets the same input as before
        assert (found.lost > 0) == (after is twice)
        assert found.alone["s1"] == found.lost  # silence of what was removed is the layer's doing


@pytest.mark.parametrize(("lost", "gained"), [(0, 0), (1, 0), (5, 5), (9, 1), (40, 22), (300, 10)])
def test_the_sign_test_is_the_binomial_one(lost: int, gained: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    n = lost + gained
    expected = stats.binomtest(lost, n, 0.5).pvalue if n else 1.0
    assert sign_test(lost, gained) == pytest.approx(expected)


def pair(
    a: str, b: str, lost: int, gained: int, alone: dict[str, int], together: int
) -> PairResult:
    return PairResult(
        stages=(a, b),
        layers={},
        not_compared=(),
        lost=lost,
        gained=gained,
        attributed=lost,
        alone=alone,
        no_layer_alone=together,
    )


def test_the_verdict_in_words() -> None:
    pairs = (
        pair("float", "compressed", 30, 2, {"a": 20, "b": 3}, 9),
        pair("compressed", "integer", 3, 1, {"a": 0, "b": 0}, 3),
    )
    accuracy = {"float": 0.95, "compressed": 0.67, "integer": 0.65}
    assert judge(pairs, accuracy, 100).text == (
        "Accuracy falls by 30.0 points from float (95.0%) to integer (65.0%). The step from float to "
        "compressed costs most: 28.0 points (30 answers lost, 2 gained). Of the 30 lost answers, layer "
        "a in its compressed form alone loses 20 (b: 3); 9 by no single layer."
    )
    small = judge(pairs[1:], {"compressed": 0.67, "integer": 0.65}, 100)
    assert "as uneven by chance in 62% of cases" in small.text
    assert small.layer is None
    assert "no single layer in its integer form loses any: they are lost together." in small.text
    same = judge(pairs[1:], {"compressed": 0.65, "integer": 0.65}, 100)
    assert same.text == "No accuracy is lost from compressed (65.0%) to integer (65.0%)."
    nobody = judge(pairs[1:], {"compressed": 0.1, "integer": 0.1}, 1, ("compressed", "integer"))
    assert nobody.text.startswith(
        "No stage answers anything on 1 sample (no output emits), so nothing"
    )
    assert (nobody.drop, nobody.stages) == (0.0, None)
    trained = judge(pairs, accuracy, 100, ("float", "compressed"))
    assert trained.text.startswith("float answers nothing on 100 samples (its output never emits)")
    assert trained.layer is None
    later = judge(pairs, accuracy, 100, ("integer",))
    assert later.text.startswith("Accuracy falls by 30.0 points")
    unlabelled = judge(pairs, {}, 100)
    assert unlabelled.text.startswith(
        "30 of 100 answers change most between float and compressed. Of the 30 changed answers, layer a "
        "in its compressed form alone changes 20 (b: 3)"
    )
    assert judge((pair("integer", "lava", 0, 0, {}, 0),), {}, 9).text == (
        "All stages give the same answers."
    )
    assert judge((), {"integer": 0.5}, 9).text == "The only stage, integer, answers 50.0% right."
