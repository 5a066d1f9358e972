"""Samples that judge a network: there are some, and their labels are classes that it has."""

from __future__ import annotations

from ...data import Samples
from ...errors import InputError
from ...ir.arrays import size
from ...ir.network import Network
from ...verify.judged import refuse_labels


def refuse_unfit(network: Network, samples: Samples, where: str) -> None:
    """Refuse samples by which nothing could be told.

    Raises:
        InputError: there are none, or a label is no class of the network.
    """
    if not len(samples) or not samples.steps:
        raise InputError("data-empty", "there are no samples to evaluate on", where=where)
    outputs = {p.name: size(p.shape) for p in network.with_role("output")}
    refuse_labels(samples, next(iter(outputs)), outputs, where, "--answers")


def refuse_step_labels(samples: Samples, why: str, where: str, hint: str) -> None:
    """Refuse labels of single steps, for ``why``.

    Raises:
        InputError: ``labels-per-step``, there are some.
    """
    if samples.per_step:
        raise InputError(
            "labels-per-step", f"every step has a label of its own, {why}", where=where, hint=hint
        )
