"""What every training pass can be told, and the data that it trains on."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from ...errors import PassRefused
from ...ir.network import Network
from ..base import Calibration, PassContext, Training
from ..patterns import LayerPass, wiring

Positive = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, kw_only=True)
class TrainingPass(LayerPass, ABC):
    """A pass that trains, on labelled samples.

    ``epochs``, ``batch``, ``optimizer`` (``adamw`` or ``sgd``, with ``momentum``), ``lr``,
    ``weight_decay`` (of weights only), ``schedule`` (``cosine`` to zero, or ``constant``) and
    ``clip_norm`` (of the gradient; 0 does not clip) are what they are everywhere. With ``patience``
    training stops after so many epochs in which validation did not get better (0: never); the
    weights of the best epoch are kept wherever there are validation samples.

    The ``loss`` is the cross-entropy of the output's spike ``count``, of its ``mean`` over time, or of
    its ``membrane`` potential's mean over time, times ``contrast``. ``surrogate`` and ``width`` shape
    the gradient of a spike; ``through_reset`` lets gradients pass through the reset as well.
    ``window`` steps at a time are unrolled (0: all), and ``truncate`` ends gradients there, or
    ``recompute`` bounds memory by one window and computes it twice.

    With ``distill`` so much of the loss, from 0 to 1, is not about the labels but about what the
    network before the first pass answers to the same sample, over all of its steps: the
    cross-entropy of both answers, softened by ``temperature``.

    What learns: ``weights`` of the chosen layers, ``biases`` where there are any and, when asked,
    ``leaks`` and ``thresholds``. Masks stay. ``aware`` names a target whose rounding is part of the
    forward pass: of leaks, thresholds, biases, analog inputs, and of weights that have no codes yet,
    which get 8 bits as in lowering.
    """

    epochs: Annotated[int, Field(ge=1)] = 2
    batch: Annotated[int, Field(ge=1)] = 64
    optimizer: Literal["adamw", "sgd"] = "adamw"
    lr: Positive = 1e-3
    momentum: Fraction = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    schedule: Literal["cosine", "constant"] = "cosine"
    clip_norm: Annotated[float, Field(ge=0)] = 1.0
    patience: Annotated[int, Field(ge=0)] = 0
    loss: Literal["count", "mean", "membrane"] = "count"
    contrast: Positive = 1.0
    distill: Fraction = 0.0
    temperature: Positive = 2.0
    surrogate: Literal["arctan", "triangular", "fast-sigmoid"] = "arctan"
    width: Positive = 0.5
    through_reset: bool = False
    window: Annotated[int, Field(ge=0)] = 0
    truncate: bool = False
    recompute: bool = False
    learn: tuple[Literal["weights", "biases", "leaks", "thresholds"], ...] = ("weights", "biases")
    aware: str = ""

    def spares(self, net: Network) -> Mapping[str, str]:
        """One-to-one layers of unit weights are wiring, and stay."""
        return wiring(net)


def training_data(ctx: PassContext, net: Network) -> Training:
    """The labelled samples that a pass trains on: those for training, else those for calibration.

    Raises:
        PassRefused: there are none, they have no labels, or a label is no class of the network.
    """
    data = ctx.training
    if data is None and ctx.calibration is not None and ctx.calibration.labels is not None:
        data = Training(samples=ctx.calibration)
    if data is None:
        raise PassRefused(
            "training-data-missing",
            "it trains, and there are no labelled samples to train on",
            hint="use snndeploy finetune with --train, or give labels with --data",
        )
    classes = int(np.prod(net.with_role("output")[0].shape))
    for what, samples in (("training", data.samples), ("validation", data.validation)):
        if samples is not None:
            _refuse_labels(samples, what, classes)
    return data


def _refuse_labels(samples: Calibration, what: str, classes: int) -> None:
    if samples.labels is None:
        raise PassRefused(
            "training-labels-missing",
            f"the {what} samples have no labels",
            hint="save the classes as an array named y beside the inputs",
        )
    low, high = int(samples.labels.min()), int(samples.labels.max())
    if low < 0 or high >= classes:
        raise PassRefused(
            "training-labels-range",
            f"the {what} labels go from {low} to {high}, the network has {classes} outputs",
            hint="labels count from 0, one output neuron each",
        )
