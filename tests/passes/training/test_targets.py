"""Training towards values: the loss, the figure that is judged by, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from snndeploy import read_network
from snndeploy.data import Feed, Samples, load_samples
from snndeploy.errors import PassRefused
from snndeploy.passes.training.finetune import FineTune
from snndeploy.passes.training.loop.data import Batches
from snndeploy.passes.training.loop.trainer import accuracy, missed_values, scores
from snndeploy.passes.training.torch_network.module import TrainableNetwork
from snndeploy.pipeline import run_compiled
from snndeploy.pipeline.finetuning import finetune, finetune_report
from snndeploy.recipe import Recipe
from snndeploy.simulate.float.engine import run_float
from tests.support.sequences import N, angles, inputs


def test_values_are_learnt(tmp_path: Path) -> None:
    """The loss is what the output's mean misses, in units of the values' variance."""
    graph, _ = angles()
    network = read_network(graph, "nir", dt=1e-3)
    rng = np.random.default_rng(7)
    x = (rng.random((12, 96, 5)) < rng.random((1, 96, 5))).astype(np.float32)
    aims = x.mean(axis=0) @ np.array([1.0, -2.0, 0.5, 1.0, 0.0]) + 0.3
    samples = Samples(x, None, targets=aims[:, None])
    batches = Batches(Feed(network, samples))
    module = TrainableNetwork(network)
    inputs_, values = next(batches.in_order(96))
    told = scores(module(inputs_), "n3", "mean")
    off = run_float(network, x).spikes["n3"].mean(axis=0)[:, 0] - aims
    loss = float(missed_values(told, values, batches.spread, None, FineTune()).detach())
    assert loss == pytest.approx((off**2).mean() / aims.var(), rel=1e-4)
    assert accuracy(module, batches) == pytest.approx(1 - loss, rel=1e-4)
    taught = torch.zeros(96, 1)
    half = FineTune(distill=0.25)
    both = float(missed_values(told, values, batches.spread, taught, half).detach())
    soft = float((told.detach() ** 2).mean()) / aims.var()
    assert both == pytest.approx(0.75 * loss + 0.25 * soft, rel=1e-4)

    how = Recipe(
        name="r", passes=(FineTune(epochs=40, batch=16, lr=2e-2, loss="mean"),), guard="off"
    )
    path = tmp_path / "d.npz"
    np.savez(path, x=x.swapaxes(0, 1), target=aims)
    compiled = finetune(
        network, load_samples(path, (5,)), recipe=how, validation=load_samples(path, (5,))
    )
    figures = finetune_report(compiled, samples)["figures"]
    assert figures["measure"] == "variance explained"
    assert figures["before"]["accuracy"] == pytest.approx(1 - loss, rel=1e-4)
    assert figures["after"]["accuracy"] > 0.5
    report = run_compiled(compiled, load_samples(path, (5,)), ("float", "compressed", "integer"))
    error = {stage: report["errors"][stage]["rmse"] for stage in report["errors"]}
    assert error["compressed"] < 0.5 * error["float"]
    assert error["compressed"] == pytest.approx(
        (1 - figures["after"]["accuracy"]) ** 0.5 * aims.std(), rel=1e-3
    )


@pytest.mark.parametrize("wrong", ["neurons", "kinds"])
def test_values_that_cannot_be_learnt(wrong: str) -> None:
    graph, aims = angles()
    network = read_network(graph, "nir", dt=1e-3)
    x = inputs()
    values = Samples(
        x, None, targets=np.stack([aims] * 2, 1) if wrong == "neurons" else aims[:, None]
    )
    classes = Samples(x, np.zeros(N, np.int64))
    with pytest.raises(PassRefused) as caught:
        finetune(network, values, recipe="admm", validation=None if wrong == "neurons" else classes)
    assert caught.value.code == "training-targets"
