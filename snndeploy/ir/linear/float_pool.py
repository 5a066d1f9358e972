"""Sums over blocks of a plane, several times as fast as torch's pooling, backwards too.

The module loads torch; it is imported where a network runs.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def sum_blocks(x: Tensor, block: tuple[int, int]) -> Tensor:
    """Sums of ``x`` (samples, channels, height, width) over blocks side by side.

    Rows and columns that do not fill a block are left out.
    """
    found: Tensor = _SumBlocks.apply(x, block)  # type: ignore[no-untyped-call]
    return found


class _SumBlocks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, block: tuple[int, int]) -> Tensor:
        ctx.shape, ctx.block = x.shape, block
        *many, height, width = x.shape
        rows, columns = height // block[0], width // block[1]
        x = x[..., : rows * block[0], : columns * block[1]]
        by_row = x.reshape(*many, rows, block[0], columns * block[1])
        lines = by_row[..., 0, :]
        for i in range(1, block[0]):
            lines = lines + by_row[..., i, :]
        total = lines[..., :: block[1]]
        for i in range(1, block[1]):
            total = total + lines[..., i :: block[1]]
        return total.contiguous()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        height, width = ctx.block
        *_, rows, columns = gradients[0].shape
        whole = gradients[0].new_zeros(ctx.shape)
        filled = whole[..., : rows * height, : columns * width]
        for i in range(height):
            for j in range(width):
                filled[..., i::height, j::width] = gradients[0]
        return whole, None
