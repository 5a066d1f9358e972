"""A projection's chain of operators as one matrix: the plainest form of its synapses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..arrays import Array, Shape
from ..ops import Op, chain_shapes, index_map


@dataclass(frozen=True, eq=False)
class Matrix:
    """Coordinates of a sparse matrix ``(outputs, inputs)``, row by row, each place at most once.

    ``values`` are int64 and not zero; ``shape`` counts neurons, flattened in C order.
    """

    rows: Array
    cols: Array
    values: Array
    shape: tuple[int, int]

    def dense(self) -> Array:
        """The same matrix with its zeros, int64."""
        full = np.zeros(self.shape, np.int64)
        full[self.rows, self.cols] = self.values
        return full


def unroll(ops: Sequence[Op], weight: Array, in_shape: Shape) -> Matrix:
    """Multiply out the chain: entry (o, i) is what a spike of input i adds to output o."""
    shapes = chain_shapes(ops, in_shape)
    n_in, n_out = (int(np.prod(shape)) for shape in (in_shape, shapes[-1]))
    chain: Matrix | None = None
    for op, shape in zip(ops, shapes[:-1], strict=True):
        if op.is_view:
            continue  # the same values in the same order
        m = index_map(op, shape)
        values = np.ones(m.out_index.size, np.int64)
        if m.weight_index is not None:
            values = weight.reshape(-1).astype(np.int64)[m.weight_index]
        step = _merged(m.out_index, m.in_index, values, (m.out_size, m.in_size))
        chain = step if chain is None else _product(step, chain)
    if chain is None or chain.shape != (n_out, n_in):
        raise ValueError(f"no operator to unroll in {ops}")
    return chain


def _product(after: Matrix, before: Matrix) -> Matrix:
    """``after @ before``: join the entries on the values between the two."""
    order = np.argsort(before.rows, kind="stable")
    rows = before.rows[order]
    first = np.searchsorted(rows, after.cols, side="left")
    count = np.searchsorted(rows, after.cols, side="right") - first
    left = np.repeat(np.arange(after.rows.size), count)
    within = np.arange(left.size) - np.repeat(np.cumsum(count) - count, count)
    right = order[np.repeat(first, count) + within]
    return _merged(
        after.rows[left],
        before.cols[right],
        after.values[left] * before.values[right],
        (after.shape[0], before.shape[1]),
    )


def _merged(rows: Array, cols: Array, values: Array, shape: tuple[int, int]) -> Matrix:
    """Add up what falls on the same place, and drop what is zero."""
    places, inverse = np.unique(rows * shape[1] + cols, return_inverse=True)
    sums = np.zeros(places.size, np.int64)
    np.add.at(sums, inverse.reshape(-1), values)
    places, sums = places[sums != 0], sums[sums != 0]
    return Matrix(places // shape[1], places % shape[1], sums, shape)
