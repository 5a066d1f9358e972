"""A population that feeds itself, one step after the other, with one gradient for all of them.

Forwards each step is the engine's own: a product of the spikes before, and the compiled loop for one
step. Backwards likewise, so autograd keeps one operation instead of a dozen per step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ....ir.linear.float_chain import float_chain
from ....ir.network import Projection
from ....ir.neurons import Neuron
from ....ir.ops import Dense
from ....simulate.float.kernel import run_neurons
from ....simulate.float.neuron import NeuronState
from .fused import begun, ended, fresh_state, leaks_as, run_back, shape_of
from .fused_leaks import leak_gradients, membranes_before
from .surrogate import SpikeGradient
from .trains import UnrolledState


@dataclass(frozen=True, kw_only=True, eq=False)
class SelfLoop:
    """The projection through which a population hears itself.

    Attributes:
        projection: dense, one step late.
        weight: as it acts.
        bias: what arrives with it, or None.
        silent: steps of the window before the bias arrives.
        before: spikes of the step before the window, ``(samples, neurons)``.
    """

    projection: Projection
    weight: Tensor
    bias: Tensor | None
    silent: int
    before: Tensor


def loops_simply(looped: Sequence[Projection]) -> bool:
    """Whether a population hears itself through one dense projection, one step late."""
    if len(looped) != 1:
        return False
    (p,) = looped
    return (
        len(p.ops) == 1
        and isinstance(p.op, Dense)
        and len(p.sources) == 1
        and (p.sources[0].min_delay, p.sources[0].max_delay) == (1, 1)
    )


def run_fused_loop(
    neuron: Neuron,
    parameters: Mapping[str, Tensor],
    gradient: SpikeGradient,
    drive: Tensor,
    loop: SelfLoop,
    state: UnrolledState | None,
    *,
    record: bool,
) -> tuple[Tensor, Tensor, UnrolledState]:
    """Run a population ``(neurons,)`` over a window; as `run_fused`, with what it sends itself."""
    fresh = fresh_state(neuron, parameters, tuple(drive.shape[2:]), drive.shape[1])
    u, v, fired = state or (fresh.u, fresh.v, fresh.fired)
    out, charged, u, v, fired = _Loop.apply(  # type: ignore[no-untyped-call]
        drive,
        loop.weight,
        parameters["bias"],
        parameters["leak"],
        parameters.get("syn_leak"),
        u,
        v,
        fired,
        loop.before,
        fresh,
        gradient,
        loop,
        record,
    )
    return out, charged, (u, v, fired)


class _Loop(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        drive: Tensor,
        weight: Tensor,
        bias: Tensor,
        leak: Tensor,
        syn_leak: Tensor | None,
        u: Tensor,
        v: Tensor,
        fired: Tensor,
        before: Tensor,
        state: NeuronState,
        gradient: SpikeGradient,
        loop: SelfLoop,
        record: bool,
    ) -> tuple[Tensor, ...]:
        out, charged, decided = begun(state, (u, v, fired), drive, record=record)
        arriving = torch.empty_like(out[:1])
        x, emitted, seen, compared = (t.numpy() for t in (arriving, out, charged, decided))
        states = state.u.numpy(), state.v.numpy(), state.fired.numpy()
        last, samples = before, drive.shape[1]
        learns = any(ctx.needs_input_grad[3:5])
        currents = torch.empty_like(out) if learns else out[:0]
        for t in range(len(drive)):
            if learns:
                currents[t] = state.u
            heard = float_chain(loop.projection.ops, weight, last)
            if loop.bias is not None and t >= loop.silent:
                heard = heard + loop.bias
            torch.add(drive[t], heard, out=arriving[0])
            now = slice(t, t + 1)
            kept = seen[now] if record else seen
            run_neurons(0, samples, x, emitted[now], kept, compared[now], *states, *state.constants)
            last = out[t]
        leaks = (currents, v) if learns else ()
        ctx.save_for_backward(decided, out, fired, before, weight, *leaks)
        return ended(ctx, out, charged, state, gradient, (bias, leak, syn_leak))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        decided, out, fired, before, weight, *leaks = ctx.saved_tensors
        for_out, for_charged, for_u, for_v, _ = gradients
        for_out, for_charged = for_out.clone(), for_charged.contiguous()
        for_drive = torch.empty_like(out)
        carried = [for_u.contiguous().clone(), for_v.contiguous().clone()]
        ends = [t.numpy() for t in carried]
        kind, extent = shape_of(ctx.gradient, ends[0].dtype.type)
        flows = [t.numpy() for t in (for_out, for_charged, decided, out, for_drive)]
        samples = out.shape[1]
        for t in range(len(out) - 1, -1, -1):
            now: Any = tuple(flow[t : t + 1] for flow in flows)
            earlier: Any = (fired.numpy() if t == 0 else flows[3][t - 1], *ends)
            run_back(0, samples, now, earlier, kind, extent, ctx.constants)
            if t:
                for_out[t - 1] += for_drive[t] @ weight
        heard = torch.cat([before[None], out[:-1]]).flatten(0, 1)
        for_weight = for_drive.flatten(0, 1).T @ heard
        for_bias = for_drive.sum((0, 1)).sum_to_size(ctx.shapes[0])
        for_leaks: tuple[Tensor | None, ...] = (None, None)
        if leaks:
            currents, v = (t.numpy() for t in leaks)
            earlier = membranes_before(flows[2], flows[3], v, ctx.constants)
            found = leak_gradients(flows[4], for_u.numpy(), earlier, currents, ctx.constants)
            for_leaks = leaks_as(ctx, found, tuple(out.shape[2:]))
        return (
            *(for_drive, for_weight, for_bias, *for_leaks, *carried, None, for_drive[0] @ weight),
            *(None, None, None, None),
        )
