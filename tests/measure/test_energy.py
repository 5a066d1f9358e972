"""SynOps, messages and hops of networks small enough to count by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

import snndeploy
from snndeploy.chip import Target, load_target
from snndeploy.ir.network import Network
from snndeploy.ir.ops import Conv
from snndeploy.ir.placement import Placement, Slice
from snndeploy.ir.program import Program
from snndeploy.ir.step import LOIHI
from snndeploy.mapping import StepMeter, effects, fan_out, place_program, step_time, traffic
from snndeploy.measure.energy import Activity, Meter, estimate_energy
from snndeploy.simulate.recording import Recording
from tests.support.builders import ZOO, conv_net
from tests.support.counted import group, small, synapses
from tests.support.mapping_programs import mlp

LOIHI1 = load_target("loihi1")


def count_events(
    program: Program, placement: Placement, target: Target, recording: Recording
) -> Activity:
    return Meter(program, effects(program, placement, target)).measure(recording)


def test_hand_counted_events() -> None:
    program, placement, recording = small()
    a = count_events(program, placement, LOIHI1, recording)
    assert (a.samples, a.steps) == (1, 2)
    assert a.spikes == {"in": 3, "a": 3, "b": 1}
    # in: neurons 0, 1 and 2 spike once and have 2 synapses each; a: 0 spikes twice (2), 3 once (1).
    assert a.synops == {"w0": 6, "w1": 5}
    assert a.dense_synops == {"w0": 6 * 2, "w1": 6 * 2}
    assert a.total_synops == 11
    assert a.updates == 6 * 2
    # in 0 reaches both cores, 1 only core 9, 2 only core 0; every spike of a goes to core 37.
    assert a.messages == (2 + 1 + 1) + 3


def test_layers_and_samples_by_hand() -> None:
    """The events above, each with the layer and the sample it belongs to."""
    program, placement, recording = small()
    a = count_events(program, placement, LOIHI1, recording)
    layer = a.layers["a"]
    assert (layer.spikes_in, layer.spikes_out) == (3, 3)
    assert (layer.synops, layer.dense_synops, layer.updates) == (6, 12, 8)
    assert (layer.messages, layer.hops) == (3, (16, 3))
    assert (a.layers["b"].spikes_in, a.layers["b"].synops, a.layers["b"].messages) == (3, 5, 0)
    assert (a.layers["in"].messages, a.layers["in"].updates) == (4, 0)
    assert {name: counts.tolist() for name, counts in a.per_sample.items()} == {
        "spikes": [7],
        "synops": [11],
        "messages": [7],
    }


def test_batches_add_up_to_the_whole_run() -> None:
    """A second sample in which only the input spikes: sums add, ranges span both."""
    program, placement, recording = small()
    quiet = {n: np.zeros_like(s) for n, s in recording.spikes.items()}
    quiet["in"][0, 0, 1] = 1
    both = Recording(
        engine="integer",
        spikes={n: np.concatenate([s, quiet[n]], axis=1) for n, s in recording.spikes.items()},
    )
    whole = count_events(program, placement, LOIHI1, both)
    parts = [
        count_events(program, placement, LOIHI1, r)
        for r in (recording, Recording(engine="integer", spikes=quiet))
    ]
    joined = parts[0] + parts[1]
    assert (joined.samples, joined.layers) == (2, whole.layers)
    assert (joined.synops, joined.dense_synops) == (whole.synops, whole.dense_synops)
    for name, counts in whole.per_sample.items():
        np.testing.assert_array_equal(joined.per_sample[name], counts)
    assert whole.per_sample["synops"].tolist() == [11, 2]
    assert whole.layers["a"].synops_range == (2, 6)
    assert whole.layers["a"].spikes_out_range == (0, 3)


@pytest.mark.parametrize("build", [b for b in ZOO if b is not conv_net])  # tiny cannot subtract
def test_fan_out_times_spikes_is_the_traffic(build: Callable[[], Network]) -> None:
    compiled = snndeploy.compile(build(), target="tiny", recipe=None)
    program, placement = compiled.program, compiled.placement
    rng = np.random.default_rng(0)
    counts = {g.name: rng.integers(0, 9, g.shape) for g in program.groups if g.kind != "readout"}
    sent = traffic(program, placement, compiled.target, counts)
    fans = fan_out(program, placement, compiled.target)
    messages, x, y = sum(fans[name] @ count.reshape(-1) for name, count in counts.items())
    assert (messages, x, y) == (sent.messages, sent.hops_x, sent.hops_y)
    assert messages > 0


def test_hops_follow_the_mesh() -> None:
    """Cores 0, 9 and 37 sit on routers 0, 2 and 9 of an 8-wide snake: (0, 0), (2, 0), (6, 1)."""
    program, placement, recording = small()
    assert LOIHI1.chip.mesh[0] == 8
    assert LOIHI1.chip.cores_per_router == 4
    a = count_events(program, placement, LOIHI1, recording)
    # two spikes from core 0 and one from core 9; the host's messages cross no counted router
    assert a.hops == (2 * 6 + 1 * 4, 2 * 1 + 1 * 1)


def test_energy_is_events_times_published_energies() -> None:
    """Loihi's table of Davies et al. 2018: 23.6 pJ, 81 and 52 pJ, 1.7 pJ, 3.0 and 4.0 pJ."""
    program, placement, recording = small()
    activity = count_events(program, placement, LOIHI1, recording)
    estimate = estimate_energy(activity, LOIHI1, LOIHI1.energy)
    # 3 messages are of neurons; the 4 of the host are not charged. The one zero that a spike meets in a
    # dense list (of b, from a 3) may cost an operation; the lists of a are sparse.
    shared = 11 * 23.6 + 3 * 1.7 + 16 * 3.0 + 3 * 4.0
    assert estimate.low == pytest.approx((shared + 12 * 52) / 1000)
    assert estimate.high == pytest.approx((shared + 1 * 23.6 + 12 * 81) / 1000)
    assert sum(estimate.parts.values()) == pytest.approx(estimate.low)
    assert any("static" in text for text in estimate.not_counted)


