"""What nothing can be computed with, in every type of float."""

from __future__ import annotations

import numpy as np
import pytest

from snndeploy.ir.arrays import no_numbers


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_infinity_and_nan_are_none_in_any_type(dtype: str, value: float) -> None:
    for array in (np.full((), value, dtype), np.array([1, value, 2], dtype)):
        assert no_numbers(array).sum() == 1


def test_numbers_beyond_all_are_none() -> None:
    assert no_numbers(np.array([1e100, -1e100, 1.1e100, -1.1e100])).tolist() == [0, 0, 1, 1]
    assert not no_numbers(np.array([3e38, -3e38], np.float32)).any()
    assert not no_numbers(np.zeros((0, 3))).any()
