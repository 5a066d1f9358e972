"""A neuron in the registers of a chip, and back: the neuron that a compartment group really is."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from ..chip import Family, Target, family_of
from ..ir.arrays import Array, frozen
from ..ir.fields import HeldAs, held_fields
from ..ir.neurons import Neuron
from ..ir.program import CompartmentGroup, Kind
from ..ir.step import Arithmetic
from .decays import kept, to_decay
from .integers import to_bias


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

    def own(value: Array | None, held: HeldAs) -> Array | None:
        if value is None:
            return None
        match held:
            case "level":
                return _level(value * scale, arithmetic)
            case "factor":
                return to_decay(value, 0, n.decay_max.limit, arithmetic)

    return {
        "du": to_decay(syn_leak, arithmetic.u_decay_offset, n.decay_max.limit, arithmetic),
        "dv": to_decay(
            neuron.leak, 0, n.decay_max.limit, arithmetic, at=_usual(neuron, scale, unit)
        ),
        "vth": _threshold(neuron, kind, scale, vth_max, unit),
        "bias_mant": bias_mant,
        "bias_exp": bias_exp,
        **{
            name: own(getattr(neuron, name), held)
            for name, held in held_fields(CompartmentGroup).items()
        },
    }


def _level(wanted: Array, arithmetic: Arithmetic) -> Array:
    """In v units; what is beyond the register is its end: no v is."""
    most = arithmetic.state_max
    return frozen(np.rint(np.clip(wanted, -most, most)).astype(np.int64))


def _usual(neuron: Neuron, scale: Array, unit: int) -> float | None:
    """v of a neuron on its way to a spike, in v units: half of a threshold, which is held as one
    ``unit`` at the least. Below that, a leak would be given up for what rounding drops.
    """
    if neuron.threshold is None:
        return None
    return 0.5 * max(float(np.mean(np.abs(neuron.threshold) * scale)), float(unit))


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


def _real(
    register: Array | None, held: HeldAs, scale: Array, arithmetic: Arithmetic
) -> Array | None:
    """Back from what `registers` holds of a parameter."""
    if register is None:
        return None
    match held:
        case "level":
            return register / scale
        case "factor":
            return kept(register, arithmetic)


def held_neuron(neuron: Neuron, group: CompartmentGroup, target: Target) -> Neuron:
    """``neuron`` with its parameters rounded as ``group`` of ``target`` holds them, in network units.

    v is a whole number on the chip. Where the threshold is only compared with, it is set half a unit
    off, to the side on which the comparison comes out as the integer one does whatever the noise of
    floating point. A bias that passes the synaptic filter arrives by synapses and stays as it is.
    """
    family = family_of(target)
    arithmetic = family.arithmetic
    held = dataclasses.replace(group, **registers(neuron, group.kind, group.scale, family))
    bias = held.bias / held.scale
    filtered = neuron.syn_leak is not None
    own: dict[str, Any] = {
        name: _real(getattr(held, name), how, held.scale, arithmetic)
        for name, how in held_fields(CompartmentGroup).items()
    }
    changed = dataclasses.replace(
        neuron,
        leak=kept(held.dv, arithmetic),
        syn_leak=kept(held.du + arithmetic.u_decay_offset, arithmetic) if filtered else None,
        bias=neuron.bias if filtered else bias,
        drive=bias if filtered else np.zeros(()),
        **own,
    )
    if neuron.threshold is None:
        return changed
    threshold = (held.vth << arithmetic.state_shift).astype(np.float64)
    if held.reset == "zero" and held.spikes_per_step == "one":
        threshold += 0.5 if held.compare == ">" else -0.5
    return dataclasses.replace(changed, compare=held.compare, threshold=threshold / held.scale)
