"""Rules about the program: what neurons and spikes can do, and the ranges of its numbers.

The docstring of a rule is its message and its documentation. A rule yields a `Breach` for everything
that breaks it; it never raises.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields

import numpy as np

from ...chip import Limit, Range, Widths
from ...chip.counting import Breach
from ...ir.arrays import Array
from ...ir.program import CompartmentGroup
from .placed import Subject


def arithmetic(s: Subject) -> Iterator[Breach]:
    """The program must be lowered for the registers of the chip: their widths, overflow and decay."""
    program, chip = s.program.arithmetic, s.memory.family.arithmetic
    differing = [f.name for f in fields(chip) if getattr(program, f.name) != getattr(chip, f.name)]
    if differing:
        told = ", ".join(
            f"{name.replace('_', ' ')} {getattr(program, name)} instead of {getattr(chip, name)}"
            for name in differing
        )
        bits = s.target.numeric.state_bits
        yield Breach(
            where="network",
            resource="arithmetic",
            source=bits.source,
            certainty=bits.certainty,
            message=f"it is lowered for another chip than {s.target.name}: {told}",
        )


def subtract_reset(s: Subject) -> Iterator[Breach]:
    """Neurons that subtract on reset need a neuron program or a second compartment."""
    for group in s.program.on_chip:
        if group.reset == "subtract" and s.target.neurons.subtract_reset == "none":
            yield _unsupported(s, group, "its reset subtracts the threshold", "subtract_reset")


def many_spikes(s: Subject) -> Iterator[Breach]:
    """Neurons that spike more than once per step need a neuron program."""
    for group in s.program.on_chip:
        if group.spikes_per_step == "many" and s.target.neurons.many_spikes == "none":
            yield _unsupported(s, group, "it spikes several times per step", "many_spikes")


def v_floor(s: Subject) -> Iterator[Breach]:
    """Membrane potentials with a floor need a neuron program."""
    for group in s.program.on_chip:
        if group.v_floor is not None and s.target.neurons.v_floor == "none":
            yield _unsupported(s, group, "its membrane potential has a floor", "v_floor")


def neuron_program(s: Subject) -> Iterator[Breach]:
    """Neurons that differ from the chip's own in order or comparison need a neuron program."""
    if s.target.neurons.programmable:
        return
    # Subtraction through a second compartment takes effect one step later by nature.
    two = s.target.neurons.subtract_reset == "two-compartments"
    for group in s.program.on_chip:
        late = group.reset_timing != "immediate" and not (two and group.reset == "subtract")
        native = s.memory.family.native_compare
        for name in group.beyond():
            yield _unsupported(s, group, f"it has {name.replace('_', ' ')}", "neuron_program")
        if group.kind == "resonator":
            yield _unsupported(s, group, "its neurons resonate", "neuron_program")
        if group.kind == "custom" and (group.compare != native or late):
            what = f"it fires at v {group.compare} threshold and resets {group.reset_timing}"
            yield _unsupported(s, group, what, "neuron_program")


def graded_spikes(s: Subject) -> Iterator[Breach]:
    """Spikes that carry values need a chip with graded spikes, and must fit their payload."""
    neurons = s.target.neurons
    for group in s.program.groups:
        if group.message_bits and not neurons.graded_spikes:
            what = f"its spikes carry values of {group.message_bits} bits"
            yield _unsupported(s, group, what, "graded_spikes")
        elif group.message_bits > neurons.graded_bits:
            yield Breach(
                where=group.name,
                resource="graded_bits",
                unit="bits",
                used=group.message_bits,
                limit=neurons.graded_bits,
                source=neurons.source,
                certainty=neurons.certainty,
                message=f"its spikes carry values of {group.message_bits} bits",
            )


def weight_bits(s: Subject) -> Iterator[Breach]:
    """Weights must fit the widest field of the synapse memory."""
    widths = s.target.synapse.weight
    for synapses in s.program.synapses:
        if synapses.weight_bits > widths.largest:
            yield _beyond(
                synapses.name, "weight_bits", synapses.weight_bits, widths.largest, widths
            )


