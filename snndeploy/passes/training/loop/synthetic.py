"""Samples made up of others: inputs for which only a teacher knows the answer."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

_MOVED = 0.1
"""Of the steps: how far samples move in time."""
_DROPPED = 0.2
"""Of the events."""


def made_up(
    inputs: Mapping[str, Tensor], stream: np.random.Generator, *, shift: int = 0
) -> dict[str, Tensor]:
    """As many samples as there are in ``inputs`` ``(steps, samples, *shape)``, made of them.

    Trains of events (values that are no fractions) are moved in time, thinned, and every other one
    ends as another sample does. Other inputs are mixed, two at a time. Maps may move by ``shift``
    pixels. All inputs of a sample get the same treatment.
    """
    first = next(iter(inputs.values()))
    steps, samples = first.shape[:2]
    moves = stream.integers(-int(_MOVED * steps), int(_MOVED * steps) + 1, samples)
    other = stream.permutation(samples)
    cuts = np.where(stream.random(samples) < 0.5, stream.integers(0, steps, samples), steps)
    dropped = _DROPPED * stream.random(samples)
    shares = stream.random(samples)
    pixels = stream.integers(-shift, shift + 1, (samples, 2))
    found = {}
    for name, x in inputs.items():
        constant = x.stride(0) == 0 and steps > 1
        if constant or bool((x != x.round()).any()):
            share = torch.as_tensor(shares, dtype=x.dtype, device=x.device)
            share = share.reshape(1, -1, *(1,) * (x.ndim - 2))
            rows = x[:1] if constant else x
            mixed = share * rows + (1 - share) * rows[:, other]
            made = mixed.expand(x.shape) if constant else mixed
        else:
            made = _moved(_spliced(x, other, cuts), moves)
            kept = stream.random(tuple(made.shape), dtype=np.float32) >= dropped.astype(
                np.float32
            ).reshape(1, -1, *(1,) * (x.ndim - 2))
            made = made * torch.as_tensor(kept, device=x.device)
        found[name] = _shifted(made, pixels) if shift and x.ndim == 5 else made
    return found


def _spliced(x: Tensor, other: np.ndarray, cuts: np.ndarray) -> Tensor:
    """The beginning of each sample and, from its cut on, the rest of another."""
    later = torch.arange(len(x), device=x.device)[:, None] >= torch.as_tensor(cuts, device=x.device)
    return torch.where(later.reshape(*later.shape, *(1,) * (x.ndim - 2)), x[:, other], x)


def _moved(x: Tensor, moves: np.ndarray) -> Tensor:
    """Samples that begin so many steps later (or earlier); silence fills the gap."""
    steps = len(x)
    source = torch.arange(steps, device=x.device)[:, None] - torch.as_tensor(moves, device=x.device)
    inside = (source >= 0) & (source < steps)
    column = torch.arange(x.shape[1], device=x.device).expand_as(source)
    return x[source.clamp(0, steps - 1), column] * inside.reshape(
        *inside.shape, *(1,) * (x.ndim - 2)
    )


def _shifted(x: Tensor, pixels: np.ndarray) -> Tensor:
    """Maps moved by (rows, columns); what enters is empty."""
    out = torch.zeros_like(x)
    height, width = x.shape[-2:]
    for i, (dy, dx) in enumerate(pixels.tolist()):
        to_y, to_x = slice(max(dy, 0), height + min(dy, 0)), slice(max(dx, 0), width + min(dx, 0))
        of_y, of_x = slice(max(-dy, 0), height - max(dy, 0)), slice(max(-dx, 0), width - max(dx, 0))
        out[:, i, ..., to_y, to_x] = x[:, i, ..., of_y, of_x]
    return out
