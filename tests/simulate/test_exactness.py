"""Where integers can represent a network, float, integer and Lava engines give the same spikes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from snndeploy.chip import load_target
from snndeploy.ir.network import Network
from snndeploy.ir.ops import Dense
from snndeploy.ir.program import Program
from snndeploy.ir.weights import Weight
from snndeploy.lower import InputCoding, infer_coding, lower
from snndeploy.simulate.float.engine import run_float
from snndeploy.simulate.integer.engine import run_integer
from snndeploy.simulate.recording import Recording
from tests.support.builders import inputs, project
from tests.support.conformance_programs import pack
from tests.support.conformance_reference import run_reference
from tests.support.exact_networks import FAMILIES, STEPS, exact_inputs, exact_network, integrator
from tests.support.rules import RULES, fields_of

SEEDS = 4
LOIHI2 = load_target("loihi2")


def lowered(family: str, seed: int) -> tuple[Program, np.ndarray, Recording]:
    """A network's program, its input, and what the float engine says of it."""
    network = exact_network(family, seed)
    x = exact_inputs(network, family, seed)
    program = lower(network, LOIHI2, inputs=infer_coding(x), steps=STEPS)
    return program, x, run_float(network, x, dtype="float64")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", range(8))
def test_float_equals_integer(family: str, seed: int) -> None:
    program, x, trained = lowered(family, seed)
    assert all(r.exact for r in program.rounding.values()), program.rounding
    chip = run_integer(program, x)
    for name, spikes in trained.spikes.items():
        np.testing.assert_array_equal(spikes, chip.spikes[name], err_msg=name)


@pytest.mark.parametrize("family", FAMILIES)
def test_families_spike_in_every_population(family: str) -> None:
    """Networks without activity would agree for the wrong reason."""
    totals: dict[str, float] = {}
    for seed in range(SEEDS):
        trained = lowered(family, seed)[2]
        for name, spikes in trained.spikes.items():
            totals[name] = totals.get(name, 0) + float(spikes.sum())
    assert min(totals.values()) > 0, totals


@pytest.mark.lava
@pytest.mark.parametrize(
    "seed", [0, 1, *(pytest.param(s, marks=pytest.mark.slow) for s in range(2, SEEDS))]
)
def test_float_equals_lava(seed: int, lava: object) -> None:
    """All families of one seed in one Lava run: 44 networks over the seeds."""
    from snndeploy.simulate.lava.engine import run_lava

    cases = [lowered(family, seed) for family in FAMILIES]
    data = {f"{i}/input": x for i, (_, x, _) in enumerate(cases)}
    on_lava = run_lava(pack([program for program, _, _ in cases]), data)
    for i, (_, _, trained) in enumerate(cases):
        for name, spikes in trained.spikes.items():
            np.testing.assert_array_equal(spikes, on_lava.spikes[f"{i}/{name}"], err_msg=name)


# --- what "exact" says: equal for all inputs, whatever the rule --------------------------------------

WIDTH = 6


def ruled(number: int, floor: float | None) -> tuple[Network, np.ndarray, Program]:
    """Two layers of one rule, their input, and the program.

    Weights are multiples of the threshold's quarter, so v often meets the threshold itself.
    """
    rng = np.random.default_rng([number, floor is None])
    fields = {**fields_of(RULES[number]), "v_floor": floor}
    network = Network(
        (
            inputs((WIDTH,)),
            integrator("a", (WIDTH,), **fields),
            integrator("b", (WIDTH,), "output", **fields),
        ),
        (
            project("in-a", "input", "a", Dense(WIDTH, WIDTH), quarters(rng)),
            project("a-b", "a", "b", Dense(WIDTH, WIDTH), quarters(rng)),
        ),
    ).verify()
    x = rng.integers(0, 2, (STEPS, 2, WIDTH))
    return network, x, lower(network, LOIHI2, inputs=infer_coding(x), steps=STEPS)


def quarters(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(-3, 7, (WIDTH, WIDTH)) / 4


def test_every_rule_is_exact_in_floats_and_integers() -> None:
    """Where ``rounding.exact`` is true, the float, integer and reference engines agree."""
    fired = 0
    for number, floor in itertools.product(range(len(RULES)), (None, -1.0)):
        case = f"{RULES[number]}, floor {floor}"
        network, x, program = ruled(number, floor)
        assert all(r.exact for r in program.rounding.values()), case
        trained = run_float(network, x, dtype="float64")
        chip, plain = run_integer(program, x), run_reference(program, {"input": x})
        for name in ("a", "b"):
            np.testing.assert_array_equal(trained.spikes[name], chip.spikes[name], case)
            np.testing.assert_array_equal(trained.spikes[name], plain.spikes[name], case)
            fired += bool(trained.spikes[name].any())
    assert fired > 1.9 * len(RULES)


PER_RUN = 12
"""Programs per Lava run, where every group and every projection is a process of the system."""


@pytest.mark.lava
@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, len(RULES), PER_RUN))
def test_every_rule_is_exact_on_lava(first: int, lava: object) -> None:
    """Rules with a floor and without one in turn."""
    from snndeploy.simulate.lava.engine import run_lava

    cases = [ruled(i, -1.0 if i % 2 else None) for i in range(len(RULES))[first : first + PER_RUN]]
    on_lava = run_lava(
        pack([program for *_, program in cases]),
        {f"{i}/input": x for i, (_, x, _) in enumerate(cases)},
    )
    for i, (network, x, _) in enumerate(cases):
        trained = run_float(network, x, dtype="float64")
        for name in ("a", "b"):
            np.testing.assert_array_equal(trained.spikes[name], on_lava.spikes[f"{i}/{name}"])


