"""Resonate-and-fire neurons: engines against the plain rule, Lava's own processes, and recordings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from snndeploy.ir.arrays import Array, frozen
from snndeploy.ir.graded.resonator import MOST, ResonatorRule
from snndeploy.ir.ops import Dense
from snndeploy.ir.program import CompartmentGroup, Port, Program, SynapseGroup, SynapseSource
from snndeploy.ir.step import LOIHI
from snndeploy.simulate.integer.engine import run_integer
from snndeploy.simulate.lava.engine import run_lava
from snndeploy.simulate.lava.env import LavaEnv
from tests.support.conformance_programs import pack
from tests.support.conformance_reference import matrix
from tests.support.random_resonators import ScalarResonator, random_resonators
from tests.support.recordings import assert_equal

STEPS, SAMPLES = 24, 2


def resonators(program: Program) -> list[str]:
    return [g.name for g in program.groups if g.kind == "resonator"]


def spikes(program: Program, seed: int) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    return {
        g.name: (rng.random((STEPS, SAMPLES, *g.shape)) < 0.35).astype(np.int64)
        for g in program.groups
        if g.kind == "input"
    }


def plain(program: Program, name: str, sent: Mapping[str, Array]) -> Array:
    """Spikes of one group of resonators, neuron by neuron, from what all groups sent."""
    g = program.group(name)
    rule = g.dynamics
    assert isinstance(rule, ResonatorRule)
    n = int(np.prod(g.shape))
    arriving = {p: np.zeros((STEPS, SAMPLES, n), np.int64) for p in g.ports}
    for s in program.incoming(name):
        m = matrix(program, s)
        for o in s.sources:
            late = int(program.delay(s, o).max())
            before = sent[o.group].reshape(STEPS, SAMPLES, -1).astype(np.int64)
            sums = before @ m.T
            sums = sums << s.exponent if s.exponent >= 0 else sums >> -s.exponent
            arriving[s.port][late:] += sums[: STEPS - late]
    found = np.zeros((STEPS, SAMPLES, n), np.int64)
    for sample in range(SAMPLES):
        for i in range(n):
            neuron = ScalarResonator(rule, int(g.vth))
            for t in range(STEPS):
                real, imag = (int(arriving[p][t, sample, i]) for p in ("", "imag"))
                found[t, sample, i] = neuron.step(real, imag)
    return found.reshape(STEPS, SAMPLES, *g.shape)


@pytest.mark.parametrize("seed", range(20))
def test_the_engine_equals_neurons_in_pythons_numbers(seed: int) -> None:
    program = random_resonators(seed)
    run = run_integer(program, spikes(program, seed))
    for name in resonators(program):
        np.testing.assert_array_equal(run.spikes[name], plain(program, name, run.spikes), name)


@pytest.mark.parametrize("seed", range(8))
def test_routes_devices_and_watching_change_nothing(seed: int) -> None:
    program = random_resonators(seed)
    names = [g.name for g in program.on_chip]
    inputs = spikes(program, seed)
    first = run_integer(program, inputs, record_states=names)
    for options in (
        {"route": "events"},
        {"route": "dense"},
        {"device": "cpu"},
        {"watch": True},
        {"batch": 1},
    ):
        other = run_integer(program, inputs, record_states=names, **options)  # type: ignore[arg-type]
        assert_equal(first, other, names)


def test_random_networks_are_what_they_are_for() -> None:
    """Both forms, both ports, loops, spikes that come and go, and states that saturate."""
    forms, ports, rates, full, loops = set(), set(), [], 0, 0
    for seed in range(40):
        program = random_resonators(seed)
        names = resonators(program)
        run = run_integer(program, spikes(program, seed), record_states=names)
        for name in names:
            rule = program.group(name).dynamics
            assert isinstance(rule, ResonatorRule)
            forms.add(rule.form)
            rates.append(float(run.spikes[name].mean()))
            full += int((np.abs(run.u[name]) == MOST).any())
        ports |= {s.port for s in program.synapses}
        loops += sum(any(o.group == s.target for o in s.sources) for s in program.synapses)
    assert (forms, ports) == ({"phase", "izhikevich"}, {"", "imag"})
    assert np.mean([0.01 < rate < 0.9 for rate in rates]) > 0.6
    assert full > 2
    assert loops > 5


@pytest.mark.lava
@pytest.mark.parametrize("first", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in (10, 20))])
def test_lavas_own_neurons_do_the_same(first: int, lava: LavaEnv) -> None:
    program = pack([random_resonators(seed) for seed in range(first, first + 10)])
    names = resonators(program)
    inputs = spikes(program, first)
    here = run_integer(program, inputs, record_states=names)
    real = run_lava(program, inputs, record_states=names, lava=lava, timeout_s=120)
    assert {real.processes[name] for name in names} == {"WindowedRF", "WindowedRFIZ"}
    assert assert_equal(here, real, names) > 3_000


# --- recordings of lava-dl ----------------------------------------------------------------------------


def alone(rule: ResonatorRule, vth: int, weights: Mapping[Port, Array]) -> Program:
    """Resonators behind an input, which reaches them through a matrix for each part."""
    n_out, n_in = weights[""].shape
    entry = CompartmentGroup(name="in", shape=(n_in,), role="input", kind="input", depth=0)
    layer = CompartmentGroup(
        name="out",
        shape=(n_out,),
        role="output",
        kind="resonator",
        depth=1,
        vth=frozen(vth, np.int64),
        dynamics=rule,
    )
    synapses = tuple(
        SynapseGroup(
            name=f"s{port}",
            sources=(SynapseSource("in", frozen(1, np.int64)),),
            target="out",
            ops=(Dense(n_out, n_in),),
            mantissa=frozen(weight.astype(np.int64), np.int64),
            exponent=0,
            sign_mode="mixed",
            weight_bits=9,
            port=port,
        )
        for port, weight in weights.items()
    )
    return Program(
        target="loihi2", arithmetic=LOIHI, groups=(entry, layer), synapses=synapses
    ).verify()


def factors(period: float, alpha: float) -> dict[str, int]:
    """What Lava's process makes of its arguments."""
    angle = 2 * np.pi / period
    return {n: int((1 - alpha) * f(angle) * 4096) for n, f in (("sin", np.sin), ("cos", np.cos))}


