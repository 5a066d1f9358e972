"""One population: choose its scale, then round its neuron and all that arrives to that scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..chip import Target
from ..errors import LoweringRefused
from ..ir.arrays import Array, Shape, frozen
from ..ir.finding import Finding
from ..ir.network import Population
from ..ir.neurons import Neuron
from ..ir.ops import Op, Pointwise, weighted_index
from ..ir.program import (
    DECAY_ONE,
    STATE_SHIFT,
    CompartmentGroup,
    Headroom,
    Kind,
    Rounding,
    SynapseGroup,
)
from .headroom import Interval, headroom
from .incoming import MANY_SPIKES, Incoming
from .integers import MANTISSA_BITS, to_bias, to_decay, to_mantissas
from .scale import base_scale, choose_scale, per_weight


@dataclass(frozen=True, kw_only=True, eq=False)
class Lowered:
    """A population's compartments, the synapses that end on it, and what rounding did."""

    group: CompartmentGroup
    synapses: tuple[SynapseGroup, ...]
    headroom: Headroom
    rounding: Rounding
    findings: tuple[Finding, ...]


def lower_population(
    population: Population,
    incoming: Sequence[Incoming],
    target: Target,
    *,
    depth: int,
    steps: int,
    observed: float | None,
) -> Lowered:
    """Lower one population with everything that arrives at it.

    Raises:
        LoweringRefused: the neuron has no form on this target, or codes exceed 8 bits.
    """
    neuron, shape = population.neuron, population.shape
    if neuron is None:
        raise ValueError(f"{population.name} is an input")
    kind, route = _route(population.name, neuron, target)
    _refuse_wide_weights(incoming)
    scale = choose_scale(
        shape,
        neuron,
        incoming,
        target,
        base=base_scale(shape, incoming),
        steps=steps,
        observed=observed,
    )
    group = _group(population, neuron, kind, route, scale, target, depth)
    synapses, weights, biases = [], [0.0], [0.0]
    bounds = Interval(np.zeros(shape), np.zeros(shape))
    for arriving in incoming:
        synapse, error = _synapses(arriving, scale, shape, population.name, target)
        bounds = bounds + replace(arriving, ops=synapse.ops).interval(synapse.mantissa) * float(
            2.0**synapse.exponent
        )
        synapses.append(synapse)
        (biases if arriving.constant else weights).append(error + arriving.codes.error)
    room = headroom(group, bounds)
    return Lowered(
        group=group,
        synapses=tuple(synapses),
        headroom=room,
        rounding=_rounding(neuron, group, max(weights), max(biases)),
        findings=_findings(neuron, group, room, incoming, proved_by_data=observed is not None),
    )


def _route(name: str, neuron: Neuron, target: Target) -> tuple[Kind, str]:
    """How the target realises this neuron: its compartment kind, and in words."""
    if neuron.v_init.any():
        raise LoweringRefused(
            "initial-state",
            "its membrane does not start at the reset value; a chip's reset state is 0",
            where=name,
        )
    if not neuron.spiking:
        return "readout", "native compartment that never spikes; v is read"
    features = {
        "zero_reset": neuron.reset != "zero" or neuron.reset_timing != "immediate",
        "subtract_reset": neuron.reset == "subtract",
        "many_spikes": neuron.spikes_per_step == "many",
        "v_floor": neuron.v_floor is not None,
    }
    needed = [feature for feature, differs in features.items() if differs]
    if not needed:
        return "lif", "native compartment"
    support = {f: getattr(target.neurons, f) for f in needed if f != "zero_reset"}
    if neuron.reset == "none" or neuron.reset_timing != "immediate":
        late = {"next-step": "reset in the next step", "snntorch-immediate": "snnTorch reset"}
        word = late.get(neuron.reset_timing, "no reset")
        support.setdefault("subtract_reset", target.neurons.subtract_reset)
    else:
        word = f"reset {neuron.reset}"
    missing = [f for f, how in support.items() if how == "none"]
    if missing:
        raise LoweringRefused(
            "neuron-unsupported",
            f"{target.name} has no form for: {', '.join(f.replace('_', ' ') for f in missing)}",
            where=name,
            hint="compile for loihi2, or retrain with a reset to zero and one spike per step",
        )
    if "two-compartments" in support.values():
        return "custom", f"two compartments per neuron ({word})"
    many = ", many spikes per step" if neuron.spikes_per_step == "many" else ""
    return "custom", f"neuron program ({word}{many})"


