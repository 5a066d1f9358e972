"""All steps of a population at once: the engine's compiled loop forwards, and its gradient backwards.

The graph that autograd would build of `NeuronState.step` holds a dozen tensors per step; here it holds
one, the membrane as it was compared with the threshold. Gradients are the same: through leaks and
resets, a spike's derivative being the surrogate's; resets pass none on to the spikes that caused them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor

from ....ir.arrays import Array, Shape
from ....ir.neurons import Neuron
from ....simulate.float.kernel import holds
from ....simulate.float.neuron import NeuronState, in_tiles
from ....simulate.jit import compiled, has_numba, inlined
from .fused_leaks import currents_before, leak_gradients, membranes_before
from .surrogate import SpikeGradient, SurrogateKind
from .trains import UnrolledState

_KINDS = get_args(SurrogateKind)


def fusible(neuron: Neuron, parameters: Mapping[str, Tensor], gradient: SpikeGradient) -> bool:
    """Whether `run_fused` gives what steps do: no thresholds learn, and resets pass nothing on."""
    learnable = ("bias", "leak", "syn_leak")
    values = [v for name, v in parameters.items() if name not in learnable]
    # snnTorch's early reset depends on the state before, which would have to be kept for the floor
    floored = neuron.v_floor is not None and neuron.reset_timing == "snntorch-immediate"
    return (
        has_numba()
        and holds(neuron)
        and not (floored or gradient.smooth or gradient.through_reset)
        and not any(v.requires_grad for v in values)
        and all(v.device.type == "cpu" for v in parameters.values())
    )


def run_fused(
    neuron: Neuron,
    parameters: Mapping[str, Tensor],
    gradient: SpikeGradient,
    shape: Shape,
    drive: Tensor,
    state: UnrolledState | None,
    *,
    record: bool,
) -> tuple[Tensor, Tensor, UnrolledState]:
    """Run one population over a window.

    Args:
        neuron: with the rules.
        parameters: of the neuron, by name.
        gradient: of a spike.
        shape: of the population.
        drive: what arrives, ``(steps, samples, *shape)``.
        state: u, v and spikes at the start (None: the initial state).
        record: keep the membrane before spike and reset.

    Returns:
        What is emitted, the membranes ``(steps, samples, *shape)`` (without ``record`` no steps of
        them), and the state at the end.
    """
    fresh = fresh_state(neuron, parameters, shape, drive.shape[1])
    u, v, fired = state or (fresh.u, fresh.v, fresh.fired)
    learnt = (parameters["bias"], parameters["leak"], parameters.get("syn_leak"))
    out, charged, u, v, fired = _Run.apply(  # type: ignore[no-untyped-call]
        drive, *learnt, u, v, fired, fresh, gradient, record
    )
    return out, charged, (u, v, fired)


def fresh_state(
    neuron: Neuron, parameters: Mapping[str, Tensor], shape: Shape, samples: int
) -> NeuronState:
    """The initial state, for the compiled loop; no gradient reaches its parameters."""
    values = {name: value.detach() for name, value in parameters.items()}
    dtype = values["bias"].dtype
    return NeuronState(neuron, shape, samples, dtype, kernel=True, parameters=values)


def begun(
    state: NeuronState, carried: UnrolledState, drive: Tensor, *, record: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Set ``state`` to what was ``carried``; room for what is emitted, charged and decided."""
    state.u, state.v, state.fired = (x.detach().clone() for x in carried)
    out = torch.empty(drive.shape, dtype=drive.dtype)
    charged = torch.empty_like(out) if record else out.new_empty((0, *out.shape[1:]))
    return out, charged, torch.empty_like(out)


def ended(
    ctx: Any,
    out: Tensor,
    charged: Tensor,
    state: NeuronState,
    gradient: SpikeGradient,
    learnt: tuple[Tensor, Tensor, Tensor | None],
) -> tuple[Tensor, ...]:
    """What a forward pass returns, once ``ctx`` has all that the way back asks for.

    ``learnt`` are bias, leak and syn_leak.
    """
    ctx.constants, ctx.gradient = state.constants, gradient
    ctx.shapes = [None if t is None else t.shape for t in learnt]
    ctx.mark_non_differentiable(state.fired)
    return out, charged, state.u, state.v, state.fired


class _Run(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        drive: Tensor,
        bias: Tensor,
        leak: Tensor,
        syn_leak: Tensor | None,
        u: Tensor,
        v: Tensor,
        fired: Tensor,
        state: NeuronState,
        gradient: SpikeGradient,
        record: bool,
    ) -> tuple[Tensor, ...]:
        out, charged, decided = begun(state, (u, v, fired), drive, record=record)
        state.run(drive.detach(), out, charged=charged if record else None, decided=decided)
        leaks = (drive, u, v) if any(ctx.needs_input_grad[2:4]) else ()
        ctx.save_for_backward(decided, out, fired, *leaks)
        return ended(ctx, out, charged, state, gradient, (bias, leak, syn_leak))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        decided, out, fired, *leaks = ctx.saved_tensors
        for_out, for_charged, for_u, for_v, _ = gradients
        samples, neurons = out.shape[1], out[0, 0].numel()
        for_drive = torch.empty_like(out)
        incoming = for_out.contiguous(), for_charged.contiguous(), decided, out
        flows: Any = tuple(
            t.numpy().reshape(len(t), samples, neurons) for t in (*incoming, for_drive)
        )
        carried = [for_u.contiguous().clone(), for_v.contiguous().clone()]
        states: Any = tuple(t.numpy().reshape(samples, neurons) for t in (fired, *carried))
        kind, extent = shape_of(ctx.gradient, states[0].dtype.type)

        def tile(low: int, high: int) -> None:
            run_back(low, high, flows, states, kind, extent, ctx.constants)

        in_tiles(tile, samples, out.numel())
        for_leaks: tuple[Tensor | None, ...] = (None, None)
        if leaks:
            drive, u, v = (
                t.numpy().reshape(*t.shape[: -len(out.shape[2:])], neurons) for t in leaks
            )
            before = membranes_before(flows[2], flows[3], v, ctx.constants)
            currents = currents_before(drive, u, ctx.constants)
            found = leak_gradients(
                flows[4], for_u.numpy().reshape(u.shape), before, currents, ctx.constants
            )
            for_leaks = leaks_as(ctx, found, tuple(out.shape[2:]))
        for_bias = for_drive.sum((0, 1)).sum_to_size(ctx.shapes[0])
        return for_drive, for_bias, *for_leaks, *carried, None, None, None, None


