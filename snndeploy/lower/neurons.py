"""One population: choose its scale, then round its neuron and all that arrives to that scale."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from ..chip import Family, Form, NoForm
from ..errors import LoweringRefused
from ..ir.arrays import Array, Shape, frozen
from ..ir.fields import held_fields
from ..ir.finding import Finding
from ..ir.network import Population
from ..ir.neurons import Neuron
from ..ir.ops import Op, Pointwise, weighted_index
from ..ir.program import CompartmentGroup, Headroom, Rounding, SynapseGroup
from ..ir.step import NeuronRule
from .exact import coarse_leak, proof, saturating
from .incoming import Incoming, largest_weight, rest_of_bias
from .integers import to_mantissas
from .layout import Layout
from .proofs.headroom import Interval, WorstCase, headroom, held_spikes, most_spikes, worst_case
from .proofs.rounding import rounding_of, unproved
from .registers import registers
from .rows import drive_lost, with_row_scales
from .scale import base_scale, choose_scale, held_beside, per_weight

_NOISE = 1e-12
"""Relative difference that comes from computing in floating point."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Lowered:
    """A population's compartments, the synapses that end on it, and what rounding did.

    ``most`` bounds its spikes per step, ``held`` is what its registers alone bound them by;
    ``worst`` is how far its states go where all that it hears spikes all the time.
    """

    group: CompartmentGroup
    synapses: tuple[SynapseGroup, ...]
    headroom: Headroom
    rounding: Rounding
    most: Array
    held: Array
    worst: WorstCase
    findings: tuple[Finding, ...]


def lower_population(
    population: Population,
    incoming: Sequence[Incoming],
    family: Family,
    *,
    layout: Layout,
    depth: int,
    steps: int,
    observed: float | None,
    coarse: bool = False,
) -> Lowered:
    """Lower one population with everything that arrives at it.

    ``coarse`` are weights of fewer bits than a mantissa holds: their codes choose the scale alone, as
    rounding twice would be further off than the scale asks for.

    Raises:
        LoweringRefused: the neuron has no form on this target, codes exceed a mantissa, or states
            cannot hold the threshold at any scale.
    """
    neuron, shape = population.neuron, population.shape
    if neuron is None:
        raise ValueError(f"{population.name} is an input")
    form = _form(population.name, neuron, family)
    arithmetic = family.arithmetic
    _refuse_wide_weights(incoming, family.weights.bits)
    if not layout.one_scale:
        incoming = with_row_scales(incoming, neuron, shape, family)
    base = base_scale(shape, incoming, 1 << arithmetic.state_shift, one=layout.one_scale)
    scale = choose_scale(
        shape,
        neuron,
        incoming,
        family,
        layout=layout,
        base=held_beside(base, neuron.threshold, shape, arithmetic.state_max),
        steps=steps,
        observed=observed,
    )
    _refuse_narrow_states(population.name, neuron, scale, family)
    _refuse_large_bias(population.name, neuron, scale, family)
    group = _group(population, neuron, form, scale, family, layout, depth)
    heard, synapses, weights = [], [], [0.0]
    lost_bias: Array = np.zeros(shape)
    told: tuple[Finding, ...] = ()
    bounds = Interval(np.zeros(shape), np.zeros(shape))
    adder = 0.0
    waiting, largest = list(incoming), largest_weight(incoming)
    while waiting:
        arriving = waiting.pop(0)
        fine = coarse and arriving.codes.real is not None
        synapse, error, unit = _synapses(
            arriving, scale, shape, population.name, family, layout, fine=fine
        )
        if arriving.constant:
            rest = rest_of_bias(arriving, synapse, unit, neuron, shape, largest)
            waiting[:0] = [] if rest.carried is None else [rest.carried]
            lost_bias = lost_bias + rest.lost
        else:
            told += drive_lost(arriving, synapse, unit, population.name)
            weights.append(error + (0.0 if fine else arriving.codes.error))
        sums = replace(arriving, ops=synapse.ops).interval(synapse.mantissa, proved=True)
        adder = max(adder, float(sums.peak.max()))
        # What arrives with another delay is shifted by itself.
        parts = sum(np.unique(source.latency).size for source in synapse.sources)
        bounds = bounds + sums.shifted(synapse.exponent, parts)
        synapses.append(synapse)
        heard.append(arriving)
    worst = worst_case(group, bounds, arithmetic)
    room, held = headroom(worst, arithmetic), held_spikes(group, arithmetic)
    # What wrapped can be anything, and so can what it drives v to.
    wraps = arithmetic.u_overflow == "wrap" and (room.wraps or adder > arithmetic.sum_max)
    most = held if wraps else most_spikes(group, worst, arithmetic)
    if group.spikes_per_step == "many":
        group = replace(group, message_bits=max(int(most.max()).bit_length(), 1))
    told = (*_findings(neuron, group, form, incoming, family), *told)
    told += unproved(group, room, adder, arithmetic, proved_by_data=observed is not None)
    told += saturating(group, worst, steps, arithmetic)
    rounding = rounding_of(neuron, group, max(weights), lost_bias, arithmetic)
    rounding = proof(rounding, neuron, group, heard, synapses, worst, steps, adder, arithmetic)
    told += coarse_leak(neuron, group, rounding, steps, arithmetic)
    return Lowered(
        group=group,
        synapses=tuple(synapses),
        headroom=room,
        rounding=rounding,
        most=most,
        held=held,
        worst=worst,
        findings=told,
    )


