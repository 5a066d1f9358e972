"""Which storage holds which signals; views need no work, for a tensor is read where it lies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...ir.arrays import Array
from .entries import SparseMap
from .signals import Blocks, Signal

if TYPE_CHECKING:
    from torch import Tensor


def key(tensor: Tensor) -> int:
    """Names a storage while it lives."""
    return int(tensor.untyped_storage()._cdata)


def places(tensor: Tensor) -> Array:
    """Where in its storage each value lies, in C order."""
    found: Array = np.zeros((), np.int64)
    for extent, stride in zip(tensor.shape, tensor.stride(), strict=True):
        found = found[..., None] + np.arange(extent) * stride
    return found.reshape(-1) + tensor.storage_offset()


def _length(tensor: Tensor) -> int:
    return int(tensor.untyped_storage().nbytes() // tensor.element_size())


def numbers(tensor: Tensor) -> Array:
    """The values of a tensor that depends on no signal."""
    import torch

    values: Array = tensor.detach().to(torch.float64).reshape(-1).numpy().copy()
    return values


class SignalMemory:
    """Signals by storage. What is not known here is a constant."""

    def __init__(self) -> None:
        self._held: dict[int, Blocks] = {}
        self._alive: list[Tensor] = []

    def knows(self, tensor: Tensor) -> bool:
        return key(tensor) in self._held

    def read(self, tensor: Tensor) -> Blocks:
        """What ``tensor`` holds, in its C order."""
        if not self.knows(tensor):
            return Blocks((Signal(tensor.numel(), (), numbers(tensor)),))
        held, at = self._held[key(tensor)], places(tensor)
        if len(at) == 0:
            return Blocks(())
        if (np.diff(at) == 1).all():
            return held.cut(int(at[0]), int(at[-1]) + 1)
        return Blocks(tuple(_gathered(held, row) for row in _rows(tensor, held, at)))

    def write(self, tensor: Tensor, blocks: Blocks) -> None:
        """Note that ``tensor``, which may be a view of something larger, holds ``blocks`` now."""
        at, length = places(tensor), _length(tensor)
        self._alive.append(tensor)
        if len(at) == length and (np.diff(at) == 1).all():
            self._held[key(tensor)] = blocks
            return
        whole = tensor.as_strided((length,), (1,), 0)
        held = self.read(whole) if self.knows(whole) else None
        if (np.diff(at) == 1).all():
            low, high = int(at[0]), int(at[-1]) + 1
            if held is None:
                rest = numbers(whole)
                sides = (rest[:low], rest[high:])
                before, after = (
                    Blocks((Signal(len(side), (), side),) if len(side) else ()) for side in sides
                )
            else:
                before, after = held.cut(0, low), held.cut(high, length)
            self._held[key(tensor)] = Blocks(before.signals + blocks.signals + after.signals)
            return
        kept = np.arange(length)
        kept[at] = -1
        base = held or Blocks((Signal(length, (), numbers(whole)),))
        taken = np.full(length, -1)
        taken[at] = np.arange(len(at))
        old = base.mapped(SparseMap.gathering(kept, length))
        new = blocks.mapped(SparseMap.gathering(taken, len(at)))
        self._held[key(tensor)] = Blocks((old.plus(new),))


def _rows(tensor: Tensor, held: Blocks, at: Array) -> list[Array]:
    """The places in rows of the first long axis, where each row lies in one block; else at once."""
    long = next((n for n in tensor.shape if n > 1), 1)
    rows = at.reshape(long, -1)
    block = np.searchsorted(held.bounds, rows, side="right")
    if len(held.signals) > 1 and (block == block[:, :1]).all():
        return list(rows)
    return [at]


def _gathered(held: Blocks, at: Array) -> Signal:
    bounds = held.bounds
    block = int(np.searchsorted(bounds, at[0], side="right")) - 1
    low, high = bounds[block], bounds[block + 1]
    if (at >= low).all() and (at < high).all():
        return held.signals[block].through(SparseMap.gathering(at - low, high - low))
    return held.mapped(SparseMap.gathering(at, held.size))
