"""What a module answers with: populations as they are, sums over time, or maps of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...errors import InputError
from ..layers import TimeForm
from .links import link_key
from .recorder import SignalRecorder
from .signals import Emission, Signal, SignalPath


@dataclass(frozen=True, eq=False)
class Returned:
    """One tensor that a module returns.

    Attributes:
        population: that it is as it is (or summed over time); empty for a map of populations.
        what: "spikes", or "membrane".
        signals: for a map: what it is in each step.
        place: where in the answer it stands, for messages.
        over_time: whether it holds one value for all steps.
    """

    place: str
    population: str = ""
    what: str = "spikes"
    signals: tuple[Signal, ...] = field(default=())
    over_time: bool = False


def tensors(answer: Any, place: str = "answer") -> Iterator[tuple[str, Any]]:
    """All tensors in an answer, with the place where each stands."""
    import torch

    if isinstance(answer, torch.Tensor):
        yield place, answer
    elif isinstance(answer, dict):
        for key, value in answer.items():
            yield from tensors(value, f"{place}[{key!r}]")
    elif isinstance(answer, (list, tuple)):
        for i, value in enumerate(answer):
            yield from tensors(value, f"{place}[{i}]")


def answers_of(
    recorder: SignalRecorder,
    returned: Sequence[Any],
    form: TimeForm,
    steps: int,
    refused: Callable[[str, str, str], InputError],
) -> list[Returned]:
    """What each returned tensor is.

    Raises:
        InputError: one that is no linear map of what populations emit.
    """
    found: list[Returned] = []
    by_call = [dict(tensors(answer)) for answer in returned]
    for place in by_call[-1]:
        found_tensors = [call[place] for call in by_call if place in call]
        if not recorder.knows(found_tensors[-1]):
            continue
        blocks = [recorder.read(t) for t in found_tensors if recorder.knows(t)]
        at_once = form.kind == "loop"
        signals = blocks[-1].signals if at_once else tuple(b.joined() for b in blocks)
        lost = next((s.lost for s in signals if s.lost is not None), None)
        if lost is not None:
            if found:  # the answer stands in front; this is something beside it
                continue
            raise refused(
                "live-nonlinear",
                f"the module answers with {lost.by}, {lost.spot}",
                "return the spikes or the membrane of the last layer; what is made of them "
                "afterwards needs no chip",
            )
        made = _answer(place, signals, steps)
        if made is not None:
            found.append(made)
    return found


def _answer(place: str, signals: Sequence[Signal], steps: int) -> Returned | None:
    emissions = {p.emission for s in signals for p in s.paths}
    if not emissions:
        return None
    sources = {(e.population, e.what) for e in emissions}
    per_step = len(signals) == steps
    if any(what == "state" for _, what in sources):
        return None  # synaptic states that the caller hands back
    plain = all(not p.links for s in signals for p in s.paths) and not any(
        s.numbers().any() for s in signals
    )
    if len(sources) == 1 and (plain or _is_rate(signals)):
        population, what = next(iter(sources))
        return Returned(place, population, what, over_time=not per_step)
    if per_step:
        return Returned(place, signals=tuple(signals))
    return Returned(place, signals=(_at_once(signals[-1], steps),), over_time=True)


def _is_rate(signals: Sequence[Signal]) -> bool:
    """Whether one signal sums the same population over steps, with one factor for all."""
    if len(signals) != 1 or signals[0].numbers().any():
        return False
    chains = [p.links for p in signals[0].paths]
    return len(chains) > 1 and all(
        len(links) == 1 and getattr(links[0], "weight", None) is not None and _one_factor(links[0])
        for links in chains
    )


def _one_factor(link: Any) -> bool:
    return link.weight is not None and link.weight.size == 1


def _at_once(signal: Signal, steps: int) -> Signal:
    """A sum over time as the map of one step: paths that differ in nothing but their step, once."""
    paths: dict[object, SignalPath] = {}
    for path in signal.paths:
        told = (path.emission.population, path.emission.what, *map(link_key, path.links))
        emission = Emission(path.emission.population, steps - 1, path.emission.what)
        paths[told] = SignalPath(emission, path.links)
    return Signal(signal.size, tuple(paths.values()), signal.constant)