def test_a_convolution_counts_the_taps_inside() -> None:
    op = Conv(1, 1, (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1))
    program = Program(
        arithmetic=LOIHI,
        target="loihi1",
        groups=(group("in", (1, 3, 3), 0, "input"), group("a", (1, 3, 3), 1)),
        synapses=(synapses("w", "in", "a", op, np.full((1, 1, 3, 3), 2)),),
    )
    placement = Placement(
        target="loihi1",
        cores_per_chip=128,
        slices=(Slice(group="a", bounds=((0, 1), (0, 3), (0, 3)), core=0),),
    )
    spikes = np.zeros((1, 1, 1, 3, 3), int)
    spikes[..., 0, 0] = 1  # a corner reaches 4 outputs
    spikes[..., 1, 1] = 1  # the centre 9
    recording = Recording(engine="integer", spikes={"in": spikes, "a": np.zeros_like(spikes)})
    assert count_events(program, placement, LOIHI1, recording).synops == {"w": 13}


def test_what_the_host_sends_is_not_charged_as_a_neuron() -> None:
    """SANA-FE's constants charge 69.3 pJ per spike of a neuron and 111 pJ per message: 4 and 3 here."""
    program, placement, recording = small()
    activity = count_events(program, placement, LOIHI1, recording)
    parts = estimate_energy(activity, LOIHI1, LOIHI1.energy_alternatives["sana-fe"]).parts
    assert parts["spikes"] == pytest.approx(4 * 69.3 / 1000)
    assert parts["messages"] == pytest.approx(3 * 111 / 1000)


def test_both_compartments_of_a_subtract_reset_are_updated() -> None:
    """Eight neurons that reset by subtraction are sixteen compartments, in energy as in time."""
    program = mlp(4, 8)
    inputs, neurons = program.groups
    program = replace(program, groups=(inputs, replace(neurons, reset="subtract")))
    placement = place_program(program, LOIHI1)
    quiet = {g.name: np.zeros((5, 2, *g.shape), int) for g in program.groups}
    activity = count_events(program, placement, LOIHI1, Recording(engine="integer", spikes=quiet))
    assert activity.updates == 16 * 5 * 2
    time = step_time(program, placement, LOIHI1, {})
    assert time is not None
    assert {t.what: t.count for t in time.terms}["neuron updates"] == 16


@pytest.mark.parametrize("target", [LOIHI1, load_target("loihi2")])
def test_energy_and_time_of_a_pruned_convolution_move_together(target: Target) -> None:
    """Four fifths of a kernel pruned: operations fall to a fifth, in energy and in time alike."""
    op = Conv(10, 2, (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1))
    weights = np.full((10, 2, 3, 3), 2)
    pruned = weights.copy()
    pruned[2:] = 0
    energy, time, told = [], [], []
    for mantissa in (weights, pruned):
        program = Program(
            arithmetic=LOIHI,
            target=target.name,
            groups=(group("in", (2, 6, 6), 0, "input"), group("a", (10, 6, 6), 1)),
            synapses=(synapses("w", "in", "a", op, mantissa),),
        )
        bounds = ((0, 10), (0, 6), (0, 6))
        placement = Placement(
            target=target.name,
            cores_per_chip=128,
            slices=(Slice(group="a", bounds=bounds, core=0, resources={"compartments": 360}),),
        )
        spikes = {"in": np.ones((1, 1, 2, 6, 6), int), "a": np.zeros((1, 1, 10, 6, 6), int)}
        activity = count_events(program, placement, target, Recording(engine="i", spikes=spikes))
        estimate = estimate_energy(activity, target, target.energy)
        energy.append(estimate.parts["synaptic operations"])
        clock = StepMeter(program, placement, target)
        clock.add(spikes)
        took = clock.result()
        assert took is not None
        term = next(t for t in took.terms if t.what == "synaptic operations")
        time.append(term.low)
        told.append((term.count, activity.total_synops))
    assert told == [(5120, 5120), (1024, 1024)]  # 2 x 10 x 16 x 16 taps inside
    assert energy[0] / energy[1] == pytest.approx(5)
    assert time[0] / time[1] == pytest.approx(5)
