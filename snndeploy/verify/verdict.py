"""In one sentence: which stage costs the accuracy, and which layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .verification import PairResult


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What a verification comes to.

    Attributes:
        drop: accuracy of the first stage minus that of the last, in percentage points; None without
            labels.
        stages: the neighbouring stages between which most is lost; None where nothing is.
        stage_drop: what is lost between those two, in percentage points; None without labels.
        chance: how likely at least so uneven a split of lost and gained answers is if the two stages
            were equally good (exact two-sided sign test); None without labels.
        layer: the layer that alone loses most of those answers; None where no layer does.
        text: the sentence.
    """

    drop: float | None
    stages: tuple[str, str] | None
    stage_drop: float | None
    chance: float | None
    layer: str | None
    text: str


def judge(
    pairs: Sequence[PairResult],
    accuracy: Mapping[str, float],
    samples: int,
    silent: Sequence[str] = (),
) -> Judgement:
    """Find the costliest pair of stages and the layer behind it.

    The stage is the one with the largest fall of accuracy (without labels: most changed answers), the
    layer the one that, replaced alone, loses most of the answers that the stage loses.

    Args:
        pairs: results of all neighbouring stages.
        accuracy: fraction right of each stage, in their order; empty without labels.
        samples: how many there were.
        silent: stages whose output emitted nothing; where the first one is among them, nothing is found.
    """
    labelled = bool(accuracy)
    worst = max(pairs, key=lambda p: p.lost - p.gained, default=None)
    first, last = _ends(pairs, accuracy)
    drop = 100 * (accuracy[first] - accuracy[last]) if labelled else None
    nothing = ""
    if first in silent:
        nothing = _no_answers(first, samples, nobody=len(silent) > len(pairs))
    elif worst is None or worst.lost <= worst.gained or (drop is not None and drop <= 0):
        nothing = _nothing_lost(drop, worst, (first, last), accuracy)
    if nothing or worst is None:
        return Judgement(
            drop=drop, stages=None, stage_drop=None, chance=None, layer=None, text=nothing
        )
    layer = max(worst.alone, key=worst.alone.__getitem__, default=None)
    if layer is not None and not worst.alone[layer]:
        layer = None
    a, b = worst.stages
    if drop is None:
        net = None
        chance = None
        text = f"{worst.lost} of {samples} answers change most between {a} and {b}."
    else:
        net = 100 * (worst.lost - worst.gained) / samples
        chance = sign_test(worst.lost, worst.gained)
        text = (
            f"Accuracy falls by {_points(drop)} from {first} ({accuracy[first]:.1%}) to {last} "
            f"({accuracy[last]:.1%}). "
        )
        text += f"The step from {a} to {b} costs most: {_points(net)}"
        text += f" ({_counted(worst.lost, 'answer')} lost, {worst.gained} gained"
        text += f"; as uneven by chance in {chance:.0%} of cases)." if chance > 0.05 else ")."
    text += _layers(worst, layer, ("changed", "changes") if drop is None else ("lost", "loses"))
    return Judgement(
        drop=drop, stages=worst.stages, stage_drop=net, chance=chance, layer=layer, text=text
    )


def _ends(pairs: Sequence[PairResult], accuracy: Mapping[str, float]) -> tuple[str, str]:
    names = [*accuracy] or [name for pair in pairs for name in pair.stages] or [""]
    return names[0], names[-1]


def _no_answers(first: str, samples: int, *, nobody: bool) -> str:
    """There is nothing that could be kept or lost."""
    who = "No stage answers anything" if nobody else f"{first} answers nothing"
    why = "no output emits" if nobody else "its output never emits"
    return (
        f"{who} on {_counted(samples, 'sample')} ({why}), so nothing says whether accuracy is lost: see "
        "whether the data have the scale and the encoding of training, and how the network is read "
        "(snndeploy inspect)."
    )


def _nothing_lost(
    drop: float | None,
    worst: PairResult | None,
    ends: tuple[str, str],
    accuracy: Mapping[str, float],
) -> str:
    if drop is None:
        return "All stages give the same answers." if worst is not None else ""
    first, last = ends
    if first == last:
        return f"The only stage, {first}, answers {accuracy[first]:.1%} right."
    return f"No accuracy is lost from {first} ({accuracy[first]:.1%}) to {last} ({accuracy[last]:.1%})."


def _layers(pair: PairResult, layer: str | None, verbs: tuple[str, str]) -> str:
    """Which layers lose (or change) the answers when they alone are replaced."""
    if not pair.attributed:
        return ""
    some = "" if pair.attributed == pair.lost else "first "
    done, does = verbs
    text = f" Of the {some}{_counted(pair.attributed, f'{done} answer')}, "
    b = pair.stages[1]
    if layer is None:
        return f"{text}no single layer in its {b} form {does} any: they are {done} together."
    text += f"layer {layer} in its {b} form alone {does} {pair.alone[layer]}"
    others = [f"{name}: {count}" for name, count in pair.alone.items() if count and name != layer]
    text += f" ({', '.join(others)})" if others else ""
    together = pair.no_layer_alone
    return text + (f"; {together} by no single layer." if together else ".")


def _counted(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def _points(value: float) -> str:
    return f"{value:.1f} points"


def sign_test(lost: int, gained: int) -> float:
    """Two-sided probability of a split at least this uneven, if lost and gained are equally likely."""
    n, few = lost + gained, min(lost, gained)
    term, total = 1, 0
    for i in range(few + 1):
        total += term
        term = term * (n - i) // (i + 1)
    return min(1.0, float(2 * total / 2**n))