def mantissas(s: Subject) -> Iterator[Breach]:
    """Mantissas of weights must be in the range that the chip multiplies with."""
    for synapses in s.program.synapses:
        yield from _outside(synapses.name, "mantissa", synapses.mantissa, s.target.synapse.mantissa)


def exponents(s: Subject) -> Iterator[Breach]:
    """Exponents of weights must be in the range of their field."""
    for synapses in s.program.synapses:
        exponent = np.asarray(synapses.exponent)
        yield from _outside(synapses.name, "exponent", exponent, s.target.synapse.exponent)


def delays(s: Subject) -> Iterator[Breach]:
    """Synaptic delays must not be longer than the chip can hold a spike back."""
    limit = s.target.synapse.delay_max
    for synapses in s.program.synapses:
        longest = max(int(o.latency.max()) for o in synapses.sources) - 1
        if longest > limit.limit:
            yield _beyond(synapses.name, "delay", longest, limit.limit, limit)


def decays(s: Subject) -> Iterator[Breach]:
    """Decay constants must fit their register."""
    yield from _parameters(s, "decay", s.target.numeric.decay_max, lambda g: (g.du, g.dv))


def thresholds(s: Subject) -> Iterator[Breach]:
    """Thresholds must fit their register."""
    limit = s.target.numeric.vth_max
    yield from _parameters(s, "threshold", limit, lambda g: () if g.rule is None else (g.vth,))


def biases(s: Subject) -> Iterator[Breach]:
    """Biases must fit their mantissa."""
    yield from _parameters(s, "bias", s.target.numeric.bias_mant_max, lambda g: (g.bias_mant,))


def bias_exponents(s: Subject) -> Iterator[Breach]:
    """Exponents of biases must be in the range of their field."""
    limit = s.target.numeric.bias_exp_max
    span = Range(
        low=0, high=limit.limit, unit=limit.unit, source=limit.source, certainty=limit.certainty
    )
    for group in s.program.on_chip:
        yield from _outside(group.name, "bias_exponent", np.asarray(group.bias_exp), span)


def headroom(s: Subject) -> Iterator[Breach]:
    """Currents should not wrap around, whatever the spike trains."""
    bits = s.target.numeric.state_bits
    largest = 2 ** (bits.limit - 1) - 1
    told = {f.where for f in s.program.findings if f.code.startswith("headroom")}
    for name, room in s.program.headroom.items():
        if room.u_peak > largest and name not in told:  # the lowering knows more about it
            yield _beyond(name, "current", room.u_peak, largest, bits, unit="")


def _unsupported(s: Subject, group: CompartmentGroup, what: str, resource: str) -> Breach:
    neurons = s.target.neurons
    return Breach(
        where=group.name,
        message=f"{what}, which {s.target.name} cannot do",
        resource=resource,
        source=neurons.source,
        certainty=neurons.certainty,
    )


def _beyond(
    where: str,
    resource: str,
    used: int,
    limit: int,
    origin: Limit | Range | Widths,
    unit: str | None = None,
) -> Breach:
    unit = origin.unit if unit is None else unit
    over = f"{used:,} where {limit:,} is the limit" + (f" ({unit})" if unit else "")
    return Breach(
        where=where,
        message=f"{resource.replace('_', ' ')}: {over}",
        resource=resource,
        used=used,
        limit=limit,
        unit=unit,
        source=origin.source,
        certainty=origin.certainty,
    )


def _outside(where: str, resource: str, values: Array, span: Range) -> Iterator[Breach]:
    low, high = int(values.min()), int(values.max())
    if high > span.high:
        yield _beyond(where, resource, high, span.high, span)
    if low < span.low:
        yield _beyond(where, resource, low, span.low, span)


def _parameters(
    s: Subject, resource: str, limit: Limit, of: Callable[[CompartmentGroup], tuple[Array, ...]]
) -> Iterator[Breach]:
    for group in s.program.on_chip:
        largest = max((int(np.abs(a).max()) for a in of(group)), default=0)
        if largest > limit.limit:
            yield _beyond(group.name, resource, largest, limit.limit, limit)
