"""Samples as batches of tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

from ....ir.arrays import Array
from ...base import Calibration
from ...given import targets_of


class Batches:
    """Labelled samples, in batches on a device.

    What is learnt is a class for each sample or step (``labels`` are whole numbers), or the values that
    the output should emit on average (``labels`` are real numbers, ``(samples, neurons)``).

    Args:
        samples: with labels, or with target values.
        device: where the batches go.
        steps: of each sample (0: all).
        scales: messages per unit of an input, to whole numbers of which its values are rounded.
        taught: what a teacher answers to each sample, ``(samples, classes)``, if there is one.
    """

    def __init__(
        self,
        samples: Calibration,
        device: str = "cpu",
        *,
        steps: int = 0,
        scales: Mapping[str, float] | None = None,
        taught: Tensor | None = None,
    ) -> None:
        aims = targets_of(samples)
        if samples.labels is not None:
            self.labels = samples.labels
            if steps and self.labels.ndim > 1:
                self.labels = self.labels[:, :steps]
        elif aims is not None:
            self.labels = aims.astype(np.float64)
        else:
            raise ValueError("the samples have no labels")
        self.regresses = samples.labels is None
        self.spread = spread_of(self.labels) if self.regresses else 1.0
        self.window = samples.window
        inputs = {name: x[: steps or len(x)] for name, x in samples.inputs.items()}
        self._inputs = {name: once(x) for name, x in inputs.items()}
        self._device = torch.device(device)
        self._taught = taught
        self._scales = {n: s for n, s in (scales or {}).items() if s != 1}

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def steps(self) -> int:
        """Length of a sample."""
        return len(next(iter(self._inputs.values())))

    def shuffled(
        self, size: int, stream: np.random.Generator
    ) -> Iterator[tuple[_Inputs, Tensor, Tensor | None]]:
        """Batches of one epoch in an order of their own, with what the teacher answers to them."""
        order = stream.permutation(len(self))
        for low in range(0, len(self), size):
            index = order[low : low + size]
            yield *self.take(index), None if self._taught is None else self._taught[index]

    def in_order(self, size: int) -> Iterator[tuple[_Inputs, Tensor]]:
        """Batches as the samples come."""
        for low in range(0, len(self), size):
            yield self.take(np.arange(low, min(low + size, len(self))))

    def take(self, index: Array) -> tuple[_Inputs, Tensor]:
        """Inputs ``(steps, samples, *shape)`` and what is to be learnt of some samples.

        Of inputs that are constant in time one step is copied, and expanded.
        """
        inputs = {}
        for name, x in self._inputs.items():
            constant = x.strides[0] == 0
            part = (x[:1] if constant else x)[:, index]
            values = torch.tensor(part, dtype=torch.float32, device=self._device)
            if name in self._scales:
                values = (values * self._scales[name]).round() / self._scales[name]
            inputs[name] = values.expand(len(x), *values.shape[1:]) if constant else values
        kind = torch.float32 if self.regresses else torch.int64
        labels = torch.tensor(self.labels[index], dtype=kind, device=self._device)
        return inputs, labels


_Inputs = Mapping[str, Tensor]


def spread_of(values: Array) -> float:
    """Mean square of what values ``(samples, neurons)`` differ from their means; 1 where they do not."""
    return float(values.var(axis=0).mean()) or 1.0


def once(x: Array) -> Array:
    """``x``, as a view of its first step (stride 0) where all steps are the same."""
    if len(x) == 1 or not all(np.array_equal(step, x[0]) for step in x[1:]):
        return x
    return np.broadcast_to(x[:1], x.shape)
