"""What every training pass can be told, and the data that it trains on."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from ...errors import PassRefused
from ...ir.answers import UNLABELLED, classes
from ...ir.arrays import size
from ...ir.network import Network
from ..base import Calibration, PassContext, Training
from ..given import targets_of
from ..patterns import LayerPass, wiring

Positive = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, kw_only=True)
class TrainingPass(LayerPass, ABC):
    """A pass that trains, on labelled samples.

    Masks stay. Where there are validation samples, the weights of the best epoch are kept.
    """

    epochs: Annotated[int, Field(ge=1)] = 2
    """How often each sample is seen."""
    batch: Annotated[int, Field(ge=1)] = 64
    """Samples per update."""
    optimizer: Literal["adamw", "sgd"] = "adamw"
    """What turns gradients into updates."""
    lr: Positive = 1e-3
    """Learning rate at the start."""
    momentum: Fraction = 0.9
    """Momentum of ``sgd``."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Decay per update, of weights only."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """Course of the learning rate; ``cosine`` ends at zero."""
    clip_norm: Annotated[float, Field(ge=0)] = 1.0
    """Largest norm of a gradient; 0 does not clip."""
    patience: Annotated[int, Field(ge=0)] = 0
    """End after so many epochs in which validation did not get better; 0 never does."""
    loss: Literal["count", "mean", "membrane"] = "count"
    """Cross-entropy of the output's spike ``count``, of its ``mean`` over time, or of its
    ``membrane`` potential's mean over time. Of target values it is the mean square of what the
    output's mean over time misses them by, in units of their variance."""
    contrast: Positive = 1.0
    """Factor of what the cross-entropy is taken of."""
    distill: Fraction = 0.0
    """The part of the loss that is not about the labels but about what the network before the first
    pass answers to the same sample, over all of its steps: the cross-entropy of both answers."""
    temperature: Positive = 2.0
    """Softens both answers of ``distill``."""
    surrogate: Literal["arctan", "triangular", "fast-sigmoid"] = "arctan"
    """Shape of the gradient of a spike."""
    width: Positive = 0.5
    """Its extent, in units of the threshold."""
    through_reset: bool = False
    """Let gradients pass through the reset as well."""
    window: Annotated[int, Field(ge=0)] = 0
    """Steps that are unrolled at a time; 0 takes all."""
    truncate: bool = False
    """End gradients at the start of a window."""
    recompute: bool = False
    """Bound memory by one window, and compute it twice."""
    learn: tuple[Literal["weights", "biases", "leaks", "thresholds"], ...] = ("weights", "biases")
    """What learns: weights of the chosen layers, biases where there are any, leaks and thresholds."""
    aware: str = ""
    """A target whose rounding is part of the forward pass: of leaks, thresholds, biases, analog
    inputs, and of weights that have no codes yet, which get 8 bits as in lowering. Empty for
    none."""

    def spares(self, net: Network) -> Mapping[str, str]:
        """One-to-one layers of unit weights are wiring, and stay."""
        return wiring(net)

    def accepts(self, net: Network, ctx: PassContext) -> None:
        """Samples with labels of the network's classes, or with target values."""
        training_data(ctx, net)


@dataclass(frozen=True, kw_only=True)
class DistilOptions(LayerPass, ABC):
    """Options of the pass `distil`; here, as its loop reads them."""

    epochs: Annotated[int, Field(ge=1)] = 50
    """How often each sample is seen."""
    batch: Annotated[int, Field(ge=1)] = 64
    """Samples per update; those that are made up are among them."""
    rate: Positive = 0.03
    """Length of a step at the start, relative to the layer: to the root mean square of the weights
    that are left, to the row's own step where there are codes, to the mean magnitude of biases and
    thresholds. It falls to zero along a cosine."""
    synthetic: Fraction = 0.5
    """The part of each batch that is made up of the samples: moved in time by up to a tenth, with up
    to a fifth of the events dropped, the beginning of one and the end of another (or, of inputs that
    are no spikes, a mix of two)."""
    shift: Annotated[int, Field(ge=0)] = 0
    """Move made-up samples by up to so many pixels as well, where inputs are maps."""
    noise: Annotated[float, Field(ge=0)] = 0.0
    """Shake what learns of the neurons at random in each batch, and where epochs are judged: standard
    deviation, relative to its mean magnitude (0.01 is a start). What holds only for biases to the last
    digit does not survive the chip's rounding; it costs some of what is gained in real numbers."""
    learn: tuple[Literal["weights", "biases", "leaks", "thresholds"], ...] = ("weights", "biases")
    """What learns; biases only where there are any."""
    codes: bool = False
    """Let codes move on their grid. At two bits that does more harm than good."""
    surrogate: Literal["arctan", "triangular", "fast-sigmoid"] = "arctan"
    """Shape of the gradient of a spike."""
    width: Positive = 0.5
    """Its extent, in units of the threshold."""
    window: Annotated[int, Field(ge=0)] = 0
    """Bound memory by so many steps at a time, and compute them twice; 0 takes all."""


def training_data(ctx: PassContext, net: Network) -> Training:
    """The labelled samples that a pass trains on: those for training, else those for calibration.

    Raises:
        PassRefused: there are none, they have no labels, or a label is no class of the network.
    """
    data = ctx.training
    given = ctx.calibration
    if data is None and given is not None:
        known = given.labels is not None or targets_of(given) is not None
        data = Training(samples=given) if known else None
    if data is None:
        raise PassRefused(
            "training-data-missing",
            "it trains, and there are no labelled samples to train on",
            hint="use snndeploy finetune with --train, or give labels with --data",
        )
    outputs = {p.name: size(p.shape) for p in net.with_role("output")}
    for what, samples in (("training", data.samples), ("validation", data.validation)):
        if samples is not None:
            _refuse_labels(samples, what, outputs)
    judged = data.validation or data.samples
    if (judged.labels is None) != (data.samples.labels is None):
        raise PassRefused(
            "training-targets",
            "of the training and the validation samples one has classes, the other target values",
            hint="give both the same: arrays named y, or target",
        )
    return data


def _refuse_labels(samples: Calibration, what: str, outputs: Mapping[str, int]) -> None:
    aims = targets_of(samples)
    if samples.labels is None and aims is None:
        raise PassRefused(
            "training-labels-missing",
            f"the {what} samples have no labels",
            hint="save the classes as an array named y beside the inputs, or values as target",
        )
    if samples.labels is None and aims is not None:
        name, neurons = next(iter(outputs.items()))
        if aims.shape[1] != neurons:
            raise PassRefused(
                "training-targets",
                f"the {what} samples have {aims.shape[1]} target values each, the output {name!r} has "
                f"{neurons} neurons",
                hint="give one value per neuron of the output, (samples, neurons)",
            )
        return
    labels = np.asarray(samples.labels)
    if labels.ndim > 1:
        labels = labels[labels != UNLABELLED]
    low, high = int(labels.min(initial=0)), int(labels.max(initial=0))
    judged = next(iter(outputs))
    if low < 0 or high >= classes(outputs[judged]):
        others = [name for name, n in outputs.items() if low >= 0 and high < classes(n)]
        answers = f"its output {judged!r}" if len(outputs) > 1 else "the network"
        raise PassRefused(
            "training-labels-range",
            f"the {what} labels go from {low} to {high}, {answers} has {outputs[judged]} "
            f"{'neurons' if len(outputs) > 1 else 'outputs'}",
            hint=f"they may belong to another output: --answers {others[0]}"
            if others
            else "labels count from 0, one output neuron each",
        )