def _form(name: str, neuron: Neuron, family: Family) -> Form:
    """How the target realises this neuron."""
    if neuron.v_init.any():
        raise LoweringRefused(
            "initial-state",
            "its membrane does not start at the reset value; a chip's reset state is 0",
            where=name,
        )
    held = (*held_fields(CompartmentGroup), *(f.name for f in fields(NeuronRule)))
    if unknown := neuron.beyond(*held):
        raise LoweringRefused(
            "neuron-unsupported", f"no register holds its {', '.join(unknown)}", where=name
        )
    if not neuron.spiking:
        route = "native compartment that never spikes; v is read"
        return Form(kind="readout", way="native", route=route)
    assert neuron.threshold is not None
    if neuron.spikes_per_step == "many" and (neuron.threshold <= 0).any():
        raise LoweringRefused(
            "threshold-not-positive",
            "it spikes once per whole threshold in its membrane, and its threshold is not above 0",
            where=name,
            hint="let it spike once per step, or give it a positive threshold",
        )
    form = family.form(neuron)
    if isinstance(form, NoForm):
        raise LoweringRefused("neuron-unsupported", form.reason, where=name, hint=form.hint)
    return form


def _refuse_wide_weights(incoming: Sequence[Incoming], bits: int) -> None:
    """Codes wider than a mantissa have no integer form; what a target stores is for its check."""
    for i in incoming:
        peak = int(np.abs(i.codes.codes).max())
        if peak > 2 ** (bits - 1):
            raise LoweringRefused(
                "weight-bits",
                f"its codes need {peak.bit_length() + 1} bits, a mantissa holds {bits}",
                where=i.name,
                hint=f"quantize with bits <= {bits} (rescaw, which has no zero: one less)",
            )


def _refuse_narrow_states(name: str, neuron: Neuron, scale: Array, family: Family) -> None:
    """A threshold beyond the state is never reached, at whichever scale."""
    if neuron.threshold is None:
        return
    arithmetic = family.arithmetic
    highest = float((scale * np.abs(neuron.threshold)).max())
    if highest > arithmetic.state_max:
        raise LoweringRefused(
            "states-too-narrow",
            f"its threshold takes {highest:{',.0f' if highest < 1e15 else '.3g'}} at the smallest scale "
            "that holds its weights; "
            f"{arithmetic.state_bits}-bit states of {family.target.name} end at "
            f"{arithmetic.state_max:,}",
            where=name,
            hint="quantize to fewer bits, or compile for a chip with wider states",
        )


def _refuse_large_bias(name: str, neuron: Neuron, scale: Array, family: Family) -> None:
    """A bias beyond its field would be a smaller one, at whichever scale."""
    numeric = family.target.numeric
    bias = neuron.drive + (neuron.bias if neuron.syn_leak is None else 0.0)
    most = (numeric.bias_mant_max.limit + 0.5) * 2.0**numeric.bias_exp_max.limit
    largest = float((scale * np.abs(bias)).max())
    if largest > most:
        raise LoweringRefused(
            "states-too-narrow",
            f"its bias takes {largest:{',.0f' if largest < 1e15 else '.3g'}} at the smallest scale "
            f"that holds its weights; biases of {family.target.name} end at {most:,.0f}",
            where=name,
            hint="quantize to fewer bits, or compile for a chip with larger biases",
        )


