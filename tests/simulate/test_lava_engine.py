"""What the Lava engine refuses, how it fails, and what it leaves behind: nothing."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snndeploy.cli.bounds import bounded
from snndeploy.errors import BackendMissing, InputError, SnnDeployError, UsageError
from snndeploy.ir.arrays import frozen
from snndeploy.ir.linear.unroll import unroll
from snndeploy.ir.program import Program
from snndeploy.simulate.lava import env as lava_env
from snndeploy.simulate.lava import process as lava_process
from snndeploy.simulate.lava.engine import run_lava, write_job
from snndeploy.simulate.lava.env import LavaEnv
from snndeploy.simulate.lava.lava_worker import worker
from snndeploy.simulate.lava.plan import gated_groups, plan_lava
from snndeploy.simulate.lava.process import STOPPING, _wait, run_worker
from tests.support.conformance_programs import DELAYED, UNDELAYED, make, random_inputs
from tests.support.conformance_reference import matrix

INPUTS = {"steps": 6, "samples": 2, "seed": 0}


class Watch:
    """Sessions that were started, and the shared memory that was seen in them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sessions: list[int] = []
        self.segments: set[str] = set()
        popen, segments = subprocess.Popen, lava_process._segments

        def start(*args: Any, **options: Any) -> Any:
            process = popen(*args, **options)
            if options.get("start_new_session"):
                self.sessions.append(process.pid)
            return process

        def see(pid: int) -> set[str]:
            found = segments(pid)
            self.segments |= found
            return found

        monkeypatch.setattr(lava_process.subprocess, "Popen", start)
        monkeypatch.setattr(lava_process, "_segments", see)

    def assert_nothing_left(self) -> None:
        assert self.sessions
        for session in self.sessions:
            assert session_members(session) == []
        assert [s for s in self.segments if Path(s).exists()] == []


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    return Watch(monkeypatch)


def session_members(session: int) -> list[int]:
    """Living processes of a session, by the system's own list."""
    listed = subprocess.run(
        ["ps", "-eo", "pid=,sess=,stat="], check=True, capture_output=True, text=True
    ).stdout
    rows = [line.split() for line in listed.splitlines()]
    return [int(pid) for pid, sess, stat in rows if int(sess) == session and stat[0] != "Z"]


def fake_python(folder: Path, script: str) -> LavaEnv:
    """An interpreter that runs ``script`` whatever it is asked to run."""
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return LavaEnv(
        python=path, version=(3, 10), lava_version="0.10.0", patched=False, origin="variable"
    )


def failure(program: Program, **options: Any) -> SnnDeployError:
    with pytest.raises(SnnDeployError) as caught:
        run_lava(program, random_inputs(program, **INPUTS), **options)
    return caught.value


def test_without_lava(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lava_env, "find_lava", lambda: None)
    error = failure(make("dense", 0))
    assert (type(error), error.code) == (BackendMissing, "lava-missing")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"state_bits": 16}, "state_bits 24, not 16"),
        ({"decay": "shift", "sum_bits": 20}, "decay multiply, not shift; sum_bits 32, not 20"),
    ],
)
def test_another_arithmetic_than_lavas(fields: dict[str, Any], message: str) -> None:
    """Lava would answer, and wrongly."""
    program = make("dense", 0)
    other = dataclasses.replace(program.arithmetic, **fields)
    program = dataclasses.replace(program, arithmetic=other)
    with pytest.raises(BackendMissing, match=message) as caught:
        run_lava(program, random_inputs(program, 3, 1, 0))
    assert caught.value.code == "lava-arithmetic"
    assert "integer engine" in caught.value.hint


def test_a_hanging_worker_is_ended_with_its_children(tmp_path: Path, watch: Watch) -> None:
    lava = fake_python(tmp_path, "sleep 600 & sleep 600")
    started = time.monotonic()
    error = failure(make("dense", 0), lava=lava, timeout_s=0.5)
    assert time.monotonic() - started < 10
    assert (type(error), error.code) == (BackendMissing, "lava-timeout")
    assert str(error) == (
        "Lava finished no further step within 0.5 s (0 steps were done)\n"
        "  next: give it more time (snndeploy --lava-timeout SECONDS), or fewer samples"
    )
    watch.assert_nothing_left()


