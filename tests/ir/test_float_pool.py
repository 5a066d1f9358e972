"""Sums over blocks: torch's pooling, forwards and backwards."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from snndeploy.ir.linear.float_pool import sum_blocks


@given(
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(3, 8), st.integers(3, 8)),
    st.integers(0, 2**31),
)
def test_sums_and_gradients_are_those_of_pooling(
    block: tuple[int, int], plane: tuple[int, int], seed: int
) -> None:
    random = torch.Generator().manual_seed(seed)
    x = torch.randint(-9, 9, (2, 3, *plane), generator=random).double().requires_grad_()
    ours = sum_blocks(x, block)
    pooled = functional.avg_pool2d(x, block, block, divisor_override=1)
    assert torch.equal(ours, pooled)
    weight = torch.rand(ours.shape, generator=random, dtype=torch.float64)
    mine, torchs = (torch.autograd.grad((y * weight).sum(), x)[0] for y in (ours, pooled))
    assert torch.equal(mine, torchs)


def test_a_plane_without_a_batch_dimension_and_unequal_sums() -> None:
    plane = torch.arange(12.0).reshape(1, 3, 4)
    assert sum_blocks(plane, (3, 2)).tolist() == [
        [[0 + 1 + 4 + 5 + 8 + 9, 2 + 3 + 6 + 7 + 10 + 11]]
    ]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_type_stays(dtype: torch.dtype) -> None:
    assert sum_blocks(torch.ones((1, 1, 2, 2), dtype=dtype), (2, 2)).dtype == dtype