def leaks_as(ctx: Any, found: tuple[Array, Array], shape: Shape) -> tuple[Tensor | None, ...]:
    """Gradients of leak and syn_leak in the shapes that these have."""
    return tuple(
        None if given is None else torch.from_numpy(value).reshape(shape).sum_to_size(given)
        for value, given in zip(found, ctx.shapes[1:], strict=True)
    )


def shape_of(gradient: SpikeGradient, number: Any) -> tuple[int, tuple[Any, Any]]:
    """Kind and extent of a surrogate, as `run_back` takes them."""
    return _KINDS.index(gradient.kind), (number(gradient.width), number(np.pi / 2))


# Plain tuples: the cache of compiled code stores the classes of arguments by their names, and cannot
# be read once one is renamed.
_Flows = tuple[Array, Array, Array, Array, Array]
"""``for_out, for_charged, decided, out, for_drive``, each ``(steps, samples, neurons)``."""
_Ends = tuple[Array, Array, Array]
"""Spikes before the window, ``for_u`` and ``for_v``, each ``(samples, neurons)``."""
_Rules = tuple[Any, ...]
"""`NeuronState.constants`: six arrays of parameters, which of them count, and the rules."""


@inlined
def _back(
    low: int,
    high: int,
    flows: _Flows,
    carried: _Ends,
    extent: tuple[Any, Any],
    rules: _Rules,
    kind: int,
    spiking: bool,
    many: bool,
    timing: int,
) -> None:
    for_out, for_charged, decided, out, for_drive = flows
    fired, for_u, for_v = carried
    width, quarter = extent
    leak, syn_leak, threshold, v_floor, _, _, has, _, _, _, most, reset, _, zero, one = rules
    _, has_syn_leak, _, has_floor = has
    has_charged = for_charged.size > 0
    half = one / (one + one)
    steps, _, neurons = out.shape
    for s in range(low, high):
        for t in range(steps - 1, -1, -1):
            for i in range(neurons):
                new, now, emitted = for_v[s, i], decided[t, s, i], out[t, s, i]
                if not spiking:
                    new = new + for_out[t, s, i]
                if has_floor:
                    end = now
                    if spiking and timing == 0:
                        if reset == 2:
                            end = now - emitted * threshold[i]
                        elif reset == 1:
                            end = zero if emitted > zero else now
                    # torch shares a gradient between two equal maxima
                    share = half if end == v_floor[i] else one
                    new = zero if end < v_floor[i] else new * share
                if spiking:
                    if timing == 0 and reset == 1:
                        new = zero if emitted > zero else new
                    edge = threshold[i]
                    unit = abs(edge)
                    if many:
                        edge = edge * min(max(np.rint(now / edge), one), most)
                    x = abs(now - edge) / (unit * width)
                    if kind == 0:
                        slope = half / (one + (x * quarter) * (x * quarter))
                    elif kind == 1:
                        slope = max(one - x, zero)
                    else:
                        slope = half / ((one + x) * (one + x))
                    new = new + for_out[t, s, i] * slope / (unit * width)
                    if timing == 1 and reset == 1:
                        before = out[t - 1, s, i] if t > 0 else fired[s, i]
                        new = zero if before > zero else new
                if has_charged:
                    new = new + for_charged[t, s, i]
                arriving = new + for_u[s, i]
                for_drive[t, s, i] = arriving
                for_u[s, i] = syn_leak[i] * arriving if has_syn_leak else zero
                for_v[s, i] = leak[i] * new


@compiled
def run_back(
    low: int,
    high: int,
    flows: _Flows,
    states: _Ends,
    kind: int,
    extent: tuple[Any, Any],
    rules: _Rules,
) -> None:
    """The gradient of `run_neurons` for samples ``low … high``, from the last step to the first.

    ``for_u`` and ``for_v`` come as the gradients of the state at the end, and leave as those of the
    state at the start.

    Args:
        low: first sample.
        high: the one behind the last.
        flows: over the window; ``for_drive`` is written.
        states: ``for_u`` and ``for_v`` are written.
        kind: of the surrogate, by its place in `SurrogateKind`.
        extent: width of the surrogate, and a quarter of a turn, in the type of all the others.
        rules: of the neurons.
    """
    # Spelled out with constants, the common rules compile to vectors.
    _, _, _, _, _, _, _, spiking, _, many, _, _, timing, _, _ = rules
    if spiking and timing == 0 and not many and kind == 0:
        _back(low, high, flows, states, extent, rules, 0, True, False, 0)
    else:
        _back(low, high, flows, states, extent, rules, kind, spiking, many, timing)
