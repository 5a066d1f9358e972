"""What compression bought: the same network placed without it, and the difference in one sentence."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ...chip import Target, family_of
from ...errors import SnnDeployError
from ...ir.arrays import size
from ...ir.placement import Placement
from ...ir.program import CompartmentGroup, Program
from ...lower import InputCoding, lower
from ...lower.coding import Coding
from ...mapping import ASSUMED_ACTIVITY, compares, effects, place_program, share_of, step_time
from ...measure.energy import Meter, chip_estimates
from ...report import span
from ...simulate.recording import Recording
from ..compiled import Compiled

_STEPS = round(1 / ASSUMED_ACTIVITY)
"""Steps in which every neuron spikes once."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a placed program takes.

    Attributes:
        words: of synapse memory (in the family's units), over all cores.
        cores: taken.
        step_ns: time of a step, from low to high; None where the target says nothing about it.
        step_nj: likewise its energy.
        sure: certainty of the energy; empty where there is none.
    """

    words: int
    cores: int
    step_ns: tuple[float, float] | None
    step_nj: tuple[float, float] | None
    sure: str


_UNCOMPARED = "what compression bought is not told, since placing both networks would take too long"


def savings_record(compiled: Compiled) -> dict[str, Any] | None:
    """What the passes bought, as plain data with its sentence.

    Time and energy are those of a step in which the assumed share of all neurons spikes, the same on
    both sides: what compression changes in how often neurons spike is for runs to tell.

    Returns:
        None where no pass changed the network, or where it cannot be placed as it was trained. Where
        that would take longer than seconds (`mapping.compares`), a sentence that says so.
    """
    steps = compiled.log.steps
    if not steps or compiled.network.digest == compiled.source.digest:
        return None
    weights = sum(layer.weights for layer in steps[0].before.layers.values())
    groups = len(compiled.program.groups)
    if not compares(groups, weights):
        return {"text": f"{_UNCOMPARED}: {groups:,} groups, {weights:,} weights as trained"}
    before = _uncompressed(compiled)
    if before is None:
        return None
    after = _cost(compiled.program, compiled.placement, compiled.target)
    return {"before": asdict(before), "after": asdict(after), "text": _sentence(before, after)}


def _uncompressed(compiled: Compiled) -> Cost | None:
    target, program = compiled.target, compiled.program
    inputs = {g.name: _coding(g) for g in program.groups if g.kind == "input"}
    try:
        whole = lower(compiled.source, target, inputs=inputs)
    except SnnDeployError:
        return None
    chips = target.chips(compiled.board)
    placed = place_program(whole, target, chips, share=share_of(compiled.placement))
    return _cost(whole, placed, target)


def _coding(group: CompartmentGroup) -> InputCoding:
    """A coding with the same messages."""
    if not group.message_bits:
        return InputCoding.named("binary")
    scale = float(group.scale)
    kind: Coding = "graded" if scale == 1 else "analog"
    return InputCoding(kind=kind, peak=group.largest / scale)


def _cost(program: Program, placement: Placement, target: Target) -> Cost:
    time = step_time(program, placement, target)
    once = {g.name: np.zeros((_STEPS, 1, size(g.shape)), bool) for g in program.groups}
    for spikes in once.values():
        spikes[0] = True
    meter = Meter(program, effects(program, placement, target))
    activity = meter.measure(Recording(engine="assumed", spikes=once))
    ends = None if time is None else (time.low, time.high)
    energy = chip_estimates(activity, target, ends).get(target.name)
    synapses = family_of(target).synapse_resource
    return Cost(
        words=sum(s.resources.get(synapses, 0) for s in placement.slices),
        cores=len(placement.cores),
        step_ns=None if time is None else (time.low, time.high),
        step_nj=None if energy is None else (energy.low / _STEPS, energy.high / _STEPS),
        sure="" if energy is None else energy.certainty,
    )


def _sentence(before: Cost, after: Cost) -> str:
    """What fell or rose, from what to what; and what stayed, if that is so."""
    told = (
        ("synapse memory", f"{before.words:,}", f"{after.words:,}", " words"),
        ("cores", f"{before.cores:,}", f"{after.cores:,}", ""),
        ("time per step", _range(before.step_ns), _range(after.step_ns), " ns"),
        ("energy per step", _range(before.step_nj), _range(after.step_nj), " nJ"),
    )
    known = [line for line in told if line[1] and line[2]]
    parts = [f"{what} from {a} to {b}{unit}" for what, a, b, unit in known if a != b]
    stays = [f"{what} ({a}{unit})" for what, a, b, unit in known if a == b]
    text = f"compression brought {', '.join(parts)}" if parts else "compression"
    if stays:
        text += f"{'; it' if parts else ''} left {', '.join(stays)} as before"
    return f"{text} (estimates where {ASSUMED_ACTIVITY:.0%} of all neurons spike in a step)"


def _range(ends: tuple[float, float] | None) -> str:
    if ends is None:
        return ""
    low, high = ends
    form = ",.0f" if high >= 100 else ".3g"
    return span(low, high, form)
