"""What becomes of a network on a chip with one kind of neuron: exact where it can be, and told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from snndeploy import compile
from snndeploy.certify import certify
from snndeploy.chip import family_of, load_target
from snndeploy.data import Samples
from snndeploy.errors import LoweringRefused
from snndeploy.ir.network import Network
from snndeploy.ir.ops import Dense
from snndeploy.ir.weights import Weight
from snndeploy.lower import InputCoding, fitted_in_turn, lower
from snndeploy.pipeline import bundle_of, save_bundle
from snndeploy.pipeline.run import program_messages
from tests.support.builders import inputs, lif, project
from tests.support.xylo_networks import hidden_layers

XYLO = load_target("xylo-a2")
FAMILY = family_of(XYLO)


def chain(weight: Weight | np.ndarray, **neuron: object) -> Network:
    return Network(
        (inputs((3,), "in"), lif("h", (2,), **neuron), lif("out", (2,), "output")),
        (
            project("w1", "in", "h", Dense(2, 3), weight),
            project("w2", "h", "out", Dense(2, 2), np.eye(2)),
        ),
    ).verify()


W = np.array([[0.5, -0.25, 1.0], [0.1, 0.2, -0.4]])


def test_a_network_of_its_own_neurons_stays_as_it_is() -> None:
    net, _ = fitted_in_turn(hidden_layers(bias=True), FAMILY)
    again, told = fitted_in_turn(net, FAMILY)
    assert told == ()
    assert again.digest == net.digest


@pytest.mark.parametrize(
    ("leak", "syn_leak", "kept", "gain"),
    [
        (0.875, 0.5, (0.875, 0.5), 1.0),
        # 0.9 is nearest to 0.875, 0.6 to 0.5: what lasts shorter is made as much stronger
        (0.9, 0.6, (0.875, 0.5), (0.125 / 0.1) * (0.5 / 0.4)),
        # without a synaptic state: the shortest synapse there is, at half the weight
        (0.5, None, (0.5, 0.5), 0.5),
        # v without a leak keeps its gain
        (1.0, 0.75, (1.0, 0.75), 1.0),
    ],
)
def test_leaks_move_and_charge_stays(
    leak: float, syn_leak: float | None, kept: tuple[float, float], gain: float
) -> None:
    net, told = fitted_in_turn(chain(W, leak=leak, syn_leak=syn_leak), FAMILY)
    neuron = net.population("h").neuron
    assert neuron is not None
    assert neuron.syn_leak is not None
    assert (float(neuron.leak), float(neuron.syn_leak)) == kept
    np.testing.assert_allclose(net.projections[0].weight.values(), W * gain)
    assert told[0].code == "neuron-adapted"
    assert told[0].where == "h"


def test_what_is_done_otherwise_is_told() -> None:
    net, told = fitted_in_turn(
        chain(W, leak=0.875, syn_leak=0.5, v_floor=-1.0, bias=0.25, drive=0.5), FAMILY
    )
    (finding, output) = told
    for part in ("its reset subtracts", "up to 31 times", "no floor", "its bias acts on v"):
        assert part in finding.message, part
    assert finding.severity == "warning"
    assert "up to" not in output.message  # outputs spike once, as they were trained
    neuron = net.population("h").neuron
    assert neuron is not None
    # a bias of 0.25 on u settles at 0.5 where u keeps a half
    assert float(neuron.drive) == pytest.approx(1.0)
    assert not neuron.bias.any()


def test_every_neuron_fills_its_codes_and_blocks_share_a_shift() -> None:
    net = chain(W, leak=0.875, syn_leak=0.5, reset="subtract", compare=">=", spikes_per_step="many")
    program = lower(net, XYLO, inputs=InputCoding.named("binary"))
    first = program.synapses[0].mantissa
    np.testing.assert_array_equal(first, np.rint(W / np.abs(W).max(axis=1, keepdims=True) * 127))
    h = program.group("h")
    # thresholds follow: weights are divided by the half that u keeps of them, then 127 to the largest
    scale = 127 / (2 * np.abs(W).max(axis=1)) * 2.0 ** program.synapses[0].exponent
    np.testing.assert_allclose(h.scale, scale)
    np.testing.assert_array_equal(h.vth, np.rint(scale))
    assert 0 <= program.synapses[0].exponent <= 7
    assert h.max_spikes == 31
    assert program.group("out").spikes_per_step == "one"
    # nothing saturates at that shift, and something might at the next
    room = program.headroom["h"]
    assert room.u_peak <= 32767
    assert 2 * (room.u_peak + int(h.vth.max())) > 32767 or program.synapses[0].exponent == 7


def test_codes_on_one_grid_stay_exact() -> None:
    codes = np.array([[3, -7, 1], [2, 0, -5]])
    weight = Weight(codes, np.asarray(0.125), 4)
    net = chain(weight, leak=0.875, syn_leak=0.5)
    program = lower(net, XYLO, inputs=InputCoding.named("binary"))
    mantissa = program.synapses[0].mantissa
    np.testing.assert_array_equal(mantissa, codes * np.array([[18], [25]]))  # 126 // 7, 127 // 5
    assert program.rounding["h"].weight == 0.0


def test_a_threshold_beyond_its_register_takes_the_weights_with_it() -> None:
    net = chain(W, leak=0.875, syn_leak=0.5, threshold=1e4)
    program = lower(net, XYLO, inputs=InputCoding.named("binary"))
    assert int(program.group("h").vth.max()) == 32767
    assert int(np.abs(program.synapses[0].mantissa).max()) < 127


def test_what_a_channel_does_not_take_is_told_and_not_sent() -> None:
    program = lower(chain(W), XYLO, inputs=InputCoding(kind="graded", peak=40))
    (finding,) = [f for f in program.findings if f.code == "input-clipped"]
    assert (finding.used, finding.limit) == (40, 15)
    assert (program.group("in").message_bits, program.group("in").max_spikes) == (5, 15)
    samples = Samples(np.full((2, 1, 3), 40))
    assert int(program_messages(program, samples)["in"].max()) == 15


def test_refusals() -> None:
    def code(net: Network, **coding: object) -> str:
        with pytest.raises(LoweringRefused) as caught:
            lower(net, XYLO, inputs=InputCoding(**coding) if coding else None)  # type: ignore[arg-type]
        return caught.value.code

    assert code(chain(W, threshold=-1.0)) == "threshold-not-positive"
    assert code(chain(W), kind="analog", peak=1.0) == "analog-input"


def test_other_chips_adapt_nothing() -> None:
    net = chain(W, leak=0.9)
    assert fitted_in_turn(net, family_of(load_target("loihi2"))) == (net, ())


@pytest.mark.parametrize("least", [0.0, -0.5])
def test_one_threshold_that_is_not_above_zero_is_enough(least: float) -> None:
    one = chain(np.ones((2, 3)) / 2, threshold=np.array([1.0, least]), reset="subtract")
    with pytest.raises(LoweringRefused) as caught:
        fitted_in_turn(one, family_of(XYLO))
    assert caught.value.code == "threshold-not-positive"


@pytest.mark.parametrize("factor", [0.3, 1.0, 3.0, 12.0])
def test_what_was_seen_sets_the_shift(factor: float) -> None:
    """u before it decays, with a quarter to spare, and a threshold fit; twice as much does not."""
    network = hidden_layers(1)
    seen = {"hidden12": 2.0 * factor, "hidden9": 3.0 * factor}
    coding = InputCoding(kind="graded", peak=15)
    program = lower(network, XYLO, inputs=coding, observed=seen)
    (shift,) = {s.exponent for s in program.synapses if s.target in seen}
    reach = 0.0
    for name, u in seen.items():
        neuron, scale = network.population(name).neuron, program.group(name).scale / 2.0**shift
        assert neuron is not None
        assert neuron.syn_leak is not None
        assert neuron.threshold is not None
        u_peak = 1.25 * u / float(np.min(neuron.syn_leak))
        reach = max(reach, float(np.max((u_peak + neuron.threshold) * scale)))
    assert reach * 2.0**shift <= 32767
    assert reach * 2.0 ** (shift + 1) > 32767 or shift == 7


def test_a_synapse_that_never_forgets(tmp_path: Path) -> None:
    """Its u has no bound, which ended in a number that no integer is; it is told, and certified."""
    net = chain(W, syn_leak=1.0, leak=0.875)
    compiled = compile(
        net, target="xylo-a2", recipe=None, inputs=InputCoding(kind="graded", peak=3)
    )
    (found,) = [f for f in compiled.findings if f.code == "headroom-unproved" and f.resource == "u"]
    assert found.where == "h"
    assert "u grows without end and saturates" in found.message
    told = certify(save_bundle(tmp_path / "net.snnb", bundle_of(compiled)))
    assert told["certified"]
    assert told["bounds"]["h"]["u"]["reached"] > 0