def _refuse_wide_weights(incoming: Sequence[Incoming]) -> None:
    """Codes wider than a mantissa have no integer form; what a target stores is for its check."""
    for i in incoming:
        peak = int(np.abs(i.codes.codes).max(initial=0))
        if peak > 2 ** (MANTISSA_BITS - 1):
            raise LoweringRefused(
                "weight-bits",
                f"its codes need {peak.bit_length() + 1} bits, a mantissa holds {MANTISSA_BITS}",
                where=i.name,
                hint=f"quantize with bits <= {MANTISSA_BITS} (rescaw, which has no zero: one less)",
            )


def _synapses(
    incoming: Incoming, scale: Array, shape: Shape, target_name: str, target: Target
) -> tuple[SynapseGroup, float]:
    """Round a projection's weights to the population's scale; also the largest relative error."""
    factor = per_weight(scale, incoming, shape)
    if factor is None:
        factor = np.asarray(float(scale.max()))
    wanted = incoming.codes.codes * incoming.step * factor / (1 << STATE_SHIFT)
    m = to_mantissas(wanted, target.synapse.exponent.low)
    alive = incoming.alive
    return SynapseGroup(
        name=incoming.name,
        sources=incoming.sources,
        target=target_name,
        ops=_with_weight_shape(incoming.ops, wanted.shape),
        mantissa=m.mantissa,
        exponent=m.exponent,
        sign_mode=m.sign_mode,
        weight_bits=m.weight_bits,
        alive=None if alive is None else frozen(np.broadcast_to(alive, wanted.shape)),
    ), m.error


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
    kind: Kind,
    route: str,
    scale: Array,
    target: Target,
    depth: int,
) -> CompartmentGroup:
    many = kind == "custom" and neuron.spikes_per_step == "many"
    return CompartmentGroup(
        name=population.name,
        shape=population.shape,
        role=population.role,
        kind=kind,
        depth=depth,
        scale=frozen(scale),
        message_bits=(neuron.max_spikes or MANY_SPIKES).bit_length() if many else 0,
        compare=neuron.compare if kind == "custom" else ">",
        reset=neuron.reset if kind == "custom" else "zero",
        reset_timing=neuron.reset_timing if kind == "custom" else "immediate",
        spikes_per_step=neuron.spikes_per_step if kind == "custom" else "one",
        max_spikes=neuron.max_spikes if many else None,
        route=route,
        **registers(neuron, kind, scale, target),
    )


def registers(neuron: Neuron, kind: Kind, scale: Array, target: Target) -> dict[str, Any]:
    """The neuron's parameters as a compartment group of that scale holds them, by field."""
    n = target.numeric
    syn_leak = np.zeros(()) if neuron.syn_leak is None else neuron.syn_leak
    bias = neuron.drive + (neuron.bias if neuron.syn_leak is None else 0.0)
    bias_mant, bias_exp = to_bias(bias * scale, n.bias_mant_max.limit, n.bias_exp_max.limit)
    floor = neuron.v_floor
    return {
        "du": to_decay(syn_leak, 1, n.decay_max.limit),
        "dv": to_decay(neuron.leak, 0, n.decay_max.limit),
        "vth": _threshold(neuron, kind, scale, n.vth_max.limit),
        "bias_mant": bias_mant,
        "bias_exp": bias_exp,
        "v_floor": None if floor is None else frozen(np.rint(floor * scale).astype(np.int64)),
    }


