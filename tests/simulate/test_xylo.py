"""Xylo's neurons: against what the vendor's simulator recorded, and against the simulator itself."""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from snndeploy.chip import load_target
from snndeploy.chip.families.xylo.configuration import configuration_of
from snndeploy.errors import BackendMissing, InputError, LoweringRefused, UsageError
from snndeploy.ir.arrays import frozen
from snndeploy.ir.program import Program, SynapseSource
from snndeploy.lower import InputCoding, lower
from snndeploy.simulate.integer.engine import run_integer
from snndeploy.simulate.integer.in_turn.kernel import fits, run_compiled
from snndeploy.simulate.integer.in_turn.plain import run_plain
from snndeploy.simulate.integer.in_turn.wiring import wiring_of
from snndeploy.simulate.lava import place
from snndeploy.simulate.xylo import env as xylo_env
from snndeploy.simulate.xylo.engine import run_worker, run_xylosim
from tests.support.xylo_configurations import differing, messages, random_configuration, wired
from tests.support.xylo_networks import hidden_layers, sent
from tests.support.xylosim_jobs import job, recorded

XYLO = load_target("xylo-a2")
CASES = [f"{k:02d}" for k in range(1, 25)]
NAMES = ("hid", "out", "i_syn", "i_syn_out", "v_mem", "v_mem_out")
NONE = dict.fromkeys(NAMES, 0)


@pytest.fixture
def judge() -> xylo_env.XyloEnv:
    found = xylo_env.find_xylosim()
    if found is None:
        pytest.skip("xylosim is not installed (snndeploy xylo install)")
    return found


@pytest.mark.parametrize("case", CASES)
def test_recorded_cases_are_equal_in_every_spike_and_state(case: str, shared_data: Path) -> None:
    """Saturation, two synapses, aliases, every decay, thresholds below 0, both simulators."""
    (file,) = (shared_data / "xylo_cases").glob(f"{case}_*.npz")
    with np.load(file, allow_pickle=False) as stored:
        c = dict(stored)
    wiring, sent = wired(c), messages(c)
    assert fits(wiring, sent)
    assert differing(c, run_compiled(wiring, sent)) == NONE
    assert differing(c, run_plain(wiring, sent)) == NONE


@pytest.mark.parametrize("seed", range(30))
def test_the_kernel_is_the_reference(seed: int) -> None:
    c = random_configuration(seed)
    wiring, x = wired(c), messages(c)
    a, b = run_plain(wiring, x), run_compiled(wiring, x)
    for name in ("spikes", "u", "v"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)
    assert run_compiled(wiring, x, states=False).u.size == 0


def test_the_kernel_admits_what_it_was_written_for() -> None:
    c = random_configuration(1)
    wiring, sent = wired(c), messages(c)
    assert fits(wiring, sent)
    for change in (
        {"state_bits": 17},
        {"u_overflow": "saturate"},
        {"decay": "shift"},
        {"state_shift": 1},
        {"arrival": "summed"},
    ):
        other = dataclasses.replace(wiring.arithmetic, **change)  # type: ignore[arg-type]
        assert not fits(dataclasses.replace(wiring, arithmetic=other), sent)
    assert not fits(dataclasses.replace(wiring, dv=wiring.dv + 40), sent)
    assert not fits(dataclasses.replace(wiring, bias=wiring.bias + (1 << 15)), sent)
    assert not fits(wiring, sent + (1 << 15))


def judged(seeds: range, judge: xylo_env.XyloEnv) -> None:
    made = {str(k): random_configuration(k) for k in seeds}
    results = run_worker({k: job(c) for k, c in made.items()}, judge)
    for k, c in made.items():
        run = run_compiled(wired(c), messages(c))
        assert differing(recorded(c, results[k]), run) == NONE, k


@pytest.mark.xylo
def test_a_hundred_random_configurations_in_the_simulator(judge: xylo_env.XyloEnv) -> None:
    judged(range(100), judge)


@pytest.mark.slow
@pytest.mark.xylo
def test_a_thousand_random_configurations_in_the_simulator(judge: xylo_env.XyloEnv) -> None:
    judged(range(100, 1100), judge)


def lowered(**options: bool) -> Program:
    coding = InputCoding(kind="graded", peak=15)
    return lower(hidden_layers(**options), XYLO, inputs=coding)


@pytest.mark.parametrize("bias", [False, True])
def test_programs_run_alike_compiled_plain_and_watched(bias: bool) -> None:
    program = lowered(bias=bias)
    x = sent()
    names = [g.name for g in program.on_chip]
    a = run_integer(program, x, record_states=names)
    watched = run_integer(program, x, record_states=names, watch=True)
    for name in names:
        assert a.spikes[name].any(), name
        np.testing.assert_array_equal(a.spikes[name], watched.spikes[name])
        np.testing.assert_array_equal(a.u[name], watched.u[name])
        np.testing.assert_array_equal(a.v[name], watched.v[name])
        assert watched.registers[name].v_peak >= np.abs(a.v[name]).max()
    parts = [run_integer(program, x, batch=b).spikes["output5"] for b in (1, 2, 5)]
    for part in parts:
        np.testing.assert_array_equal(part, a.spikes["output5"])


