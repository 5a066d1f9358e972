"""The small part of the benchmark of recipes: what is shipped loses no answers in silence."""

from __future__ import annotations

import dataclasses
import functools
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snndeploy.data import Samples
from snndeploy.demo import digits
from snndeploy.ir.network import Network
from snndeploy.passes.training.finetune import FineTune
from snndeploy.recipe import load_recipe, recipe_names
from tests.support.builders import chain_net
from tests.support.labelled import Labelled, context, digits_mlp

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
TRAIN = ("admm", "qp-snn", "retrain", "spatio-temporal")
ONE_SHOT = [n for n in recipe_names() if n not in TRAIN]


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The benchmark's module."""
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    import recipes

    return recipes


def cut(samples: Samples) -> Samples:
    """7 x 7 of the 8 x 8 pixels, flat."""
    x = samples.inputs[:, :, 0, 1:, 1:]
    return Samples(np.ascontiguousarray(x.reshape(*x.shape[:2], 49)), samples.labels)


@functools.cache
def tiny() -> Network:
    """A 49-6-10, too small for its task."""
    rng = np.random.default_rng(0)
    layers = [
        rng.normal(0, s, shape).astype(np.float32) for s, shape in ((0.3, (6, 49)), (0.8, (10, 6)))
    ]
    seen = cut(digits().first(250))
    ctx = context()
    assert ctx.training is not None
    labelled = Labelled({"input": seen.inputs}, seen.labels)
    training = dataclasses.replace(ctx.training, samples=labelled, validation=None)
    how = FineTune(epochs=20, lr=2e-2, batch=32)
    return how.apply(chain_net(layers), dataclasses.replace(ctx, training=training)).network


def flat(samples: Samples) -> Samples:
    x = samples.inputs
    return Samples(x.reshape(*x.shape[:2], -1), samples.labels)


CASES = {"64-32-10": (digits_mlp, flat), "49-6-10": (tiny, cut)}


@pytest.mark.parametrize("network", CASES)
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n == "auto")) for n in ONE_SHOT]
)
def test_no_shipped_recipe_loses_answers_in_silence(table: Any, name: str, network: str) -> None:
    make, shaped = CASES[network]
    case = table.Case(
        make(), shaped(Samples(digits().part(250, 100).inputs)), shaped(digits().part(350, 100))
    )
    recipe = load_recipe(name)
    quick = recipe.model_copy(update={"passes": tuple(p.quick() for p in recipe.passes)})
    row = table.row(network, case, quick)
    assert row.outcome in ("holds", "backed off", "gave all back")
    assert row.trained > (90 if network == "64-32-10" else 40)
    assert not row.silent(6.0), row


def test_a_row_is_silent_if_it_lost_points_and_warned_of_nothing(table: Any) -> None:
    row = table.Row(
        network="n", recipe="r", trained=90, compressed=88, integer=80, outcome="holds", seconds=0
    )
    assert row.loss == 10
    assert row.silent(9)
    assert not row.silent(10)
    assert dataclasses.replace(row, outcome="backed off").silent(9)
    assert not dataclasses.replace(row, outcome="warns").silent(9)
    assert dataclasses.replace(row, integer=float("nan")).loss == 2


def test_a_line_per_network_says_what_came_of_every_recipe(table: Any) -> None:
    row = table.Row(
        network="n",
        recipe="r",
        trained=90,
        compressed=88,
        integer=80.04,
        bits=1.26,
        outcome="warns",
        seconds=0,
    )
    plain = dataclasses.replace(row, recipe="s", integer=float("nan"), outcome="holds")
    refused = table.Row(network="m", recipe="r", outcome="refused: no", seconds=0)
    lonely = dataclasses.replace(row, network="o")
    rows = [row, plain, dataclasses.replace(plain, network="m"), refused, lonely]
    assert table.matrix(rows).split("\n") == [
        "| | as trained | `r` | `s` |",
        "|---|---|---|---|",
        "| n | 90.0 | 80.0, 1.3 ! | 88.0, 1.3 |",
        "| m | 90.0 | refused: no | 88.0, 1.3 |",
        "| o | 90.0 | 80.0, 1.3 ! |  |",
    ]
