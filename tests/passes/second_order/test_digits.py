"""The shipped digits network through the shipped second-order recipes, down to the integers."""

from __future__ import annotations

from typing import Any

import pytest

from snndeploy.data import Samples
from snndeploy.demo import FOLDER, digits
from snndeploy.pipeline import Compiled, compile, run_engine
from snndeploy.recipe import load_recipe
from snndeploy.simulate.recording import accuracy, differing_spikes

HOW: dict[str, Any] = {"frontend": "snntorch", "semantics": {"reset": "zero"}, "target": "loihi2"}


def compressed(recipe: str) -> tuple[Compiled, Samples]:
    """Calibrated on the last third of the held-out digits, tested on the first two."""
    samples = digits()
    calibration = Samples(samples.inputs[:, 300:], None)
    assert samples.labels is not None
    test = Samples(samples.inputs[:, :300], samples.labels[:300])
    asked = load_recipe(recipe).guarded("warn", None)
    return compile(FOLDER / "digits.nir", recipe=asked, calibration=calibration, **HOW), test


def test_our_recipe_loses_little_and_less_than_the_published_one() -> None:
    right = {}
    for recipe in ("osbc", "sbc-plus"):
        compiled, test = compressed(recipe)
        weights = [p.weight for p in compiled.network.projections]
        assert sum(w.alive for w in weights) == 603  # a tenth of 6,032
        assert {w.bits for w in weights} == {4}
        assert all(r.weight == 0 for r in compiled.program.rounding.values())
        run = run_engine("integer", test, program=compiled.program)
        assert test.labels is not None
        right[recipe] = accuracy(run.predictions(compiled.output), test.labels)
    # 97.7 % as trained.
    assert right["sbc-plus"] >= 0.94
    assert right["sbc-plus"] > right["osbc"]


@pytest.mark.slow
@pytest.mark.lava
def test_lava_runs_our_recipe_spike_for_spike(lava: object) -> None:
    compiled, test = compressed("sbc-plus")
    few = test.first(50)
    integer, real = (run_engine(e, few, program=compiled.program) for e in ("integer", "lava"))
    assert set(differing_spikes(integer, real).values()) == {0}
