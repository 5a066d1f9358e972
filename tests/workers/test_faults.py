"""A campaign of faults of every kind, each while workers do something whose result is known."""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snndeploy.calibrate.moments import gather
from snndeploy.errors import SnnDeployError
from snndeploy.pipeline import compile, run_compiled, tune
from snndeploy.pipeline.advise.sensitivity import sensitivity
from snndeploy.workers import HERE, Workers, workers_at
from tests.support.builders import conv_net, spikes
from tests.support.cluster_work import conv_data
from tests.support.faults import (
    Fault,
    Scene,
    any_order,
    full,
    killed,
    slowed,
    spilling,
    stopped,
    torn,
)

FAULTS = 200
LOST_S = 180.0
"""What has not come back after so long does not come back."""
KINDS: dict[str, tuple[int, Fault | None]] = {
    "killed": (5, killed),
    "stopped": (4, stopped),
    "slowed": (3, slowed),
    "reordered": (3, None),
    "torn": (4, torn),
    "full disk": (1, full),
}
"""How often among twenty, and what brings it about; tasks are reordered as they are handed in."""
ON_DISK = {"torn", "full disk"}
"""These need workers that write what they hold to files, as ours do not."""
SEEDS = 3
"""So many networks and data of each kind of work."""


def moments(seed: int, workers: Workers) -> list[bytes]:
    """Second moments over twelve parts, whose sums would show another order."""
    net, x = conv_net(seed), spikes(conv_net(), steps=20, samples=96, seed=seed)
    found = gather(net, x, reference=conv_net(seed + 1), workers=workers)
    return [a.tobytes() for m in found.values() for a in (m.hessian, m.mean, np.asarray(m.cross))]


def accuracy(seed: int, workers: Workers) -> Any:
    """What two engines answer, batch by batch."""
    compiled = compile(conv_net(seed), target="loihi1", recipe=None)
    return run_compiled(compiled, conv_data(), ("float", "integer"), workers=workers)


def sensitivities(seed: int, workers: Workers) -> Any:
    """What each layer can lose."""
    found = sensitivity(conv_net(seed), conv_data(), ratios=(0.5,), bits=(4, 2), workers=workers)
    return found.record()


def trials(seed: int, workers: Workers) -> Any:
    """Recipes that are tried, and how each ended."""
    found = tune(conv_net(seed), conv_data(), trials=4, workers=workers)
    outcomes = [(o.number, o.why, o.digest, o.cost, o.right.tolist()) for o in found.outcomes]
    return [m.record() for m in found.front], outcomes


WORK = (*(moments, accuracy, sensitivities) * 3, trials)


@cache
def known(work: Callable[[int, Workers], Any], seed: int) -> Any:
    """What one process makes of it."""
    return work(seed, HERE)


@dataclass(eq=False)
class Tally:
    """Faults by kind: how many came about, and after how many work was wrong or did not come back."""

    asked: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)

    def table(self) -> str:
        columns = (self.asked, self.wrong, self.lost)
        rows = [f"{k:<12}" + "".join(f"{c[k]:>7}" for c in columns) for k in KINDS]
        return "\n".join([f"{'fault':<12}  asked  wrong   lost", *rows, ""])


def campaign(
    kinds: list[str], draw: random.Random, workers: Workers, folder: Path, tally: Tally
) -> None:
    """Work under one fault after the other, as long as it takes for each to come about."""
    client = workers.client  # type: ignore[attr-defined]
    for kind in kinds:
        happened = False
        while not happened:
            work, seed = draw.choice(WORK), draw.randrange(SEEDS)
            wanted = known(work, seed)
            scene = Scene(client, folder, draw)
            order: AbstractContextManager[list[int]] = nullcontext([])
            if kind == "reordered":
                order = any_order(client, draw)
            with ThreadPoolExecutor(2) as threads, order as done:
                doing = threads.submit(work, seed, workers)
                fault = KINDS[kind][1]
                hurting = threads.submit(_soon, fault, scene, draw.uniform(0.0, 1.0))
                try:
                    tally.wrong[kind] += doing.result(timeout=LOST_S) != wanted
                except (SnnDeployError, TimeoutError) as error:
                    sys.stdout.write(f"{kind}: {work.__name__} {seed}: {error}\n")
                    tally.lost[kind] += 1
                    happened = True
                finally:
                    scene.over.set()
                happened |= hurting.result() or done != sorted(done)
        tally.asked[kind] += 1


def _soon(fault: Fault | None, scene: Scene, seconds: float) -> bool:
    return fault is not None and scene.waits(seconds) and fault(scene)


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_faults_of_every_kind_lose_nothing_and_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two hundred, drawn by a seed: what comes back is what one process makes, and all comes back."""
    monkeypatch.setattr("snndeploy.pipeline.run._batch", lambda *_: 7)  # more than one batch
    monkeypatch.setattr("snndeploy.calibrate.parts.PART", 8)
    draw = random.Random(0)
    weights = [often for often, _ in KINDS.values()]
    kinds = draw.choices(list(KINDS), weights, k=FAULTS)
    memory = [kind for kind in kinds if kind not in ON_DISK]
    disk = [kind for kind in kinds if kind in ON_DISK]
    tally = Tally()
    try:
        with workers_at("local:3") as workers:
            campaign(memory, draw, workers, tmp_path, tally)
        with spilling(tmp_path, 3) as address, workers_at(address) as workers:
            campaign(disk, draw, workers, tmp_path, tally)
    finally:
        sys.stdout.write(tally.table())
    assert tally.asked.total() == FAULTS
    assert set(tally.asked) == set(KINDS)
    assert (tally.wrong.total(), tally.lost.total()) == (0, 0)
