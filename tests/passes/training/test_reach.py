"""Gradients of long loops: they end where they are no numbers any more, and training goes on."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from snndeploy.errors import PassRefused
from snndeploy.ir.network import Network
from snndeploy.ir.ops import Dense
from snndeploy.passes.base import PassContext, PassEvent, Training
from snndeploy.passes.prune import Prune
from snndeploy.passes.training.distil import Distil
from snndeploy.passes.training.finetune import FineTune
from snndeploy.passes.training.loop.reach import all_finite, with_finite_gradients
from snndeploy.passes.training.torch_network.module import TrainableNetwork
from snndeploy.passes.training.torch_network.unroll import Unrolling
from tests.support.builders import chain_net, inputs, lif, project, weights
from tests.support.labelled import Labelled

STEPS = 400


def loud() -> Network:
    """Neurons at rest just below their thresholds, where gradients are largest, in a loop of gain 4."""
    rng = np.random.default_rng(0)
    projections = (
        project("in", "input", "h", Dense(4, 2), np.full((4, 2), 0.245, np.float32)),
        project("loop", "h", "h", Dense(4, 4), 4 * np.eye(4, dtype=np.float32), delay=1),
        project("out", "h", "output", Dense(3, 4), weights(rng, (3, 4))),
    )
    populations = (inputs((2,)), lif("h", (4,), leak=0.5), lif("output", (3,), "output"))
    return Network(populations, projections).verify()


def samples(steps: int = STEPS, quiet: int = 0) -> Labelled:
    """Twelve, of which some leave the neurons far from their thresholds."""
    x = np.ones((steps, 12, 2), np.float32)
    x[:, :quiet] = 0.5
    return Labelled({"input": x}, np.arange(12) % 3)


def context(folder: Path | None = None, **which: int) -> PassContext:
    training = Training(samples=samples(**which), folder=folder, resume=folder is not None)
    return PassContext(training=training, scope="pass")


def test_a_long_loop_learns_with_gradients_that_end_earlier_and_is_told() -> None:
    how = FineTune(epochs=2, batch=6, through_reset=True)
    result = how.apply(loud(), context())
    (found,) = (f for f in result.findings if f.code == "gradients-shortened")
    reach = int(found.message.split()[-2])
    assert 1 < reach < STEPS
    (first,) = (p for p in result.network.projections if p.name == "in")
    assert (first.weight.data != np.float32(0.245)).all()
    # as long as it was found to hold, asked for from the start, it holds
    again = dataclasses.replace(how, window=reach, truncate=True).apply(loud(), context())
    assert not [f for f in again.findings if f.code == "gradients-shortened"]
    assert again.network.digest == result.network.digest
    short = how.apply(loud(), context(steps=4))
    assert not [f for f in short.findings if f.code == "gradients-shortened"]


def test_training_that_goes_on_keeps_where_gradients_end(tmp_path: Path) -> None:
    """One sample alone is loud: a fresh start would take those before it in the next epoch whole."""
    how = FineTune(epochs=3, batch=2, lr=1e-4)
    whole = how.apply(loud(), context(quiet=11))

    def stop(event: PassEvent) -> None:
        if event.kind == "progress":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        how.apply(loud(), dataclasses.replace(context(tmp_path, quiet=11), observer=stop))
    resumed = how.apply(loud(), context(tmp_path, quiet=11))
    assert resumed.network.digest == whole.network.digest
    assert [f.message for f in resumed.findings] == [f.message for f in whole.findings]


def test_distillation_goes_on_as_well() -> None:
    start = Prune(sparsity=0.3, layers=("out",)).apply(loud(), PassContext()).network
    how = Distil(epochs=2, batch=12)
    x = Labelled(samples().inputs, None)  # type: ignore[arg-type]
    result = how.apply(start, PassContext(source=loud(), calibration=x))
    assert {f.code for f in result.findings} == {"distilled", "gradients-shortened"}
    assert all(np.isfinite(p.weight.data).all() for p in result.network.projections)


def test_windows_are_halved_until_gradients_are_numbers() -> None:
    module = TrainableNetwork(chain_net([np.eye(2, dtype=np.float32)]))
    seen: list[Unrolling] = []

    def attempt() -> tuple[torch.Tensor, bool, int]:
        seen.append(module.unrolling)
        return torch.tensor(0.0), len(seen) > 3, len(seen)

    assert with_finite_gradients(module, 13, attempt)[1] == 4
    assert [(u.window, u.truncate) for u in seen] == [(0, False), (7, True), (4, True), (2, True)]
    # windows that only save memory keep their length
    module.unrolling = Unrolling(window=5, recompute=True)
    seen.clear()
    with_finite_gradients(module, 13, attempt)
    assert [(u.window, u.truncate) for u in seen] == [(5, False), (5, True), (3, True), (2, True)]
    assert all(u.recompute for u in seen)


def test_what_no_shorter_reach_can_help_is_refused() -> None:
    module = TrainableNetwork(chain_net([np.eye(2, dtype=np.float32)]))
    with pytest.raises(PassRefused, match="gradients are no numbers") as never:
        with_finite_gradients(module, 13, lambda: (torch.tensor(1.0), False, None))
    assert module.unrolling == Unrolling(window=1, truncate=True)
    with pytest.raises(PassRefused, match="the loss is no number"):
        with_finite_gradients(module, 13, lambda: (torch.tensor(torch.nan), True, None))
    assert never.value.code == "training-diverged"


def test_a_sum_of_squares_that_is_too_large_is_no_number() -> None:
    """Adam and clipping would go nowhere with it, though each gradient is finite."""
    assert all_finite([torch.tensor([3e18, -4e18]), None])
    assert not all_finite([torch.tensor([3e19])])
    assert not all_finite([torch.tensor([1.7e19]), torch.tensor([1.7e19])])
    assert not all_finite([torch.tensor([1.0]), torch.tensor([torch.nan])])
    assert all_finite([])
