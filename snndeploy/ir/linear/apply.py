"""A projection's chain of operators in NumPy, batched over samples: on integers exactly."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ..arrays import Array
from ..ops import Conv, Dense, Op, Pointwise, Reshape, SumPool

Product = Callable[[Array, Array], Array]
"""``x @ w`` for matrices of one type."""
_EXACT_IN_FLOAT64 = 2**53


def exact_matmul(x: Array, w: Array) -> Array:
    """``x @ w`` for int64 arrays, through BLAS where float64 provably holds every partial sum."""
    bound = int(np.abs(x).max(initial=0)) * int(np.abs(w).max(initial=0)) * w.shape[0]
    if bound < _EXACT_IN_FLOAT64:
        return (x.astype(np.float64) @ w.astype(np.float64)).astype(np.int64)
    product: Array = x @ w
    return product


def apply_chain(
    ops: Sequence[Op], weight: Array, x: Array, product: Product = exact_matmul
) -> Array:
    """Apply a chain of operators to ``x`` (samples, *in_shape); the result has the type of both.

    Args:
        ops: the operators, in their order.
        weight: of the one that has weights, in the type of ``x``.
        x: int64, unless another ``product`` is given.
        product: what sums over weights; `numpy.matmul` for floats.
    """
    for op in ops:
        x = _apply(op, weight, x, product)
    return x


def _apply(op: Op, weight: Array, x: Array, product: Product) -> Array:
    match op:
        case Dense():
            return product(x, weight.T)
        case Pointwise():
            return x * weight
        case Reshape():
            return x.reshape(x.shape[0], *op.shape)
        case SumPool():
            return _pool(op, x)
        case Conv():
            return _convolve(op, weight, x, product)


def _pool(op: SumPool, x: Array) -> Array:
    view = windows(x, op.kernel, op.stride, tuple((p, p) for p in op.padding), (1, 1))
    # Tap by tap: a sum over the last two axes would start anew at every output.
    pooled: Array = np.array(view[..., 0, 0])
    for tap in list(np.ndindex(*op.kernel))[1:]:
        pooled += view[(..., *tap)]
    return pooled


def _convolve(op: Conv, weight: Array, x: Array, product: Product) -> Array:
    n_axes = len(op.kernel)
    views = windows(x, op.kernel, op.stride, op.padding, op.dilation)
    places = views.shape[2 : 2 + n_axes]
    outputs = []
    for group in range(op.groups):
        ins = slice(group * weight.shape[1], (group + 1) * weight.shape[1])
        per_group = op.out_channels // op.groups
        kernels = weight[group * per_group : (group + 1) * per_group].reshape(per_group, -1)
        # (samples, places, channels, taps) x (channels * taps, out channels)
        patches = np.moveaxis(views[:, ins], 1, 1 + n_axes)
        columns = patches.reshape(x.shape[0] * int(np.prod(places)), -1)
        sums = product(columns, kernels.T)
        outputs.append(sums.reshape(x.shape[0], *places, per_group))
    return np.moveaxis(np.concatenate(outputs, axis=-1), -1, 1)


def windows(
    x: Array,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[tuple[int, int]],
    dilation: Sequence[int],
) -> Array:
    """Views ``(samples, channels, *places, *taps)`` of every window of the padded input."""
    padded = np.pad(x, [(0, 0), (0, 0), *padding]) if any(map(any, padding)) else x
    extent = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True))
    axes = tuple(range(2, 2 + len(kernel)))
    windows = sliding_window_view(padded, extent, axis=axes)
    places = tuple(slice(None, None, s) for s in stride)
    taps = tuple(slice(None, None, d) for d in dilation)
    return windows[(slice(None), slice(None), *places, *taps)]
