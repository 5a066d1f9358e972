"""The integer engine: a `Program` in NumPy, equal to Lava's fixed-point processes bit for bit.

The clear form: int64 arrays, one step after the other, all samples of the batch at once. It runs in
*sample time* (see `snndeploy.ir.program`), where a group's depth is already taken out, so there is
nothing to align and nothing carries over from one sample to the next.

Registers follow lava-nc 0.10.0 (``lava/proc/lif/models.py``): synaptic input and both states are
int32 while they are computed, u then wraps once into 24 bits and v saturates.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

import numpy as np

from ..errors import InputError
from ..ir.apply import apply_chain
from ..ir.arrays import Array
from ..ir.program import (
    DECAY_ONE,
    STATE_MAX,
    STATE_SHIFT,
    CompartmentGroup,
    Program,
    SynapseGroup,
    SynapseSource,
)
from .recording import Recording

Inputs = Array | Mapping[str, Array]
_HALF = STATE_MAX + 1


def decay(x: Array, d: Array) -> Array:
    """Multiply by ``(4096 - d) / 4096``, rounding toward zero."""
    decayed: Array = np.sign(x) * ((np.abs(x) * (DECAY_ONE - d)) >> 12)
    return decayed


def wrap32(x: Array) -> Array:
    """Two's complement int32 overflow."""
    return ((x + 2**31) & (2**32 - 1)) - 2**31


def wrap_u(x: Array) -> Array:
    """Lava's single, asymmetric 24-bit wrap: +2**23 stays, values beyond 3 * 2**23 stay outside."""
    return np.where(x > _HALF, x - 2 * _HALF, np.where(x <= -_HALF, x + 2 * _HALF, x))


def shift(x: Array, exponent: int) -> Array:
    """``x * 2**exponent``, floored for negative exponents."""
    return x << exponent if exponent >= 0 else x >> -exponent


@dataclass
class State:
    """Registers of one group for the whole batch."""

    u: Array
    v: Array
    fired: Array

    @classmethod
    def at_rest(cls, shape: tuple[int, ...]) -> State:
        return cls(*(np.zeros(shape, np.int64) for _ in range(3)))


def step_group(group: CompartmentGroup, state: State, a: Array) -> Array:
    """Advance one group by one step with synaptic input ``a``; return the spikes (or v) it emits."""
    state.u = wrap_u(wrap32(decay(state.u, group.du + 1) + wrap32(a << STATE_SHIFT)))
    x = decay(state.v, group.dv) + state.u + group.bias
    threshold = group.vth << STATE_SHIFT
    if group.kind == "readout":
        state.v = np.clip(wrap32(x), -STATE_MAX, STATE_MAX)
        return state.v
    if group.kind == "lif":
        state.v = np.clip(wrap32(x), -STATE_MAX, STATE_MAX)
        fired = (state.v > threshold).astype(np.int64)
        state.v = np.where(fired, 0, state.v)
        return fired
    return _step_custom(group, state, x, threshold)


