"""Three engines, one answer: the plain reference, the integer engine, and real Lava."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from snndeploy.ir.arrays import Array
from snndeploy.ir.program import Program
from snndeploy.ir.step import LOIHI
from snndeploy.simulate.integer.engine import run_integer
from snndeploy.simulate.lava.engine import LavaRecording, run_lava
from snndeploy.simulate.lava.env import LavaEnv
from snndeploy.simulate.recording import Recording
from tests.support.conformance_programs import DELAYED, UNDELAYED, make, pack, random_inputs
from tests.support.conformance_reference import run_reference

STEPS, SAMPLES = 9, 3
CASES = [(feature, i, wild) for wild in (False, True) for i, feature in enumerate(UNDELAYED)]
DELAYED_CASES = [
    (feature, seed, wild) for seed in range(2) for wild in (False, True) for feature in DELAYED
]
PER_RUN = 13
PACKS = [
    cases[i : i + PER_RUN]
    for cases in (CASES, DELAYED_CASES)
    for i in range(0, len(cases), PER_RUN)
]


def neurons(program: Program) -> list[str]:
    return [g.name for g in program.on_chip if g.kind != "constant"]


def assert_same(a: Recording, b: Recording, names: list[str]) -> None:
    for kind in ("spikes", "u", "v"):
        one, other = getattr(a, kind), getattr(b, kind)
        for name in names:
            np.testing.assert_array_equal(one[name], other[name], f"{kind} of {name}")


def lava_run(
    program: Program, inputs: Mapping[str, Array], lava: LavaEnv, conv: str = "auto"
) -> LavaRecording:
    return run_lava(
        program, inputs, record_states=neurons(program), lava=lava, timeout_s=120, conv=conv
    )


@pytest.mark.parametrize(("feature", "seed", "wild"), CASES + DELAYED_CASES)
def test_integer_engine_equals_the_reference(feature: str, seed: int, wild: bool) -> None:
    program = make(feature, seed, wild=wild)
    inputs = random_inputs(program, STEPS, SAMPLES, seed)
    states = neurons(program)
    integer = run_integer(program, inputs, record_states=states)
    assert_same(integer, run_reference(program, inputs), states)


def test_the_programs_exercise_what_they_are_for() -> None:
    """Most spike neither never nor always, and the wild ones leave the registers."""
    rates, u_out, v_clipped = [], 0, 0
    for feature, seed, wild in CASES + DELAYED_CASES:
        program = make(feature, seed, wild=wild)
        run = run_integer(
            program, random_inputs(program, STEPS, SAMPLES, seed), record_states=neurons(program)
        )
        rates += [(run.spikes[g.name] != 0).mean() for g in program.groups if g.kind == "lif"]
        u_out += sum(int((np.abs(u) > LOIHI.state_max).sum()) for u in run.u.values())
        v_clipped += sum(int((np.abs(v) == LOIHI.state_max).sum()) for v in run.v.values())
    assert len(CASES + DELAYED_CASES) >= 100
    assert np.mean([0.01 < rate < 0.99 for rate in rates]) > 0.9
    assert u_out > 1000
    assert v_clipped > 1000


@pytest.mark.lava
@pytest.mark.parametrize("cases", PACKS, ids=lambda cases: f"{cases[0][0]}-{cases[-1][0]}")
def test_lava_equals_the_integer_engine(cases: list[tuple[str, int, bool]], lava: LavaEnv) -> None:
    program = pack([make(*case[:2], wild=case[2]) for case in cases])
    inputs = random_inputs(program, STEPS, SAMPLES, 1)
    integer = run_integer(program, inputs, record_states=neurons(program))
    real = lava_run(program, inputs, lava)
    assert_same(real, integer, neurons(program))
    assert set(real.processes) == {x.name for x in (*program.groups, *program.synapses)}


@pytest.mark.lava
def test_samples_of_a_stream_are_independent(lava: LavaEnv) -> None:
    """Delays, a loop and biases: what a stream could carry from one sample into the next."""
    program = pack([make("biased", 0), make("recurrent", 4), make("delayed_each", 2)])
    inputs = random_inputs(program, STEPS, SAMPLES, 5)
    stream = lava_run(program, inputs, lava)
    for sample in range(SAMPLES):
        part = {name: data[:, sample : sample + 1] for name, data in inputs.items()}
        alone = lava_run(program, part, lava)
        for kind in ("spikes", "u", "v"):
            for name in neurons(program):
                np.testing.assert_array_equal(
                    getattr(alone, kind)[name][:, 0],
                    getattr(stream, kind)[name][:, sample],
                    f"{kind} of {name}, sample {sample}",
                )


@pytest.mark.lava
def test_a_long_run_is_cut_into_chunks(lava: LavaEnv, monkeypatch: pytest.MonkeyPatch) -> None:
    from snndeploy.simulate.lava import engine as lava_engine

    program = make("skip", 1)
    inputs = random_inputs(program, STEPS, 5, 1)
    values = sum(int(np.prod(g.shape)) for g in program.groups)
    out = program.group("out")
    values += 2 * int(np.prod(out.shape)) if out.kind == "readout" else 0
    monkeypatch.setattr(lava_engine, "_CHUNK_BYTES", 2 * 4 * STEPS * values)
    seen: list[tuple[int, int]] = []
    real = run_lava(program, inputs, lava=lava, progress=lambda *done: seen.append(done))
    integer = run_integer(program, inputs)
    for name in integer.spikes:
        np.testing.assert_array_equal(real.spikes[name], integer.spikes[name], name)
    assert {(2, 5), (4, 5), (5, 5)} <= set(seen)
    assert seen == sorted(seen)


@pytest.mark.lava
def test_convolution_routes_agree(lava: LavaEnv) -> None:
    seeds = {f: _native_seed(f) for f in ("conv", "conv_dilated", "conv_depthwise", "conv_flat")}
    program = pack([make(feature, seed) for feature, seed in seeds.items()])
    inputs = random_inputs(program, STEPS, 2, 3)
    native = lava_run(program, inputs, lava, "native")
    sparse = lava_run(program, inputs, lava, "sparse")
    assert "Conv" in native.processes.values()
    assert "Conv" not in sparse.processes.values()
    assert_same(native, sparse, neurons(program))
    assert_same(
        native, run_integer(program, inputs, record_states=neurons(program)), neurons(program)
    )


def _native_seed(feature: str) -> int:
    """The first seed whose convolution has an exponent that folds into the weights."""
    return next(s for s in range(100) if make(feature, s).synapses[0].exponent >= 0)
