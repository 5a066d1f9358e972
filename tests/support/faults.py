"""What can go wrong with workers: each kind of fault as a function that brings it about once."""

from __future__ import annotations

import os
import random
import resource
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tests.support.workers import works

_TRIES = 200
_PAUSE_S = 0.01


@contextmanager
def spilling(folder: Path, workers: int = 2) -> Iterator[str]:
    """A scheduler whose workers write to disk whatever they hold, as on a cluster of others."""
    import dask
    import distributed

    told = {
        "temporary-directory": str(folder),
        "distributed.worker.memory.target": 1e-9,
        "distributed.worker.memory.spill": 1e-9,
    }
    with (
        dask.config.set(told),  # type: ignore[no-untyped-call]
        distributed.LocalCluster(  # type: ignore[no-untyped-call]
            n_workers=workers,
            threads_per_worker=1,
            dashboard_address=None,
            local_directory=str(folder),
        ) as running,
    ):
        yield running.scheduler_address


def held(folder: Path) -> list[Path]:
    """Files that workers hold something in."""
    return [f for f in folder.rglob("*") if f.is_file() and f.stat().st_size > 100]


@dataclass(eq=False)
class Scene:
    """Where a fault happens.

    ``over`` is set when the work is done that it is to disturb; ``folder`` holds what workers write.
    """

    client: Any
    folder: Path
    draw: random.Random
    over: threading.Event = field(default_factory=threading.Event)

    def workers(self) -> list[psutil.Process]:
        return [p for p in psutil.Process().children(recursive=True) if works(p)]

    def waits(self, seconds: float) -> bool:
        """Whether the work still goes on after so long."""
        return not self.over.wait(seconds)


Fault = Callable[[Scene], bool]
"""Whether it could be brought about before the work was over."""


def killed(scene: Scene) -> bool:
    """A worker is gone, and all that it held."""
    with suppress(psutil.NoSuchProcess, IndexError):
        scene.draw.choice(scene.workers()).kill()
        return True
    return False


def stopped(scene: Scene) -> bool:
    """A worker stands still for a while, and the others overtake it."""
    with suppress(psutil.NoSuchProcess, IndexError):
        worker = scene.draw.choice(scene.workers())
        worker.suspend()
        try:
            scene.waits(scene.draw.uniform(0.1, 1.5))
        finally:
            worker.resume()
        return True
    return False


def slowed(scene: Scene) -> bool:
    """A worker does a fifth of what it did."""
    with suppress(psutil.NoSuchProcess, IndexError):
        worker = scene.draw.choice(scene.workers())
        for _ in range(scene.draw.randint(5, 40)):
            worker.suspend()
            goes_on = scene.waits(4 * _PAUSE_S)
            worker.resume()
            if not goes_on:
                break
            time.sleep(_PAUSE_S)
        return True
    return False


def torn(scene: Scene) -> bool:
    """A file in which a worker holds something ends somewhere in its middle."""
    for _ in range(_TRIES):
        with suppress(OSError, IndexError):  # it has gone, or there is none yet
            file = scene.draw.choice(held(scene.folder))
            os.truncate(file, scene.draw.randrange(file.stat().st_size))
            return True
        if not scene.waits(_PAUSE_S):
            return False
    return False


def full(scene: Scene) -> bool:
    """Nobody can write a byte to a file any more, until the work is over."""
    limited = []
    for worker in scene.workers():
        with suppress(psutil.NoSuchProcess):
            _, hard = worker.rlimit(resource.RLIMIT_FSIZE)
            worker.rlimit(resource.RLIMIT_FSIZE, (0, hard))
            limited.append((worker, hard))
    scene.over.wait()
    for worker, hard in limited:
        with suppress(psutil.NoSuchProcess):
            worker.rlimit(resource.RLIMIT_FSIZE, (hard, hard))
    return bool(limited)


@contextmanager
def any_order(client: Any, draw: random.Random) -> Iterator[list[int]]:
    """Tasks that are handed in meanwhile run in an order drawn by ``draw``.

    The list holds their numbers in the order in which they were done.
    """
    submit, done = client.submit, list[int]()
    count = iter(range(1 << 30))

    def shuffled(*arguments: Any, **options: Any) -> Any:
        number = next(count)
        future = submit(*arguments, **options, priority=draw.random())
        future.add_done_callback(lambda _: done.append(number))
        return future

    client.submit = shuffled
    try:
        yield done
    finally:
        del client.submit
