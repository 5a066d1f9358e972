"""Samples that judge a network: there are some, and their labels are classes that it has."""

from __future__ import annotations

from ...data import Samples
from ...errors import InputError
from ...ir.arrays import size
from ...ir.network import Network


def refuse_unfit(network: Network, samples: Samples, where: str) -> None:
    """Refuse samples by which nothing could be told.

    Raises:
        InputError: there are none, or a label is no class of the network.
    """
    if not len(samples) or not samples.steps:
        raise InputError("data-empty", "there are no samples to evaluate on", where=where)
    if samples.labels is None:
        return
    classes = size(network.with_role("output")[0].shape)
    low, high = int(samples.labels.min()), int(samples.labels.max())
    if low < 0 or high >= classes:
        raise InputError(
            "labels-range",
            f"the labels go from {low} to {high}, the network has {classes} outputs",
            where=where,
            hint="labels count from 0, one output neuron each",
        )
