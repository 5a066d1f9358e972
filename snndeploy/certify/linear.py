"""What synapses do: the operators of a projection applied to a batch, and read backwards."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np

from .form import chain

EXACT = float(1 << 53)
"""Integers below this are exact in float64, which is what is multiplied fast."""


def weight_shape(op: Any) -> tuple[int, ...] | None:
    """The shape of an operator's weights (None: it has none)."""
    if op.type == "Dense":
        return (op.out_features, op.in_features)
    if op.type == "Conv":
        return (op.out_channels, op.in_channels // op.groups, *op.kernel)
    return tuple(op.weight_shape) if op.type == "Pointwise" else None


def weighted(ops: Any) -> int:
    """The position of a chain's one weighted operator."""
    (place,) = [i for i, op in enumerate(ops) if weight_shape(op) is not None]
    return place


def apply(ops: Any, weight: Any, x: Any) -> Any:
    """What neurons get (batch, target) where sources send ``x`` (batch, source): exact integers.

    Sums beyond 63 bits wrap.
    """
    peak = float(np.abs(x).max(initial=0))
    for op in ops:
        if op.type == "SumPool":
            peak *= prod(op.kernel)
        elif op.type != "Reshape":
            rows = np.abs(weight).astype(np.float64).reshape(*weight.shape[:1], -1)
            peak *= rows.max() if op.type == "Pointwise" else rows.sum(1).max()
    kind = np.float64 if peak < EXACT else np.int64
    return np.asarray(_forward(ops, weight.astype(kind), x.astype(kind))).astype(np.int64)


def _forward(ops: Any, weight: Any, x: Any) -> Any:
    for op, shape in zip(ops, chain(ops, x.shape[1:])[1:], strict=True):
        if op.type == "Reshape":
            x = x.reshape(len(x), *shape)
        elif op.type == "Pointwise":
            x = x * weight
        elif op.type == "Dense":
            x = x @ weight.T
        else:
            padded, places = _padded(op, x)
            y = np.zeros((len(x), *shape), x.dtype)
            for tap, window in _taps(op, shape, places):
                y += (
                    padded[window]
                    if op.type == "SumPool"
                    else _mix(op, weight, tap, padded[window])
                )
            x = y
    return x


def pull(ops: Any, weight: Any, y: Any, shape: tuple[int, ...]) -> Any:
    """The transpose of `apply`: what each source (batch, ``shape``) passes on to weights ``y``."""
    for op, before in reversed(list(zip(ops, chain(ops, shape)[:-1], strict=True))):
        if op.type == "Reshape":
            y = y.reshape(len(y), *before)
        elif op.type == "Pointwise":
            y = y * weight
        elif op.type == "Dense":
            y = y @ weight
        else:
            padded, places = _padded(op, np.zeros((len(y), *before), y.dtype))
            for tap, window in _taps(op, y.shape[1:], places):
                padded[window] += y if op.type == "SumPool" else _mix(op, weight, tap, y, back=True)
            inside = [slice(p[0], p[0] + n) for p, n in zip(places, before[1:], strict=True)]
            y = padded[(slice(None), slice(None), *inside)]
    return y


def _padded(op: Any, x: Any) -> tuple[Any, list[Any]]:
    places = (
        [(p, p) for p in op.padding] if op.type == "SumPool" else [tuple(p) for p in op.padding]
    )
    return np.pad(x, [(0, 0), (0, 0), *places]), places


def _taps(op: Any, out: tuple[int, ...], places: Any) -> Iterator[tuple[Any, Any]]:
    """Every tap of a window with the inputs that it reads for all outputs."""
    dilation = getattr(op, "dilation", (1,) * len(places))
    for tap in np.ndindex(*op.kernel):
        starts = [t * d for t, d in zip(tap, dilation, strict=True)]
        window = [
            slice(a, a + (n - 1) * s + 1, s)
            for a, n, s in zip(starts, out[1:], op.stride, strict=True)
        ]
        yield tap, (slice(None), slice(None), *window)


def _mix(op: Any, weight: Any, tap: Any, x: Any, *, back: bool = False) -> Any:
    """Channels to channels, by the weights of one tap."""
    w = weight[(slice(None), slice(None), *tap)].reshape(op.groups, -1, weight.shape[1])
    w = np.swapaxes(w, 1, 2) if back else w
    grouped = x.reshape(len(x), op.groups, w.shape[2], -1)
    return (w @ grouped).reshape(len(x), -1, *x.shape[2:])