def _threshold(neuron: Neuron, kind: Kind, scale: Array, largest: int) -> Array:
    """Threshold mantissa. v is compared with ``vth << 6``, strictly.

    Without leak, v is a multiple of 64: there ``v > theta`` is exactly ``v > 64 * floor(theta / 64)``
    and ``v >= theta`` exactly ``v > 64 * (ceil(theta / 64) - 1)``. With a leak the same holds for a
    threshold on the grid; one off the grid is rounded to it. Neuron programs compare as trained.
    """
    if neuron.threshold is None:
        return frozen(np.int64(largest + 1))
    wanted = np.asarray(neuron.threshold * scale / (1 << STATE_SHIFT))
    # What is on the grid but for float error of the scale must not fall off it.
    wanted = np.where(
        np.abs(wanted - np.rint(wanted)) < 1e-9 * np.abs(wanted), np.rint(wanted), wanted
    )
    if kind == "custom":
        vth = np.rint(wanted)
    else:
        exact = (neuron.leak == 1) | (wanted == np.rint(wanted))
        on_grid = np.floor(wanted) if neuron.compare == ">" else np.ceil(wanted) - 1
        vth = np.where(exact, on_grid, np.rint(wanted))
    return frozen(np.minimum(vth, largest).astype(np.int64))


def _rounding(
    neuron: Neuron, group: CompartmentGroup, weight_error: float, bias_error: float
) -> Rounding:
    """Largest differences between the group and the neuron it stands for.

    ``bias_error`` is that of a bias which arrives by synapses, relative to the largest bias.
    """
    scale, syn_leak = group.scale, np.zeros(()) if neuron.syn_leak is None else neuron.syn_leak
    bias = neuron.drive + (neuron.bias if neuron.syn_leak is None else 0.0)
    threshold = np.ones(()) if neuron.threshold is None else np.abs(neuron.threshold)
    lost_bias = np.abs(group.bias / scale - bias) + bias_error * np.abs(neuron.bias).max()
    lost = np.zeros(())
    if neuron.threshold is not None:
        wanted = neuron.threshold * scale
        strict = group.kind != "custom" and neuron.compare == ">="
        got = (group.vth + int(strict)) << STATE_SHIFT
        # Without leak the grid step between threshold and mantissa holds no reachable v.
        reachable = neuron.leak != 1 if group.kind == "lif" else np.ones((), bool)
        lost = np.where(reachable, np.abs(got - wanted) / np.maximum(np.abs(wanted), 1e-300), 0.0)
    return Rounding(
        leak=float(np.abs(1 - group.dv / DECAY_ONE - neuron.leak).max()),
        syn_leak=float(np.abs(1 - (group.du + 1) / DECAY_ONE - syn_leak).max()),
        threshold=float(lost.max()),
        bias=float((lost_bias / np.maximum(threshold, 1e-300)).max()),
        weight=weight_error,
    )


def _findings(
    neuron: Neuron,
    group: CompartmentGroup,
    room: Headroom,
    incoming: Sequence[Incoming],
    *,
    proved_by_data: bool,
) -> tuple[Finding, ...]:
    """Everything about this population that the user has to be told."""
    found = [
        Finding(
            code="weights-rounded",
            severity="note",
            where=i.name,
            message="its weights were not quantised; rounding them to 8 bits changes them by up to "
            f"{i.codes.error:.2%} of the largest",
        )
        for i in incoming
        if not i.codes.exact
    ]
    if group.kind == "custom":
        found.append(
            Finding(code="neuron-route", severity="note", where=group.name, message=group.route)
        )
    if room.wraps:
        basis = (
            "calibration data stayed within it" if proved_by_data else "no data was given to tell"
        )
        found.append(
            Finding(
                code="headroom-unproved",
                severity="warning",
                where=group.name,
                message=f"in the worst case u reaches {room.u_peak:,} and wraps ({basis})",
                resource="u",
                used=room.u_peak,
                limit=room.limit,
                unit="v units",
                rule="The synaptic state must not exceed its 24-bit register.",
            )
        )
    if group.kind == "lif" and neuron.compare == ">=" and (neuron.leak != 1).any():
        found.append(
            Finding(
                code="compare-approximated",
                severity="note",
                where=group.name,
                message="trained with v >= threshold; the chip fires at v > threshold - 1 mantissa "
                f"unit (of {int(np.min(group.vth)) + 1})",
            )
        )
    return tuple(found)
