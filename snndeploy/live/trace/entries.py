"""Linear maps between flat signals as lists of their entries: gathers, sums, repeats, paddings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...ir.arrays import Array, Shape, size


@dataclass(frozen=True, eq=False)
class SparseMap:
    """A sparse matrix: ``out[rows] += values * into[columns]``, sorted by row, then column.

    ``before`` and ``pads`` are set where all that it does is to put zeros around the axes of a signal
    of shape ``before``: (before, after) for each axis.
    """

    rows: Array
    columns: Array
    values: Array
    n_out: int
    n_in: int
    before: Shape = ()
    pads: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(cls, rows: Array, columns: Array, values: Array, n_out: int, n_in: int) -> SparseMap:
        """SparseMap in order; those in one place are added."""
        order = np.lexsort((columns, rows))
        rows, columns, values = rows[order], columns[order], values[order]
        if len(rows):
            new = np.r_[True, (np.diff(rows) != 0) | (np.diff(columns) != 0)]
            if not new.all():
                values = np.add.reduceat(values, np.flatnonzero(new))
                rows, columns = rows[new], columns[new]
        return cls(rows, columns, values, n_out, n_in)

    @classmethod
    def gathering(cls, taken: Array, n_in: int) -> SparseMap:
        """``out[i] = into[taken[i]]``; 0 where ``taken`` is negative."""
        rows = np.flatnonzero(taken >= 0)
        return cls(rows, taken[rows], np.ones(len(rows)), len(taken), n_in)

    @classmethod
    def scaling(cls, factor: Array) -> SparseMap:
        line = np.arange(factor.size)
        return cls(line, line, factor.reshape(-1).astype(np.float64), factor.size, factor.size)

    @property
    def is_identity(self) -> bool:
        return self.is_in_place and bool((self.values == 1).all())

    @property
    def is_in_place(self) -> bool:
        """Whether each element comes from the one in its own place."""
        line = np.arange(self.n_out)
        return (
            self.n_out == self.n_in
            and len(self.rows) == self.n_out
            and bool((self.rows == line).all() and (self.columns == line).all())
        )

    @property
    def picks(self) -> bool:
        """Whether each output is one input, or zero."""
        return bool((self.values == 1).all() and (np.diff(self.rows) > 0).all())

    def before_matrix(self, weight: Array) -> Array:
        """The matrix of first this, then ``weight`` (out, n_out)."""
        product = np.zeros((self.n_in, weight.shape[0]))
        np.add.at(product, self.columns, self.values[:, None] * weight.T[self.rows])
        return product.T

    def after_matrix(self, weight: Array) -> Array:
        """The matrix of first ``weight`` (n_in, in), then this."""
        product = np.zeros((self.n_out, weight.shape[1]))
        np.add.at(product, self.rows, self.values[:, None] * weight[self.columns])
        return product

    def dense(self) -> Array:
        matrix = np.zeros((self.n_out, self.n_in))
        matrix[self.rows, self.columns] = self.values
        return matrix

    def then(self, after: SparseMap) -> SparseMap:
        """First this, then ``after``."""
        starts = np.searchsorted(self.rows, np.arange(self.n_out + 1))
        counts = np.diff(starts)[after.columns]
        which = np.repeat(np.arange(len(after.rows)), counts)
        offset = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
        mine = starts[after.columns[which]] + offset
        values = after.values[which] * self.values[mine]
        return SparseMap.of(after.rows[which], self.columns[mine], values, after.n_out, self.n_in)

    def applied(self, x: Array) -> Array:
        result = np.zeros(self.n_out)
        np.add.at(result, self.rows, self.values * x[self.columns])
        return result

    def part(self, low: int, high: int) -> SparseMap:
        """What it does with the inputs ``low:high``, counted from there."""
        inside = (self.columns >= low) & (self.columns < high)
        return SparseMap(
            self.rows[inside],
            self.columns[inside] - low,
            self.values[inside],
            self.n_out,
            high - low,
        )

    def channels(self, before: Shape, after: Shape) -> Array | None:
        """The matrix over channels, where it does the same at every place of ``(C, *space)``."""
        if before[1:] != after[1:] or size(before) != self.n_in or size(after) != self.n_out:
            return None
        places = size(before[1:])
        place = self.rows % places
        if (place != self.columns % places).any():
            return None
        pair = (self.rows // places) * before[0] + self.columns // places
        order = np.lexsort((place, pair))
        if len(order) % places:
            return None
        grouped, by_place, values = (
            a[order].reshape(-1, places) for a in (pair, place, self.values)
        )
        same = (
            (grouped == grouped[:, :1]).all()
            and (by_place == np.arange(places)).all()
            and (values == values[:, :1]).all()
        )
        if not same:
            return None
        matrix = np.zeros(after[0] * before[0])
        matrix[grouped[:, 0]] = values[:, 0]
        return matrix.reshape(after[0], before[0])

    def sums(self, before: Shape) -> Array | None:
        """A factor per channel, where all it does is to add up all places of ``(C, *space)``."""
        channels, places = before[0], size(before[1:])
        if (self.n_out, self.n_in, len(self.rows)) != (channels, size(before), size(before)):
            return None
        line = np.arange(self.n_in)
        values = self.values.reshape(channels, places)
        same = (self.rows == line // places).all() and (self.columns == line).all()
        return values[:, 0] if same and (values == values[:, :1]).all() else None
