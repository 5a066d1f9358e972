"""Workers that are killed, stopped and slowed down from outside, while they work."""

from __future__ import annotations

import random
import sys
import threading
from collections import Counter

import psutil
import pytest

from snndeploy.workers import Here, workers_at
from tests.support.builders import conv_net
from tests.support.cluster_work import conv_data, everything
from tests.support.workers import works

FAULTS = 200
KINDS = {"killed": 3, "stopped": 5, "slowed": 2}
"""What happens to a worker, and how often among ten."""


class Saboteur(threading.Thread):
    """Hurts one worker after the other until it is told to stop."""

    def __init__(self, seed: int) -> None:
        super().__init__(daemon=True)
        self.random = random.Random(seed)
        self.enough = threading.Event()
        self.done: Counter[str] = Counter()

    def run(self) -> None:
        while not self.enough.wait(self.random.uniform(0.1, 1.5)):
            workers = [p for p in psutil.Process().children(recursive=True) if works(p)]
            (kind,) = self.random.choices(list(KINDS), list(KINDS.values()))
            if workers and self.hurt(kind, self.random.choice(workers)):
                self.done[kind] += 1

    def hurt(self, kind: str, worker: psutil.Process) -> bool:
        """Whether it could be done."""
        try:
            if kind == "killed":
                worker.kill()
            elif kind == "stopped":  # the others overtake it
                worker.suspend()
                self.enough.wait(self.random.uniform(0.1, 1.5))
                worker.resume()
            else:
                worker.nice(19)
        except psutil.NoSuchProcess:
            return False
        return True


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_hurt_workers_give_the_bits_of_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials, accuracies and sensitivities again and again, until two hundred faults have happened."""
    monkeypatch.setattr("snndeploy.pipeline.run._batch", lambda *_: 7)  # more than one batch
    net, data = conv_net(), conv_data()
    here = everything(net, data, Here())
    with workers_at("local:3") as workers:
        saboteur = Saboteur(0)
        saboteur.start()
        rounds = 0
        try:
            while saboteur.done.total() < FAULTS:
                assert everything(net, data, workers) == here, (rounds, saboteur.done)
                rounds += 1
                workers.client.restart(wait_for_workers=False)  # type: ignore[attr-defined]
        finally:
            saboteur.enough.set()
            saboteur.join()
    sys.stdout.write(f"{dict(saboteur.done)} in {rounds} rounds\n")
    assert set(saboteur.done) == set(KINDS)
    assert rounds >= 5
