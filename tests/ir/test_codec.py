"""How frozen data are packed: what stands in several places is held once, and comes back everywhere."""

from __future__ import annotations

import io

import numpy as np
import pytest

from snndeploy.ir.arrays import Array
from snndeploy.ir.codec import SharedArrays, encode, packed
from snndeploy.ir.decoding import unpacked
from snndeploy.ir.network import Network
from tests.support.chains import chain


def test_equal_arrays_are_held_once() -> None:
    arrays = SharedArrays()
    a = np.arange(6.0)
    told = encode((a, a.copy(), a[::-1][::-1], a + 1), arrays)
    assert told == [{"array": "a0"}, {"array": "a0"}, {"array": "a0"}, {"array": "a1"}]
    assert [x.tolist() for x in arrays.values()] == [a.tolist(), (a + 1).tolist()]


@pytest.mark.parametrize(
    "other",
    [np.zeros(4, np.float32), np.zeros((2, 2)), np.zeros(4, np.int64), -np.zeros(4), np.zeros(5)],
    ids=["type", "shape", "kind", "sign of zero", "size"],
)
def test_arrays_that_differ_in_anything_stay_apart(other: Array) -> None:
    arrays = SharedArrays()
    assert encode([np.zeros(4), other], arrays) == [{"array": "a0"}, {"array": "a1"}]
    assert arrays["a1"] is other


def test_large_arrays_are_held_once_where_they_are_one() -> None:
    arrays, large = SharedArrays(), np.zeros(1 << 14)
    told = encode([large, large, large.copy()], arrays)
    assert [t["array"] for t in told] == ["a0", "a0", "a1"]


def test_layers_that_share_their_constants_take_no_more_arrays() -> None:
    network = chain(20)
    content = packed(network)
    with np.load(io.BytesIO(content)) as npz:
        kept = len(npz.files)
    assert kept <= len(network.projections) + 8, "one for each weight, and few besides"
    assert unpacked(content, Network).digest == network.digest
