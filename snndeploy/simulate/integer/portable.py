"""The engine in torch alone, for other devices: exact, one operation after the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ...ir.arrays import Array, size
from ...ir.program import CompartmentGroup, Port
from ...ir.step import shifted, wrapped
from .neurons.step import registers_of, rested, step_group
from .plan import Component, RunPlan
from .routes.dense import DenseForm
from .train import States, Train

if TYPE_CHECKING:
    from torch import Tensor

_BLOCK_VALUES = 1 << 22
"""Sums that are multiplied out at once."""
_BATCH_NEURONS = {"cpu": 1 << 17, "cuda": 1 << 24}
"""Neurons of the widest group over all samples of a batch: states that a cache, or a device, holds."""


class PortableEngine:
    """A program prepared once for a torch device."""

    def __init__(self, plan: RunPlan, device: str = "cpu") -> None:
        import torch

        self.plan = plan
        self.device = device
        self._legs = {
            name: [DenseForm(leg, device) for leg in legs] for name, legs in plan.legs.items()
        }
        self._arithmetic = plan.program.arithmetic
        self._parameters = {
            g.name: registers_of(g, self._arithmetic, lambda x: torch.tensor(x, device=device))
            for g in plan.program.groups
            if g.kind != "input"
        }

    @property
    def batch(self) -> int:
        """Samples at once that suit the device."""
        widest = max(size(g.shape) for g in self.plan.program.groups)
        return max(1, _BATCH_NEURONS[self.device.partition(":")[0]] // widest)

    def run(self, trains: Mapping[str, Train], samples: int, states: States) -> None:
        """Fill the trains of all groups that are not inputs, for the chunk's ``samples``."""
        import torch

        given = {n: t.values[:, t.base : t.base + samples] for n, t in trains.items()}
        sent: dict[str, Tensor] = {}
        for component in self.plan.components:
            for group in component.groups:
                values = given[group.name]
                if group.kind in ("input", "constant"):
                    values = np.ascontiguousarray(values)
                    sent[group.name] = torch.from_numpy(values).to(self.device)
                else:
                    dtype = torch.uint8 if values.dtype == np.uint8 else torch.int32
                    sent[group.name] = torch.zeros(values.shape, dtype=dtype, device=self.device)
            if component.groups[0].kind not in ("input", "constant"):
                self._component(component, sent, samples, trains, states)
            for group in component.groups:
                if group.kind not in ("input", "constant"):
                    given[group.name][:] = sent[group.name].cpu().numpy()

    def _component(
        self,
        component: Component,
        sent: dict[str, Tensor],
        samples: int,
        trains: Mapping[str, Train],
        states: States,
    ) -> None:
        import torch

        steps = sent[component.groups[0].name].shape[0]
        widest = sum(size(g.shape) for g in component.groups)
        block = 1 if component.loop else max(1, _BLOCK_VALUES // max(1, samples * widest))
        state_of = {g.name: rested(g, samples, torch, device=self.device) for g in component.groups}
        for first in range(0, steps, block):
            stop = min(first + block, steps)
            for group in component.groups:
                ports = [self._drive(group, p, sent, first, stop, samples) for p in group.ports]
                drive = ports[0] if len(ports) == 1 else torch.stack(ports, dim=1)
                state = state_of[group.name]
                for t in range(first, stop):
                    out = step_group(
                        group,
                        self._arithmetic,
                        state,
                        drive[t - first],
                        self._parameters[group.name],
                        torch,
                        states.watch,
                    )
                    sent[group.name][t] = out.reshape(samples, -1)
                    if group.name in states.u:
                        low = trains[group.name].base
                        _record(states.u[group.name], t, low, state.u)
                        _record(states.v[group.name], t, low, state.v)

    def _drive(
        self,
        group: CompartmentGroup,
        port: Port,
        sent: Mapping[str, Tensor],
        first: int,
        stop: int,
        samples: int,
    ) -> Tensor:
        """What arrives at a port in the steps ``first:stop``: int64 (steps, samples, *shape)."""
        import torch

        bits = self._arithmetic.sum_bits
        shape = (stop - first, samples, *group.shape)
        drive = torch.zeros(shape, dtype=torch.int64, device=self.device)
        for form in self._legs[group.name]:
            leg = form.leg
            if leg.synapses.port != port:
                continue
            begin = max(first - leg.delay, 0)
            x = sent[leg.source][begin : max(stop - leg.delay, 0)]
            if not len(x):
                continue
            peak = int(x.abs().max()) if leg.graded and x.numel() else 1
            sums = form(x.reshape(-1, *leg.in_shape), peak).to(torch.int64)
            if leg.graded:
                sums = wrapped(sums, bits)
            arriving = wrapped(_shifted(sums, leg.synapses.exponent), bits)
            drive[len(drive) - len(x) :] += arriving.reshape(len(x), *shape[1:])
        total: Tensor = wrapped(drive, bits)
        return total


def _shifted(sums: Tensor, exponent: int) -> Any:
    return shifted(sums, max(exponent, -63)) if exponent < 63 else sums * 0


def _record(into: Array, step: int, low: int, values: Tensor) -> None:
    into[step, low : low + len(values)] = values.reshape(len(values), -1).cpu().numpy()
