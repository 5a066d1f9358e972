"""Operations with weights: matrices, convolutions, batch norm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ....ingest.normal_form.linear import LinearStage
from ....ir.arrays import size
from ....ir.ops import Conv, Dense
from ..memory import numbers
from ..signals import Blocks, Signal
from .reading import Outcome, SignalReading, by_row, rows_of

if TYPE_CHECKING:
    from torch import Tensor


def _matrix(reading: SignalReading, x: Tensor, weight: Tensor, bias: Any, name: str) -> Outcome:
    """``x @ weight + bias`` for a weight (in, out)."""
    if reading.knows(weight) or reading.knows(bias):
        return "the product of two signals"
    values = weight.detach().T.numpy()
    constant = None if bias is None else numbers(bias.expand(values.shape[0]))
    op = Dense(*values.shape)
    return by_row(reading, x, LinearStage(name, op, (op.in_features,), values, constant))


def addmm(
    reading: SignalReading, args: Sequence[Any], kwargs: Mapping[str, Any], out: Tensor
) -> Outcome:
    """``bias + a @ b``."""
    del out
    if kwargs.get("alpha", 1) != 1 or kwargs.get("beta", 1) != 1 or args[0].dim() > 1:
        return "addmm with factors"
    if not reading.knows(args[1]):
        return "the product with a signal"
    return _matrix(reading, args[1], args[2], args[0], reading.name_of(args[2]))


def mm(reading: SignalReading, args: Sequence[Any], kwargs: Any, out: Tensor) -> Outcome:
    """``a @ b``, one of both a weight."""
    del kwargs
    a, b = args[:2]
    if reading.knows(a):
        return _matrix(reading, a, b, None, reading.name_of(b))
    if b.dim() != 2 or out.shape[1] != 1:
        return "a product from the left"
    return _matrix(reading, b.T, a.T, None, reading.name_of(a))


def mv(reading: SignalReading, args: Sequence[Any], kwargs: Any, out: Tensor) -> Outcome:
    """A weight times one vector."""
    del kwargs, out
    weight, x = args[:2]
    if reading.knows(weight):
        return "the product of two signals"
    return _matrix(reading, x.reshape(1, -1), weight.T, None, reading.name_of(weight))


def bmm(reading: SignalReading, args: Sequence[Any], kwargs: Any, out: Tensor) -> Outcome:
    """``a @ b`` for a batch of one."""
    del kwargs, out
    a, b = args[:2]
    if a.shape[0] != 1 or not reading.knows(a):
        return "a product of batches"
    return _matrix(reading, a[0], b[0], None, reading.name_of(b))


def convolution(reading: SignalReading, args: Sequence[Any], kwargs: Any, out: Tensor) -> Outcome:
    """A convolution; a transposed one as a matrix."""
    del kwargs
    x, weight, bias, stride, padding, dilation, transposed, _, groups = args[:9]
    if reading.knows(weight) or not reading.knows(x):
        return "the product of two signals"
    name = reading.name_of(weight)
    if len(x.shape) > _MOST_AXES:
        return "a convolution over three axes"
    if transposed:
        return _unrolled(reading, args, out, name)
    values = weight.detach().numpy()
    op = Conv(
        values.shape[0],
        values.shape[1] * groups,
        tuple(values.shape[2:]),
        tuple(stride),
        tuple((p, p) for p in padding),
        tuple(dilation),
        groups,
    )
    constant = None if bias is None else numbers(bias).reshape(-1, *(1,) * len(op.kernel))
    return by_row(reading, x, LinearStage(name, op, tuple(x.shape[1:]), values, constant))


def _unrolled(reading: SignalReading, args: Sequence[Any], out: Tensor, name: str) -> Outcome:
    """A transposed convolution, from what it makes of each single value."""
    import torch

    x, weight, bias, *rest = args
    n_in, n_out = size(x.shape[1:]), size(out.shape[1:])
    if n_in * n_out > _MOST_ENTRIES:
        return f"a transposed convolution of {n_in:,} x {n_out:,} values"
    with torch.no_grad():
        basis = torch.eye(n_in, dtype=torch.float64).reshape(n_in, *x.shape[1:])
        made = torch.ops.aten.convolution.default(basis, weight.double(), None, *rest)
    matrix = made.reshape(n_in, n_out).T.numpy().astype(weight.detach().numpy().dtype)
    constant = None if bias is None else np.repeat(numbers(bias), n_out // bias.numel())
    stage = LinearStage(name, Dense(n_out, n_in), (n_in,), matrix, constant)
    return by_row(reading, x, stage)


_MOST_ENTRIES = 1 << 22
_MOST_AXES = 4
"""Samples, channels, and two of space."""


def batch_norm(reading: SignalReading, args: Sequence[Any], kwargs: Any, out: Tensor) -> Outcome:
    """Factors and constants per channel, in evaluation."""
    del kwargs
    x, weight, bias, mean, variance, *rest = args
    training, epsilon = (rest[0], rest[2]) if len(rest) == 3 else (False, rest[1])
    if training or mean is None:
        return "batch norm that learns while it runs (put the module into evaluation)"
    scale = 1.0 / np.sqrt(numbers(variance) + epsilon)
    scale = scale if weight is None else scale * numbers(weight)
    shift = -numbers(mean) * scale + (0.0 if bias is None else numbers(bias))
    places = size(out.shape[2:])
    factor, added = np.repeat(scale, places), np.repeat(shift, places)
    rows = rows_of(reading, x, x.shape[0])
    return Blocks(tuple(s.times(factor).plus(Signal(s.size, (), added)) for s in rows))
