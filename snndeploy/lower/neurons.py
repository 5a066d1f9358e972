"""One population: choose its scale, then round its neuron and all that arrives to that scale."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..chip import Family, Form, NoForm
from ..errors import LoweringRefused
from ..ir.arrays import Array, Shape, frozen
from ..ir.finding import Finding
from ..ir.network import Population
from ..ir.neurons import Neuron
from ..ir.ops import Op, Pointwise, weighted_index
from ..ir.program import CompartmentGroup, Headroom, Kind, Rounding, SynapseGroup
from ..ir.step import Arithmetic
from .decays import kept, to_decay
from .exact import coarse_leak, proof, saturating
from .incoming import Incoming, rest_of_bias
from .integers import to_bias, to_mantissas
from .layout import Layout
from .proofs.headroom import Interval, headroom, held_spikes, most_spikes, v_may_wrap, worst_case
from .rows import drive_lost, with_row_scales
from .scale import base_scale, choose_scale, per_weight


@dataclass(frozen=True, kw_only=True, eq=False)
class Lowered:
    """A population's compartments, the synapses that end on it, and what rounding did.

    ``most`` bounds its spikes per step, ``held`` is what its registers alone bound them by.
    """

    group: CompartmentGroup
    synapses: tuple[SynapseGroup, ...]
    headroom: Headroom
    rounding: Rounding
    most: Array
    held: Array
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
) -> Lowered:
    """Lower one population with everything that arrives at it.

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
    scale = choose_scale(
        shape,
        neuron,
        incoming,
        family,
        layout=layout,
        base=base_scale(shape, incoming, 1 << arithmetic.state_shift, one=layout.one_scale),
        steps=steps,
        observed=observed,
    )
    _refuse_narrow_states(population.name, neuron, scale, family)
    group = _group(population, neuron, form, scale, family, layout, depth)
    heard, synapses, weights = [], [], [0.0]
    lost_bias: Array = np.zeros(shape)
    told: tuple[Finding, ...] = ()
    bounds = Interval(np.zeros(shape), np.zeros(shape))
    adder = 0.0
    waiting = list(incoming)
    while waiting:
        arriving = waiting.pop(0)
        synapse, error, unit = _synapses(arriving, scale, shape, population.name, family, layout)
        if arriving.constant:
            rest = rest_of_bias(arriving, synapse, unit, neuron, shape)
            waiting[:0] = [] if rest.carried is None else [rest.carried]
            lost_bias = lost_bias + rest.lost
        else:
            told += drive_lost(arriving, synapse, unit, population.name)
            weights.append(error + arriving.codes.error)
        sums = replace(arriving, ops=synapse.ops).interval(synapse.mantissa, proved=True)
        adder = max(adder, float(sums.peak.max(initial=0.0)))
        # What arrives with another delay is shifted by itself.
        parts = sum(np.unique(source.latency).size for source in synapse.sources)
        bounds = bounds + sums.shifted(synapse.exponent, parts)
        synapses.append(synapse)
        heard.append(arriving)
    worst = worst_case(group, bounds, arithmetic)
    room, most = headroom(worst, arithmetic), most_spikes(group, worst, arithmetic)
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
        held=held_spikes(group, arithmetic),
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
    if unknown := neuron.beyond():
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
        peak = int(np.abs(i.codes.codes).max(initial=0))
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
            f"its threshold takes {highest:,.0f} at the smallest scale that holds its weights; "
            f"{arithmetic.state_bits}-bit states of {family.target.name} end at "
            f"{arithmetic.state_max:,}",
            where=name,
            hint="quantize to fewer bits, or compile for a chip with wider states",
        )


