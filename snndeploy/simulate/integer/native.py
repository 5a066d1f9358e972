"""The engine on CPU cores: each part of the samples is run whole by one thread, in tiles for its cache.

For each group in turn, the legs whose activity makes a dense product cheaper are multiplied for a block
of samples and all steps at once; everything else happens tile by tile: events of the sources are
collected and added up, then the neurons of the group are stepped. Without compiled kernels everything is
multiplied out, and neurons are stepped by NumPy.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...ir.arrays import Array, size
from ...ir.program import CompartmentGroup
from ...ir.step import Arithmetic
from ..threads import compute_alone, cut, share_out
from .neurons.packed import PackedNeurons, pack_neurons
from .neurons.step import registers_of, rested, step_group
from .neurons.watch import Watch
from .plan import Component, Leg, Route, RunPlan
from .routes.adders import Scratch, leg_adder
from .routes.dense import DenseForm, float_type, largest_message
from .routes.forms import EventForm, dense_cost, event_form
from .train import States, Train

_WORTH_PARTS = 1 << 17
"""Updates of neurons that a part has at least: fewer are done sooner than threads are woken."""
_PARTS = 16
"""As many at most: who is held up does fewer of them."""
_TILE_VALUES = 1 << 17
"""int32 sums of a tile: half a megabyte, within a core's second cache with its states."""
_WHOLE_VALUES = 1 << 18
"""Those of a tile that holds whole trains, so that threads meet less often."""
_BLOCK_VALUES = 1 << 23
"""Values that a block of dense products holds."""


@dataclass(eq=False)
class _LegForms:
    """How one leg can be computed; both None: step by step in int64."""

    leg: Leg
    events: EventForm | None
    dense: DenseForm


@dataclass(eq=False)
class _Work:
    """A group within one block: its prepared legs, and products that exist already."""

    group: CompartmentGroup
    arithmetic: Arithmetic
    parameters: Any
    packed: PackedNeurons | None
    legs: list[_LegForms]
    products: dict[int, Array]


