"""Samples shared out: to fit to, to stop by and to compare on, with made-up ones where few are given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..calibrate.fidelity import TELLING, Reference
from ..calibrate.made_up import filled
from ..data import Feed, Samples
from ..ir.arrays import Array
from ..ir.network import Network
from ..passes.base import Training
from ..recipe import Recipe

_JUDGED = 200
"""Samples, at most, that answers are compared on."""
_HELD_OUT = 5
"""One of so many calibration samples is held out where there are no others."""
_MANY = 100
_HELD_OUT_OF_FEW = 3
"""…and one of so many where there are fewer than ``_MANY`` in all."""
_FITTED = 50
"""Where no pass looks at samples, a guard may fit codes on those that are not compared, if there are
so many."""
_LEAST_JUDGED = 5
"""Fewer held-out samples tell nothing."""
_ENOUGH = 50
"""Where fewer than `TELLING` are compared, made-up ones follow until there are so many."""
_LITTLE = 0.35
"""How much maps among those are warped: on the digits network 8 bits then diverge about as they do on
real samples (0.02 to 0.07 nats for 0.025). Warps of 1 make that 0.1, and nothing would hold."""
_FITTED_STREAM, _COMPARED_STREAM = 0x66696C6C, 0x636F6D70
"""Set the streams of made-up samples apart from each other and from those of passes."""


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
    stream: int = _FITTED_STREAM

    @cached_property
    def inputs(self) -> Mapping[str, Array]:
        """``(steps, samples, *shape)`` by input population."""
        stream = np.random.default_rng(np.random.SeedSequence([self.seed, self.stream]))
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


def shared_out(
    recipe: Recipe, samples: Samples | None, judged: Samples | None, training: Training | None
) -> tuple[Samples | None, Samples | None, bool]:
    """Samples that passes see, those that the answers are compared on, and whether none is both.

    What the recipe does not calibrate on is left for comparing; where that is too little, about every
    fifth sample of all, and where even that is, all of them.
    """
    seen, compared, held_out = _shared_out(recipe, samples, judged, training)
    return seen, None if compared is None else compared.first(_JUDGED), held_out


def _shared_out(
    recipe: Recipe, samples: Samples | None, judged: Samples | None, training: Training | None
) -> tuple[Samples | None, Samples | None, bool]:
    if training is not None and judged is None:  # what is learnt from may contain all of them
        return samples, samples, False
    wanted = recipe.calibration.samples
    if samples is None or judged is not None or recipe.guard == "off":
        return samples, judged, True
    if not any(p.looks for p in recipe.passes):
        rest = samples.part(_JUDGED, wanted)  # for a guard that looks closer than its recipe
        return rest if len(rest) >= _FITTED else None, samples, True
    enough = min(_JUDGED, wanted // _HELD_OUT)
    if len(samples) >= wanted + enough:
        return samples.first(wanted), samples.part(wanted, _JUDGED), True
    every = _HELD_OUT if len(samples) >= _MANY else _HELD_OUT_OF_FEW
    if len(samples) > wanted:  # nothing calibrates on all of them anyhow
        every = max(every, len(samples) // max(enough, _LEAST_JUDGED))
    if len(samples) < every * _LEAST_JUDGED:
        return samples, samples, False
    return *every_kth(samples, every), True


def reference(
    network: Network, samples: Samples | None, recipe: Recipe, *, held_out: bool
) -> Reference | None:
    """What the guard of ``recipe`` compares answers with, if it compares any.

    Where there are few samples, it compares made-up ones, too: they tell whether what fits those few
    answers at least their like.
    """
    if samples is None or not len(samples) or recipe.guard == "off" or not recipe.passes:
        return None
    wanted = recipe.calibration
    given = Feed(network, samples, steps=wanted.steps or None)
    made_up = _ENOUGH - len(samples) if len(samples) < TELLING else 0
    joined = FilledFeed(given, _ENOUGH, 0, _LITTLE, recipe.seed, _COMPARED_STREAM)
    return Reference(
        network,
        (joined if made_up else given).inputs,
        held_out=held_out,
        made_up=made_up,
        values=samples.targets is not None,
        window=samples.window if samples.per_step else 0,
    )


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