def _synapses(
    incoming: Incoming, scale: Array, shape: Shape, target_name: str, family: Family, layout: Layout
) -> tuple[SynapseGroup, float, Array]:
    """Round a projection's weights to the population's scale.

    Also returns the largest relative error, and the weight that a mantissa of 1 is.
    """
    factor = per_weight(scale, incoming, shape)
    if factor is None:
        factor = np.asarray(float(scale.max()))
    values = incoming.codes.codes * incoming.step
    if incoming.constant:  # rounded once, here
        values = incoming.codes.values
    wanted = values * factor / (1 << family.arithmetic.state_shift)
    m = to_mantissas(wanted, layout.exponent_low, family.weights)
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
        (1 << family.arithmetic.state_shift) / (factor * incoming.units),
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
    return CompartmentGroup(
        name=population.name,
        shape=population.shape,
        role=population.role,
        kind=form.kind,
        depth=depth,
        scale=frozen(scale),
        compare=neuron.compare if form.way != "native" else ">",
        reset=neuron.reset if custom else "zero",
        reset_timing=neuron.reset_timing if custom else "immediate",
        spikes_per_step=neuron.spikes_per_step if custom else "one",
        max_spikes=neuron.max_spikes if many else None,
        route=form.route,
        **registers(neuron, form.kind, scale, family, layout.bias_exponent_low),
    )