def test_a_worker_that_ignores_sigterm_is_killed(
    tmp_path: Path, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lava_process, "_GRACE_S", 0.3)
    lava = fake_python(tmp_path, "trap '' TERM\nsleep 600 & while :; do sleep 1; done")
    assert failure(make("dense", 0), lava=lava, timeout_s=0.5).code == "lava-timeout"
    watch.assert_nothing_left()


def test_a_worker_that_dies_shows_its_last_words(tmp_path: Path, watch: Watch) -> None:
    lava = fake_python(tmp_path, "echo no such thing >&2; exit 3")
    error = failure(make("dense", 0), lava=lava)
    assert str(error) == (
        "Lava stopped with an error:\nits process ended with code 3\nno such thing\n"
        "  next: check the installation with `snndeploy doctor`"
    )
    watch.assert_nothing_left()


def test_an_interpreter_without_lava_says_so(watch: Watch) -> None:
    base = getattr(sys, "_base_executable", sys.executable)
    lava = LavaEnv(
        python=Path(base), version=(3, 10), lava_version="0.10.0", patched=False, origin="variable"
    )
    error = failure(make("dense", 0), lava=lava)
    assert error.code == "lava-failed"
    assert "ModuleNotFoundError" in error.message
    watch.assert_nothing_left()


def job(folder: Path) -> None:
    program = make("dense", 0)
    plan = plan_lava(program, INPUTS["steps"], INPUTS["samples"])
    write_job(folder, program, plan, random_inputs(program, **INPUTS), INPUTS["samples"])


@pytest.mark.lava
def test_a_failing_model_shows_its_traceback(tmp_path: Path, lava: LavaEnv, watch: Watch) -> None:
    """A model that raises while others wait for it: Lava itself hangs, silently."""
    job(tmp_path)
    spec = json.loads((tmp_path / "job.json").read_text())
    spec["neurons"][0]["parameters"]["vth"] = 0.5
    (tmp_path / "job.json").write_text(json.dumps(spec))
    with pytest.raises(BackendMissing) as caught:
        run_worker(tmp_path, lava, timeout_s=120)
    assert caught.value.code == "lava-failed"
    assert "TypeError: ufunc 'left_shift' not supported" in caught.value.message
    assert "scale_threshold" in caught.value.message
    watch.assert_nothing_left()


