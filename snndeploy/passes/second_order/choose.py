"""Of several settings of a pass, the one whose network answers most like the uncompressed one."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from ...calibrate.fidelity import Reference
from ...ir.arrays import Array
from ...ir.finding import Finding
from ...ir.network import Network
from ..base import Pass, PassContext
from ..given import answers_window
from .layers import folds, held_out

P = TypeVar("P", bound=Pass)


@dataclass(frozen=True, eq=False)
class _Subset:
    """Some of the calibration samples."""

    inputs: Mapping[str, Array]
    labels: Array | None = None
    window: int = 1


def settled(variants: Sequence[P], net: Network, ctx: PassContext) -> tuple[P, tuple[Finding, ...]]:
    """Run every variant on four fifths of the samples and take the best on the other fifth.

    Where a fifth is few, it is done again with others held out, up to five times, as the choice among
    many settings by few samples is mostly chance. Below five samples all of them serve for both. Masks
    are searched in rounds for it: they tell settings apart as well as greedy ones, in a fraction of
    the time.
    """
    if len(variants) == 1:
        return variants[0], ()
    inputs = ctx.samples(f"the method of {variants[0].name!r}")
    window = 0 if ctx.calibration is None else answers_window(ctx.calibration)
    count = folds(inputs)
    found = np.zeros((count, len(variants), 2))
    for fold in range(count):
        train, test = held_out(inputs, fold)
        part = dataclasses.replace(ctx, calibration=_Subset(train))
        reference = Reference(net, test, window=window)
        for i, variant in enumerate(variants):
            ctx.progress("settings", fold * len(variants) + i, count * len(variants))
            answers = reference.fidelity(_quickly(variant).run(net, part).network)
            found[fold, i] = answers.divergence, answers.spread
    errors = found[:, :, 0].mean(axis=0)
    spread = np.sqrt(np.square(found[:, :, 1]).sum(axis=0)) / count
    best = int(np.argmin(errors))
    options = variants[best].options()
    told = {k: v for k, v in options.items() if any(v != w.options()[k] for w in variants)}
    settings = ", ".join(f"{k} {v}" for k, v in told.items())
    note = Finding(
        code="settings-chosen",
        severity="note",
        where=variants[0].name,
        message=f"{settings}: held-out output error {errors[best]:.3g} ± {spread[best]:.2g}, the "
        f"others {min(e for i, e in enumerate(errors) if i != best):.3g} at best",
        rule="of several settings, the one whose network answers most like the uncompressed one",
    )
    return variants[best], (note,)


def _quickly(variant: Pass) -> Pass:
    if "search" not in variant.options():
        return variant
    fast: Pass = dataclasses.replace(variant, **{"search": "rounds"})
    return fast