def _synapses(
    incoming: Incoming,
    scale: Array,
    shape: Shape,
    target_name: str,
    family: Family,
    layout: Layout,
    *,
    fine: bool,
) -> tuple[SynapseGroup, float, Array]:
    """Round a projection's codes, or where ``fine`` its weights, to the population's scale.

    Also returns the largest relative error, and the weight that a mantissa of 1 is.
    """
    factor = per_weight(scale, incoming, shape)
    if factor is None:
        factor = np.asarray(float(scale.max()))
    codes, low = incoming.codes, layout.exponent_low
    # The largest weight lies between two mantissas, or by noise below: it is rounded away from zero.
    real = codes.values * (1 + _NOISE) / incoming.units
    values = real if fine else codes.codes * incoming.step
    if (
        incoming.constant
    ):  # rounded once, here; negative exponents would drop what is left, not round
        values, low = incoming.codes.values, max(low, 0)
    wanted = values * factor / (1 << family.arithmetic.state_shift)
    m = to_mantissas(wanted, low, family.weights, factor)
    alive = incoming.alive
    return (
        SynapseGroup(
            name=incoming.name,
            sources=incoming.sources,
            target=target_name,
            ops=_with_weight_shape(incoming.ops, wanted.shape),
            mantissa=m.mantissa,
            exponent=m.exponent,
            sign_mode=m.sign_mode,
            weight_bits=m.weight_bits,
            alive=None if alive is None else frozen(np.broadcast_to(alive, wanted.shape)),
        ),
        m.error + m.floored,
        (1 << family.arithmetic.state_shift) * incoming.units / factor,
    )


def _with_weight_shape(ops: tuple[Op, ...], shape: Shape) -> tuple[Op, ...]:
    """One-to-one weights grow from one value to one per channel when the scale is per channel."""
    i = weighted_index(ops)
    op = ops[i]
    if isinstance(op, Pointwise) and op.weight_shape != shape:
        return (*ops[:i], Pointwise(op.shape, shape), *ops[i + 1 :])
    return ops


def _group(
    population: Population,
    neuron: Neuron,
    form: Form,
    scale: Array,
    family: Family,
    layout: Layout,
    depth: int,
) -> CompartmentGroup:
    custom = form.kind == "custom"
    many = custom and neuron.spikes_per_step == "many"
    rule = NeuronRule() if neuron.rule is None or not custom else neuron.rule
    words = {f.name: getattr(rule, f.name) for f in fields(rule)}
    words["compare"] = neuron.compare if form.way != "native" else ">"
    words["max_spikes"] = neuron.max_spikes if many else None
    return CompartmentGroup(
        name=population.name,
        shape=population.shape,
        role=population.role,
        kind=form.kind,
        depth=depth,
        scale=frozen(scale),
        route=form.route,
        **words,
        **registers(neuron, form.kind, scale, family, layout.bias_exponent_low),
    )


def _findings(
    neuron: Neuron,
    group: CompartmentGroup,
    form: Form,
    incoming: Sequence[Incoming],
    family: Family,
) -> tuple[Finding, ...]:
    """What lowering did to this population that the user has to be told."""
    found = [
        Finding(
            code="weights-rounded",
            severity="note",
            where=i.name,
            message=f"its weights were not quantised; rounding them to {family.weights.bits} bits "
            f"changes them by up to {i.codes.error:.2%} of the largest of their row",
        )
        for i in incoming
        if not i.codes.exact and not i.constant
    ]
    if form.way != "native":
        found.append(
            Finding(code="neuron-route", severity="note", where=group.name, message=group.route)
        )
    return (*found, *_approximated(neuron, group))


def _approximated(neuron: Neuron, group: CompartmentGroup) -> Iterator[Finding]:
    """A native comparison that is not the trained one."""
    if neuron.threshold is None or neuron.compare == group.compare:
        return
    at = "threshold"
    if group.kind == "lif":
        if not (neuron.leak != 1).any():
            return
        at = f"threshold - 1 mantissa unit (of {int(np.min(group.vth)) + 1})"
    yield Finding(
        code="compare-approximated",
        severity="note",
        where=group.name,
        message=f"trained with v {neuron.compare} threshold; the chip fires at v > {at}",
    )
