"""Whether integers do what real numbers do, proved from the numbers themselves; and what saturates."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from ..ir.arrays import Array
from ..ir.fields import held_fields
from ..ir.finding import Finding
from ..ir.neurons import Neuron
from ..ir.program import CompartmentGroup, Rounding, SynapseGroup
from ..ir.step import Arithmetic
from .decays import kept
from .incoming import Incoming
from .proofs.headroom import WorstCase, threshold_units

_FLOAT_BITS = 52
"""Bits that sums of float64 keep for certain."""
_FELT = 0.02
"""Share of v, or of the threshold, from which what a leak loses is told."""
_MARGIN = 1e-6
"""Off the grid of v by more than this, a threshold cannot be met by noise of floating point."""


def proof(
    rounding: Rounding,
    neuron: Neuron,
    group: CompartmentGroup,
    incoming: Sequence[Incoming],
    synapses: Sequence[SynapseGroup],
    worst: WorstCase,
    steps: int,
    adder: float,
    arithmetic: Arithmetic,
) -> Rounding:
    """``rounding`` with everything else in which float64 and integers may differ within ``steps``."""
    short = truncated(group, synapses, worst, steps, arithmetic)
    reasons = (
        *_registers(group, worst, steps, adder, arithmetic),
        *_floor(neuron, group),
        *(f"no proof knows its {name.replace('_', ' ')}" for name in neuron.beyond()),
        *("the host rounds the values of its input" for i in incoming if i.rounded),
        *_ties(neuron, group, incoming, synapses, worst, steps, arithmetic),
    )
    return replace(rounding, truncation=short, reasons=tuple(dict.fromkeys(reasons)))


def _registers(
    group: CompartmentGroup, worst: WorstCase, steps: int, adder: float, arithmetic: Arithmetic
) -> Iterator[str]:
    limit, v = arithmetic.state_max, worst.within(steps)
    if worst.u.peak.max() > limit:
        yield "u may not fit its register"
    if adder > arithmetic.sum_max:
        yield "sums of input may not fit the adder"
    rule = group.rule
    # Whatever is beyond a threshold spikes once and is forgotten.
    forgotten = rule is not None and rule.zeroes and rule.spikes_per_step == "one"
    if v.low.min() < -limit or (
        v.high.max() > limit and not (forgotten and arithmetic.v_overflow != "wrap")
    ):
        yield "v may not fit its register"


def _floor(neuron: Neuron, group: CompartmentGroup) -> Iterator[str]:
    if neuron.v_floor is not None and group.v_floor is not None:
        wanted = neuron.v_floor * group.scale
        if (np.abs(group.v_floor - wanted) > 1e-9 * np.maximum(np.abs(wanted), 1.0)).any():
            yield "its floor of v is rounded"


def saturating(
    group: CompartmentGroup, worst: WorstCase, steps: int, arithmetic: Arithmetic
) -> tuple[Finding, ...]:
    """What is lost at the end of v's register: spikes of a step, or what a readout has added up."""
    limit, v = arithmetic.state_max, worst.within(steps)
    high, low = float(v.high.max()), float(-v.low.min())
    message = ""
    if group.kind == "readout" and max(high, low) > limit:
        message = (
            f"in the worst case its membrane reaches {max(high, low):,.0f} within {steps} steps"
        )
    elif group.spikes_per_step == "many":
        unit = threshold_units(group, arithmetic)
        most = float((v.high / unit).max())
        held = int((limit // unit).min())
        wanted = most if group.max_spikes is None else min(most, group.max_spikes)
        if wanted > held:
            message = (
                f"in the worst case {wanted:,.0f} spikes are due in a step; v ends at {held} "
                f"threshold{'s' * (held != 1)}, and the rest is lost"
            )
    if not message:
        return ()
    return (
        Finding(
            code="headroom-saturates",
            severity="warning",
            where=group.name,
            message=message,
            resource="v",
            used=max(high, low) if np.isfinite([high, low]).all() else None,
            limit=limit,
            unit="v units",
            rule=f"The membrane potential must not exceed its {arithmetic.state_bits}-bit register.",
        ),
    )


def coarse_leak(
    neuron: Neuron, group: CompartmentGroup, rounding: Rounding, steps: int, arithmetic: Arithmetic
) -> tuple[Finding, ...]:
    """A leak so slow that its rounding is felt within a sample."""
    held = kept(group.dv, arithmetic)
    with np.errstate(divide="ignore"):
        lasts = np.minimum(1.0 / (1.0 - neuron.leak), steps)
    drift = np.broadcast_to(np.abs(held - neuron.leak) * lasts, group.shape)
    worst = int(drift.argmax())
    if drift.max() <= _FELT and rounding.truncation <= _FELT:
        return ()
    leak, has = (float(np.broadcast_to(x, group.shape).flat[worst]) for x in (neuron.leak, held))
    return (
        Finding(
            code="leak-coarse",
            severity="warning",
            where=group.name,
            message=f"its leak of {leak:.6g} per step is held as {has:.6g}, which moves v by up to "
            f"{drift.max():.1%} within a sample of {steps} steps; dropped fractions by up to "
            f"{rounding.truncation:.1%} of the threshold",
        ),
    )


# --- decays -------------------------------------------------------------------------------------------


def truncated(
    group: CompartmentGroup,
    synapses: Sequence[SynapseGroup],
    worst: WorstCase,
    steps: int,
    arithmetic: Arithmetic,
) -> float:
    """How far dropped fractions move v within a sample at the most, relative to the threshold.

    A product drops less than a unit where the state has bits below the factor's denominator: none in
    the first steps, if inputs are multiples of a large enough power of two.
    """
    lost_u = _bits(group.du + arithmetic.u_decay_offset, arithmetic)
    lost_v = _bits(group.dv, arithmetic)
    per_step = max(lost_u, lost_v)
    spare = min([_zeros(s, arithmetic) for s in synapses], default=63)
    spare = min(spare, _trailing(group.bias))
    if group.rule is not None and group.rule.subtracts:
        spare = min(spare, _trailing(group.vth << arithmetic.state_shift))
    for name, held in held_fields(CompartmentGroup).items():
        if held == "level" and getattr(group, name) is not None:
            spare = min(spare, _trailing(getattr(group, name)))
    first = 1 + (spare // per_step if per_step else steps)
    if first >= steps:
        return 0.0
    u = _sum(kept(group.du + arithmetic.u_decay_offset, arithmetic), steps) * (lost_u > 0)
    v = _sum(kept(group.dv, arithmetic), steps) * ((lost_v > 0) + u)
    if group.rule is not None:
        return float((v / np.maximum(np.abs(group.vth << arithmetic.state_shift), 1)).max())
    top = np.minimum(worst.within(steps).peak, arithmetic.state_max)
    return float((v / np.maximum(top.max(), 1.0)).max())


def _sum(factor: Array, steps: int) -> Array:
    """Sum of the powers of ``factor`` over a sample."""
    with np.errstate(divide="ignore"):
        return np.asarray(np.minimum(1.0 / (1.0 - factor), steps))


def _bits(decay: Array, arithmetic: Arithmetic) -> int:
    """Bits that a decay moves below the point at every step."""
    match arithmetic.decay:
        case "multiply":
            left = arithmetic.decay_one - np.unique(decay)
            left = left[(left > 0) & (left < arithmetic.decay_one)]
            return max((arithmetic.decay_bits - _trailing(x) for x in left), default=0)
        case "shift" | "floor-shift":
            shifts = np.unique(decay)
            shifts = shifts[(shifts > 0) & (shifts < arithmetic.state_bits - 1)]
            return int(shifts.max(initial=0))


def _zeros(synapses: SynapseGroup, arithmetic: Arithmetic) -> int:
    """Trailing zero bits of everything that the synapses add to u."""
    return _trailing(synapses.mantissa) + synapses.exponent + arithmetic.state_shift


def _trailing(values: Array) -> int:
    """Trailing zero bits common to all (63 where all are zero)."""
    used = int(np.bitwise_or.reduce(np.abs(np.asarray(values, np.int64)), axis=None))
    return (used & -used).bit_length() - 1 if used else 63


# --- floating point -----------------------------------------------------------------------------------


def _ties(
    neuron: Neuron,
    group: CompartmentGroup,
    incoming: Sequence[Incoming],
    synapses: Sequence[SynapseGroup],
    worst: WorstCase,
    steps: int,
    arithmetic: Arithmetic,
) -> Iterator[str]:
    """Whether v may meet the threshold but for noise of floating point, which then decides."""
    if neuron.threshold is None or _sums_are_exact(neuron, incoming, worst, steps, group):
        return
    grid = 2.0 ** min([_zeros(s, arithmetic) for s in synapses], default=0)  # of v without a leak
    wanted = neuron.threshold * group.scale / grid
    off_grid = bool((np.abs(wanted - np.rint(wanted)) > _MARGIN).all())
    whole = np.isin(neuron.leak, (0.0, 1.0)).all() and not group.bias.any()
    if neuron.syn_leak is not None:
        whole = whole and bool(np.isin(neuron.syn_leak, (0.0, 1.0)).all())
    if not (off_grid and whole and group.kind == "lif"):
        yield "v may meet the threshold, and floating point does not hold its parameters exactly"


def _sums_are_exact(
    neuron: Neuron,
    incoming: Iterable[Incoming],
    worst: WorstCase,
    steps: int,
    group: CompartmentGroup,
) -> bool:
    """Whether every sum of a sample fits float64: all values are multiples of one power of two."""
    values = [i.codes.codes * i.step for i in incoming]
    held = held_fields(Neuron)
    values += [v for n, v in neuron.parameters().items() if held[n] == "level"]
    finest = min((_exponent(np.asarray(v)) for v in values), default=0)
    for leak in (neuron.leak, neuron.syn_leak):
        if leak is not None and ((leak > 0) & (leak < 1)).any():
            finest += _exponent(leak) * (steps - 1)
    v = worst.within(steps)
    peaks = [worst.u.peak / group.scale, v.peak / group.scale]
    peak = max(1.0, *(float(np.broadcast_to(p, group.shape).max()) for p in peaks))
    return bool(np.log2(peak) - finest <= _FLOAT_BITS)


def _exponent(values: Array) -> int:
    """The power of two that all values (float64) are multiples of; 0 where they are whole numbers."""
    kept_ = np.unique(np.abs(values[values != 0])) if values.ndim else np.abs(values[None])
    kept_ = kept_[kept_ != 0]
    if not kept_.size:
        return 0
    fraction, exponent = np.frexp(kept_.astype(np.float64))
    whole = (fraction * 2.0**53).astype(np.int64)
    low = (whole & -whole).astype(np.float64)
    return int(min(0, (exponent - 53 + np.log2(low)).min()))
