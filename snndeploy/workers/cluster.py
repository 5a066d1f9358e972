"""Workers of a Dask cluster: processes that this one starts, or a scheduler that runs already."""

from __future__ import annotations

import json
import logging
import platform
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Generic

from ..errors import BackendMissing, SnnDeployError, UsageError
from ..files import Unreadable, read_text
from .base import A, Here, R, S, Shared, Task, Workers, digest_of_parts

_CONNECT_S = 20
_RETRIES = 3
"""How often a task is done again elsewhere whose worker has died."""
_LOOK_S = 10.0
"""How often it is looked whether there are workers at all."""
_FETCH_S = 60.0
"""How long a result that is there may take to come, and how long workers may be idle that have work."""
_AT_WORK = ("executing", "ready", "long-running")
"""States of the tasks that a worker does now, or could."""
_VAIN = 3
"""So many times in a row work may fail without one result, and then it is given up."""
_NO_ANSWER = (OSError, TimeoutError, ValueError, LookupError, TypeError, Unreadable)
_NO_START = (OSError, RuntimeError)
_LOCAL = re.compile(r"local:([1-9]\d{0,3})")
_ADDRESS = re.compile(r"(tcp|tls|ucx|inproc)://\S+")


@contextmanager
def workers_at(address: str | None) -> Iterator[Workers]:
    """The workers at an address, for the body.

    Args:
        address: ``local:N`` starts N worker processes on this machine, ``tcp://HOST:PORT`` is a
            scheduler, ``FILE.json`` the file that a scheduler wrote where it listens; None is this
            process, and needs no Dask.

    Raises:
        UsageError: no such address, or workers of other versions.
        BackendMissing: Dask is not installed, or nobody answers.
    """
    if address is None:
        yield Here()
        return
    local = _LOCAL.fullmatch(address)
    if not (local or _ADDRESS.fullmatch(address) or address.endswith(".json")):
        raise UsageError(
            "cluster-address",
            f"{address!r} is no cluster",
            where="--cluster",
            hint="local:4 for four processes here, tcp://HOST:PORT, or a scheduler file (.json)",
        )
    try:
        dask: Any = import_module("distributed")  # its calls have no types
    except ImportError as error:
        raise BackendMissing(
            "dask-missing",
            f"Dask cannot be imported here ({error})",
            where=address,
            hint="pip install 'snndeploy[cluster]'",
        ) from error
    with ExitStack() as stack:
        if local:
            where: Any = stack.enter_context(_started(dask, int(local[1]), address))
        else:
            where = address
        try:
            if address.endswith(".json"):
                where = _listening(address)
            client = stack.enter_context(dask.Client(where, timeout=_CONNECT_S))
        except _NO_ANSWER as error:
            raise BackendMissing(
                "cluster-unreachable",
                f"no scheduler answers ({error})",
                where=address,
                hint="check that dask scheduler and its workers run, and that this machine reaches them",
            ) from error
        _refuse_others(client, address)
        yield DaskWorkers(client, where if local else None)


@contextmanager
def _started(dask: Any, workers: int, address: str) -> Iterator[Any]:
    """Workers on this machine, which keep everything in memory: a disk can be full, and files torn."""
    settings: Any = import_module("dask").config
    with ExitStack() as stack:
        try:
            scratch = TemporaryDirectory(prefix="snndeploy-workers-", ignore_cleanup_errors=True)
            folder = stack.enter_context(scratch)
            told = {
                "temporary-directory": folder,
                "distributed.worker.memory.target": False,
                "distributed.worker.memory.spill": False,
            }
            stack.enter_context(settings.set(told))
            cluster = stack.enter_context(
                dask.LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    processes=True,
                    dashboard_address=None,
                    local_directory=folder,
                    silence_logs=logging.CRITICAL,
                )
            )
        except _NO_START as error:
            raise BackendMissing(
                "cluster-not-started",
                f"no workers could be started here ({error})",
                where=address,
                hint="they need room in a folder for temporary files (TMPDIR), and memory",
            ) from error
        yield cluster


def _listening(file: str) -> str:
    """Where the scheduler that wrote a file listens."""
    address = str(json.loads(read_text(Path(file)))["address"])
    if not _ADDRESS.fullmatch(address):
        raise ValueError(f"the file names no address, but {address!r:.80}")
    return address


def versions() -> dict[str, str]:
    """What decides over the last bit of a result."""
    names = ("snndeploy", "numpy", "torch")
    python = ".".join(platform.python_version_tuple()[:2])
    return {"python": python, **{name: version(name) for name in names}}


def _refuse_others(client: Any, address: str) -> None:
    mine = versions()
    for worker, theirs in client.run(versions).items():
        other = [name for name in mine if theirs.get(name) != mine[name]]
        if other:
            told = ", ".join(f"{name} {theirs.get(name)} (here {mine[name]})" for name in other)
            raise UsageError(
                "cluster-versions",
                f"the worker {worker} has {told}",
                where=address,
                hint="start the workers in the environment of this process",
            )


