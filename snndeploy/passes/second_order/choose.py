"""Of several settings of a pass, the one whose network answers most like the uncompressed one."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from ...calibrate.stream import stream
from ...ir.arrays import Array
from ...ir.finding import Finding
from ...ir.network import Network
from ..base import Pass, PassContext
from .layers import held_out

P = TypeVar("P", bound=Pass)


@dataclass(frozen=True, eq=False)
class _Subset:
    """Some of the calibration samples."""

    inputs: Mapping[str, Array]
    labels: Array | None = None


def settled(variants: Sequence[P], net: Network, ctx: PassContext) -> tuple[P, tuple[Finding, ...]]:
    """Run every variant on four fifths of the samples and take the best on the other fifth.

    With few samples (below five) all of them serve for both. Masks are searched in rounds for it: they
    tell settings apart as well as greedy ones, in a fraction of the time.
    """
    if len(variants) == 1:
        return variants[0], ()
    train, test = held_out(ctx.samples(f"the method of {variants[0].name!r}"))
    part = dataclasses.replace(ctx, calibration=_Subset(train))
    errors = []
    for done, variant in enumerate(variants):
        ctx.progress("settings", done, len(variants))
        errors.append(output_error(net, _quickly(variant).run(net, part).network, test))
    best = int(np.argmin(errors))
    options = variants[best].options()
    told = {k: v for k, v in options.items() if any(v != w.options()[k] for w in variants)}
    settings = ", ".join(f"{k} {v}" for k, v in told.items())
    note = Finding(
        code="settings-chosen",
        severity="note",
        where=variants[0].name,
        message=f"{settings}: held-out output error {errors[best]:.3g}, the others "
        f"{min(e for i, e in enumerate(errors) if i != best):.3g} at best",
        rule="of several settings, the one whose network answers most like the uncompressed one",
    )
    return variants[best], (note,)


def _quickly(variant: Pass) -> Pass:
    if "search" not in variant.options():
        return variant
    fast: Pass = dataclasses.replace(variant, **{"search": "rounds"})
    return fast


def output_error(reference: Network, net: Network, inputs: Mapping[str, Array]) -> float:
    """How differently two networks answer: mean divergence (Kullback-Leibler) per sample, in nats.

    Output counts become probabilities by a softmax whose temperature is half of the reference's
    standard deviation, so close calls of the reference count little and clear ones much. An output of
    a single neuron is compared over the samples.
    """
    mine, wanted = _counts(net, inputs), _counts(reference, inputs)
    errors = []
    for name, a in mine.items():
        b = wanted[name]
        if a.shape[1] == 1:
            a, b = a.T, b.T
        temperature = b.std() / 2 or 1.0
        p, q = (_log_softmax(counts / temperature) for counts in (b, a))
        errors.append(float((np.exp(p) * (p - q)).sum(axis=1).mean()))
    return float(np.mean(errors))


def _log_softmax(values: Array) -> Array:
    moved = values - values.max(axis=1, keepdims=True)
    return np.asarray(moved - np.log(np.exp(moved).sum(axis=1, keepdims=True)))


def _counts(net: Network, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Sum over time of what each output emitted, (samples, neurons) float64."""
    names = [p.name for p in net.with_role("output")]
    parts = [
        {n: chunk.recording.spikes[n].sum(axis=0, dtype=np.float64) for n in names}
        for chunk in stream(net, inputs)
    ]
    return {n: np.concatenate([p[n].reshape(len(p[n]), -1) for p in parts]) for n in names}
