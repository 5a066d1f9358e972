"""Numba where it is installed (the ``fast`` extra); what it compiles is cached beside the code."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])


@cache
def has_numba() -> bool:
    """Whether kernels can be compiled."""
    return find_spec("numba") is not None


def compiled(function: F) -> F:
    """``function`` as machine code that runs without the interpreter's lock.

    Without numba it stays Python: right, and far too slow for anything but tests.
    """
    if not has_numba():
        return function
    import numba

    return cast(F, numba.njit(nogil=True, cache=True, error_model="numpy")(function))


def inlined(function: F) -> F:
    """A small function that compiled ones call."""
    if not has_numba():
        return function
    import numba

    return cast(F, numba.njit(inline="always", cache=True)(function))
