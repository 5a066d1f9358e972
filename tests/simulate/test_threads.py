"""Samples shared out over threads: every part once, and the same bits however many threads there are."""

from __future__ import annotations

import threading
import time
from itertools import pairwise

import numpy as np
import pytest
import torch

from snndeploy.ir.network import Network
from snndeploy.ir.ops import Dense
from snndeploy.simulate import threads
from snndeploy.simulate.float import engine as float_engine
from snndeploy.simulate.float.engine import run_float
from snndeploy.simulate.integer import native
from snndeploy.simulate.integer.engine import IntegerEngine
from snndeploy.simulate.integer.plan import Route
from snndeploy.simulate.integer.routes.dense import full_precision
from tests.support.builders import inputs, lif, project
from tests.support.conformance_programs import UNDELAYED, make, pack, random_inputs


@pytest.mark.parametrize(("samples", "most", "parts"), [(9, 9, 1), (9, 8, 4), (9, 2, 8), (3, 1, 3)])
def test_parts_cover_all_samples_and_come_evenly(samples: int, most: int, parts: int) -> None:
    found = threads.cut(samples, most)
    assert len(found) == parts
    assert (found[0].start, found[-1].stop) == (0, samples)
    assert all(a.stop == b.start for a, b in pairwise(found))
    assert {p.stop - p.start for p in found} <= {samples // parts, samples // parts + 1}


def test_every_part_is_done_once_and_by_several() -> None:
    met, done = threading.Barrier(2), list[int]()

    def work(part: int) -> None:
        met.wait(10)  # two at a time, or never
        done.append(part)

    threads.share_out(work, range(4), 2)
    assert sorted(done) == [0, 1, 2, 3]


def test_what_a_part_raises_ends_the_others() -> None:
    done = list[int]()

    def work(part: int) -> None:
        if part == 0:
            raise ValueError("no")
        time.sleep(0.01)
        done.append(part)

    with pytest.raises(ValueError, match="no"):
        threads.share_out(work, range(50), 2)
    assert len(done) < 40


def test_threads_do_not_wait_for_their_own_kind() -> None:
    done = list[tuple[int, int]]()

    def work(part: int) -> None:
        threads.share_out(lambda inner: done.append((part, inner)), range(2), 2)

    threads.share_out(work, range(4), 2)
    assert len(done) == 8


def dense_net() -> Network:
    """Sums of many weights, which torch adds up in another order where threads share a product."""
    rng = np.random.default_rng(0)
    return Network(
        (inputs((784,)), lif("output", (100,), "output", threshold=None)),
        (project("w", "input", "output", Dense(100, 784), rng.normal(size=(100, 784))),),
    ).verify()


def test_floats_are_the_same_with_any_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(float_engine, "_BLOCK_VALUES", 1 << 18)  # several parts of a few samples
    x = np.random.default_rng(1).random((32, 45, 784)) < 0.1
    many, found = torch.get_num_threads(), []
    try:
        for n in (1, 2, 3):
            torch.set_num_threads(n)
            found += [run_float(dense_net(), x[:, :k]).spikes["output"] for k in (10, 45)]
            assert torch.get_num_threads() == n
            later = list[int]()
            asking = threading.Thread(target=lambda of=later: of.append(torch.get_num_threads()))
            asking.start()
            asking.join()
            assert later == [n]
    finally:
        torch.set_num_threads(many)
    for one in found[2::2]:
        np.testing.assert_array_equal(one, found[0])
    for one in found[3::2]:
        np.testing.assert_array_equal(one, found[1])


@pytest.mark.parametrize("route", ["events", "dense"])
def test_integers_are_the_same_with_any_number_of_threads(
    route: Route, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native, "_WORTH_PARTS", 1)
    program = pack([make(feature, i, wild=True) for i, feature in enumerate(list(UNDELAYED)[::4])])
    x = random_inputs(program, 7, 11, 2)
    names = [g.name for g in program.on_chip if g.kind != "constant"]
    found = []
    for n in (1, 2, 3):
        engine = IntegerEngine(program, route=route)
        engine._engine.threads = n
        found.append(engine.run(x, record_states=names))
    for other in found[1:]:
        for kind in ("spikes", "u", "v"):
            for name in names:
                wanted = getattr(found[0], kind)[name]
                np.testing.assert_array_equal(getattr(other, kind)[name], wanted, name)


def test_precision_is_given_back_by_the_last_that_asked() -> None:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        first, second = full_precision(), full_precision()
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert torch.get_float32_matmul_precision() == "highest"
        second.__exit__(None, None, None)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