def _step_custom(group: CompartmentGroup, state: State, x: Array, threshold: Array) -> Array:
    """A neuron program, in the order that `snndeploy.ir.neurons.Neuron` documents."""
    subtract, zero = group.reset == "subtract", group.reset == "zero"
    late = group.reset_timing != "immediate"
    previous = state.fired
    if group.reset_timing == "snntorch-immediate":
        previous = _above(group, state.v, threshold).astype(np.int64)
    if late and subtract:
        x = x - previous * threshold
    state.v = np.clip(wrap32(x), -STATE_MAX, STATE_MAX)
    if late and zero:
        state.v = np.where(previous > 0, 0, state.v)
    fired = _above(group, state.v, threshold).astype(np.int64)
    if group.spikes_per_step == "many":
        fired = np.where(fired > 0, state.v // np.maximum(threshold, 1), 0)
        if group.max_spikes is not None:
            fired = np.minimum(fired, group.max_spikes)
    if group.reset_timing == "snntorch-immediate":
        state.v = state.v - (fired - previous) * threshold
    elif not late and subtract:
        state.v = state.v - fired * threshold
    elif not late and zero:
        state.v = np.where(fired > 0, 0, state.v)
    if group.v_floor is not None:
        state.v = np.maximum(state.v, group.v_floor)
    state.fired = fired
    return fired


def _above(group: CompartmentGroup, v: Array, threshold: Array) -> Array:
    return v > threshold if group.compare == ">" else v >= threshold


def synaptic_input(
    program: Program, synapses: SynapseGroup, source: SynapseSource, history: list[Array], step: int
) -> Array | int:
    """What ``source`` delivers through ``synapses`` at ``step`` of the sample, already shifted.

    Synapses of different delays are summed and shifted apart, as on the chip.
    """
    group = program.group(source.group)
    delays = program.delay(synapses, source)
    total: Array | int = 0
    for delay in np.unique(delays):
        if step < delay:
            continue
        spikes = history[step - int(delay)]
        if group.message_bits == 0:
            spikes = (spikes != 0).astype(np.int64)
        spikes = spikes * (delays == delay)
        accumulated = apply_chain(synapses.ops, synapses.mantissa, spikes)
        if group.message_bits:
            accumulated = wrap32(accumulated)
        total = total + wrap32(shift(accumulated, synapses.exponent))
    return total


@dataclass
class _Trace:
    """What is kept of one group: everything it emitted, and its states when asked for."""

    emitted: list[Array] = field(default_factory=list)
    u: list[Array] = field(default_factory=list)
    v: list[Array] = field(default_factory=list)


def run_integer(
    program: Program,
    inputs: Inputs,
    *,
    record_states: Collection[str] = (),
    progress: Callable[[int, int], None] | None = None,
) -> Recording:
    """Run ``program`` on integer inputs.

    Args:
        program: what to run.
        inputs: ``(steps, samples, *input shape)`` integers, or one such array per input group.
        record_states: groups whose u and v are recorded at every step (int64, after the reset).
        progress: called with (steps done, steps) after each step.

    Returns:
        Spikes of every group (and v of readouts), in sample time.

    Raises:
        InputError: an input is missing, has the wrong shape, or is not integer.
    """
    data = program_inputs(program, inputs)
    steps, samples = next(iter(data.values())).shape[:2]
    groups = sorted(program.groups, key=lambda g: g.depth)
    traces = {g.name: _Trace() for g in groups}
    states = {g.name: State.at_rest((samples, *g.shape)) for g in groups}
    for step in range(steps):
        for group in groups:
            trace, state = traces[group.name], states[group.name]
            if group.kind == "input":
                trace.emitted.append(data[group.name][step])
                continue
            if group.kind == "constant":
                trace.emitted.append(np.ones((samples, *group.shape), np.int64))
                continue
            a: Array = np.zeros((samples, *group.shape), np.int64)
            for synapses in program.incoming(group.name):
                for source in synapses.sources:
                    history = traces[source.group].emitted
                    a = a + synaptic_input(program, synapses, source, history, step)
            trace.emitted.append(step_group(group, state, wrap32(a)))
            if group.name in record_states:
                trace.u.append(state.u)
                trace.v.append(state.v)
        if progress:
            progress(step + 1, steps)
    return Recording(
        engine="integer",
        spikes={name: np.stack(t.emitted) for name, t in traces.items()},
        u={name: np.stack(t.u) for name, t in traces.items() if t.u},
        v={name: np.stack(t.v) for name, t in traces.items() if t.v},
    )


def program_inputs(program: Program, inputs: Inputs) -> dict[str, Array]:
    """Check inputs and return them as int64 per input group (shared by every integer engine).

    Raises:
        InputError: see `run_integer`.
    """
    groups = [g for g in program.groups if g.kind == "input"]
    if not isinstance(inputs, Mapping):
        if len(groups) != 1:
            names = ", ".join(g.name for g in groups)
            raise InputError(
                "input-missing", f"the program has {len(groups)} inputs ({names})",
                hint="pass one array per input, by name",
            )  # fmt: skip
        inputs = {groups[0].name: inputs}
    checked = {}
    for group in groups:
        if group.name not in inputs:
            raise InputError("input-missing", f"no data for input {group.name!r}")
        array = np.asarray(inputs[group.name])
        if array.ndim < 2 or array.shape[2:] != group.shape:
            raise InputError(
                "input-shape",
                f"data has shape {array.shape}, expected (steps, samples, "
                f"{', '.join(map(str, group.shape))})",
                where=f"input {group.name}",
            )
        if not np.issubdtype(array.dtype, np.integer) and array.dtype != bool:
            raise InputError(
                "input-not-integer", f"data is {array.dtype}, the program takes integers",
                where=f"input {group.name}", hint="encode it first (encode_inputs)",
            )  # fmt: skip
        checked[group.name] = array.astype(np.int64)
    return checked
