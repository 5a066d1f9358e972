"""A delay per synapse on Lava: one process for all of them, and every step is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snndeploy import read_netx
from snndeploy.ir.program import Program
from snndeploy.simulate.integer.engine import run_integer
from snndeploy.simulate.lava import engine
from snndeploy.simulate.lava.engine import run_lava
from snndeploy.simulate.lava.env import LavaEnv
from snndeploy.simulate.lava.plan import plan_lava
from snndeploy.simulate.lava.synapses import Arrays, joined
from tests.support.netx_files import dense, net

RNG = np.random.default_rng(0)
WEIGHT = 2.0 * RNG.integers(1, 20, (10, 5)) * np.array([1, -1, 1, 1, 1])


def program(folder: Path) -> Program:
    """Two layers; what reaches a neuron of the first is 0 to 7 steps late."""
    late = (np.arange(10) % 8).astype(np.float32)
    last = dense(2.0 * np.random.default_rng(1).integers(1, 20, (4, 10)))
    return read_netx(net(folder, dense(WEIGHT, delay=late), last))


def test_synapses_that_differ_in_their_delays_alone_are_one_process(tmp_path: Path) -> None:
    made = program(tmp_path)
    assert len(made.synapses) == 9
    first, last = plan_lava(made, 9, 1).connections
    assert (first["process"], last["process"]) == ("DelaySparse", "Dense")
    plan = plan_lava(made, 9, 1)
    whole = {k: plan.arrays[first[k]] for k in ("rows", "cols", "weights", "delays")}
    assert len(whole["rows"]) == 50
    entries = zip(*whole.values(), strict=True)
    assert {(r, c): w for r, c, w, _ in entries} == dict(np.ndenumerate(WEIGHT))
    assert sorted(np.unique(whole["delays"])) == list(range(8))


def _spec(arrays: Arrays, cols: list[int], delays: list[int], **fields: Any) -> dict[str, Any]:
    held = {"rows": [0] * len(cols), "cols": cols, "weights": [2] * len(cols), "delays": delays}
    keys = {k: arrays.add(np.asarray(v)) for k, v in held.items()}
    rest = {"source": "a", "target": "b", "exponent": 0, "shape": [1, 4], "process": "DelaySparse"}
    return {**rest, **keys, **fields}


@pytest.mark.parametrize(
    ("cols", "delays", "fields", "processes"),
    [
        ([2, 3], [2, 2], {}, 1),
        ([2, 3], [1, 1], {}, 2),  # a delay in common: its sums are shifted apart
        ([1, 2], [2, 2], {}, 2),  # a pair of neurons in common
        ([2, 3], [2, 2], {"exponent": 1}, 2),
        ([2, 3], [2, 2], {"target": "c"}, 2),
        ([2, 3], [2, 2], {"process": "MultiDelaySparse"}, 2),
    ],
)
def test_what_keeps_synapses_apart(
    cols: list[int], delays: list[int], fields: dict[str, Any], processes: int
) -> None:
    arrays = Arrays()
    specs = [_spec(arrays, [0, 1], [1, 1]), _spec(arrays, cols, delays, **fields)]
    assert len(joined(specs, arrays)) == processes


@pytest.mark.lava
def test_lava_delays_each_synapse_as_the_integers_do(tmp_path: Path, lava: LavaEnv) -> None:
    made = program(tmp_path)
    data = (RNG.random((20, 3, *made.groups[0].shape)) < 0.4).astype(np.int64)
    ours, theirs = run_integer(made, data), run_lava(made, data, lava=lava)
    for name, spikes in ours.spikes.items():
        np.testing.assert_array_equal(spikes, theirs.spikes[name], name)
    assert ours.spikes["dense-1"].any()


@pytest.mark.lava
def test_lava_says_how_far_it_is_within_a_long_sample(
    tmp_path: Path, lava: LavaEnv, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its time limit is for the next steps, not for a sample."""
    seen: list[int] = []
    run_worker = engine.run_worker

    def watched(*args: Any, progress: Callable[[int], None], **options: Any) -> Any:
        def told(steps: int) -> None:
            seen.append(steps)
            progress(steps)

        return run_worker(*args, progress=told, **options)

    monkeypatch.setattr(engine, "run_worker", watched)
    made = program(tmp_path)
    run_lava(made, np.zeros((200, 1, *made.groups[0].shape), np.int64), lava=lava)
    assert seen[-1] == 200 + made.depth
    assert len(seen) > 1
    assert all(steps % 64 == 0 for steps in seen[:-1])
