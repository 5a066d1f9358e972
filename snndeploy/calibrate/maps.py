"""Moments of a convolution by way of those of the whole map: fewer products, and no patches.

Windows overlap, so every product of two places of a map is wanted by many pairs of columns. Where the
map is small against its windows, each product is formed once, ``C = sum x x^T`` over flat maps, and a
window's moments are a cut out of C: ``H = sum over positions of C[window][:, window]``.
"""

from __future__ import annotations

import numpy as np

from ..ir.arrays import Array, Shape, size
from ..ir.linear.apply import windows
from ..ir.network import Projection
from ..ir.ops import Conv, weighted_index
from ..simulate.jit import compiled, has_numba

_SPARED = 0.9
"""Places that never spike are left out of products, where no more than this share of the map spikes."""


def read_places(projection: Projection, shape: Shape) -> Array | None:
    """Where the windows of a convolution read a map of ``shape``, if that way is the shorter one.

    Returns:
        Indices into the flat map ``(positions, d)``, its size where they read padding. None where the
        projection is no plain convolution, or its windows hold fewer products than the map.
    """
    op = projection.op
    behind = projection.ops[weighted_index(projection.ops) + 1 :]
    if not isinstance(op, Conv) or op.groups != 1 or not all(o.is_view for o in behind):
        return None
    numbers = 1.0 + np.arange(size(shape)).reshape(1, *shape)
    view = windows(numbers, op.kernel, op.stride, op.padding, op.dilation)
    axes = len(op.kernel)
    places = np.moveaxis(view, 1, 1 + axes).reshape(-1, size(op.weight_shape[1:])).astype(np.int64)
    if size(shape) ** 2 >= places.size * places.shape[1]:
        return None
    return np.where(places == 0, size(shape), places - 1)


class MapMoments:
    """Running sums over flat maps: of x, of x x^T, and of x x0^T where a reference delivers x0.

    Attributes:
        places: as `read_places` gives them.
    """

    def __init__(self, places: Array, cross: bool) -> None:
        self.places, self.compares = places, cross
        self.total: Array = np.zeros(())
        self.square: Array = np.zeros(())
        self.cross: Array | None = None

    def add(self, x: Array, original: Array | None) -> None:
        """Flat maps ``(samples, map)``, float64."""
        total = x.sum(axis=0)
        gram = _products(x, x)
        self.total = self.total + total
        self.square = gram + self.square if self.square.ndim else gram
        if self.compares and original is not None:
            between = gram if original is x else _products(x, original)
            self.cross = between if self.cross is None else self.cross + between

    def merge(self, later: MapMoments) -> None:
        """Add what later samples came to."""
        self.total = self.total + later.total
        self.square = later.square + self.square
        self.cross = merged(self.cross, later.cross)


def merged(a: Array | None, b: Array | None) -> Array | None:
    """The sum of two arrays, in the place of the first one; None is none."""
    if a is None or b is None:
        return b if a is None else a
    return np.add(a, b, out=a)


def _products(x: Array, y: Array) -> Array:
    """``x.T @ y``; columns that are zero throughout cost nothing."""
    live = [x.any(axis=0), y.any(axis=0)]
    if max(mask.mean() for mask in live) > _SPARED:
        return np.asarray(x.T @ y)  # of x with itself BLAS computes half
    a = np.ascontiguousarray(x[:, live[0]])
    b = a if y is x else np.ascontiguousarray(y[:, live[1]])
    out = np.zeros((x.shape[1], y.shape[1]))
    out[np.ix_(*live)] = a.T @ b
    return out


def summed(moments: Array, places: Array) -> Array:
    """Sum over positions of the moments ``(map, map)`` between the places that a window reads."""
    if places.max() == len(moments):  # padding is read: moments of 0
        moments = np.pad(moments, (0, 1))
    out = np.zeros((places.shape[1], places.shape[1]))
    if has_numba():
        _sum_windows(moments, places, out)
        return out
    for at in places:
        out += moments[at][:, at]
    return out


@compiled
def _sum_windows(moments: Array, places: Array, out: Array) -> None:
    """Row by row of ``out``, which stays in the cache that way."""
    positions, columns = places.shape
    for i in range(columns):
        for p in range(positions):
            row = moments[places[p, i]]
            for j in range(columns):
                out[i, j] += row[places[p, j]]
