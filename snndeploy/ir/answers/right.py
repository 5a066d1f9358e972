"""How many answers are the labels."""

from __future__ import annotations

import numpy as np

from ..arrays import Array

UNLABELLED = -1
"""A step without a label, among labels per step."""


def right(answers: Array, labels: Array) -> tuple[int, int]:
    """How many answers are right, and of how many: steps that are not labelled don't count."""
    known = labels != UNLABELLED if labels.ndim > 1 else np.ones(labels.shape, bool)
    return int(np.count_nonzero((answers == labels) & known)), int(np.count_nonzero(known))
