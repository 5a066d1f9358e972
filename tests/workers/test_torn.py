"""Files of workers that are torn, and disks that are full: the right result, or one clear error."""

from __future__ import annotations

import os
import random
import resource
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from snndeploy.errors import BackendMissing
from snndeploy.ir.arrays import Array
from snndeploy.workers import Shared, Task, Workers, cluster, workers_at
from snndeploy.workers.base import digest_of_parts
from snndeploy.workers.cluster import DaskWorkers
from tests.support import tasks
from tests.support.faults import held, spilling
from tests.support.workers import works

TORN = 20


def products(workers: Workers, number: int) -> list[Array]:
    """Twelve products, of which workers keep some for a while."""
    asked = [Task(digest_of_parts(i), np.arange(10_000) + i) for i in range(12)]
    return list(workers.each(tasks.slowly_times, Shared(f"{number}", number), asked))


def right(found: list[Array], number: int) -> bool:
    wanted = [number * (np.arange(10_000) + i) for i in range(12)]
    return all(np.array_equal(a, b) for a, b in zip(found, wanted, strict=True))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_torn_files_of_workers_are_computed_again(tmp_path: Path) -> None:
    """And are asked for once: a worker that fails a hundred times hands nothing out any more."""
    enough = threading.Event()
    torn: list[Path] = []

    def tear() -> None:
        draw = random.Random(0)
        while not enough.wait(draw.uniform(0.5, 2.0)):
            for file in draw.sample(files := held(tmp_path), min(2, len(files))):
                with suppress(OSError):  # it has gone
                    os.truncate(file, draw.randrange(file.stat().st_size))
                    torn.append(file)

    with spilling(tmp_path) as address, workers_at(address) as workers:
        saboteur = threading.Thread(target=tear, daemon=True)
        saboteur.start()
        number = lost = 0
        try:
            while len(torn) < TORN:
                number += 1
                try:
                    found = products(workers, number)
                except BackendMissing as error:  # nothing but torn files, three times in a row
                    lost += error.code == "cluster-workers-lost"
                else:
                    assert right(found, number)
        finally:
            enough.set()
            saboteur.join()
        assert lost < number
        assert right(products(workers, 0), 0)
        begun = workers.client.run(lambda dask_worker: dask_worker.transfer_outgoing_count)  # type: ignore[attr-defined]
        assert sum(begun.values()) <= 2 * len(torn)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_where_workers_hand_nothing_out_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task whose worker waits for another one's file is not waited for without end."""
    monkeypatch.setattr(cluster, "_LOOK_S", 1.0)
    monkeypatch.setattr(cluster, "_FETCH_S", 3.0)

    def busy(dask_worker: Any) -> None:
        dask_worker.transfer_outgoing_count = 1000

    with workers_at("local:2") as workers:
        assert isinstance(workers, DaskWorkers)
        client = workers.client
        first, second = client.scheduler_info(n_workers=-1)["workers"]
        given = client.submit(np.arange, 10_000, workers=[first])
        client.run(busy)
        waiting = client.submit(np.sum, given, workers=[second])
        with pytest.raises(TimeoutError, match="nobody works on what is left"):
            workers._awaited(waiting)
        with pytest.raises(BackendMissing) as caught:
            products(workers, 2)
        assert caught.value.code == "cluster-workers-lost"


@pytest.mark.slow
def test_a_full_disk_of_workers_changes_nothing(tmp_path: Path) -> None:
    with spilling(tmp_path) as address, workers_at(address) as workers:
        assert right(products(workers, 1), 1)
        assert held(tmp_path)
        for worker in filter(works, psutil.Process().children(recursive=True)):
            worker.rlimit(resource.RLIMIT_FSIZE, (0, 0))
        before = set(held(tmp_path))
        assert right(products(workers, 2), 2)
        assert set(held(tmp_path)) <= before


@pytest.mark.slow
def test_workers_of_ours_write_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with workers_at("local:2") as workers:
        for worker in filter(works, psutil.Process().children(recursive=True)):
            worker.rlimit(resource.RLIMIT_FSIZE, (0, 0))
        assert right(products(workers, 3), 3)
        assert held(tmp_path) == []


def test_no_room_to_start_workers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    with pytest.raises(BackendMissing) as caught, workers_at("local:2"):
        pass
    assert (caught.value.code, caught.value.where) == ("cluster-not-started", "local:2")
    assert "TMPDIR" in str(caught.value.hint)
