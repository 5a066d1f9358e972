"""Workers of a Dask cluster: processes that this one starts, or a scheduler that runs already."""

from __future__ import annotations

import json
import logging
import platform
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib import import_module
from importlib.metadata import version
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ..errors import BackendMissing, UsageError
from ..files import Unreadable, read_text
from .base import A, Here, R, S, Shared, Task, Workers, digest_of_parts

_CONNECT_S = 20
_RETRIES = 3
"""How often a task is done again elsewhere whose worker has died."""
_LOOK_S = 10.0
"""How often it is looked whether there are workers at all."""
_VAIN = 3
"""So many times in a row workers may die without one result, and then it is given up."""
_NO_ANSWER = (OSError, TimeoutError, ValueError, LookupError, TypeError, Unreadable)
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
        try:
            if local:
                scratch = TemporaryDirectory(
                    prefix="snndeploy-workers-", ignore_cleanup_errors=True
                )
                folder = stack.enter_context(scratch)
                settings: Any = import_module("dask").config
                stack.enter_context(settings.set({"temporary-directory": folder}))
                where: Any = stack.enter_context(
                    dask.LocalCluster(
                        n_workers=int(local[1]),
                        threads_per_worker=1,
                        processes=True,
                        dashboard_address=None,
                        local_directory=folder,
                        silence_logs=logging.CRITICAL,
                    )
                )
                client = stack.enter_context(dask.Client(where, timeout=_CONNECT_S))
            else:
                where = _listening(address) if address.endswith(".json") else address
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

        Dask gives a task up when the fourth worker dies that has it, whoever is to blame. So what is
        left is handed in again, until nothing comes back several times in a row.
        """
        lost: Any = import_module("distributed").KilledWorker
        left, vain = list(tasks), 0
        for attempt in count():
            futures = self._submitted(function, shared, left, attempt)
            try:
                while futures:
                    result: R = self._awaited(futures[0])
                    del futures[0], left[0]  # so that the workers may forget it
                    vain = 0
                    yield result
                return
            except lost as error:
                vain += 1
                if vain == _VAIN:
                    raise _lost(str(error)) from error
            finally:
                self.client.cancel(futures)

    def _awaited(self, future: Any) -> Any:
        """The result of a task, however long it takes, while there is anybody to do it."""
        alone = anew = 0
        while anew <= _VAIN:
            try:
                return future.result(timeout=_LOOK_S)
            except TimeoutError:
                if future.status != "pending":  # it is the task's own
                    raise
            alone = 0 if self.client.scheduler_info(n_workers=-1)["workers"] else alone + 1
            if self.cluster is not None and alone == 2:
                self.cluster.scale(0)
                self.cluster.scale(self.wanted)
                alone, anew = 0, anew + 1
        raise _lost("all died while they started")

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
                    function,
                    common,
                    task.argument,
                    key=f"snndeploy-{digest_of_parts(stem, task.digest)}",
                    retries=_RETRIES,
                )
                for task in tasks
            ]


def _lost(why: str) -> BackendMissing:
    return BackendMissing(
        "cluster-workers-lost",
        f"workers died again and again ({why})",
        hint="look at their logs; they may be out of memory",
    )


def _same(value: S) -> S:
    return value
