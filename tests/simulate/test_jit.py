"""Compiled kernels go on without a cache where it cannot be written."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from snndeploy.simulate.jit import compiled, has_numba

if not has_numba():
    pytest.skip("numba is not installed", allow_module_level=True)


def test_a_full_disk_costs_only_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    from numba.core.caching import IndexDataCacheFile

    tried: list[object] = []

    def full(*args: Any) -> None:
        tried.append(args)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(IndexDataCacheFile, "save", full)

    @compiled
    def twice(x: int) -> int:
        return 2 * x

    assert twice(21) == 42
    assert tried


def test_without_a_folder_for_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    from numba.core.dispatcher import Dispatcher

    def nowhere(_: object) -> None:
        raise RuntimeError("cannot cache function: no locator available")

    monkeypatch.setattr(Dispatcher, "enable_caching", nowhere)

    @compiled
    def thrice(x: int) -> int:
        return 3 * x

    assert thrice(14) == 42