class NativeEngine:
    """A program prepared once, for runs on chunks of samples."""

    def __init__(self, plan: RunPlan, route: Route = "auto", *, kernels: bool = True) -> None:
        self.plan = plan
        self.route = route
        self.kernels = kernels
        self._local = threading.local()
        self.threads = int(os.environ.get("OMP_NUM_THREADS") or _cores())
        self._arithmetic = plan.program.arithmetic
        self._packed = {
            g.name: pack_neurons(g, self._arithmetic) if kernels else None
            for g in plan.program.groups
            if g.kind != "input"
        }
        self._parameters = {
            g.name: registers_of(g, self._arithmetic)
            for g in plan.program.groups
            if g.kind != "input"
        }
        self._forms = {
            name: [
                _LegForms(leg, event_form(leg) if kernels else None, DenseForm(leg)) for leg in legs
            ]
            for name, legs in plan.legs.items()
        }

    @property
    def batch(self) -> int:
        """Samples at once that suit the cores: any number, tiles are cut from them."""
        return 1 << 30

    def run(self, trains: Mapping[str, Train], samples: int, states: States) -> None:
        """Fill the trains of all groups that are not inputs, for the chunk's ``samples``."""
        steps = next(iter(trains.values())).values.shape[0]
        each = steps * sum(size(g.shape) for g in self.plan.program.groups if g.kind != "input")
        fewest = max(-(-samples // _PARTS), -(-_WORTH_PARTS // max(1, each)))
        parts = cut(samples, samples if self.threads == 1 else fewest)

        def run(part: slice) -> None:
            for component in self.plan.components:
                if component.groups[0].kind not in ("input", "constant"):
                    self._component(component, trains, part, states)

        share_out(run, parts, self.threads if len(parts) > 1 else 1)

    def _component(
        self, component: Component, trains: Mapping[str, Train], part: slice, states: States
    ) -> None:
        dense = self._dense_legs(component, trains, part)
        steps = next(iter(trains.values())).values.shape[0]
        most = part.stop - part.start
        if dense:
            widest = max(size(g.shape) for g in component.groups)
            most = max(1, _BLOCK_VALUES // max(1, steps * widest))
        for low in range(part.start, part.stop, most):
            high = min(low + most, part.stop)
            products = {
                id(forms): _products(forms, trains[forms.leg.source], low, high, peak)
                for forms, peak in dense
            }
            plain = states.watch is not None
            work = [
                _Work(
                    g,
                    self._arithmetic,
                    self._parameters[g.name],
                    None if plain else self._packed[g.name],
                    self._forms[g.name],
                    {id(f): products[id(f)] for f in self._forms[g.name] if id(f) in products},
                )
                for g in component.groups
            ]
            step = _samples_of_a_tile(work, component.loop, steps)
            for start in range(low, high, step):
                span = (start, min(start + step, high))
                self._run_tile(work, component.loop, trains, states, span, low)

    def _dense_legs(
        self, component: Component, trains: Mapping[str, Train], part: slice
    ) -> list[tuple[_LegForms, int]]:
        """The legs to multiply out, each with its largest message."""
        chosen, samples = [], part.stop - part.start
        for group in component.groups:
            for forms in self._forms[group.name]:
                leg = forms.leg
                if leg.source in component.names or abs(leg.synapses.exponent) > 31:
                    continue
                train = trains[leg.source]
                rows = samples * len(train.values)
                here = train.values[:, train.base + part.start : train.base + part.stop]
                if forms.events is not None and self.route != "dense":
                    if self.route == "events":
                        continue
                    spikes = train.activity(part) * size(leg.in_shape) * forms.events.fan_out
                    if spikes * forms.events.event_cost < dense_cost(leg, rows):
                        continue
                peak = largest_message(here) if leg.graded else 1
                if float_type(leg, peak) is not None:
                    chosen.append((forms, peak))
        return chosen

    def _run_tile(
        self,
        work: list[_Work],
        loop: bool,
        trains: Mapping[str, Train],
        states: States,
        span: tuple[int, int],
        block: int,
    ) -> None:
        """Run all steps of the samples ``span`` of the chunk; products begin at sample ``block``."""
        samples = span[1] - span[0]
        steps = next(iter(trains.values())).values.shape[0]
        widest = max(size(w.group.shape) for w in work)
        length = steps
        if steps * samples * widest > _WHOLE_VALUES:
            length = max(1, _TILE_VALUES // (samples * widest))
        if loop or any(w.group.name in states.u or w.packed is None for w in work):
            length = 1
        if not hasattr(self._local, "scratch"):
            self._local.scratch = Scratch()
        scratch: Scratch = self._local.scratch
        registers = [_Registers(w, samples, scratch, i) for i, w in enumerate(work)]
        drives, adders = [], []
        for i, w in enumerate(work):
            extent = (length, samples, size(w.group.shape))
            entries = {p: scratch.zeros(f"drive {i}{p}", extent) for p in w.group.ports}
            drives.append(tuple(entries.values()))
            adders.append(
                [
                    leg_adder(
                        f.leg,
                        f.events,
                        w.products.get(id(f)),
                        trains[f.leg.source],
                        span,
                        block,
                        entries[f.leg.synapses.port],
                        scratch,
                        i,
                    )
                    for f in w.legs
                ]
            )
        for first in range(0, steps, length):
            count = min(length, steps - first)
            for w, r, drive, add in zip(work, registers, drives, adders, strict=True):
                for leg in add:
                    leg(first, count)
                train = trains[w.group.name]
                r.step([part[:count] for part in drive], train, first, span[0], states.watch)
                if w.group.name in states.u:
                    r.record(states, first, train.base + span[0])


def _samples_of_a_tile(work: list[_Work], loop: bool, steps: int) -> int:
    """Whole runs of short trains together, one by one where neurons are many."""
    widest = max(size(w.group.shape) for w in work)
    by_step = loop or any(w.packed is None for w in work)
    values = _TILE_VALUES if by_step else _WHOLE_VALUES // max(1, steps)
    return max(1, values // max(1, widest))


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _Registers:
    """The states of one group for a tile of samples, int32 where kernels run, else int64."""

    def __init__(self, work: _Work, samples: int, scratch: Scratch, slot: int) -> None:
        self.work, self.group, self.packed = work, work.group, work.packed
        neurons = size(work.group.shape)
        if self.packed is None:
            self.wide = rested(work.group, samples)
        else:
            kept = neurons if self.packed.remembers else 0
            self.u = scratch.zeros(f"u {slot}", (samples, neurons))
            self.v = scratch.zeros(f"v {slot}", (samples, neurons))
            self.fired = scratch.zeros(f"fired {slot}", (samples, kept))

    def step(
        self, drive: list[Array], train: Train, first: int, low: int, watch: Watch | None
    ) -> None:
        """Advance by the steps of ``drive`` (one for each port), zero it, write what is emitted."""
        if self.packed is not None:
            self.packed.kernel(
                drive[0],
                self.u,
                self.v,
                self.fired,
                train.values,
                first,
                train.base + low,
                self.packed.parameters,
                self.packed.most,
            )
            return
        ports = [part[0].reshape(self.wide.u.shape).astype(np.int64) for part in drive]
        for part in drive:
            part.fill(0)
        a = ports[0] if len(ports) == 1 else np.stack(ports)
        out = step_group(
            self.group, self.work.arithmetic, self.wide, a, self.work.parameters, watch=watch
        )
        samples = out.shape[0]
        train.values[first, train.base + low : train.base + low + samples] = out.reshape(
            samples, -1
        )

    def record(self, states: States, step: int, low: int) -> None:
        """Copy u and v after a step."""
        u, v = (self.wide.u, self.wide.v) if self.packed is None else (self.u, self.v)
        span = slice(low, low + len(u))
        states.u[self.group.name][step, span] = u.reshape(len(u), -1)
        states.v[self.group.name][step, span] = v.reshape(len(v), -1)


def _products(forms: _LegForms, train: Train, low: int, high: int, peak: int) -> Array:
    """Sums of a leg for all steps of some samples: ``(steps, samples, values)``."""
    import torch

    compute_alone()
    part = train.values[:, train.base + low : train.base + high]
    steps, samples = part.shape[:2]
    ours = np.require(part, requirements=("C", "W"))  # torch warns of what it could not write
    rows = torch.from_numpy(ours).reshape(-1, *forms.leg.in_shape)
    products: Array = forms.dense(rows, peak).reshape(steps, samples, -1).contiguous().numpy()
    return products
