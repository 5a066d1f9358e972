"""Tasks on a Dask scheduler: the order, the errors and the bits are those of one process."""

from __future__ import annotations

import pickle
import sys
import time
from pathlib import Path

import pytest

from snndeploy.errors import BackendMissing, PassRefused, UsageError
from snndeploy.workers import Here, Shared, Task, cluster, workers_at
from snndeploy.workers.base import digest_of_parts
from tests.support import tasks
from tests.support.builders import conv_net
from tests.support.cluster_work import conv_data, everything


def asked(*numbers: int) -> list[Task[int]]:
    return [Task(digest_of_parts(n), n) for n in numbers]


def test_here_is_this_process_and_needs_no_dask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with workers_at(None) as workers:
        assert isinstance(workers, Here)
        assert list(workers.each(tasks.times, Shared("2", 2), asked(3, 1, 2))) == [6, 2, 4]
    with pytest.raises(BackendMissing) as caught, workers_at("local:2"):
        pass
    assert (caught.value.code, caught.value.exit_code) == ("dask-missing", 7)


@pytest.mark.parametrize(
    "address", ["local:0", "local:", "localhost", "http://x:1", "", "local:2x"]
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(UsageError) as caught, workers_at(address):
        pass
    assert (caught.value.code, caught.value.where) == ("cluster-address", "--cluster")


def test_nobody_answers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cluster, "_CONNECT_S", 0.5)
    (tmp_path / "text.json").write_text("text")
    (tmp_path / "other.json").write_text('{"address": "file:///etc/passwd"}')
    (tmp_path / "list.json").write_text("[1]")
    files = [str(tmp_path / f"{name}.json") for name in ("no", "text", "other", "list")]
    for address in ("tcp://127.0.0.1:9", *files):
        with pytest.raises(BackendMissing) as caught, workers_at(address):
            pass
        assert (caught.value.code, caught.value.where) == ("cluster-unreachable", address)


def test_digests_tell_parts_apart() -> None:
    assert digest_of_parts("ab", "c") != digest_of_parts("a", "bc")
    assert digest_of_parts(1, "x") == digest_of_parts("1", "x")


def test_errors_survive_the_way() -> None:
    error = PassRefused("code", "what", where="here", hint="next")
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.record()) == (PassRefused, error.record())


@pytest.mark.slow
def test_results_come_in_order_and_errors_as_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    with workers_at("local:2") as workers:
        shared = Shared("3", 3)
        assert list(workers.each(tasks.times, shared, asked(*range(13)))) == [
            3 * n for n in range(13)
        ]
        results = workers.each(tasks.times, shared, asked(12, 13, 14))
        assert next(results) == 36
        with pytest.raises(PassRefused) as caught:
            next(results)
        assert caught.value.record() == {
            "code": "unlucky",
            "message": "13 is not taken",
            "where": "here",
            "hint": "take 14",
        }
        address = workers.client.scheduler.address  # type: ignore[attr-defined]
        monkeypatch.setattr(cluster, "version", lambda name: "0")
        with pytest.raises(UsageError) as other, workers_at(address):
            pass
        assert (other.value.code, other.value.where) == ("cluster-versions", address)


@pytest.mark.slow
def test_workers_give_the_bits_of_one_process_even_if_one_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net, data = conv_net(), conv_data()
    monkeypatch.setattr("snndeploy.pipeline.run._batch", lambda *_: 7)  # more than one batch
    here = everything(net, data, Here())
    with workers_at("local:2") as workers:
        assert everything(net, data, workers) == here
        squares = workers.each(tasks.dying_once, Shared("folder", str(tmp_path)), asked(*range(9)))
        assert list(squares) == [n**2 for n in range(9)]
        assert (tmp_path / "died").exists()
        # the killed one has lost what it held, and it is sent again
        assert everything(net, data, workers) == here


@pytest.mark.slow
def test_where_no_worker_is_left_others_are_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dask does not replace workers that die while they start: the work would wait for ever."""
    monkeypatch.setattr(cluster, "_LOOK_S", 1.0)
    with workers_at("local:2") as workers:
        workers.cluster.scale(0)  # type: ignore[attr-defined]
        while workers.client.scheduler_info()["workers"]:  # type: ignore[attr-defined]
            time.sleep(0.1)
        assert list(workers.each(tasks.times, Shared("3", 3), asked(1, 2))) == [3, 6]


@pytest.mark.slow
def test_a_task_that_kills_everybody_ends() -> None:
    with workers_at("local:1") as workers:
        with pytest.raises(BackendMissing) as caught:
            list(workers.each(tasks.dying, Shared("x", 0), asked(1)))
        assert caught.value.code == "cluster-workers-lost"