@pytest.mark.lava
def test_the_worker_ends_itself_after_a_failing_model(tmp_path: Path, lava: LavaEnv) -> None:
    """Nobody watches it, as when it runs from a bundle."""
    job(tmp_path)
    spec = json.loads((tmp_path / "job.json").read_text())
    spec["neurons"][0]["parameters"]["vth"] = 0.5
    (tmp_path / "job.json").write_text(json.dumps(spec))
    worker = subprocess.Popen(
        [lava.python, "-m", "lava_worker.worker", tmp_path],
        cwd=tmp_path,
        env={"PYTHONPATH": str(lava_process._PACKAGE.parent)},
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        assert worker.wait(120) == 1
        assert "TypeError" in (tmp_path / "error.json").read_text()
        assert wait_until(lambda: not session_members(worker.pid))
    finally:
        lava_process._end(worker)


@pytest.mark.lava
def test_too_little_time_for_real_lava(lava: LavaEnv, watch: Watch) -> None:
    program = make("biased", 0)
    with pytest.raises(BackendMissing) as caught:
        run_lava(program, random_inputs(program, 50_000, 1, 0), lava=lava, timeout_s=0.2)
    assert caught.value.code == "lava-timeout"
    watch.assert_nothing_left()


@pytest.mark.lava
def test_an_interrupt_leaves_nothing(lava: LavaEnv, watch: Watch) -> None:
    def interrupt(done: int, samples: int) -> None:
        raise KeyboardInterrupt

    program = make("biased", 0)
    inputs = random_inputs(program, 40, 20, 0)
    with pytest.raises(KeyboardInterrupt):
        run_lava(program, inputs, lava=lava, progress=interrupt)
    assert watch.segments  # it was running
    watch.assert_nothing_left()


_ENDS_SLOWLY = """
import os, time
if os.fork():
    time.sleep(3)
else:
    os._exit(0)
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are not seen here")
@pytest.mark.parametrize("stopping", [True, False])
def test_processes_that_end_after_the_last_step_are_not_lost(
    stopping: bool, tmp_path: Path
) -> None:
    """Lava joins its processes one by one: with many of them, the last stay zombies for long."""
    if stopping:
        (tmp_path / STOPPING).touch()
    worker = subprocess.Popen([sys.executable, "-c", _ENDS_SLOWLY], start_new_session=True)
    try:
        if stopping:
            _wait(worker, tmp_path, 60, lambda done: None)
            assert worker.returncode == 0
            return
        with pytest.raises(BackendMissing) as caught:
            _wait(worker, tmp_path, 60, lambda done: None)
        assert caught.value.code == "lava-lost"
    finally:
        worker.wait()


@pytest.mark.lava
@pytest.mark.parametrize(
    ("number", "told"),
    [
        (signal.SIGKILL, "was killed"),
        (signal.SIGSTOP, "was stopped"),
        (signal.SIGSEGV, "was killed"),
    ],
)
def test_a_lost_model_is_noticed_at_once(
    tmp_path: Path, lava: LavaEnv, watch: Watch, number: int, told: str
) -> None:
    """Lava's other processes would wait for it for ever."""
    job(tmp_path)
    spec = json.loads((tmp_path / "job.json").read_text())
    spec["steps"] = 10_000_000
    for neurons in spec["neurons"]:
        neurons.update(states=None, spikes=None)
    (tmp_path / "job.json").write_text(json.dumps(spec))
    lost: list[float] = []

    def lose(done: int) -> None:
        if not lost:
            session = watch.sessions[-1]
            victim = max(set(session_members(session)) - {session})
            os.kill(victim, number)
            lost.append(time.monotonic())

    with pytest.raises(BackendMissing) as caught:
        run_worker(tmp_path, lava, timeout_s=120, progress=lose)
    assert time.monotonic() - lost[0] < 5
    assert caught.value.code == "lava-lost"
    assert f"one of Lava's processes {told}" in caught.value.message
    watch.assert_nothing_left()


@pytest.mark.lava
def test_what_multiprocessing_keeps_in_files_goes_with_the_job(
    tmp_path: Path, lava: LavaEnv, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed managers leave ``pymp-`` folders; sockets take short names, so not below ``tmp_path``."""
    seen: list[str] = []

    def interrupt(done: int, samples: int) -> None:
        seen.extend(p.name for p in Path(short).rglob("pymp-*"))
        raise KeyboardInterrupt

    program = make("biased", 0)
    with tempfile.TemporaryDirectory(prefix="t-") as short:
        monkeypatch.setattr(tempfile, "tempdir", short)
        with pytest.raises(KeyboardInterrupt):
            run_lava(program, random_inputs(program, 40, 20, 0), lava=lava, progress=interrupt)
        assert seen  # they were in the job's folder
        assert list(Path(short).iterdir()) == []


def borrowed(folder: Path, lava: LavaEnv) -> LavaEnv:
    """An environment whose packages are those of ``lava``, for as long as a link lasts."""
    made = folder / "env"
    base = lava.python.resolve()
    subprocess.run([base, "-m", "venv", "--without-pip", made], check=True)
    found = [lava.python, "-c", "import numpy; print(numpy.__path__[0])"]
    packages = subprocess.run(found, check=True, capture_output=True, text=True).stdout.strip()
    (folder / "packages").symlink_to(Path(packages).parent)
    (site,) = made.glob("lib/python*/site-packages")
    (site / "borrowed.pth").write_text(f"{folder / 'packages'}\n")
    return dataclasses.replace(lava, python=made / "bin/python")


@pytest.mark.lava
@pytest.mark.parametrize("when", ["while it starts", "while it runs"])
def test_an_environment_that_is_removed_midway(
    when: str, tmp_path: Path, lava: LavaEnv, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = borrowed(tmp_path, lava)
    removed: list[float] = []
    session = lava_process._session

    def remove(*_: object) -> None:
        if not removed:
            (tmp_path / "packages").unlink()
            removed.append(time.monotonic())

    def look(worker: Any) -> Any:
        if when == "while it starts":
            remove()
        return session(worker)

    monkeypatch.setattr(lava_process, "_session", look)
    program = make("biased", 0)
    inputs = random_inputs(program, 40, 20, 0)
    if when == "while it starts":
        with pytest.raises(BackendMissing) as caught:
            run_lava(program, inputs, lava=theirs, timeout_s=60)
        assert time.monotonic() - removed[0] < 5
        assert caught.value.code == "lava-failed"
        assert "No module named" in caught.value.message
    else:  # what is loaded by then is enough
        found = run_lava(program, inputs, lava=theirs, timeout_s=60, progress=remove)
        expected = run_lava(program, inputs, lava=lava).spikes
        for name, spikes in found.spikes.items():
            np.testing.assert_array_equal(spikes, expected[name])
    assert removed
    watch.assert_nothing_left()


def test_the_time_that_lava_may_take_is_an_option(tmp_path: Path, watch: Watch) -> None:
    """``--lava-timeout`` is what a run is given."""
    lava = fake_python(tmp_path, "sleep 600")
    with bounded(None, None, 0.4):
        error = failure(make("dense", 0), lava=lava)
    assert (error.code, error.exit_code) == ("lava-timeout", 7)
    assert "within 0.4 s" in error.message
    watch.assert_nothing_left()


def test_an_environment_that_was_removed(tmp_path: Path) -> None:
    lava = fake_python(tmp_path, "true")
    lava.python.unlink()
    error = failure(make("dense", 0), lava=lava)
    assert (error.code, error.exit_code) == ("lava-failed", 7)
    assert "its worker cannot be started: No such file or directory" in error.message


CALLER = """
import sys
from pathlib import Path
from snndeploy.simulate.lava import process as lava_process
from snndeploy.simulate.lava.env import LavaEnv
lava = LavaEnv(python=Path(sys.argv[2]), version=(3, 10), lava_version="0.10.0", patched=False,
               origin="variable")
wait = lava_process._wait
def say(worker, job, *rest):
    print(worker.pid, flush=True)
    wait(worker, job, *rest)
lava_process._wait = say
lava_process.run_worker(Path(sys.argv[1]), lava, timeout_s=600)
"""


@pytest.mark.lava
def test_nothing_is_left_when_the_caller_is_killed(lava: LavaEnv) -> None:
    folder = Path(tempfile.mkdtemp(prefix=lava_process.SCRATCH))  # where jobs are
    job(folder)
    spec = json.loads((folder / "job.json").read_text())
    spec["steps"] = 10_000_000
    for neurons in spec["neurons"]:  # no logs of that length
        neurons.update(states=None, spikes=None)
    (folder / "job.json").write_text(json.dumps(spec))
    with subprocess.Popen(
        [sys.executable, "-c", CALLER, folder, lava.python], stdout=subprocess.PIPE, text=True
    ) as caller:
        assert caller.stdout is not None
        session = int(caller.stdout.readline())
        try:
            assert wait_until((folder / "progress").exists, 60)
            assert len(session_members(session)) > 5
            caller.send_signal(signal.SIGKILL)
            assert wait_until(lambda: not session_members(session))
            assert wait_until(lambda: not folder.exists())
        finally:
            for pid in session_members(session):
                os.kill(pid, signal.SIGKILL)


def test_a_folder_to_which_is_still_written_is_removed_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Models that are just being ended write a file while the others go, twice."""
    folder = tmp_path / "job"
    folder.mkdir()
    remove, late = shutil.rmtree, ["a", "b"]

    def disturbed(path: Path, ignore_errors: bool) -> None:
        remove(path, ignore_errors=ignore_errors)
        if late:
            path.mkdir()
            (path / late.pop()).touch()

    monkeypatch.setattr(worker.shutil, "rmtree", disturbed)
    worker._remove(folder)
    assert not folder.exists()


def wait_until(condition: Any, seconds: float = 15) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


@pytest.mark.parametrize("feature", [*UNDELAYED, *DELAYED])
def test_unrolled_chains(feature: str) -> None:
    program = make(feature, 1)
    for s in program.synapses:
        unrolled = unroll(s.ops, s.mantissa, program.source_shape(s))
        np.testing.assert_array_equal(unrolled.dense(), matrix(program, s))
        places = unrolled.rows * unrolled.shape[1] + unrolled.cols
        assert (np.diff(places) > 0).all()
        assert unrolled.values.all()


def test_gates_are_where_delayed_synapses_read() -> None:
    assert gated_groups(make("biased", 0), 5) == frozenset()
    assert gated_groups(make("skip", 0), 5) == frozenset()  # balanced branches are no delay
    assert gated_groups(make("delayed", 0), 5) == {"in", "a"}
    assert gated_groups(make("delayed", 0), 1) == frozenset()  # nothing fires early
    assert gated_groups(make("loop", 0), 5) == {"b"}
    assert gated_groups(make("loop", 0), 1) == {"b"}  # its bias would


def test_intervals_have_a_gap_only_for_delays() -> None:
    assert plan_lava(make("skip", 0), 7, 2).timing.interval == 7
    assert plan_lava(make("delayed", 0), 7, 2).timing.interval == 10


def change(program: Program, **fields: Any) -> Program:
    first = dataclasses.replace(program.synapses[0], **fields)
    return dataclasses.replace(program, synapses=(first, *program.synapses[1:]))


def test_weights_that_lava_would_change() -> None:
    program = make("dense", 0)
    odd = frozen(np.full((7, 9), 3))
    with pytest.raises(ValueError, match=r"store weight 3 as 2 \(mixed, 8 bit\)"):
        plan_lava(change(program, mantissa=odd, sign_mode="mixed", weight_bits=8), 5, 1)
    plan_lava(change(program, mantissa=odd, sign_mode="mixed", weight_bits=9), 5, 1)
    plan_lava(change(program, mantissa=odd, sign_mode="excitatory", weight_bits=8), 5, 1)
    with pytest.raises(ValueError, match="store weight 3 as 0"):
        plan_lava(change(program, mantissa=odd, sign_mode="inhibitory", weight_bits=8), 5, 1)
    with pytest.raises(ValueError, match="no 9-bit weights"):
        plan_lava(change(program, mantissa=odd, sign_mode="excitatory", weight_bits=9), 5, 1)


def test_delays_that_lava_does_not_hold() -> None:
    program = make("dense", 0)
    (source,) = program.synapses[0].sources
    far = dataclasses.replace(source, latency=frozen(65))
    with pytest.raises(ValueError, match="63 steps at most"):
        plan_lava(change(program, sources=(far,)), 5, 1)


@pytest.mark.parametrize(
    ("feature", "exponent", "reason"),
    [
        ("conv", -7, "its exponent -7 does not fold into integer weights"),
        ("conv", 20, "its sums could exceed 24 bit"),
        ("conv_same", 0, "its padding is not symmetric"),
        ("conv_1d", 0, "it is not a two-dimensional convolution"),
        ("pool_conv", 0, "its chain holds more than the convolution"),
    ],
)
def test_convolutions_without_an_exact_native_form(
    feature: str, exponent: int, reason: str
) -> None:
    program = change(make(feature, 0), exponent=exponent)
    with pytest.raises(UsageError) as caught:
        plan_lava(program, 5, 1, conv="native")
    assert caught.value.code == "conv-not-native"
    assert str(caught.value) == (
        f"projection in->a.0: lava's Conv cannot run it exactly: {reason}\n"
        "  next: use the route auto or sparse"
    )
    assert "Sparse" in plan_lava(program, 5, 1).processes["in->a.0"]


def test_inputs_that_no_register_holds() -> None:
    program = make("graded", 0)
    inputs = {"in": np.full((4, 1, 6), 2**31)}
    with pytest.raises(InputError, match="exceeds 32 bit") as caught:
        run_lava(program, inputs, lava=fake_env())
    assert caught.value.code == "input-range"


def test_inputs_of_different_length() -> None:
    program = make("two_inputs", 0)
    inputs = {"left": np.ones((4, 1, 5), int), "right": np.ones((5, 1, 4), int)}
    with pytest.raises(InputError, match="share their steps and samples"):
        run_lava(program, inputs, lava=fake_env())


def fake_env() -> LavaEnv:
    return LavaEnv(
        python=Path("never-run"),
        version=(3, 10),
        lava_version="0.10.0",
        patched=False,
        origin="variable",
    )
