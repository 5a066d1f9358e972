"""Samples made up of others: for calibrating on few, and for asking a teacher more."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..ir.arrays import Array

_MOVED = 0.1
"""Of the steps: how far samples move in time."""
_DROPPED = 0.2
"""Of the events, at most."""
_TURNED, _STRETCHED, _SLANTED = 0.35, 0.2, 0.3
"""Standard deviations of what warps a map: an angle, the logarithm of a factor per axis, a slant."""


def made_up(
    inputs: Mapping[str, Array], stream: np.random.Generator, *, shift: int = 0, warp: float = 0.0
) -> dict[str, Array]:
    """As many samples as there are in ``inputs`` ``(steps, samples, *shape)``, made of them.

    Trains of events (values that are no fractions) are moved in time, thinned, and every other one
    ends as another sample does. Other inputs are mixed, two at a time; what is constant in time (a
    view of one step) stays so. Maps ``(channels, rows, columns)`` may move by ``shift`` pixels, and be
    turned, stretched and slanted, the more the larger ``warp`` is. All inputs of a sample get the same
    treatment.
    """
    steps, samples = next(iter(inputs.values())).shape[:2]
    moves: Array = stream.integers(-int(_MOVED * steps), int(_MOVED * steps) + 1, (samples,))
    other = stream.permutation(samples)
    cuts = np.where(stream.random(samples) < 0.5, stream.integers(0, steps, samples), steps)
    dropped: Array = (_DROPPED * stream.random((samples,))).astype(np.float32)
    shares: Array = stream.random((samples,)).astype(np.float32)
    pixels = stream.integers(-shift, shift + 1, (samples, 2))
    warps = _warps(samples, warp, stream) if warp else None
    found = {}
    for name, x in inputs.items():
        constant = x.strides[0] == 0 and steps > 1
        rows = x[:1] if constant else x
        if constant or not _whole(x):
            share = _per_sample(shares, x)
            made = share * rows + (1 - share) * rows[:, other]
        else:
            spliced = np.where(_per_sample(np.arange(steps)[:, None] >= cuts, x), x[:, other], x)
            made = _moved(spliced, moves)
            kept = stream.random(made.shape, dtype=np.float32) >= _per_sample(dropped, x)
            made = made * kept
        if warps is not None and x.ndim == 5:
            made = _warped(made, warps)
        if shift and x.ndim == 5:
            made = _shifted(made, pixels)
        made = made.astype(x.dtype if x.dtype.kind == "f" or not constant else np.float32)
        found[name] = np.broadcast_to(made, x.shape) if constant else made
    return found


def filled(
    inputs: Mapping[str, Array],
    samples: int,
    stream: np.random.Generator,
    *,
    shift: int = 0,
    warp: float = 0.0,
) -> Mapping[str, Array]:
    """``inputs`` and so many made-up samples that there are ``samples`` in all (never fewer)."""
    missing = samples - next(iter(inputs.values())).shape[1]
    parts = [inputs]
    while missing > 0:
        more = made_up(inputs, stream, shift=shift, warp=warp)
        parts.append({name: x[:, :missing] for name, x in more.items()})
        missing -= next(iter(more.values())).shape[1]
    return {name: side_by_side([p[name] for p in parts]) for name in inputs}


def side_by_side(parts: list[Array]) -> Array:
    """Samples of several arrays; constant input stays a view of one step."""
    constant = all(p.strides[0] == 0 and len(p) > 1 for p in parts)
    joined = np.concatenate([p[:1] if constant else p for p in parts], axis=1)
    return np.broadcast_to(joined, (len(parts[0]), *joined.shape[1:])) if constant else joined


def _whole(x: Array) -> bool:
    return x.dtype.kind in "biu" or bool((x == np.rint(x)).all())


def _per_sample(values: Array, x: Array) -> Array:
    """``values`` (samples) or (steps, samples), broadcastable to ``x``."""
    lead = values if values.ndim == 2 else values[None]
    return np.asarray(lead.reshape(*lead.shape, *(1,) * (x.ndim - 2)))


def _moved(x: Array, moves: Array) -> Array:
    """Samples that begin so many steps later (or earlier); silence fills the gap."""
    steps, samples = x.shape[:2]
    source = np.arange(steps)[:, None] - moves
    inside = (source >= 0) & (source < steps)
    taken = x[np.clip(source, 0, steps - 1), np.arange(samples)]
    return np.asarray(taken * _per_sample(inside, x))


def _shifted(x: Array, pixels: Array) -> Array:
    """Maps moved by (rows, columns); what enters is empty."""
    out = np.zeros_like(x)
    height, width = x.shape[-2:]
    for i, (dy, dx) in enumerate(pixels.tolist()):
        to_y, to_x = slice(max(dy, 0), height + min(dy, 0)), slice(max(dx, 0), width + min(dx, 0))
        of_y, of_x = slice(max(-dy, 0), height - max(dy, 0)), slice(max(-dx, 0), width - max(dx, 0))
        out[:, i, ..., to_y, to_x] = x[:, i, ..., of_y, of_x]
    return out


def _warps(samples: int, strength: float, stream: np.random.Generator) -> Array:
    """A matrix for each sample, (samples, 2, 2): from where in a map to where it is taken."""
    angle, slant = stream.normal(0, strength, (2, samples)) * [[_TURNED], [_SLANTED]]
    factors = np.exp(stream.normal(0, strength * _STRETCHED, (samples, 2)))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    sheared = np.stack([turn[:, 0], turn[:, 0] * slant + turn[:, 1]], axis=1)
    return np.asarray(np.moveaxis(sheared, 2, 0) * factors[:, None, :])


def _warped(x: Array, warps: Array) -> Array:
    """Maps whose pixels are those nearest to where ``warps`` take them from; what enters is empty."""
    size = np.array(x.shape[-2:])
    centre = (size - 1)[:, None, None] / 2
    from_centre = np.indices(x.shape[-2:]) - centre
    out = np.zeros_like(x)
    for i, warp in enumerate(warps):
        y, z = np.rint(np.tensordot(warp, from_centre, axes=1) + centre).astype(np.int64)
        inside = (y >= 0) & (y < size[0]) & (z >= 0) & (z < size[1])
        out[:, i][..., inside] = x[:, i][..., y[inside], z[inside]]
    return out