class DaskWorkers(Workers):
    """Workers of a Dask scheduler, which knows tasks by their digests.

    Args:
        client: a ``distributed.Client``.
        cluster: the ``LocalCluster`` behind it. Dask does not replace a worker that dies while it
            starts; where none is left of it, all are started anew. A scheduler elsewhere is waited
            for: its workers may be in a queue.
    """

    def __init__(self, client: Any, cluster: Any = None) -> None:
        self.client, self.cluster = client, cluster
        self.wanted = 0 if cluster is None else len(cluster.workers)

    def each(
        self, function: Callable[[S, A], R], shared: Shared[S], tasks: Sequence[Task[A]]
    ) -> Iterator[R]:
        """All at once; the first ones are handed out while later ones run.

        Dask gives a task up when the fourth worker dies that has it, whoever is to blame, and lets
        one wait for ever for what no worker hands out. So what is left is handed in again, under
        other names, until nothing comes back several times in a row.
        """
        left, vain = list(tasks), 0
        for attempt in count():
            futures: list[Any] = []
            try:
                futures += self._submitted(function, shared, left, attempt)
                while futures:
                    outcome: _Outcome[R] = self._awaited(futures[0])
                    del futures[0], left[0]  # so that the workers may forget it
                    vain = 0
                    yield outcome.result()
                return
            except _TaskFailed as failed:
                raise failed.error from None
            except SnnDeployError:
                raise
            except Exception as error:  # of Dask, whichever: the work's own come as outcomes
                vain += 1
                if vain == _VAIN:
                    raise _lost(str(error) or type(error).__name__) from error
            finally:
                with suppress(Exception):  # the scheduler may be gone
                    self.client.cancel(futures)

    def _awaited(self, future: Any) -> Any:
        """What became of a task, however long it takes, while there is anybody to do it."""
        dask: Any = import_module("distributed")
        alone = anew = idle = 0
        while anew <= _VAIN:
            try:
                dask.wait([future], timeout=_LOOK_S)
            except dask.TimeoutError:  # before Python 3.11 not the built-in one
                workers = self.client.scheduler_info(n_workers=-1)["workers"]
                alone = 0 if workers else alone + 1
                idle = idle + 1 if workers and not any(map(_at_work, workers.values())) else 0
                if idle > 1 and idle * _LOOK_S >= _FETCH_S:
                    raise TimeoutError("nobody works on what is left") from None
            else:
                return self._fetched(future)
            if self.cluster is not None and alone == 2:
                self.cluster.scale(0)
                self.cluster.scale(self.wanted)
                alone, anew = 0, anew + 1
        raise _lost("all died while they started")

    def _fetched(self, future: Any) -> Any:
        """The result of a task that is done.

        It is asked for once. ``Future.result`` asks again as long as the worker cannot read its file,
        and the worker counts each time as a transfer that goes on: at a hundred of them it hands out
        nothing any more, to nobody.
        """
        if future.status != "finished":
            return future.result(timeout=_FETCH_S)  # raises

        async def once() -> Any:
            return await self.client.scheduler.gather(keys=[future.key])

        answer = self.client.sync(once, callback_timeout=_FETCH_S)
        if answer["status"] != "OK":
            raise LookupError("its worker could not hand a result out")
        return answer["data"][future.key]

    def _submitted(
        self,
        function: Callable[[S, A], R],
        shared: Shared[S],
        tasks: Sequence[Task[A]],
        attempt: int,
    ) -> list[Any]:
        name = f"{function.__module__}.{function.__qualname__}"
        stem = digest_of_parts(*versions().values(), name, shared.digest, attempt)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Sending large graph")
            common = self.client.submit(_same, shared.value, key=f"snndeploy-shared-{stem}")
            return [
                self.client.submit(
                    _attempted,
                    function,
                    common,
                    task.argument,
                    key=f"snndeploy-{digest_of_parts(stem, task.digest)}",
                    retries=_RETRIES,
                )
                for task in tasks
            ]


def _at_work(worker: Mapping[str, Any]) -> bool:
    """Whether a worker has anything to do, by what it told the scheduler last."""
    counts = worker.get("metrics", {}).get("task_counts")
    return counts is None or any(counts.get(state) for state in _AT_WORK)


def _lost(why: str) -> BackendMissing:
    return BackendMissing(
        "cluster-workers-lost",
        f"work did not come back from the workers, again and again ({why})",
        hint="look at their logs; they may be out of memory, or of room for files",
    )


class _TaskFailed(Exception):
    """What a task raised, set apart from what goes wrong on its way."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass(frozen=True, eq=False)
class _Outcome(Generic[R]):
    """What a task returned, or raised."""

    value: R | None = None
    error: Exception | None = None

    def result(self) -> R:
        if self.error is not None:
            raise _TaskFailed(self.error)
        return self.value  # type: ignore[return-value]


def _attempted(function: Callable[[S, A], R], shared: S, argument: A) -> _Outcome[R]:
    try:
        return _Outcome(value=function(shared, argument))
    except Exception as error:  # whichever: it is raised where the work was asked for
        return _Outcome(error=error)


def _same(value: S) -> S:
    return value
