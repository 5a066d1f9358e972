"""From what arrived in each step to paths with delays, the same in every step."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...errors import InputError
from ...ingest.normal_form.linear import LinearStage
from ...ingest.normal_form.terms import Term
from ...ir.arrays import Array, Shape, size
from ...ir.ops import Pointwise
from .links import link_key, stages_of
from .signals import ChainLink, Signal

Key = tuple[object, ...]


@dataclass(frozen=True, eq=False)
class ArrivingTerms:
    """Paths into a population: where from, how many steps late, through what; and a constant.

    ``constant`` acts from the first step on, ``later`` from ``since`` on.
    """

    paths: tuple[tuple[str, int, tuple[ChainLink, ...]], ...]
    constant: Array
    later: Array | None = None
    since: int = 0


def arrival(
    name: str,
    signals: Sequence[Signal],
    source: Callable[[str, str], str],
    static: frozenset[str],
    refused: Callable[[str, str, str], InputError],
) -> ArrivingTerms:
    """What one population hears in every step.

    Args:
        name: of the population, for messages.
        signals: what arrived, for each step.
        source: the population that stands for what a population emits of a kind.
        static: inputs that are the same in every step.
        refused: makes an error of a code, a message and a hint.

    Raises:
        InputError: a signal is no linear map of emissions, or differs from step to step.
    """
    last = len(signals) - 1
    seen = [_located(name, s, t, static, refused) for t, s in enumerate(signals)]
    whole = seen[last]
    for t, located in enumerate(seen):
        expected = sorted(k for k, (_, delay, _) in whole.items() if delay <= t)
        if sorted(located) != expected:
            raise refused(
                "live-time",
                f"what arrives in {name!r} in step {t} is not what arrives in step {last}",
                "every step does the same: no layer that runs in some steps only, no use of a step's "
                "number, and no layer that keeps its own state in two places (give each a layer)",
            )
    paths = tuple(
        (source(population, what), delay, links)
        for (population, what), delay, links in whole.values()
    )
    constant, final = signals[0].numbers(), signals[last].numbers()
    if np.allclose(constant, final, rtol=1e-6, atol=1e-9):
        return ArrivingTerms(paths, final)
    since = next(
        t for t in range(last + 1) if np.allclose(signals[t].numbers(), final, rtol=1e-6, atol=1e-9)
    )
    return ArrivingTerms(paths, constant, final - constant, since)


def _located(
    name: str,
    signal: Signal,
    step: int,
    static: frozenset[str],
    refused: Callable[[str, str, str], InputError],
) -> Mapping[str, tuple[tuple[str, str], int, tuple[ChainLink, ...]]]:
    """A step's paths, by what is the same for the same path in another step."""
    if signal.lost is not None:
        raise refused(
            "live-nonlinear",
            f"{name!r} is fed by {signal.lost.by}, {signal.lost.spot}",
            signal.lost.hint
            or "between two layers of neurons, use maps that are linear in evaluation (layers with "
            "weights, additions, factors, averages, concatenations, views)",
        )
    found: dict[str, tuple[tuple[str, str], int, tuple[ChainLink, ...]]] = {}
    for path in signal.paths:
        e = path.emission
        delay = 0 if e.population in static else step - e.step
        if delay < 0:
            raise refused(
                "live-time",
                f"{name!r} hears in step {step} what {e.population!r} emits in step {e.step}",
                "a step uses what was emitted in it, or before it",
            )
        told: Key = (e.population, e.what, delay, *map(link_key, path.links))
        count = 0
        while f"{told!r}#{count}" in found:
            count += 1
        found[f"{told!r}#{count}"] = ((e.population, e.what), delay, path.links)
    return found


def terms_of(
    arriving: ArrivingTerms,
    shapes: Mapping[str, Shape],
    shape: Shape,
    late: int,
    where: str,
    refused: Callable[[str, str, str], InputError],
) -> tuple[tuple[Term, ...], Array]:
    """Terms for a draft, and the constant that acts from the first step on.

    Sources behind one chain are added in front of it, so that its weight is stored once.

    Raises:
        InputError: a map that is neither an operator nor a small matrix, or a bias that waits for
            nothing.
    """
    groups: dict[Key, list[tuple[str, int, tuple[ChainLink, ...]]]] = {}
    for path in arriving.paths:
        told: Key = (shapes[path[0]], *map(link_key, path[2]))
        while told in groups and path[0] in {p[0] for p in groups[told]}:
            told = (*told, "again")
        groups.setdefault(told, []).append(path)
    terms = []
    for paths in groups.values():
        stages = stages_of(paths[0][2], shapes[paths[0][0]], shape, where)
        delays = tuple(np.asarray(delay + late, np.int64) for _, delay, _ in paths)
        terms.append(Term(tuple(p[0] for p in paths), delays, stages))
    late_bias, since = arriving.later, arriving.since
    constant = arriving.constant
    if constant.size != size(shape):
        what = f"{constant.size} values arrive in a step where the layer has {size(shape)} neurons"
        raise refused("live-time", what, "one step of one sample at a time is what a layer takes")
    if late:
        if late_bias is not None:
            raise refused("live-time", "a bias that begins later into a layer that waits", "")
        late_bias, since, constant = constant, late, np.zeros(size(shape))
    if late_bias is None or not late_bias.any():
        return tuple(terms), constant.reshape(shape)
    at = next((i for i, t in enumerate(terms) if max(int(d) for d in t.delays) == since), None)
    if at is None:
        raise refused(
            "live-time",
            f"a constant that begins in step {since}",
            "biases act in every step, or arrive with what is as late as they are",
        )
    waiting = LinearStage(
        "", Pointwise(shape), shape, np.ones(()), late_bias.reshape(shape), bias_delay=since
    )
    terms[at] = dataclasses.replace(terms[at], chain=(*terms[at].chain, waiting))
    return tuple(terms), constant.reshape(shape)
