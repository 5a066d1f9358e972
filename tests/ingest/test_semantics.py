"""Profiles: presets and overrides, metadata, fingerprints, and refusing to guess."""

from __future__ import annotations

from typing import Any

import nir
import numpy as np
import pytest

from snndeploy.errors import InputError, UsageError
from snndeploy.ingest import PRESETS, choose_profile, fingerprint, preset, read_network, read_raw
from snndeploy.ingest.normal_form.neurons import simplest_gain, simplest_leak
from tests.support.nir_graphs import chain, conv2d, cuba, full, graph, lif

RNG = np.random.default_rng(1)


def dense(out: int = 3, inp: int = 4, dtype: Any = np.float32) -> nir.Linear:
    return nir.Linear(RNG.normal(size=(out, inp)).astype(dtype))


def single(**fields: Any) -> nir.LIF:
    """A LIF as an exporter with float32 parameters writes it."""
    neuron = lif(3, **fields)
    for name in ("tau", "r", "v_leak", "v_threshold", "v_reset"):
        setattr(neuron, name, getattr(neuron, name).astype(np.float32))
    return neuron


def test_presets_say_where_they_come_from() -> None:
    assert set(PRESETS) == {
        "nir",
        "snntorch",
        "norse",
        "sinabs",
        "spikingjelly",
        "rockpool",
        "spyx",
        "lava",
        "lava-dl",
    }
    assert all(p.source and p.describe() for p in PRESETS.values())


DESCRIBED = {
    "nir": "dt from the file, euler leak, fires at v > threshold, reset zero, "
    "one spike per step, input gain ode (IF: dt)",
    "snntorch": "dt 0.0001, euler leak, fires at v > threshold, reset subtract (snntorch-delayed), "
    "one spike per step, input gain ode (IF: dt)",
    "norse": "dt from the file, euler leak, fires at v > threshold, reset zero, one spike per step, "
    "input gain norse (IF: unit), starts at rest, recurrent delay nirtorch",
    "sinabs": "dt 1, exp leak, fires at v >= threshold, reset subtract, many spikes per step, "
    "input gain unit (IF: unit), v floor minus-threshold",
    "spikingjelly": "dt from the file, euler leak, fires at v >= threshold, reset zero, "
    "one spike per step, input gain ode (IF: dt), starts at v_reset, recurrent delay nirtorch",
    "rockpool": "dt from the file, exp leak, fires at v >= threshold, reset subtract, "
    "many spikes per step, input gain rockpool (IF: unit)",
    "spyx": "dt from the file, euler leak, fires at v > threshold, reset subtract (next-step), "
    "one spike per step, input gain unit (IF: unit), 1 step(s) per layer",
    "lava": "dt 0.0001, euler leak, fires at v > threshold, reset zero, one spike per step, "
    "input gain ode (IF: dt), 1 step(s) per layer",
    "lava-dl": "dt 0.0001, euler leak, fires at v >= threshold, reset zero, one spike per step, "
    "input gain ode (IF: dt)",
}


@pytest.mark.parametrize("name", DESCRIBED)
def test_what_each_framework_does(name: str) -> None:
    """Each of these is a fact about a framework, which its source names."""
    assert PRESETS[name].describe() == DESCRIBED[name]
    ends = (None, 2**16) if name == "rockpool" else (None, None)
    assert (preset("nir").max_spikes, PRESETS[name].max_spikes) == ends
    assert PRESETS[name].leak_range == ("clamped" if name == "snntorch" else "checked")


def test_preset_with_overrides() -> None:
    profile = preset("snntorch", reset="zero", dt=1e-3, v_floor=-2)
    assert (profile.reset, profile.dt, profile.v_floor) == ("zero", 1e-3, -2.0)
    assert profile.reset_timing == PRESETS["snntorch"].reset_timing
    assert preset("sinabs", v_floor=None).v_floor is None
    assert preset("rockpool", max_spikes=1).max_spikes == 1


