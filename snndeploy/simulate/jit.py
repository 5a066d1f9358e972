"""Numba where it is installed (the ``fast`` extra); what it compiles is cached beside the code."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pickle import PickleError
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

    return cast(F, _kept(numba.njit(nogil=True, error_model="numpy")(function)))


def inlined(function: F) -> F:
    """A small function that compiled ones call."""
    if not has_numba():
        return function
    import numba

    return cast(F, _kept(numba.njit(inline="always")(function)))


def _kept(dispatcher: Any) -> Any:
    """``dispatcher`` with what it compiles cached, as far as there is a place for it.

    Without one (no folder that can be written, a full disk) it is compiled anew in each process.
    """
    try:
        dispatcher.enable_caching()
    except RuntimeError:  # numba found no folder for it
        return dispatcher
    cache = dispatcher._cache
    save, load = cache.save_overload, cache.load_overload

    def save_if_possible(*args: Any) -> None:
        with suppress(OSError):
            save(*args)

    def load_if_possible(*args: Any) -> Any:
        try:
            return load(*args)
        except (OSError, EOFError, PickleError):
            return None

    cache.save_overload, cache.load_overload = save_if_possible, load_if_possible
    return dispatcher
