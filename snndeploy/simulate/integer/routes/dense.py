"""Exact products through floating point: float32 while partial sums stay below 2**24, then float64.

A sum of integers below 2**24 is exact in float32 in whatever order, and below 2**53 in float64. The
bound is proved from the weights of each projection and the largest message; where neither holds, int64.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from ....ir.arrays import Array, Shape, size
from ....ir.linear.apply import apply_chain
from ....ir.linear.float_chain import float_chain
from ....ir.ops import Conv, Op
from ..plan import Leg, chain_peaks

if TYPE_CHECKING:
    from torch import Tensor

EXACT = {"float32": 2**24, "float64": 2**53}


def float_type(leg: Leg, peak: int) -> str | None:
    """The float type that holds every partial sum for messages up to ``peak``; None: neither does."""
    peaks = chain_peaks(leg.synapses.ops, leg.synapses.mantissa, peak)
    largest = max(peak, int(np.abs(leg.synapses.mantissa).max(initial=0)), *peaks)
    return next((name for name, limit in EXACT.items() if largest < limit), None)


class DenseForm:
    """A leg as a product of all of its inputs, on one device; weights are converted once per type."""

    def __init__(self, leg: Leg, device: str = "cpu") -> None:
        self.leg = leg
        self.device = device
        self._weights: dict[str, tuple[Tensor, bool]] = {}
        self._mask: Tensor | None = None

    def __call__(self, x: Tensor, peak: int) -> Tensor:
        """Sums of ``x`` (rows, *in_shape) without the shift: exact integers as floats, or int64.

        ``peak`` bounds the messages; those of a leg that is not graded count as 1.
        """
        import torch

        if not self.leg.graded:
            x, peak = x != 0, 1
        if self.leg.delays is not None:
            if self._mask is None:
                belongs = (self.leg.delays == self.leg.delay).reshape(self.leg.in_shape)
                self._mask = torch.tensor(belongs, device=self.device)
            x = torch.where(self._mask, x, 0)
        name = float_type(self.leg, peak)
        ops, mantissa = self.leg.synapses.ops, self.leg.synapses.mantissa
        if name is None:
            rows = x.to(torch.int64).cpu().numpy()
            return torch.from_numpy(apply_chain(ops, mantissa.astype(np.int64), rows)).to(x.device)
        dtype = getattr(torch, name)
        if name not in self._weights:  # threads that come here at once find the same
            weight = torch.tensor(mantissa, dtype=dtype, device=self.device)
            self._weights[name] = weight, self._needs_columns(name, weight)
        weight, by_columns = self._weights[name]
        with torch.no_grad(), full_precision():
            chain = _column_chain if by_columns else float_chain
            return chain(ops, weight, x.to(dtype))

    def _needs_columns(self, name: str, converted: Tensor) -> bool:
        """Whether the library's convolution rounds (Winograd's does), so that columns have to do.

        Other devices always get columns: their libraries choose an algorithm per shape.
        """
        if not any(isinstance(op, Conv) for op in self.leg.synapses.ops):
            return False
        if self.device != "cpu":
            return True
        import torch

        ops, weight = self.leg.synapses.ops, self.leg.synapses.mantissa
        rng = np.random.default_rng(0)
        room = EXACT[name] // max(1, *chain_peaks(ops, weight, 1)) - 1
        x = rng.integers(-max(room, 1), max(room, 1) + 1, (2, *self.leg.in_shape))
        with torch.no_grad(), full_precision():
            got = float_chain(ops, converted, torch.tensor(x, dtype=converted.dtype))
        return not np.array_equal(got.numpy(), apply_chain(ops, weight.astype(np.int64), x))


_TURN = threading.Lock()
_ASKED: list[str] = []
"""What torch was set to before, once for each body of `full_precision` that has not ended."""


@contextmanager
def full_precision() -> Iterator[None]:
    """Keep float32 products from being shortened to TF32 or bfloat16 while any thread is in the body."""
    import torch

    with _TURN:
        _ASKED.append(_ASKED[0] if _ASKED else torch.get_float32_matmul_precision())
        torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        with _TURN:
            before = _ASKED.pop()
            torch.set_float32_matmul_precision("highest" if _ASKED else before)


def _column_chain(ops: Sequence[Op], weight: Tensor, x: Tensor) -> Tensor:
    """`float_chain` with convolutions as plain matrix products."""
    for op in ops:
        x = _columns(op, weight, x) if isinstance(op, Conv) else float_chain((op,), weight, x)
    return x


def _columns(op: Conv, weight: Tensor, x: Tensor) -> Tensor:
    import torch
    from torch.nn import functional

    lead = 2 - len(op.kernel)
    shape: Shape = op.out_shape(tuple(x.shape[1:]))
    x = functional.pad(x, [p for axis in reversed(op.padding) for p in axis])
    if lead:
        x = x.unsqueeze(2)
    kernel, stride, dilation = ((1,) * lead + tuple(v) for v in (op.kernel, op.stride, op.dilation))
    patches: Any = functional.unfold(x, kernel, dilation, 0, stride)
    patches = patches.reshape(x.shape[0], op.groups, -1, size(shape[1:]))
    kernels = weight.reshape(op.groups, op.out_channels // op.groups, -1)
    product = torch.matmul(kernels, patches)
    return product.reshape(x.shape[0], *shape)


def largest_message(train: Array) -> int:
    """Largest magnitude in a train of messages."""
    return max(int(train.max(initial=0)), -int(train.min(initial=0)))
