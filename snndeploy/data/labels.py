"""What is right for samples: classes of samples or of steps, and values that outputs should emit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from ..errors import InputError
from ..ir.answers import UNLABELLED
from ..ir.arrays import Array, Shape
from .arrays import Rows, bounded

LABEL_KEYS = ("y", "labels", "label")
"""What arrays of labels are called in a file…"""
TARGET_KEYS = ("target", "targets")
"""…and those of target values."""
_LARGEST_LABEL = 1 << 53


def picked(arrays: Mapping[str, Rows], keys: Iterable[str], where: str) -> Rows | None:
    """The array that has one of the names ``keys``, None if there is none.

    Raises:
        InputError: ``data-type``, it holds no numbers.
    """
    for key in keys:
        if key in arrays:
            if arrays[key].dtype.kind not in "biuf":
                raise InputError("data-type", f"{key} is {arrays[key].dtype}", where=where)
            return arrays[key]
    return None


def target_values(arrays: Mapping[str, Rows], samples: int, where: str) -> Array | None:
    """Values that outputs should emit, ``(samples, neurons)``."""
    found = picked(arrays, TARGET_KEYS, where)
    if found is None:
        return None
    if len(found.shape) not in (1, 2) or found.shape[0] != samples:
        raise InputError(
            "data-targets",
            f"{found.shape} target values for {samples} samples",
            where=where,
            hint="they are (samples,), or (samples, neurons of the output)",
        )
    values = bounded(found, "target", where).astype(np.float64).reshape(samples, -1)
    if not np.isfinite(values).all():
        raise InputError("data-targets", "target values hold NaN or infinity", where=where)
    return values


def step_labels(y: Rows, unlabelled: int | None, where: str) -> Array:
    """Labels of steps, ``(samples, steps)``."""
    flat = bounded(y, "y", where).reshape(-1)
    labels = sample_labels(flat, len(flat), where).reshape(y.shape)
    if unlabelled is not None:
        labels = np.where(labels == unlabelled, UNLABELLED, labels)
        if (labels == UNLABELLED).all():
            raise InputError(
                "data-labels", "no step has a label", where=where, hint="check --unlabelled"
            )
    elif labels.min() < 0:
        raise InputError(
            "data-labels",
            f"steps are labelled from {labels.min()} on, and classes count from 0",
            where=where,
            hint=f"if these have no label, say so: --unlabelled {labels.min()}",
        )
    return labels


def sample_labels(y: Array, samples: int, where: str, hint: str = "") -> Array:
    """Classes ``(samples,)`` as int64.

    Raises:
        InputError: ``data-labels``, of another shape, or no whole numbers.
    """
    if y.ndim != 1 or len(y) != samples:
        raise wrong_labels(y.shape, samples, where, hint)
    large = y.dtype.kind in "iuf" and not (abs(y.astype(np.float64)) <= _LARGEST_LABEL).all()
    if y.dtype.kind not in "biuf" or large or (y.dtype.kind == "f" and (y != np.rint(y)).any()):
        raise InputError(
            "data-labels",
            "labels are not whole numbers",
            where=where,
            hint="a label is the index of the output neuron",
        )
    return y.astype(np.int64)


def wrong_labels(shape: Shape, samples: int, where: str, hint: str) -> InputError:
    """The error of labels that are not one for each sample."""
    if len(shape) == 2 and shape[0] == samples:
        hint = f"where they are one-hot, store y.argmax(axis=1); {hint}"
    return InputError(
        "data-labels", f"{shape} labels for {samples} samples", where=where, hint=hint
    )