@pytest.mark.xylo
@pytest.mark.parametrize("options", [{}, {"bias": True}, {"readout": True}], ids=str)
def test_programs_in_the_simulator(options: dict[str, bool], judge: xylo_env.XyloEnv) -> None:
    """Groups of any depth, whose biases run before the sample reaches them."""
    program = lowered(**options)
    x = sent()
    names = [g.name for g in program.on_chip]
    ours = run_integer(program, x, record_states=names)
    theirs = run_xylosim(program, x, states=True, env=judge)
    for name in names:
        np.testing.assert_array_equal(ours.spikes[name], theirs.spikes[name], err_msg=name)
        np.testing.assert_array_equal(ours.u[name], theirs.u[name], err_msg=name)
        np.testing.assert_array_equal(ours.v[name], theirs.v[name], err_msg=name)


def test_channels_take_fifteen_spikes_and_none_that_are_negative() -> None:
    program = lowered()
    x = sent()
    x[3] = 40
    clipped = np.minimum(x, 15)
    for name, train in run_integer(program, x).spikes.items():
        if name != "in":
            np.testing.assert_array_equal(train, run_integer(program, clipped).spikes[name])
    x[0, 0, 0] = -1
    with pytest.raises(InputError) as caught:
        run_integer(program, x)
    assert caught.value.code == "input-negative"


def test_what_no_such_chip_does_has_no_wiring() -> None:
    program = lowered()
    for change in (
        {"compare": ">"},
        {"reset": "zero"},
        {"v_floor": frozen(0)},
        {"kind": "constant"},
    ):
        groups = [
            dataclasses.replace(g, **change) if g.name == "hidden12" else g for g in program.groups
        ]
        with pytest.raises(ValueError, match="hidden12"):
            wiring_of(dataclasses.replace(program, groups=tuple(groups)))


def test_a_program_that_breaks_rules_has_no_configuration() -> None:
    program = lowered()

    def code(name: str = "hidden12->hidden9", **changes: object) -> str:
        synapses = [
            dataclasses.replace(s, **changes) if s.name == name else s  # type: ignore[arg-type]
            for s in program.synapses
        ]
        with pytest.raises(LoweringRefused) as caught:
            configuration_of(dataclasses.replace(program, synapses=tuple(synapses)), 32767)
        return caught.value.code

    assert code(exponent=9) == "xylo-configuration"
    late = (SynapseSource("hidden12", frozen(2, np.int64)),)
    assert code(sources=late) == "xylo-configuration"
    assert code("in->hidden12", target="output5") == "xylo-configuration"


# --- the interpreter that has the simulator -------------------------------------------------------


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv(xylo_env.PYTHON_VARIABLE, raising=False)
    monkeypatch.setattr(xylo_env, "private_place", lambda: tmp_path / "private")
    return tmp_path


def test_without_the_simulator(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert xylo_env.find_xylosim() is None
    with pytest.raises(BackendMissing) as caught:
        xylo_env.require_xylosim()
    assert caught.value.code == "xylosim-missing"
    assert "snndeploy xylo install" in caught.value.hint
    monkeypatch.setenv(xylo_env.PYTHON_VARIABLE, sys.executable)
    with pytest.raises(BackendMissing) as caught:
        xylo_env.find_xylosim()
    assert caught.value.code == "xylosim-python-unusable"


def test_an_install_that_fails_leaves_nothing(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(python: Path, *arguments: str, timeout: float | None = None) -> str:
        if "venv" in arguments:
            (Path(arguments[-1]) / "bin").mkdir()
            return ""
        raise OSError("no network")

    monkeypatch.setattr(xylo_env, "run_python", refuses)
    monkeypatch.setattr(place, "run_python", refuses)
    monkeypatch.setattr(xylo_env, "_bases", lambda: [(Path(sys.executable), (3, 11))])
    with pytest.raises(BackendMissing) as caught:
        xylo_env.install_xylosim()
    assert caught.value.code == "xylosim-install-failed"
    assert not (nowhere / "private").exists()
    monkeypatch.setattr(xylo_env, "_bases", list)
    with pytest.raises(BackendMissing) as caught:
        xylo_env.install_xylosim()
    assert caught.value.code == "xylosim-no-python"
    assert not (nowhere / "private").exists()


def test_the_next_python_is_tried(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One without what environments are made with is passed over."""
    tried: list[Path] = []

    def first_fails(python: Path, *arguments: str, timeout: float | None = None) -> str:
        tried.append(python)
        if python.name == "without":
            raise OSError("no ensurepip")
        return ""

    monkeypatch.setattr(place, "run_python", first_fails)
    made = place.EnvironmentPlace(nowhere / "here", "stamp.txt")
    assert made.claim()
    bases = [(nowhere / "without", (3, 10)), (nowhere / "with", (3, 11))]
    version, failure = made.made_on(bases, lambda line: None)
    assert version == (3, 11)
    assert failure.endswith("without cannot create an environment: no ensurepip")
    assert [p.name for p in tried] == ["without", "with"]
    assert not made.complete
    made.sign("done")
    assert made.complete


def test_a_directory_of_others_is_left_alone(nowhere: Path) -> None:
    (nowhere / "mine").mkdir()
    (nowhere / "mine" / "thesis.txt").touch()
    with pytest.raises(UsageError) as caught:
        xylo_env.install_xylosim(nowhere / "mine")
    assert caught.value.code == "xylosim-directory-occupied"
    assert os.listdir(nowhere / "mine") == ["thesis.txt"]


def test_a_worker_that_fails_is_told(nowhere: Path) -> None:
    """An interpreter without xylosim."""
    env = xylo_env.XyloEnv(
        python=Path(sys.executable), version=(3, 11), xylosim="none", origin="variable"
    )
    with pytest.raises(BackendMissing) as caught:
        run_xylosim(lowered(), np.zeros((2, 1, 6), int), env=env)
    assert caught.value.code == "xylosim-failed"
    assert "xylosim" in caught.value.message
