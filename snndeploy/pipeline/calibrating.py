"""Samples for passes: those they fit to, those they stop by, and made-up ones where few are given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..calibrate.made_up import filled
from ..data import Feed, Samples
from ..ir.arrays import Array
from ..ir.network import Network
from ..recipe import Recipe


@dataclass(frozen=True, eq=False)
class FilledFeed:
    """Samples with made-up ones after them, so many that there are ``samples`` in all.

    Made-up samples have no labels, so where there are some nothing has.
    """

    feed: Feed
    samples: int
    shift: int
    warp: float
    seed: int

    @cached_property
    def inputs(self) -> Mapping[str, Array]:
        """``(steps, samples, *shape)`` by input population."""
        stream = np.random.default_rng(np.random.SeedSequence([self.seed, _STREAM]))
        return filled(self.feed.inputs, self.samples, stream, shift=self.shift, warp=self.warp)

    @property
    def labels(self) -> Array | None:
        """One class per sample, where all are known."""
        labels = self.feed.labels
        return labels if labels is not None and len(labels) >= self.samples else None

    @property
    def window(self) -> int:
        """Over how many steps answers per step are smoothed."""
        return self.feed.window


_STREAM = 0x66696C6C
"""Sets this stream apart from those of passes."""


def put_aside(recipe: Recipe, samples: Samples | None) -> tuple[Samples | None, Samples | None]:
    """What passes fit to, and what they stop by."""
    share = recipe.calibration.aside
    if samples is None or not share:
        return samples, None
    every = round(1 / share)
    samples = samples.first(recipe.calibration.samples)
    return every_kth(samples, every) if len(samples) >= every else (samples, None)


def every_kth(samples: Samples, k: int) -> tuple[Samples, Samples]:
    """All but every k-th sample, and every k-th."""
    held = np.arange(len(samples)) % k == k - 1
    return samples.picked(~held), samples.picked(held)


def feed(network: Network, samples: Samples | None, recipe: Recipe) -> Feed | FilledFeed | None:
    """As much of the samples as the recipe says, and made-up ones where they are fewer."""
    wanted = recipe.calibration
    if samples is None:
        return None
    given = Feed(network, samples, first=wanted.samples, steps=wanted.steps or None)
    if len(samples) >= wanted.fill:
        return given
    return FilledFeed(given, wanted.fill, wanted.shift, wanted.warp, recipe.seed)