def registers(
    neuron: Neuron, kind: Kind, scale: Array, family: Family, bias_exponent: int = 0
) -> dict[str, Any]:
    """The neuron's parameters as a compartment group of that scale holds them, by field."""
    n, arithmetic = family.target.numeric, family.arithmetic
    unit = 1 << arithmetic.state_shift
    vth_max = min(n.vth_max.limit, arithmetic.state_max // unit)
    syn_leak = np.zeros(()) if neuron.syn_leak is None else neuron.syn_leak
    bias = neuron.drive + (neuron.bias if neuron.syn_leak is None else 0.0)
    bias_mant, bias_exp = to_bias(
        bias * scale, n.bias_mant_max.limit, n.bias_exp_max.limit, bias_exponent
    )
    floor = neuron.v_floor
    return {
        "du": to_decay(syn_leak, arithmetic.u_decay_offset, n.decay_max.limit, arithmetic),
        "dv": to_decay(neuron.leak, 0, n.decay_max.limit, arithmetic, at=_usual(neuron, scale)),
        "vth": _threshold(neuron, kind, scale, vth_max, unit),
        "bias_mant": bias_mant,
        "bias_exp": bias_exp,
        "v_floor": None if floor is None else _floor(floor * scale, arithmetic),
    }


def _floor(wanted: Array, arithmetic: Arithmetic) -> Array:
    """A floor of v; one beyond the register is none, and its end says the same."""
    most = arithmetic.state_max
    return frozen(np.rint(np.clip(wanted, -most, most)).astype(np.int64))


def _usual(neuron: Neuron, scale: Array) -> float | None:
    """v of a neuron on its way to a spike, in v units."""
    if neuron.threshold is None:
        return None
    return 0.5 * float(np.mean(np.abs(neuron.threshold) * scale))


def _threshold(neuron: Neuron, kind: Kind, scale: Array, largest: int, unit: int) -> Array:
    """Threshold mantissa, in ``unit``. v is compared with ``vth * unit``, strictly.

    Without leak, v is a multiple of the unit (64 on Loihi): there ``v > theta`` is exactly
    ``v > 64 * floor(theta / 64)`` and ``v >= theta`` exactly ``v > 64 * (ceil(theta / 64) - 1)``.
    With a leak the same holds for a threshold on the grid; one off the grid is rounded to it. Neuron
    programs compare as trained; a native reset that subtracts takes off the threshold, which must be
    right for that. A readout has none; nothing looks at its 0.
    """
    if neuron.threshold is None:
        return frozen(np.int64(0))
    wanted = np.asarray(neuron.threshold * scale / unit)
    # What is on the grid but for float error of the scale must not fall off it.
    wanted = np.where(
        np.abs(wanted - np.rint(wanted)) < 1e-9 * np.abs(wanted), np.rint(wanted), wanted
    )
    if kind == "custom":
        # A threshold of 0 has no multiples to count, and is met by a v that nothing ever moved.
        above = (neuron.spikes_per_step == "many") | (neuron.compare == ">=") & (wanted > 0)
        vth = np.maximum(np.rint(wanted), np.where(above, 1, -np.inf))
    else:
        exact = (neuron.leak == 1) | (wanted == np.rint(wanted))
        on_grid = np.floor(wanted) if neuron.compare == ">" else np.ceil(wanted) - 1
        vth = np.where(exact, on_grid, np.rint(wanted))
    return frozen(np.minimum(vth, largest).astype(np.int64))


def rounding_of(
    neuron: Neuron,
    group: CompartmentGroup,
    weight_error: float,
    lost_by_synapses: Array,
    arithmetic: Arithmetic,
) -> Rounding:
    """Largest differences between the group and the neuron it stands for.

    ``lost_by_synapses`` is what biases that arrive by synapses lose, per neuron.
    """
    scale, syn_leak = group.scale, np.zeros(()) if neuron.syn_leak is None else neuron.syn_leak
    bias = neuron.drive + (neuron.bias if neuron.syn_leak is None else 0.0)
    threshold = np.ones(()) if neuron.threshold is None else np.abs(neuron.threshold)
    lost_bias = np.abs(group.bias / scale - bias) + lost_by_synapses
    lost = np.zeros(())
    if neuron.threshold is not None:
        wanted = neuron.threshold * scale
        strict = group.kind != "custom" and neuron.compare == ">="
        got = (group.vth + int(strict)) << arithmetic.state_shift
        # One that subtracts and compares strictly misses v = threshold: a threshold one unit of v up.
        got = got + int(group.kind == "custom" and group.compare != neuron.compare)
        # Without leak the grid step between threshold and mantissa holds no reachable v.
        reachable = neuron.leak != 1 if group.kind == "lif" else np.ones((), bool)
        lost = np.where(reachable, np.abs(got - wanted) / np.maximum(np.abs(wanted), 1e-300), 0.0)
    return Rounding(
        leak=float(np.abs(kept(group.dv, arithmetic) - neuron.leak).max()),
        syn_leak=float(
            np.abs(kept(group.du + arithmetic.u_decay_offset, arithmetic) - syn_leak).max()
        ),
        threshold=float(lost.max()),
        bias=float((lost_bias / np.maximum(threshold, 1e-300)).max()),
        weight=weight_error,
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


def unproved(
    group: CompartmentGroup,
    room: Headroom,
    adder: float,
    arithmetic: Arithmetic,
    *,
    proved_by_data: bool,
) -> tuple[Finding, ...]:
    """Registers that the worst case exceeds."""
    basis = "calibration data stayed within it" if proved_by_data else "no data was given to tell"
    bits = arithmetic.state_bits
    does = {"wrap": "wraps", "saturate": "saturates", "saturate-full": "saturates"}
    found = []
    if room.wraps:
        found.append(
            Finding(
                code="headroom-unproved",
                severity="warning",
                where=group.name,
                message=f"in the worst case u reaches {room.u_peak:,} and "
                f"{does[arithmetic.u_overflow]} ({basis})",
                resource="u",
                used=room.u_peak,
                limit=room.limit,
                unit="v units",
                rule=f"The synaptic state must not exceed its {bits}-bit register.",
            )
        )
    if room.clip_steps is not None and v_may_wrap(arithmetic):
        found.append(
            Finding(
                code="headroom-unproved",
                severity="warning",
                where=group.name,
                message=f"in the worst case v wraps after {room.clip_steps} steps ({basis})",
                resource="v",
                unit="v units",
                rule=f"The membrane potential must not exceed its {bits}-bit register.",
            )
        )
    most = 2 ** (arithmetic.sum_bits - 1) - 1
    if adder > most:
        found.append(
            Finding(
                code="headroom-unproved",
                severity="warning",
                where=group.name,
                message=f"in the worst case its input adds up to {adder:,.0f} and wraps ({basis})",
                resource="sum",
                used=adder,
                limit=most,
                rule=f"Sums of synaptic input must not exceed the adder's {arithmetic.sum_bits} bits.",
            )
        )
    return tuple(found)
