"""How far a lowered group is from its neuron, and which registers its worst case exceeds."""

from __future__ import annotations

import numpy as np

from ...ir.arrays import Array
from ...ir.finding import Finding
from ...ir.neurons import Neuron
from ...ir.program import CompartmentGroup, Headroom, Rounding
from ...ir.step import Arithmetic
from ..decays import kept
from .headroom import ENDLESS, v_may_wrap


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


def unproved(
    group: CompartmentGroup,
    room: Headroom,
    adder: float,
    arithmetic: Arithmetic,
    *,
    proved_by_data: bool,
) -> tuple[Finding, ...]:
    """Registers that the worst case exceeds."""
    basis = (
        "calibration data stayed within it"
        if proved_by_data
        else "snndeploy verify counts whether data do"
    )
    bits = arithmetic.state_bits
    does = {"wrap": "wraps", "saturate": "saturates", "saturate-full": "saturates"}
    found = []
    if room.wraps:
        grows = f"reaches {room.u_peak:,}" if room.u_peak < ENDLESS else "grows without end"
        found.append(
            Finding(
                code="headroom-unproved",
                severity="warning",
                where=group.name,
                message=f"in the worst case u {grows} and {does[arithmetic.u_overflow]} ({basis})",
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
    most = arithmetic.sum_max
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
