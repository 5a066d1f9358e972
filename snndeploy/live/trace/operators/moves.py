"""Operations that move values, and sums of what is moved."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ....ingest.normal_form.linear import LinearStage
from ....ir.arrays import Array, size
from ....ir.ops import SumPool
from ..entries import SparseMap
from ..signals import Blocks, Signal
from .reading import Operation, Outcome, SignalReading, argument, by_row

if TYPE_CHECKING:
    from torch import Tensor


def moved(
    reading: SignalReading, args: Sequence[Any], kwargs: Mapping[str, Any], run: Any
) -> Outcome:
    """Run the operation on numbers of elements, to see where each of them goes.

    Zeros (paddings) and what is no signal keep apart: constants are read from the result.
    """
    import torch

    tensors: list[Any] = []

    def numbered(value: Any) -> Any:
        if isinstance(value, torch.Tensor) and (reading.knows(value) or value.is_floating_point()):
            start = 1 + sum(t.numel() for t in tensors)
            tensors.append(value)
            line = torch.arange(start, start + value.numel(), dtype=torch.float64)
            return line.reshape(value.shape)
        if isinstance(value, (list, tuple)):
            return type(value)(numbered(v) for v in value)
        return value

    given, named = numbered(list(args)), {k: numbered(v) for k, v in kwargs.items()}
    moved = run(*given, **named).reshape(-1).numpy().round().astype(np.int64) - 1
    all_blocks = Blocks(tuple(s for t in tensors for s in reading.read(t).signals))
    rows = _runs(moved, all_blocks)
    return Blocks(tuple(_taken(all_blocks, row) for row in rows))


def _runs(moved: Array, blocks: Blocks) -> list[Array]:
    """The places cut where a new block of the source begins at its first value, and fills a run."""
    block = np.searchsorted(blocks.bounds, moved, side="right")
    edges = np.flatnonzero(np.diff(block)) + 1
    whole = len(edges) < len(blocks.signals) and all(
        len(np.unique(part)) == len(part) for part in np.split(moved, edges)
    )
    if not whole or (moved < 0).any():
        return [moved]
    return np.split(moved, edges)


def _taken(blocks: Blocks, at: Array) -> Signal:
    bounds = blocks.bounds
    block = int(np.searchsorted(bounds, at.min(), side="right")) - 1
    if at.min() >= 0 and at.max() < bounds[block + 1]:
        low = bounds[block]
        signal = blocks.signals[block]
        return signal.through(SparseMap.gathering(at - low, signal.size))
    return blocks.mapped(SparseMap.gathering(at, blocks.size))


def stack_rows(
    reading: SignalReading, args: Sequence[Any], kwargs: Mapping[str, Any], out: Tensor
) -> Outcome:
    """``cat`` and ``stack``: along the first long axis, blocks side by side; else values moved."""
    tensors, axis = args[0], argument(args, kwargs, 1, "dim", 0) % out.dim()
    if size(out.shape[:axis]) == 1:
        return Blocks(tuple(s for t in tensors for s in reading.read(t).signals))
    return "moved"


def constant_pad(
    reading: SignalReading, args: Sequence[Any], kwargs: Mapping[str, Any], out: Tensor
) -> Outcome:
    """Zeros around a signal, remembered as such: a convolution behind it takes them as its padding."""
    x, widths = args[:2]
    if float(argument(args, kwargs, 2, "value", 0.0) or 0.0) != 0 or min(widths) < 0:
        return "moved"
    pads = [(0, 0)] * (x.dim() - len(widths) // 2)
    pads += [(widths[i], widths[i + 1]) for i in range(len(widths) - 2, -1, -2)]
    shape = tuple(x.shape)
    line = np.arange(size(shape)).reshape(shape)
    taken = np.pad(line, pads, constant_values=-1).reshape(-1)
    if x.dim() > 1 and shape[0] == 1 and pads[0] == (0, 0):
        shape, pads = shape[1:], pads[1:]
    entries = SparseMap.gathering(taken, line.size)
    entries = dataclasses.replace(entries, before=shape, pads=tuple(pads))
    del out
    return Blocks((reading.read(x).mapped(entries),))


def summed(mean: bool) -> Operation:
    """A sum over axes, or their mean."""

    def operation(
        reading: SignalReading, args: Sequence[Any], kwargs: Mapping[str, Any], out: Tensor
    ) -> Outcome:
        x = args[0]
        dims = argument(args, kwargs, 1, "dim", None)
        dims = [dims] if isinstance(dims, int) else dims
        axes = tuple(sorted({d % x.dim() for d in dims})) if dims else tuple(range(x.dim()))
        count = size(x.shape[a] for a in axes)
        factor = np.asarray(1.0 / count if mean else 1.0)
        if x.dim() == 4 and axes == (2, 3):
            op = SumPool((x.shape[2], x.shape[3]), (x.shape[2], x.shape[3]))
            return by_row(reading, x, LinearStage("", op, tuple(x.shape[1:])), factor)
        kept = [1 if a in axes else n for a, n in enumerate(x.shape)]
        rows = np.broadcast_to(np.arange(size(kept)).reshape(kept), x.shape).reshape(-1)
        entries = SparseMap.of(
            rows, np.arange(x.numel()), np.ones(x.numel()), out.numel(), x.numel()
        )
        return Blocks((reading.read(x).mapped(entries).times(factor),))

    return operation
