"""Samples shared out over threads: a thread runs its part of them whole, so threads seldom meet.

What is cut is the samples and never an operation, and the cuts do not follow from the number of threads:
the bits of a result are the same with any.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from functools import cache
from itertools import pairwise
from typing import TypeVar

T = TypeVar("T")

_EVENLY = 4
"""Parts come in multiples of it, where there are several: two or four threads have equally many."""
_MINE = threading.local()
"""Of each thread of the pools: whether torch computes in it alone already."""
_TURN = threading.Lock()


def cut(samples: int, most: int) -> list[slice]:
    """Parts of nearly ``most`` samples at most, all of about one size."""
    few = -(-samples // max(1, most))
    parts = few if few == 1 else min(samples, -(-few // _EVENLY) * _EVENLY)
    edges = [samples * i // parts for i in range(parts + 1)]
    return [slice(low, high) for low, high in pairwise(edges)]


def share_out(work: Callable[[T], None], parts: Sequence[T], threads: int) -> None:
    """Do ``work`` for every part, in ``threads`` threads beside this one, or in this one alone.

    Raises:
        Exception: the first that a part raised; parts that have not begun are not begun then.
    """
    if threads < 2 or hasattr(_MINE, "alone"):
        for part in parts:
            work(part)
        return
    futures = [_pool(threads).submit(work, part) for part in parts]
    try:
        wait(futures, return_when=FIRST_EXCEPTION)  # this thread wakes once, not for every part
        for future in futures:
            if future.done():
                future.result()
    finally:
        for future in futures:
            future.cancel()


def compute_alone() -> None:
    """Let torch compute in this thread alone, if it is one that `share_out` began.

    Torch also takes what a thread sets for that of all threads to come, so another thread sets it back.
    """
    if getattr(_MINE, "alone", True):
        return
    import torch

    with _TURN:
        many = torch.get_num_threads()
        if many > 1:
            torch.set_num_threads(1)
            back = threading.Thread(target=torch.set_num_threads, args=(many,))
            back.start()
            back.join()
    _MINE.alone = True


def _begun() -> None:
    _MINE.alone = False


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, "snndeploy", _begun)


if hasattr(os, "register_at_fork"):  # a forked process has none of the threads
    os.register_at_fork(after_in_child=_pool.cache_clear)
