"""The digest of samples: what a lock, what is kept for a resumption, and a cluster know them by."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np

from ..arrays import Array

UNNAMED = ""
"""The name of an input that has none."""


class SampleDigest:
    """SHA-256 of inputs, labels and target values, batch by batch, the same on every machine.

    Values count with their names, types and shapes, labels with their shape; the window, over which
    answers are smoothed, where steps have labels.
    """

    def __init__(self) -> None:
        self._found = hashlib.sha256()

    def add(
        self,
        inputs: Array | Mapping[str, Array],
        labels: Array | None = None,
        window: int = 1,
        targets: Array | None = None,
    ) -> SampleDigest:
        """Take in a batch; returns itself.

        Args:
            inputs: ``(steps, samples, *shape)``, of one input or by name.
            labels: ``(samples,)`` or ``(samples, steps)``.
            window: in steps.
            targets: values that outputs should emit, ``(samples, neurons)``.
        """
        named = inputs if isinstance(inputs, Mapping) else {UNNAMED: inputs}
        for name, values in sorted(named.items()):
            self._tell("input", name, values.dtype.newbyteorder("<").str, values.shape)
            repeated = len(values) > 0 and values.strides[0] == 0
            for step in values[:1] if repeated else values:
                self._found.update(_little(step))
        if labels is not None:
            smoothed = window if labels.ndim > 1 else 1
            self._tell("labels", labels.shape, smoothed)
            self._found.update(_little(labels.astype(np.int64)))
        if targets is not None:
            self._tell("targets", targets.shape)
            self._found.update(_little(targets.astype(np.float64)))
        return self

    def hex(self) -> str:
        """The digest of everything taken in."""
        return self._found.hexdigest()

    def _tell(self, *parts: object) -> None:
        text = repr(parts).encode()
        self._found.update(len(text).to_bytes(8, "little") + text)


def _little(values: Array) -> bytes:
    little = np.ascontiguousarray(values)
    return little.astype(little.dtype.newbyteorder("<"), copy=False).tobytes()
