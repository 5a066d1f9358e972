"""Read-only arrays: the one kind of array that the IR holds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Shape = tuple[int, ...]


def frozen(values: npt.ArrayLike, dtype: npt.DTypeLike | None = None) -> Array:
    """Return ``values`` as a read-only C-contiguous array.

    They are copied, unless they are such an array already and nobody can write to what it shows: large
    weights are in memory once, however many objects hold them.
    """
    if isinstance(values, np.ndarray) and _fixed(values) and dtype in (None, values.dtype):
        return values
    array = np.array(values, dtype=dtype, order="C", copy=True)
    array.setflags(write=False)
    return array


def _fixed(array: Array) -> bool:
    """Whether nobody can change it: it owns its read-only memory, or shows all of what is read-only."""
    if array.flags.writeable or not array.flags.c_contiguous or type(array) is not np.ndarray:
        return False
    base = array.base
    if isinstance(base, np.ndarray):
        return base.size == array.size and not base.flags.writeable and base.base is None
    return base is None


def parameter(values: npt.ArrayLike, shape: Shape, dtype: npt.DTypeLike = np.float64) -> Array:
    """Store a per-neuron parameter in its smallest broadcastable form.

    Equal values for all neurons become a 0-d array, equal values within each channel become
    ``(C, 1, …)``; anything else is kept at ``shape``. One form for one meaning keeps digests stable
    and lets the mapping see how many distinct profiles a core needs.
    """
    full = np.broadcast_to(np.asarray(values, dtype=dtype), shape)
    if full.size == 0 or (full == full.flat[0]).all():
        return frozen(full.flat[0] if full.size else 0, dtype)
    if len(shape) > 1:
        per_channel = full.reshape(shape[0], -1)
        if (per_channel == per_channel[:, :1]).all():
            return frozen(per_channel[:, 0].reshape((shape[0],) + (1,) * (len(shape) - 1)))
    return frozen(full)


LARGEST = 1e100
"""The largest size of a number in a network: far beyond float32, and products of some stay finite."""


def no_numbers(values: Array) -> Array:
    """Where values are NaN, infinite or above `LARGEST`: nothing can be computed with them."""
    # Most often there are none, which takes no memory to see. In a narrow type the largest would be
    # infinity, which infinity does not exceed.
    if values.size and float(values.max()) <= LARGEST and float(values.min()) >= -LARGEST:
        return np.zeros((), bool)
    with np.errstate(over="ignore"):  # narrower types hold none beyond
        return np.asarray(~np.isfinite(values) | (np.abs(values) > LARGEST))


def size(shape: Iterable[int]) -> int:
    """Number of elements of ``shape``."""
    product = 1
    for extent in shape:
        product *= int(extent)
    return product
