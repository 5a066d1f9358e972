"""Run one job on Lava: ``python -m lava_worker.worker JOB``.

``JOB`` is a folder with ``job.json`` and ``arrays.npz``. The worker writes ``progress`` (chip steps
done), ``stopping`` when all are, the files that the job names for spikes and states, and last either
``result.json`` or ``error.json`` with the traceback. It ends itself when its standard input closes,
which is how it notices that whoever started it is gone.
"""

from __future__ import annotations

import ctypes
import json
import multiprocessing
import os
import shutil
import signal
import sys
import threading
import time
import traceback
import warnings
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from .compat import import_lava

_SCRATCH = "snndeploy-lava-"
_SET_DEATH_SIGNAL = 1
"""``PR_SET_PDEATHSIG`` of Linux."""
_TRIES, _WAIT_S = 100, 0.05


class ModelFailed(Exception):
    """A process model raised; its traceback is in ``error.json``."""


def main(folder: Path) -> int:
    """Run the job in ``folder``; returns the exit code."""
    started = time.monotonic()
    signal.signal(signal.SIGUSR1, _model_failed)
    threading.Thread(target=_end_with_parent, args=(folder,), daemon=True).start()
    try:
        import_lava()
        _report_failures(folder)
        _remember_models()
        seconds = _run(folder)
    except ModelFailed:
        return _abandon()
    except Exception:
        _write_error(folder)
        return _abandon()
    result = {
        "python": sys.version.split()[0],
        "start_s": round(time.monotonic() - started - seconds, 3),
        "run_s": round(seconds, 3),
    }
    (folder / "result.json").write_text(json.dumps(result))
    return 0


def _run(folder: Path) -> float:
    """Build and run the processes; returns the seconds spent in steps."""
    from lava.magma.core.run_conditions import RunSteps
    from lava.magma.core.run_configs import Loihi2SimCfg

    from .build import LavaNetwork

    # lava walks the graph of processes recursively.
    sys.setrecursionlimit(100_000)
    job: dict[str, Any] = json.loads((folder / "job.json").read_text())
    with np.load(folder / "arrays.npz", allow_pickle=False) as arrays:
        root = LavaNetwork(job, arrays, folder).root
    config = Loihi2SimCfg(select_tag="fixed_pt")
    root.create_runtime(run_cfg=config)
    started, done, failed = time.monotonic(), 0, True
    try:
        while done < job["steps"]:
            count = min(job["slice"], job["steps"] - done)
            root.run(condition=RunSteps(num_steps=count), run_cfg=config)
            done += count
            _replace(folder / "progress", str(done))
        failed = False
    finally:
        # After a model has failed, stop() waits for that model for ever; `_abandon` ends the rest.
        if not failed:
            _replace(folder / "stopping", "")
            root.stop()
    return time.monotonic() - started


def _report_failures(folder: Path) -> None:
    """Make an exception in any model known at once.

    Lava keeps it in a pipe that nobody reads while a neighbour waits for the failed model's output.
    """
    from lava.magma.runtime.message_infrastructure.multiprocessing import SystemProcess

    def run(self: Any) -> None:
        _end_with_worker()
        try:
            multiprocessing.Process.run(self)
            self._cconn.send(None)
        except Exception:
            _write_error(folder)
            os.kill(os.getppid(), signal.SIGUSR1)
            raise

    SystemProcess.run = run


def _end_with_worker() -> None:
    """Let the system kill this process when the worker ends, where the system can."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, int(signal.SIGKILL))


def _remember_models() -> None:
    """Look for the models of each process class once.

    Lava executes every Python file beside a process anew for each process, which would take most of
    the time to start.
    """
    from lava.magma.compiler.compiler_graphs import ProcGroupDiGraphs

    find = ProcGroupDiGraphs._find_proc_models
    found: dict[type, Any] = {}

    def find_once(proc: Any) -> Any:
        if type(proc) not in found:
            found[type(proc)] = find(proc)
        return found[type(proc)]

    # Executed like that, a file cannot import its neighbours, which Lava warns of: no loss.
    warnings.filterwarnings("ignore", "Cannot import module")
    ProcGroupDiGraphs._find_proc_models = staticmethod(find_once)


def _model_failed(_number: int, _frame: FrameType | None) -> None:
    raise ModelFailed


def _write_error(folder: Path) -> None:
    if not (folder / "error.json").exists():  # the first one is the cause
        _replace(folder / "error.json", json.dumps({"traceback": traceback.format_exc()}))


def _replace(path: Path, text: str) -> None:
    """Write a file that is never seen half written."""
    new = path.with_name(f"{path.name}.{os.getpid()}")
    new.write_text(text)
    new.replace(path)


def _abandon() -> int:
    """End the models without asking them."""
    for child in multiprocessing.active_children():
        child.terminate()
    # No interpreter shutdown: it would join what was just terminated, in lava's own way.
    os._exit(1)


def _end_with_parent(folder: Path) -> None:
    """Wait for standard input to close. Not through ``sys.stdin``, whose lock a fork would copy.

    Then whoever would have removed the job's folder is gone, so this is done here, after the models
    have ended.
    """
    while os.read(0, 1):
        pass
    if os.getpgrp() == os.getpid():
        for child in multiprocessing.active_children():
            child.kill()
        if folder.name.startswith(_SCRATCH):
            _remove(folder)
        os.killpg(0, signal.SIGTERM)
    _abandon()


def _remove(folder: Path) -> None:
    """Remove a folder to which processes that end may still write: again, until it is gone."""
    for _ in range(_TRIES):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(_WAIT_S)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