@pytest.fixture(scope="module")
def recorded(shared_data: Path) -> Mapping[str, Array]:
    path = shared_data / "nir_models/lava_dl/complex_dense_ground_truth.npz"
    with np.load(path, allow_pickle=False) as data:
        return dict(data)


ENGINES = ["integer", pytest.param("lava", marks=[pytest.mark.lava, pytest.mark.slow])]
"""Both run every recording."""


def run(engine: str, program: Program, data: Array, request: pytest.FixtureRequest) -> Array:
    if engine == "integer":
        return run_integer(program, data[:, np.newaxis]).spikes["out"][:, 0]
    lava = request.getfixturevalue("lava")
    real = run_lava(program, data[:, np.newaxis], lava=lava, timeout_s=300)
    return real.spikes["out"][:, 0]


@pytest.mark.parametrize("engine", ENGINES)
def test_an_input_of_izhikevichs_resonators_as_it_was_recorded(
    engine: str, recorded: Mapping[str, Array], request: pytest.FixtureRequest
) -> None:
    """Both parts hear the input; a threshold of 1.1, in units of 64."""
    one = np.eye(200)
    rule = ResonatorRule(form="izhikevich", **factors(7, 0.05))
    program = alone(rule, int(1.1 * 64), {"": one, "imag": one})
    found = run(engine, program, recorded["in"].T, request)
    np.testing.assert_array_equal(found, recorded["current"].T)
    assert recorded["current"].sum() > 1000


@pytest.mark.parametrize("engine", ENGINES)
def test_a_layer_of_resonators_as_it_was_recorded(
    engine: str, recorded: Mapping[str, Array], request: pytest.FixtureRequest
) -> None:
    rule = ResonatorRule(form="phase", **factors(11, 0.05))
    weights: dict[Port, Array] = {"": recorded["weight_r"], "imag": recorded["weight_img"]}
    found = run(engine, alone(rule, 25 * 64, weights), recorded["in"].T, request)
    late = recorded["out"].T[1:]  # synapses take a step, and it was recorded by the chip's
    np.testing.assert_array_equal(found[:-1], late)
    assert not recorded["out"][:, 0].any()
    assert late.sum() > 1000


def test_what_a_watched_run_tells() -> None:
    """The largest parts before they are clipped, and how often they are."""
    rule = ResonatorRule(form="phase", sin=0, cos=4096, state_exp=15, decay_bits=12)
    weight = np.full((1, 1), 255)
    program = alone(rule, MOST, {"": weight, "imag": -weight})
    x = np.ones((2, 1, 1), np.int64)
    used = run_integer(program, x, watch=True).registers["out"]
    once = 255 << 15
    assert (used.u_peak, used.v_peak, used.clips, used.limit) == (2 * once, 2 * once, 1, MOST)


def test_rules_that_no_neuron_obeys() -> None:
    for fields in ({"form": "other"}, {"state_exp": 16}, {"decay_bits": -1}, {"sin": 4097}):
        with pytest.raises(ValueError, match=r"form is|exponents are|would grow"):
            ResonatorRule(**{"form": "phase", "sin": 0, "cos": 0, **fields})  # type: ignore[arg-type]


def test_an_imaginary_port_belongs_to_resonators() -> None:
    program = alone(ResonatorRule(form="phase", sin=1, cos=1), 1, {"": np.ones((1, 1))})
    lif = replace(program.group("out"), kind="lif", dynamics=None)
    wrong = replace(program.synapses[0], port="imag")
    with pytest.raises(ValueError, match="out has no port 'imag'"):
        replace(program, groups=(program.groups[0], lif), synapses=(wrong,)).verify()
