"""The step size of a symmetric quantiser: from the largest weight, or of least squared error."""

from __future__ import annotations

import numpy as np

from ..ir.arrays import Array
from ..ir.weights import Levels

_EXACT_EVENTS = 1 << 16
"""Up to this many code changes (weights × codes) per row the optimum is found exactly, else by
search."""
_CHUNK_EVENTS = 1 << 20
"""Code changes of the rows that are solved at once; bounds the memory."""

_SMALLEST, _LARGEST = 0.002, 1.2
"""Range of the search, as multiples of the step size that the largest weight asks for."""

_WORK = 1 << 17
"""Work of one round of the search: (step sizes tried) × (cost of one), within these bounds."""
_CANDIDATES_MIN, _CANDIDATES_MAX = 64, 1024
_REFINEMENTS = 4


def code_limit(bits: int) -> int:
    """Largest code magnitude: symmetric, so one of two's complement stays unused; 1 for one bit."""
    return max(1, (1 << (bits - 1)) - 1)


def code_range(bits: int, clip: str) -> tuple[int, int]:
    """Smallest and largest code: symmetric, or all of two's complement (``minmax``, ``hessian``)."""
    limit = code_limit(bits)
    if clip in ("minmax", "hessian") and bits > 1:
        return -(1 << (bits - 1)), limit
    return -limit, limit


def eased_bits(bits: int, most: int, share: float) -> int:
    """``bits`` on their way to ``most``, of which ``share`` (0 … 1) is gone."""
    return bits + round(share * max(0, most - bits))


def code_levels(bits: int, clip: str) -> Levels:
    """What the codes of `code_range` are called."""
    return "complement" if code_range(bits, clip)[0] < -code_limit(bits) else "symmetric"


def encode(rows: Array, scale: Array, bits: int, clip: str = "max") -> Array:
    """Nearest codes of ``rows`` (one scale per row), clipped to the range of codes.

    With one bit, the codes are the signs; an exact zero keeps the code 0, as it stands for a
    synapse that is not there.
    """
    if bits == 1:
        return np.sign(rows).astype(np.int32)
    low, high = code_range(bits, clip)
    with np.errstate(over="ignore"):  # a subnormal scale: infinity is clipped like any large code
        return np.clip(np.rint(rows / scale[:, None]), low, high).astype(np.int32)


def scale_for(rows: Array, bits: int, clip: str) -> Array:
    """One step size per row of ``rows`` (float64); rows of zeros get 1.

    ``"max"`` lets the largest magnitude hit the largest code. ``"mse"`` minimises the squared error
    over all step sizes. ``"minmax"`` divides twice the largest magnitude into 2^bits - 1 steps, the
    grid that OBC, GPTQ and SBC are published with. One bit has one optimum, the mean magnitude of
    the weights that are not zero, whatever ``clip`` says.
    """
    magnitude = np.abs(rows)
    limit = code_limit(bits)
    if bits == 1:
        count = np.count_nonzero(magnitude, axis=1)
        scale = magnitude.sum(axis=1) / np.maximum(count, 1)
    elif clip == "max":
        scale = magnitude.max(axis=1, initial=0.0) / limit
    elif clip == "minmax":
        scale = magnitude.max(axis=1, initial=0.0) * 2 / ((1 << bits) - 1)
    else:
        scale = _least_squares(magnitude, limit)
    # A scale that underflows to 0 cannot be divided by; its weights become zeros.
    return np.where(scale > 0, scale, 1.0)


def _least_squares(magnitude: Array, limit: int) -> Array:
    rows, columns = magnitude.shape
    if columns * limit > _EXACT_EVENTS:
        return np.array([_search(row, limit) for row in magnitude])
    chunk = max(1, _CHUNK_EVENTS // max(1, columns * limit))
    parts = [_exact(magnitude[i : i + chunk], limit) for i in range(0, rows, chunk)]
    return np.concatenate(parts) if parts else np.zeros(0)


def _exact(magnitude: Array, limit: int) -> Array:
    """The step size of least squared error, exactly.

    As the step shrinks from infinity, weight a goes from code k - 1 to k at a / (k - 1/2). Between
    two such events the codes c are fixed and the error, |a|² - 2 s·(a·c) + s²·(c·c), is least at
    s = a·c / c·c, where it is |a|² - (a·c)² / c·c. No choice of codes beats the nearest ones at its
    own best s, so the largest (a·c)² / c·c over all events is the global optimum: one sort, two
    running sums.
    """
    rows = magnitude.shape[0]
    code = np.arange(1, limit + 1)
    events = (magnitude[:, :, None] / (code - 0.5)).reshape(rows, -1)
    order = np.argsort(-events, axis=1, kind="stable")
    dot = np.cumsum(magnitude[np.arange(rows)[:, None], order // limit], axis=1)
    norm = np.cumsum((2 * code - 1.0)[order % limit], axis=1)
    if not order.shape[1]:
        return np.zeros(rows)
    best = np.argmax(dot / np.sqrt(norm), axis=1)[:, None]
    found = np.take_along_axis(dot, best, 1) / np.take_along_axis(norm, best, 1)
    return np.asarray(found[:, 0])


def _search(magnitude: Array, limit: int) -> float:
    """A step size of nearly the least squared error: a grid of them, each refined.

    For the codes c at one step, a better one is a·c / c·c, and so on; no such step raises the error.
    """
    top = float(magnitude.max(initial=0.0)) / limit
    if top == 0:
        return 0.0
    ordered = np.sort(magnitude)
    above = np.append(np.cumsum(ordered[::-1])[::-1], 0.0)
    cost = min(limit, ordered.size)
    count = min(_CANDIDATES_MAX, max(_CANDIDATES_MIN, _WORK // cost))
    # 1 is among them: the codes that clip="max" gives, so the result is never worse than those.
    steps = top * np.append(np.geomspace(_SMALLEST, _LARGEST, count), 1.0)
    for _ in range(_REFINEMENTS):
        dot, norm = _products(ordered, above, steps, limit)
        steps = np.where(norm > 0, dot / np.maximum(norm, 1), steps)
    return float(steps[np.argmax(dot * dot / np.maximum(norm, 1))])


def _products(ordered: Array, above: Array, steps: Array, limit: int) -> tuple[Array, Array]:
    """a·c and c·c for the codes c at each step; ``above[i]`` is the sum of ``ordered[i:]``."""
    if ordered.size <= limit:
        codes = np.minimum(np.rint(ordered / steps[:, None]), limit)
        return codes @ ordered, np.square(codes).sum(axis=1)
    # a·c = Σ_k (sum of weights above (k - 1/2) s), c·c = Σ_k (2k - 1)(number of those): a look-up
    # per code instead of a sweep over the weights.
    half = np.arange(1, limit + 1) - 0.5
    first = np.searchsorted(ordered, steps[:, None] * half, side="right")
    return above[first].sum(axis=1), (ordered.size - first) @ (2 * half)