def chain(rng: np.random.Generator, **fields: object) -> Network:
    """Like `ruled`, with weights of its own."""
    return Network(
        (
            inputs((WIDTH,)),
            integrator("a", (WIDTH,), **fields),
            integrator("b", (WIDTH,), "output", **fields),
        ),
        (
            project("in-a", "input", "a", Dense(WIDTH, WIDTH), quarters(rng)),
            project("a-b", "a", "b", Dense(WIDTH, WIDTH), quarters(rng)),
        ),
    ).verify()


@pytest.mark.parametrize("leak", [0.5, 1.0])
@pytest.mark.parametrize("syn_leak", [None, 0.5])
@pytest.mark.parametrize("steps", [4, 40])
def test_exact_is_for_every_input_of_that_many_steps(
    leak: float, syn_leak: float | None, steps: int
) -> None:
    """Every rule, driven by bursts: where it says exact, nothing differs; else it says why."""
    said = {True: 0, False: 0}
    for number, floor in itertools.product(range(len(RULES)), (None, -0.5)):
        fields = {**fields_of(RULES[number]), "v_floor": floor, "leak": leak, "syn_leak": syn_leak}
        rng = np.random.default_rng([number, steps])
        network = chain(rng, **fields)
        x = rng.integers(-40, 41, (steps, 3, WIDTH))
        program = lower(network, LOIHI2, inputs=infer_coding(x), steps=steps)
        trained = run_float(network, x, dtype="float64")
        chip = run_integer(program, x)
        exact = True
        for name in ("a", "b"):
            rounding = program.rounding[name]
            exact = exact and rounding.exact
            assert exact or rounding.truncation or rounding.reasons or name == "b"
            if exact:
                np.testing.assert_array_equal(trained.spikes[name], chip.spikes[name], str(fields))
        said[exact] += 1
    if leak == 1.0 and syn_leak is None and steps == 4:
        assert said[True] > said[False]
    if leak == 0.5 and steps == 40:
        assert said[True] == 0


def single(steps: int, **fields: object) -> tuple[Network, Program]:
    weight = np.array([[1.0, 0.5]])
    network = Network(
        (inputs((2,)), integrator("a", (1,), "output", **fields)),
        (project("in-a", "input", "a", Dense(1, 2), weight),),
    ).verify()
    return network, lower(network, LOIHI2, inputs=InputCoding.named("binary"), steps=steps)


def test_dropped_fractions_are_bounded() -> None:
    """With a leak of one half v needs a bit per step; what is lost stays below what is said."""
    network, program = single(60, leak=0.5, threshold=100.0)
    assert single(10, leak=0.5, threshold=100.0)[1].rounding["a"].exact
    rounding = program.rounding["a"]
    assert not rounding.exact
    x = np.random.default_rng(0).integers(0, 2, (60, 50, 2))
    real = run_float(network, x, dtype="float64", record=["a"]).v["a"]
    held = run_integer(program, x, record_states=("a",)).v["a"] / program.group("a").scale
    short = (real - held).max() / 100
    assert 0 < short <= rounding.truncation < 4 * short


def test_parameters_that_floating_point_rounds_are_not_exact() -> None:
    """0.1 + 0.2 is above 0.3 in float64, and equal to it in integers."""
    codes = Weight(np.array([[1, 2]]), np.array(0.1), 3)

    def network(threshold: float) -> Network:
        return Network(
            (inputs((2,)), integrator("a", (1,), "output", threshold=threshold)),
            (project("in-a", "input", "a", Dense(1, 2), codes),),
        ).verify()

    x = np.ones((1, 1, 2), np.int64)
    met = lower(network(0.3), LOIHI2, steps=8)
    assert run_float(network(0.3), x, dtype="float64").spikes["a"].sum() == 1
    assert run_integer(met, x).spikes["a"].sum() == 0
    assert any("floating point" in reason for reason in met.rounding["a"].reasons)
    assert lower(network(0.25), LOIHI2, steps=8).rounding["a"].exact


def test_what_the_host_rounds_is_not_exact() -> None:
    network, program = single(4)
    analog = lower(network, LOIHI2, inputs=InputCoding(kind="analog", peak=1.0), steps=4)
    assert program.rounding["a"].exact
    assert analog.rounding["a"].reasons == ("the host rounds the values of its input",)


def test_registers_that_end_are_not_exact() -> None:
    """Inhibition that goes on clips v: the way back is shorter than in real numbers."""
    network = Network(
        (inputs((2,)), integrator("a", (1,), "output", threshold=2.0**-13)),
        (project("in-a", "input", "a", Dense(1, 2), np.array([[1.0, -1.0]])),),
    ).verify()
    assert lower(network, LOIHI2, steps=4).rounding["a"].exact
    long = lower(network, LOIHI2, steps=4000)
    assert "v may not fit its register" in long.rounding["a"].reasons
    x = np.zeros((4000, 1, 2), np.int64)
    x[:2000, 0, 1] = 1
    x[2000:, 0, 0] = 1
    assert (
        run_float(network, x, dtype="float64").spikes["a"] != run_integer(long, x).spikes["a"]
    ).any()
