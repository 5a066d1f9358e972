"""Colour images and nine layers: training, compression and lowering are not made for one data set."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from snndeploy.chip import load_target
from snndeploy.lower import encode_inputs, infer_coding, lower
from snndeploy.passes.base import PassContext, Training
from snndeploy.passes.prune import Prune
from snndeploy.passes.runner import run_passes
from snndeploy.passes.training.finetune import FineTune
from snndeploy.simulate.integer.engine import run_integer
from tests.support.labelled import Labelled, accuracy

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


def test_a_vgg_on_colour_images_is_compressed_and_lowers(
    shared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("PIL", reason="CIFAR-10 is stored as JPEG, which Pillow decodes")
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    import images
    import networks

    monkeypatch.setitem(
        networks.TASKS, "narrow", networks.Task(data="cifar10", steps=4, layers=images.vgg9(4))
    )
    network = networks.untrained("narrow", 0)
    pixels, labels = images.cifar10(shared_data / "cifar10_jpeg", "train", 96)
    assert pixels.shape == (96, 3, 32, 32)
    assert len(set(labels.tolist())) == 10
    two = labels % 2  # of ten classes, so few images teach nothing
    data = Labelled({"input": np.broadcast_to(pixels, (4, *pixels.shape))}, two)
    target = load_target("loihi2")
    ctx = PassContext(training=Training(samples=data), target=target)
    passes = (
        FineTune(epochs=8, batch=16, lr=2e-3, contrast=1.5),
        Prune(sparsity=0.9, scope="lamp"),
        FineTune(epochs=8, batch=16, bits=4, grid="loihi", aware="loihi2", lr=2e-3, distill=0.5),
    )
    after = run_passes(network, passes, ctx).network
    sizes = [p.weight.data.size for p in after.projections]
    assert sum(p.weight.alive for p in after.projections) == sum(sizes) - round(0.9 * sum(sizes))
    assert accuracy(after, data) > accuracy(network, data) + 0.15
    coding = infer_coding(pixels)
    program = lower(after, target, inputs=coding, steps=4)
    assert {r.weight for r in program.rounding.values()} == {0.0}
    group = program.groups[0]
    sent = encode_inputs(np.asarray(data.inputs["input"]), group)
    run = run_integer(program, {group.name: sent})
    right = float((run.predictions("output") == two).mean())
    assert right == pytest.approx(accuracy(after, data), abs=0.05)
