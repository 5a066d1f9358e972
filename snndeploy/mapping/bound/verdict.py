"""Say what the bounds prove about a placement."""

from __future__ import annotations

from collections.abc import Mapping

from ...chip import Target, family_of
from ...ir.placement import Verdict, VerdictKind
from .bounds import GroupBound, round_up


def fewest_cores(bounds: Mapping[str, GroupBound], target: Target) -> tuple[int, str]:
    """The fewest cores where slices share them, and the resource that says so."""
    unsummed = family_of(target).unsummed
    spent = {name: sum(b.spent.get(name, 0.0) for b in bounds.values()) for name in target.core}
    needs = {
        name: round_up(spent[name] / max(limit.limit, 1))
        for name, limit in target.core.items()
        if name not in unsummed
    }
    resource = max(needs, key=lambda name: needs[name])
    return max(1, needs[resource]), resource


def judge(
    bounds: Mapping[str, GroupBound],
    target: Target,
    slices: Mapping[str, int],
    *,
    cores: int,
    available: int,
    shared: bool,
    broken: bool,
    tried: int,
) -> Verdict:
    """What is proved about a placement.

    Args:
        bounds: of every group.
        target: the chip.
        slices: how many slices every group was cut into.
        cores: cores that were taken.
        available: cores of the board.
        shared: whether slices were allowed to share cores.
        broken: whether a core exceeds a limit.
        tried: grids that the search counted.
    """
    least, resource = fewest_cores(bounds, target)
    total = sum(b.slices for b in bounds.values())
    bound = least if shared else max(total, 1)
    alone = [(name, b.impossible) for name, b in bounds.items() if b.impossible]
    layers = sorted(bounds, key=lambda name: (-bounds[name].slices, name))
    told = [f"{n} takes {bounds[n].slices} ({_words(bounds[n].resource)})" for n in layers[:3]]
    rest = f", {len(layers) - 3} more layers" if len(layers) > 3 else ""
    split = f"no cut takes fewer slices than {total}: at least {', '.join(told)}{rest}"
    share = f"all layers together fill {least} cores ({_words(resource)})"
    if alone:
        name, why = alone[0]
        kind: VerdictKind = "impossible"
        reason = f"a neuron of {name} does not fit a core even alone: {why}"
    elif least > available:
        kind, reason = "impossible", share
    elif broken or cores > available:
        kind, reason = "not-found", share
    elif cores <= bound:
        kind, reason = "optimal", share if shared else split
    else:
        kind, reason = "gap", share
        if not shared:
            loose = [n for n in layers if slices.get(n, 0) > bounds[n].slices]
            reason = "; ".join(
                f"{n} took {slices[n]} slices, at least {bounds[n].slices} "
                f"({_words(bounds[n].resource)})"
                for n in loose[:3]
            ) + (f"; {len(loose) - 3} more layers" if len(loose) > 3 else "")
    if not shared and kind in ("optimal", "gap"):
        fewer = f"sharing cores, at least {least} ({_words(resource)})"
        reason += f"; {fewer}: ask with --objective cores" if least < cores else ""
    return Verdict(
        kind=kind,
        cores=cores,
        available=available,
        bound=bound,
        shared=shared,
        tried=tried,
        reason=reason,
    )


def _words(resource: str) -> str:
    return resource.replace("_", " ")
