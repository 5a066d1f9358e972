"""What training passes can be told: a teacher, a budget; and that no structure is left out."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from snndeploy.chip import load_target
from snndeploy.lower import lower
from snndeploy.passes.base import PassContext, PassEvent, Training
from snndeploy.passes.prune import Prune
from snndeploy.passes.training.figures import figures
from snndeploy.passes.training.finetune import FineTune
from snndeploy.passes.training.loop.trainer import missed
from snndeploy.passes.training.train_steps import TrainSteps
from tests.support.labelled import (
    Labelled,
    accuracy,
    context,
    digit_samples,
    digits_mlp,
    digits_net,
    flat,
)
from tests.support.structures import NETWORKS


def mislabelled(**fields: Any) -> PassContext:
    """Classes that have nothing to do with the digits."""
    ctx = context(flat=True, **fields)
    assert ctx.training is not None
    labels = np.random.default_rng(0).integers(0, 10, 350)
    samples = Labelled(ctx.training.samples.inputs, labels)  # type: ignore[arg-type]
    return dataclasses.replace(
        ctx, training=dataclasses.replace(ctx.training, samples=samples, validation=None)
    )


def test_a_teacher_stands_in_for_labels() -> None:
    """All of the loss from the teacher: wrong labels change nothing, and a pruned network recovers."""
    network = digits_mlp()
    pruned = Prune(sparsity=0.8).apply(network, PassContext()).network
    how = FineTune(epochs=6, lr=1e-2, distill=1.0)
    teacher = dataclasses.replace(mislabelled(), source=network)
    taught = how.apply(pruned, teacher).network
    assert accuracy(taught, flat(350, 450)) > accuracy(pruned, flat(350, 450)) + 0.05
    untaught = dataclasses.replace(how, distill=0.0).apply(pruned, teacher).network
    assert accuracy(untaught, flat(350, 450)) < 0.5
    itself = how.apply(pruned, mislabelled()).network  # alone, it learns from what it was given
    assert accuracy(itself, flat(350, 450)) < accuracy(taught, flat(350, 450))


def test_a_teacher_sees_all_steps_whatever_its_pupil_sees() -> None:
    network = digits_mlp()
    how = TrainSteps(steps=(4,), epochs=8, lr=1e-2, distill=1.0)
    short = Labelled({"input": flat(350, 450).inputs["input"][:4]}, flat(350, 450).labels)
    taught = how.apply(network, mislabelled()).network
    assert accuracy(taught, short) > accuracy(network, short) - 0.05
    untaught = dataclasses.replace(how, distill=0.0).apply(network, mislabelled()).network
    assert accuracy(untaught, short) < 0.6


def test_the_loss_of_a_teacher_by_hand() -> None:
    told, labels = torch.tensor([[2.0, 0.0]]), torch.tensor([1])
    how = FineTune(distill=0.25, temperature=2.0, contrast=0.5)
    found = missed(told, 8, labels, torch.tensor([[0.5, 0.25]]), how)
    hard = np.log(np.exp(1.0) + 1) - 0.0
    soft = 1 / (
        1 + np.exp(-(2.0 - 1.0) / 2)
    )  # the teacher's 0.5 and 0.25 of 8 steps, times contrast
    alike = -soft * 0.5 - (1 - soft) * 0.0 + np.log(np.exp(0.5) + 1)
    assert float(found) == pytest.approx(0.75 * hard + 0.25 * 4 * alike)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_structure_trains_on_the_chips_grid(name: str) -> None:
    """Event-like inputs, branches, loops and delays: the loss falls, and the codes lower as they are."""
    network, rng = NETWORKS[name](), np.random.default_rng(0)
    (entry,), (output,) = network.with_role("input"), network.with_role("output")
    x = (rng.random((9, 60, *entry.shape)) < 0.4).astype(np.float32)
    labels = x.sum((0, 2)).reshape(60, -1)[:, :1].ravel() > 3.6  # how often the first input fires
    told: list[PassEvent] = []
    ctx = PassContext(
        training=Training(samples=Labelled({entry.name: x}, labels.astype(np.int64))),
        scope="t",
        observer=told.append,
    )
    assert int(np.prod(output.shape)) > 1
    after = FineTune(bits=4, grid="loihi", aware="loihi2", epochs=12, batch=20, lr=2e-2).apply(
        network, ctx
    )
    losses = [float(e.status.split()[1]) for e in told]
    assert losses[-1] < 0.9 * losses[0]
    program = lower(after.network, load_target("loihi2"))
    assert {r.weight for r in program.rounding.values()} == {0.0}


def test_a_budget_may_be_a_share_of_what_was_used() -> None:
    network = digits_net()
    images = digit_samples(0, 350).inputs["input"].mean(axis=0, keepdims=True).repeat(16, 0)
    data = Labelled({"input": images}, digit_samples(0, 350).labels)
    ctx = PassContext(training=Training(samples=data), scope="t")
    how = FineTune(epochs=8, lr=5e-3, batch=32, activity=10.0, synops_ratio=0.5)
    before, after = figures(network, data), figures(how.apply(network, ctx).network, data)
    assert before.input_macs > 0  # values: they are no SynOps, and no budget is spent on them
    assert 0.3 < after.r_ops(before) < 0.53
    assert after.accuracy > 0.9
    # the budget holds whatever validation prefers: the epoch that is kept is the last one
    judged = dataclasses.replace(ctx, training=Training(samples=data, validation=data))
    assert how.apply(network, judged).network.digest == how.apply(network, ctx).network.digest