@pytest.mark.parametrize(
    ("name", "options", "code", "message"),
    [
        ("sntorch", {}, "unknown-frontend", "there is no frontend 'sntorch'"),
        ("nir", {"rest": "zero"}, "unknown-semantics-option", "a semantics profile has no 'rest'"),
        ("nir", {"name": "x"}, "unknown-semantics-option", "a semantics profile has no 'name'"),
        ("nir", {"reset": "soft"}, "semantics-value", "reset cannot be 'soft'"),
        ("nir", {"dt": -1.0}, "semantics-value", "dt cannot be -1.0"),
        ("nir", {"dt": 0.0}, "semantics-value", "dt cannot be 0.0"),
        ("nir", {"dt": float("inf")}, "semantics-value", "dt cannot be inf"),
        ("nir", {"dt": True}, "semantics-value", "dt cannot be True"),
        ("nir", {"max_spikes": 0}, "semantics-value", "max_spikes cannot be 0"),
        ("nir", {"layer_delay": -1}, "semantics-value", "layer_delay cannot be -1"),
        ("nir", {"layer_delay": None}, "semantics-value", "layer_delay cannot be None"),
    ],
)
def test_bad_profile(name: str, options: dict[str, Any], code: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        preset(name, **options)
    assert caught.value.code == code
    assert caught.value.hint


def test_hints_name_what_was_meant() -> None:
    with pytest.raises(UsageError) as caught:
        preset("sntorch")
    assert caught.value.hint == "did you mean 'snntorch'?"
    with pytest.raises(UsageError) as caught:
        preset("nir", reset="soft")
    assert caught.value.hint == "one of: zero, subtract, none"


def marked(metadata: dict[str, Any], **fields: Any) -> nir.NIRGraph:
    return graph(
        {"fc": dense(), "lif": single(**fields)},
        [("input", "fc"), ("fc", "lif"), ("lif", "output")],
        metadata=metadata,
    )


def test_metadata_beats_the_fingerprint() -> None:
    model = marked(
        {
            "frontend": b"norse",
            "dt": np.float64(1e-3),
            "reset_mechanism": "subtract",
            "quantisation": {"bits": 4},
        }
    )
    profile, why = choose_profile(read_raw(model))
    assert (profile.name, profile.dt, profile.reset) == ("norse", 1e-3, "subtract")
    assert why == (
        "written in the file's metadata; dt from the file's metadata; "
        "reset from the file's metadata"
    )


def test_overrides_beat_metadata() -> None:
    model = marked({"frontend": "norse", "dt": 1e-3, "reset_mechanism": "subtract"})
    profile, why = choose_profile(read_raw(model), "nir", {"dt": 1e-4})
    assert (profile.name, profile.dt, profile.reset) == ("nir", 1e-4, "subtract")
    assert why == "asked for; reset from the file's metadata"


def test_nonsense_in_metadata_is_named() -> None:
    with pytest.raises(UsageError, match="compare cannot be 'sometimes'"):
        choose_profile(read_raw(marked({"compare": "sometimes"})), "nir", {"dt": 1e-3})


def test_snntorch_by_its_parameters() -> None:
    raw = read_raw(marked({}, tau=1e-3, r=10.0))
    assert [(c.frontend, c.dt) for c in fingerprint(raw)] == [("snntorch", 1e-4)]
    assert choose_profile(raw)[1] == "r = tau / dt with snnTorch's fixed dt 1e-4"


@pytest.mark.parametrize("broken", [{"v_leak": 0.5}, {"v_reset": 0.1}, {"r": 7.0}])
def test_not_snntorch(broken: dict[str, float]) -> None:
    raw = read_raw(marked({}, **{"tau": 1e-3, "r": 10.0, **broken}))
    assert not [c for c in fingerprint(raw) if c.frontend == "snntorch"]


def test_spikingjelly_by_names_alone() -> None:
    """decay_input hides dt: r = 1, float64 neurons, torch.fx names."""
    model = chain(4, dense(), lif(3, tau=2e-4, r=1.0), names=("_0", "_1"))
    profile, why = choose_profile(read_raw(model))
    assert (profile.name, profile.dt) == ("spikingjelly", 1e-4)
    assert why.endswith("; dt 0.0001 assumed")
    other = chain(4, dense(), lif(3, tau=2e-4, r=1.0), names=("fc", "lif"))
    assert fingerprint(read_raw(other)) == ()


def test_sinabs_by_steps() -> None:
    raw = read_raw(
        chain(4, nir.Affine(np.ones((3, 4), np.float32), np.zeros(3)), single(tau=20.0, r=1.0))
    )
    assert [c.frontend for c in fingerprint(raw)] == ["sinabs"]


def test_spyx_by_beta() -> None:
    raw = read_raw(marked({}, tau=1.0 / (1.0 - 0.75), r=0.75))
    assert [(c.frontend, c.dt) for c in fingerprint(raw)] == [("spyx", 1.0)]


def test_unknown_origin_lists_everything() -> None:
    with pytest.raises(InputError, match="fits none that is known") as caught:
        read_network(marked({}, tau=3e-3, r=17.0))
    assert caught.value.code == "semantics-ambiguous"
    for name in ("nir", "snntorch", "norse", "sinabs", "spikingjelly"):
        assert f"--frontend {name}: {PRESETS[name].describe()}" in caught.value.hint


def test_seconds_without_dt() -> None:
    model = marked({}, tau=5e-3, r=1.0)
    with pytest.raises(InputError, match="fits norse and nir"):
        read_network(model)
    for frontend in ("nir", "norse"):
        with pytest.raises(InputError, match="does not say its time step") as caught:
            read_network(model, frontend)
        assert caught.value.code == "dt-unknown"
        assert read_network(model, frontend, dt=1e-3).notes["dt"] == "0.001"


def test_gains_tell_no_time_step_of_frameworks_that_have_none() -> None:
    """r = tau / dt is snnTorch's: what is said to be Norse's is not read as if it were."""
    model = marked({}, tau=1e-3, r=10.0)
    with pytest.raises(InputError, match="does not say its time step"):
        read_network(model, "norse")
    assert read_network(model, "snntorch").notes["dt"] == "0.0001"


def test_a_time_step_that_is_said_to_be_unknown_is() -> None:
    raw = read_raw(marked({}, tau=1e-3, r=10.0))
    with pytest.raises(InputError) as caught:
        choose_profile(raw, "snntorch", {"dt": None})
    assert caught.value.code == "dt-unknown"


def test_values_of_options_are_spelled() -> None:
    for option, spelled in (("dt", "a positive number"), ("v_floor", "a number")):
        with pytest.raises(UsageError) as caught:
            preset("nir", **{option: "x"})
        assert spelled in caught.value.hint
        assert ("positive" in caught.value.hint) == (option == "dt")


def test_nothing_to_decide_without_neurons() -> None:
    network = read_network(chain(4, dense()))
    assert network.notes["why"] == "no neuron of the file depends on it"


def neuron_of(model: nir.NIRGraph, name: str, **options: Any) -> Any:
    return read_network(model, **{"frontend": "nir", "dt": 1e-3, **options}).population(name).neuron


def test_literal_equations() -> None:
    """tau dv/dt = (v_leak - v) + r I, reset to v_reset: shifted so that the reset is to zero."""
    model = chain(
        4,
        dense(),
        lif(3, tau=1e-2, r=2.0, v_leak=0.5, v_reset=0.25, v_threshold=1.5),
        names=("fc", "lif"),
    )
    neuron = neuron_of(model, "lif")
    assert neuron.leak == 0.9
    assert neuron.threshold == 1.25
    assert neuron.v_init == -0.25
    np.testing.assert_allclose(neuron.bias, 0.1 * (0.5 - 0.25), rtol=1e-12)
    weight = read_network(model, "nir", dt=1e-3).projections[0].weight.data
    np.testing.assert_allclose(weight, 0.2 * model.nodes["fc"].weight, rtol=1e-6)
    assert weight.dtype == np.float32
    assert neuron_of(model, "lif", v_init="v_leak").v_init == 0.25
    assert neuron_of(model, "lif", reset="subtract").threshold == 1.5


def test_leak_behind_a_synapse_is_a_drive() -> None:
    neuron = neuron_of(chain(3, cuba(3, v_leak=0.5), names=("cell",)), "cell")
    np.testing.assert_allclose(neuron.drive, 0.1 * 0.5, rtol=1e-12)
    assert neuron.bias == 0
    assert (neuron.leak, neuron.syn_leak) == (0.9, 0.8)


@pytest.mark.parametrize(
    ("rule", "gain"), [("ode", 1.0), ("unit", 1.0), ("norse", 1.0), ("rockpool", 0.8)]
)
def test_gain_rules_behind_a_synapse(rule: str, gain: float) -> None:
    network = read_network(chain(3, cuba(3), names=("cell",)), "nir", dt=1e-3, input_gain=rule)
    np.testing.assert_allclose(network.projections[0].weight.data, gain, rtol=1e-6)


def test_norse_lif_cell() -> None:
    """r = w_in = 1 comes from a LIFCell, which adds spikes to the current undivided."""
    network = read_network(chain(3, cuba(3, r=1.0, w_in=1.0)), "norse", dt=1e-3)
    np.testing.assert_allclose(network.projections[0].weight.data, 0.1, rtol=1e-6)


def test_delayed_reset_of_snntorch() -> None:
    """Leaky zeroes v before it leaks: at once. RLeaky and Synaptic zero it afterwards."""
    plain = chain(3, lif(3, tau=1e-3), names=("lif",))
    loop = graph(
        {"lif": lif(3, tau=1e-3), "w": dense(3, 3)},
        [("input", "lif"), ("lif", "w"), ("w", "lif"), ("lif", "output")],
        3,
    )
    cell = chain(3, cuba(3, tau_mem=1e-3, tau_syn=5e-4), names=("lif",))
    snn = {"frontend": "snntorch", "dt": 1e-4}
    timing = [neuron_of(m, "lif", reset="zero", **snn).reset_timing for m in (plain, loop, cell)]
    assert timing == ["immediate", "next-step", "next-step"]
    assert neuron_of(plain, "lif", **snn).reset_timing == "next-step"
    now = {"reset_timing": "snntorch-immediate", **snn}
    assert neuron_of(plain, "lif", **now).reset_timing == "snntorch-immediate"
    assert neuron_of(plain, "lif", reset="zero", **now).reset_timing == "immediate"
    assert neuron_of(plain, "lif", reset="none", **now).reset_timing == "immediate"


def test_floors() -> None:
    model = chain(
        3,
        nir.IF(r=full(3, 1.0), v_threshold=full(3, 2.0)),
        single(tau=10.0, r=1.0),
        names=("if", "lif"),
    )
    assert neuron_of(model, "if", frontend="sinabs", dt=1.0).v_floor == -2
    assert neuron_of(model, "lif", frontend="sinabs", dt=1.0).v_floor is None
    assert neuron_of(model, "lif", frontend="sinabs", dt=1.0, v_floor=-3.0).v_floor == -3


@pytest.mark.parametrize(
    ("neuron", "options", "code", "message"),
    [
        (lif(3, tau=-1e-3), {}, "time-constant", "tau is -0.001; time constants are positive"),
        (cuba(3, tau_syn=0.0), {}, "time-constant", "tau_syn is 0"),
        (
            lif(3, v_threshold=0.0),
            {"reset": "subtract"},
            "threshold",
            "the threshold 0 is not above",
        ),
        (lif(3, tau=1e-4), {}, "leak-out-of-range", "leak per step is -9"),
    ],
)
def test_impossible_neuron(neuron: Any, options: dict[str, Any], code: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        neuron_of(chain(3, neuron, names=("lif",)), "lif", **options)
    assert caught.value.code == code
    assert "lif" in caught.value.where


@pytest.mark.parametrize("beta", [0.875, 0.9, 0.95, 0.99, 0.5, 0.9375, 4095 / 4096, 0.85])
def test_leaks_survive_the_exporter(beta: float) -> None:
    """What snnTorch does in float32: tau = dt / (1 - beta), r = tau / dt."""
    stored = np.full(3, beta, np.float32)
    tau = np.float32(1e-4) / (np.float32(1) - stored)
    neuron = single(tau=tau, r=tau / np.float32(1e-4))
    network = read_network(chain(4, dense(), neuron, names=("fc", "lif")), "snntorch")
    found = network.population("lif").neuron
    assert found is not None
    assert found.leak == beta
    assert np.float32(found.leak) == stored[0]
    assert "normalised" not in network.notes  # the gain r dt / tau was 1


def test_learned_leaks_stay_as_they_are() -> None:
    values = np.random.default_rng(0).uniform(0.5, 1, 200).astype(np.float32)
    tolerance = np.full(200, 2.0**-24)
    assert (simplest_leak(values, tolerance).astype(np.float32) == values).mean() > 0.98
    assert simplest_leak(np.array([0.0, 1.0]), np.zeros(2)).tolist() == [0.0, 1.0]


def test_gains() -> None:
    assert simplest_gain(np.array([0.9999997, 0.1000000015, 12.3456789, 0.0])).tolist() == [
        1.0,
        0.1,
        12.3456789,
        0.0,
    ]


def test_layers_that_take_a_step() -> None:
    model = chain(
        (1, 4, 4),
        conv2d(np.ones((1, 1, 3, 3), np.float32)),
        lif((1, 2, 2)),
        lif((1, 2, 2)),
        names=("c", "a", "b"),
    )
    network = read_network(model, "lava", dt=1e-3)
    assert [[s.max_delay for s in p.sources] for p in network.projections] == [[0], [1]]


@pytest.mark.parametrize(
    ("neuron", "start"),
    [
        (lif(1, tau=2e-3, r=1.0, v_leak=0.5), 0.5),
        (nir.LI(full(1, 2e-3), full(1, 1.0), full(1, 0.5)), 0.5),
        (cuba(1, v_leak=0.25, v_reset=0.125), 0.125),  # v is shifted by v_reset
        (nir.IF(full(1, 1.0), full(1, 1.0), full(1, -1.5)), 0.0),
    ],
)
def test_norse_starts_where_a_neuron_rests(neuron: Any, start: float) -> None:
    found = neuron_of(chain(1, neuron, names=("n",)), "n", frontend="norse", reset="zero")
    assert found.v_init == start


def test_an_integrator_of_snntorch() -> None:
    """Leaky(beta=1): tau = r = inf, whose quotient is dt."""
    neuron = single(tau=np.array([np.inf, 1e-3, np.inf]), r=np.array([np.inf, 10.0, np.inf]))
    network = read_network(chain(4, dense(), neuron, names=("fc", "lif")), "snntorch")
    found = network.population("lif").neuron
    assert found is not None
    assert found.leak.tolist() == [1.0, 0.9, 1.0]
    assert "normalised" not in network.notes  # the input gain is 1
    synapse = cuba(3, tau_syn=np.inf, w_in=np.inf, tau_mem=1e-3, r=10.0)
    found = read_network(chain(3, synapse, names=("c",)), "snntorch").population("c").neuron
    assert found is not None
    assert (found.syn_leak, found.leak) == (1.0, 0.9)


@pytest.mark.parametrize("fields", [{"tau": np.inf}, {"r": np.inf}])
def test_half_an_integrator_is_refused(fields: dict[str, float]) -> None:
    with pytest.raises(InputError, match="tau and r are not infinite together") as caught:
        read_network(chain(3, lif(3, **fields), names=("lif",)), "nir", dt=1e-3)
    assert caught.value.code == "time-constant"
    assert caught.value.where.endswith(":lif")


def test_snntorch_clamps_beta() -> None:
    """Leaky(beta=1.25) runs with 1; its exporter writes tau = dt / (1 - 1.25) and r = tau / dt."""
    neuron = single(tau=-4e-4, r=-4.0)
    model = chain(4, dense(), neuron, names=("fc", "lif"))
    network = read_network(model, "snntorch")
    found = network.population("lif").neuron
    assert found is not None
    assert found.leak == 1
    np.testing.assert_array_equal(network.projections[0].weight.data, model.nodes["fc"].weight)
    with pytest.raises(InputError, match="time constants are positive"):
        read_network(model, "nir", dt=1e-4)
    low = single(tau=1e-4 / 1.25, r=0.8)  # beta = -0.25
    found = read_network(chain(4, dense(), low, names=("fc", "l")), "snntorch").population("l")
    assert found.neuron is not None
    assert found.neuron.leak == 0
