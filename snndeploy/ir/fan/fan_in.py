"""Synapses into a box of a group, counted per source neuron, and how counts are carried."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ..arrays import Array
from ..ops import IndexMap
from ..placement import Bounds


@dataclass(frozen=True, eq=False)
class Kernel:
    """The part of a convolution's kernel that a box of its output needs.

    ``rows`` lists (kernel rows, output channels per row), one entry per convolution group.
    ``places`` counts the spatial source positions that reach the box, and ``places_out`` those of the
    box itself. ``full`` and ``stored`` count synapses per shared list, as (in channel, border case):
    positions whose taps are cut off alike at the border share their lists.
    """

    rows: tuple[tuple[int, int], ...]
    places: int
    places_out: int
    full: Array
    stored: Array


@dataclass(frozen=True, eq=False)
class FanIn:
    """Synapses into a box from each source neuron in ``region``, a box of the source's shape.

    ``full`` counts pairs of neurons that the operator connects, ``stored`` those with a weight other
    than zero. Where windows overlap in a chain of operators a pair can count twice. ``lists`` tells for
    layers without order in space which targets (first axis) every source has synapses to.
    """

    region: Bounds
    full: Array
    stored: Array
    kernel: Kernel | None = None
    lists: Array | None = None


def pulled(m: IndexMap, counts: Array) -> Array:
    """Sum of ``counts`` (one per synapse of the map) at each input."""
    summed = np.bincount(m.in_index, weights=counts, minlength=m.in_size)
    return summed.astype(np.int64)


def outer(channels: Array, axes: Iterable[Array]) -> Array:
    """Counts per channel times counts per position along each axis."""
    result = channels
    for axis in axes:
        result = result[..., None] * axis
    return result


def contract(weights: Array, axes: Iterable[Array]) -> Array:
    """Sum over taps of weights (channel, tap, …) times what each axis (position, tap) reaches."""
    result = weights
    for axis in axes:  # contracting the first tap axis appends its positions at the end
        result = np.tensordot(result, axis, axes=(1, 1))
    return result
