"""Pools written out in the weights behind them: the same sums, in blocks that a .net file has."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from snndeploy.export.netx_blocks import in_single_blocks
from snndeploy.ir.linear.unroll import unroll
from snndeploy.ir.network import Network
from snndeploy.ir.ops import Conv, Dense, Op, Reshape, SumPool, chain_shapes
from snndeploy.ir.weights import Weight
from tests.support.builders import inputs, lif, project


def conv(
    channels: int, kernel: Any, stride: Any = (1, 1), padding: Any = (0, 0), **more: Any
) -> Conv:
    options = {"dilation": (1, 1), **more}
    return Conv(4, channels, kernel, stride, tuple((p, p) for p in padding), **options)


def network(shape: tuple[int, ...], *ops: Op) -> Network:
    """One projection of codes through ``ops``, some of them pruned."""
    weighted = next(op for op in ops if op.weighted)
    rng = np.random.default_rng(0)
    codes = rng.integers(-7, 8, weighted.weight_shape).astype(np.int8)
    scale = np.full((len(codes), *(1,) * (codes.ndim - 1)), 0.125)
    weight = Weight(codes, scale, 4, rng.random(codes.shape) < 0.8)
    target = lif("a", chain_shapes(ops, shape)[-1], "output")
    return Network((inputs(shape), target), (project("w", "input", "a", ops, weight),))


WRITTEN = {
    "conv": ((2, 8, 6), SumPool((2, 2), (2, 2)), conv(2, (3, 3), padding=(1, 1))),
    "strided": ((2, 12, 12), SumPool((2, 3), (2, 3)), conv(2, (3, 2), (2, 1), (1, 0))),
    "grouped": ((2, 8, 8), SumPool((2, 2), (2, 2)), conv(2, (2, 2), groups=2)),
    "dilated": ((1, 12, 12), SumPool((2, 2), (2, 2)), conv(1, (2, 3), dilation=(2, 1))),
    "gaps": ((2, 9, 9), SumPool((2, 1), (3, 3)), conv(2, (2, 2), padding=(1, 1))),
    "a rest without padding": ((2, 9, 7), SumPool((2, 2), (2, 2)), conv(2, (2, 2))),
    "dense": ((2, 4, 6), SumPool((2, 3), (2, 3)), Reshape((8,)), Dense(5, 8)),
    "dense, a rest and gaps": ((2, 7, 8), SumPool((2, 2), (3, 2)), Reshape((16,)), Dense(3, 16)),
}


@pytest.mark.parametrize("case", WRITTEN)
def test_the_sums_are_the_same_in_one_block(case: str) -> None:
    shape, *ops = WRITTEN[case]
    before = network(shape, *ops)
    after = in_single_blocks(before)
    (old,), (new,) = before.projections, after.projections
    assert len([op for op in new.ops if not op.is_view]) == 1
    assert chain_shapes(new.ops, shape)[-1] == chain_shapes(old.ops, shape)[-1]
    matrices = [unroll(p.ops, p.weight.data, shape).dense() for p in (old, new)]
    np.testing.assert_array_equal(*matrices)
    alive = [unroll(p.ops, np.asarray(p.weight.mask), shape).dense() for p in (old, new)]
    np.testing.assert_array_equal(*alive)
    assert new.weight.bits == 4
    np.testing.assert_array_equal(new.weight.scale, old.weight.scale)
    after.verify()


@pytest.mark.parametrize(
    "ops",
    [
        (SumPool((3, 3), (2, 2)), conv(2, (2, 2))),  # windows overlap
        (SumPool((2, 2), (2, 2), (1, 1)), conv(2, (2, 2))),
        (
            SumPool((2, 2), (2, 2)),
            conv(2, (2, 2), padding=(1, 1)),
        ),  # a rest of 9 that it would hear
        (conv(2, (3, 3)), SumPool((2, 2), (2, 2))),
        (conv(2, (3, 3)),),
    ],
)
def test_what_is_no_single_block_stays(ops: tuple[Op, ...]) -> None:
    before = network((2, 9, 9), *ops)
    assert in_single_blocks(before).projections[0] is before.projections[0]


def test_weights_without_codes_and_masks_get_none_where_windows_touch() -> None:
    before = network((2, 8, 8), SumPool((2, 2), (2, 2)), conv(2, (2, 2)))
    (old,) = before.projections
    plain = Weight(np.arange(32, dtype=np.float32).reshape(old.weight.shape))
    before = before.replace(projections=[dataclasses.replace(old, weight=plain)])
    weight = in_single_blocks(before).projections[0].weight
    assert weight.mask is None
    assert weight.data.dtype == np.float32
    assert weight.data[3, 1, 3, 2] == plain.data[3, 1, 1, 1]
