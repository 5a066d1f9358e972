"""Labelled digits, and networks for them, for the training passes."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from snndeploy.demo import FOLDER, digits
from snndeploy.ingest import read_network
from snndeploy.ir.arrays import Array
from snndeploy.ir.network import Network
from snndeploy.passes.base import PassContext, Training
from snndeploy.passes.training.finetune import FineTune
from snndeploy.simulate.float.engine import run_float
from tests.support.builders import chain_net


@dataclass(frozen=True, eq=False)
class Labelled:
    """Samples with classes."""

    inputs: dict[str, Array]
    labels: Array | None
    window: int = 1


@functools.cache
def digit_samples(low: int, high: int) -> Labelled:
    samples = digits()
    assert samples.labels is not None
    return Labelled({"input": samples.inputs[:, low:high]}, samples.labels[low:high])


@functools.cache
def digits_net() -> Network:
    return read_network(FOLDER / "digits.nir", "snntorch", reset="zero")


@functools.cache
def digits_mlp() -> Network:
    """A 64-32-10 network trained on the first digits, by the trainer itself, from random weights."""
    rng = np.random.default_rng(0)
    layers = [
        rng.normal(0, s, shape).astype(np.float32)
        for s, shape in ((0.3, (32, 64)), (0.5, (10, 32)))
    ]
    how = FineTune(epochs=30, lr=1e-2, batch=32)
    return how.apply(chain_net(layers), context(flat=True)).network


def flat(low: int, high: int) -> Labelled:
    samples = digit_samples(low, high)
    return Labelled({"input": samples.inputs["input"].reshape(16, -1, 64)}, samples.labels)


def context(*, flat: bool = False, **fields: Any) -> PassContext:
    """350 digits to learn from and 100 to judge by."""
    parts = digit_samples(0, 350), digit_samples(350, 450)
    if flat:
        parts = tuple(  # type: ignore[assignment]
            Labelled({"input": p.inputs["input"].reshape(16, -1, 64)}, p.labels) for p in parts
        )
    training = Training(samples=parts[0], validation=parts[1], **fields)
    return PassContext(training=training, scope="pass")


def accuracy(network: Network, samples: Labelled) -> float:
    run = run_float(network, samples.inputs["input"])
    return float((run.predictions(network.with_role("output")[0].name) == samples.labels).mean())
