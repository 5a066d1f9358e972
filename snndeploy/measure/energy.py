"""What a run did on the chip (synaptic operations, updates, messages) and an estimate of its energy.

An estimate multiplies counted events by published energies per event. It is not a measurement, and it
says what it leaves out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..chip import ArithmeticModel, EnergyModel, PowerModel, Target, weakest
from ..ir.arrays import Array, size
from ..ir.finding import Certainty
from ..ir.linear.unroll import unroll
from ..ir.program import CompartmentGroup, Program
from ..mapping.tell.effects import Effects
from ..simulate.recording import Recording

ANN = "-ann"
"""How the name of a conventional network's estimate ends."""


@dataclass(frozen=True, kw_only=True)
class LayerActivity:
    """Events of one group, summed over samples and steps.

    ``spikes_in`` are the events that arrive over its projections, ``spikes_out`` those it sends (a
    graded spike is one event). ``synops`` counts one operation per arriving event and synapse whose
    weight is not zero, ``most_synops`` those on zeros in dense lists too where the chip may do them,
    ``dense_synops`` what ``synops`` would be if every source spiked at every step. ``updates`` are those
    of states: of both compartments where a neuron takes two. ``messages`` counts one per event sent and
    destination core, ``hops`` the routers they cross in x and y. The ranges are the least and the most
    of a sample.
    """

    spikes_in: int
    spikes_out: int
    synops: int
    most_synops: int
    dense_synops: int
    updates: int
    messages: int
    hops: tuple[int, int]
    spikes_out_range: tuple[int, int]
    synops_range: tuple[int, int]

    def __add__(self, other: LayerActivity) -> LayerActivity:
        """Both batches together."""
        return LayerActivity(
            spikes_in=self.spikes_in + other.spikes_in,
            spikes_out=self.spikes_out + other.spikes_out,
            synops=self.synops + other.synops,
            most_synops=self.most_synops + other.most_synops,
            dense_synops=self.dense_synops + other.dense_synops,
            updates=self.updates + other.updates,
            messages=self.messages + other.messages,
            hops=(self.hops[0] + other.hops[0], self.hops[1] + other.hops[1]),
            spikes_out_range=_spanning(self.spikes_out_range, other.spikes_out_range),
            synops_range=_spanning(self.synops_range, other.synops_range),
        )


def _spanning(a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int]:
    return min(a[0], b[0]), max(a[1], b[1])


@dataclass(frozen=True, kw_only=True, eq=False)
class Activity:
    """Events of a run: of every group, and per sample.

    ``synops`` and ``dense_synops`` are those of each synapse group; ``per_sample`` holds the totals of
    ``spikes``, ``synops`` and ``messages`` of every sample, in the order of the data. ``hosts`` are the
    groups whose events the host sends.
    """

    samples: int
    steps: int
    layers: Mapping[str, LayerActivity]
    synops: Mapping[str, int]
    dense_synops: Mapping[str, int]
    per_sample: Mapping[str, Array]
    hosts: frozenset[str] = frozenset()

    @property
    def spikes(self) -> dict[str, int]:
        """Events that each group sent."""
        return {name: layer.spikes_out for name, layer in self.layers.items()}

    @property
    def total_synops(self) -> int:
        return sum(self.synops.values())

    @property
    def most_synops(self) -> int:
        return sum(layer.most_synops for layer in self.layers.values())

    @property
    def chip(self) -> list[LayerActivity]:
        """The groups whose neurons are on the chip."""
        return [layer for name, layer in self.layers.items() if name not in self.hosts]

    @property
    def updates(self) -> int:
        return sum(layer.updates for layer in self.layers.values())

    @property
    def messages(self) -> int:
        return sum(layer.messages for layer in self.layers.values())

    @property
    def hops(self) -> tuple[int, int]:
        x, y = zip(*(layer.hops for layer in self.layers.values()), strict=True)
        return sum(x), sum(y)

    def __add__(self, other: Activity) -> Activity:
        """This run, and then the other one, of the same program."""
        return Activity(
            samples=self.samples + other.samples,
            steps=other.steps,
            layers={name: layer + other.layers[name] for name, layer in self.layers.items()},
            synops={name: n + other.synops[name] for name, n in self.synops.items()},
            dense_synops={
                name: n + other.dense_synops[name] for name, n in self.dense_synops.items()
            },
            per_sample={
                name: np.concatenate([counts, other.per_sample[name]])
                for name, counts in self.per_sample.items()
            },
            hosts=self.hosts,
        )


@dataclass(frozen=True, kw_only=True)
class EnergyEstimate:
    """Energy per sample in nanojoules, from ``low`` to ``high``, and what it is made of (the low ends).

    ``certainty`` is that of the least certain number it rests on, ``sources`` are those of all of them.
    """

    low: float
    high: float
    parts: Mapping[str, float]
    certainty: Certainty
    sources: tuple[str, ...]
    not_counted: tuple[str, ...]


class Meter:
    """Counts the events of runs of one program.

    Args:
        program: what runs.
        effects: what its spikes cause where it is placed (None: it is not placed; every synapse that is
            not zero counts, no message, and one update per neuron and step).
    """

    def __init__(self, program: Program, effects: Effects | None = None) -> None:
        self.program = program
        self._effects = effects or _unplaced(program)

    def measure(self, recording: Recording) -> Activity:
        """Count the events of a recorded run."""
        steps, samples = next(iter(recording.spikes.values())).shape[:2]
        events = {
            g.name: np.count_nonzero(recording.spikes[g.name], axis=0).reshape(samples, -1)
            for g in self.program.groups
            if g.kind != "readout"
        }
        none = np.zeros(samples, np.int64)
        synops = {
            s.name: sum(
                (self._effects.synops[s.name] @ events[o.group].T for o in s.sources),
                np.zeros((2, samples), np.int64),
            )
            for s in self.program.synapses
        }
        dense = {
            s.name: int(self._effects.synops[s.name][0].sum()) * len(s.sources) * steps * samples
            for s in self.program.synapses
        }
        layers = {g.name: self._layer(g, events, synops, dense, steps) for g in self.program.groups}
        sent = [events[name] @ self._effects.fans[name][0] for name in events]
        return Activity(
            samples=samples,
            steps=steps,
            layers=layers,
            synops={name: int(n[0].sum()) for name, n in synops.items()},
            dense_synops=dense,
            per_sample={
                "spikes": sum((e.sum(axis=1) for e in events.values()), none),
                "synops": sum((n[0] for n in synops.values()), none),
                "messages": sum(sent, none),
            },
            hosts=frozenset(g.name for g in self.program.groups if g.kind == "input"),
        )

    def _layer(
        self,
        group: CompartmentGroup,
        events: Mapping[str, Array],
        synops: Mapping[str, Array],
        dense: Mapping[str, int],
        steps: int,
    ) -> LayerActivity:
        samples = len(next(iter(events.values())))
        incoming = self.program.incoming(group.name)
        driven, most = sum((synops[s.name] for s in incoming), np.zeros((2, samples), int))
        out = events.get(group.name, np.zeros((samples, size(group.shape)), int))
        total = out.sum(axis=0)
        messages, *hops = (int(total @ row) for row in self._effects.fans[group.name])
        each = out.sum(axis=1)
        return LayerActivity(
            spikes_in=sum(int(events[o.group].sum()) for s in incoming for o in s.sources),
            spikes_out=int(each.sum()),
            synops=int(driven.sum()),
            most_synops=int(most.sum()),
            dense_synops=sum(dense[s.name] for s in incoming),
            updates=self._effects.updates[group.name] * steps * samples,
            messages=messages,
            hops=(hops[0], hops[1]),
            spikes_out_range=(int(each.min()), int(each.max())),
            synops_range=(int(driven.min()), int(driven.max())),
        )


def _unplaced(program: Program) -> Effects:
    synops = {}
    for s in program.synapses:
        matrix = unroll(s.ops, s.mantissa, program.source_shape(s))
        counts = np.bincount(matrix.cols, minlength=matrix.shape[1])
        synops[s.name] = np.stack([counts, counts])
    return Effects(
        fans={g.name: np.zeros((3, size(g.shape)), np.int64) for g in program.groups},
        synops=synops,
        updates={g.name: 0 if g.kind == "input" else size(g.shape) for g in program.groups},
    )


def estimate_energy(activity: Activity, target: Target, model: EnergyModel) -> EnergyEstimate:
    """Energy per sample under ``model``, a model of ``target``.

    Idle updates and operations on weights that are not zero bound it from below; active updates, and the
    zeros of dense lists where the chip may work on them, from above. What the host sends is not charged
    as a spike of a neuron.
    """
    per_sample = 1e-3 / max(activity.samples, 1)  # picojoules of the run to nanojoules per sample
    idle, active = model.neuron_update_idle, model.neuron_update_active
    spikes, messages = (
        sum(getattr(layer, count) for layer in activity.chip)
        for count in ("spikes_out", "messages")
    )
    terms = [
        ("synaptic operations", activity.total_synops, activity.most_synops, model.synaptic_op),
        ("neuron updates", activity.updates, activity.updates, idle),
        ("messages", messages, messages, model.spike_message),
        ("hops in x", activity.hops[0], activity.hops[0], model.hop_x),
        ("hops in y", activity.hops[1], activity.hops[1], model.hop_y),
    ]
    if model.spike_out is not None:
        terms.append(("spikes", spikes, spikes, model.spike_out))
    used = [active, *(energy for *_, energy in terms)]
    parts = {name: count * energy.pj * per_sample for name, count, _, energy in terms}
    high = sum(most * (energy.high or energy.pj) for _, _, most, energy in terms) * per_sample
    busy = max(active.high or active.pj, idle.high or idle.pj) - (idle.high or idle.pj)
    zeros = target.synapse.zero_ops
    return EnergyEstimate(
        low=sum(parts.values()),
        high=high + activity.updates * busy * per_sample,
        parts=parts,
        certainty=weakest((zeros.certainty, *(energy.certainty for energy in used))),
        sources=tuple(
            dict.fromkeys(
                (*(energy.source for energy in used), f"zeros in dense lists: {zeros.source}")
            )
        ),
        not_counted=tuple(model.not_counted),
    )


def chip_estimates(
    activity: Activity, target: Target, step_ns: tuple[float, float] | None
) -> dict[str, EnergyEstimate]:
    """Energy per sample by every model of the target, by name.

    Args:
        activity: the events of a run.
        target: the chip; its power counts where it knows no energy per event.
        step_ns: how long a step takes, from low to high (None: nothing is known about it).
    """
    models = {**target.energy_alternatives}
    if target.energy is not None:
        models = {target.name: target.energy, **models}
    found = {name: estimate_energy(activity, target, model) for name, model in models.items()}
    if target.energy is None and target.power is not None and step_ns is not None:
        found[target.name] = _by_power(target.power, activity.steps, step_ns)
    return found


def _by_power(power: PowerModel, steps: int, step_ns: tuple[float, float]) -> EnergyEstimate:
    """Power times time: of a chip that idles as long as the steps take, to one that computes."""
    low, high = (1e-6 * ns * steps * power.slower for ns in step_ns)  # microwatts to nanojoules
    idle = power.idle.uw * low
    return EnergyEstimate(
        low=idle,
        high=power.active.most * high,
        parts={"idling": idle},
        certainty=weakest((power.idle.certainty, power.active.certainty)),
        sources=(power.idle.source, power.active.source),
        not_counted=tuple(power.not_counted),
    )


def estimate_arithmetic(
    program: Program, activity: Activity, model: ArithmeticModel
) -> dict[str, EnergyEstimate]:
    """The arithmetic alone: of this run, and of a conventional network of its shape (``…-ann``).

    A synaptic operation of a plain spike is an addition, of a graded one a multiplication too. The
    conventional network multiplies every input by every weight that is not zero, once per sample.
    """
    graded = {
        s.name: any(program.group(o.group).message_bits > 0 for o in s.sources)
        for s in program.synapses
    }
    per_sample = 1e-3 / max(activity.samples, 1)
    additions = sum(n for name, n in activity.synops.items() if not graded[name])
    products = sum(n for name, n in activity.synops.items() if graded[name])
    once = sum(activity.dense_synops.values()) / max(activity.steps, 1)
    add, multiply = model.addition.pj * per_sample, model.multiply_add.pj * per_sample
    spiking = {"additions": additions * add, "multiplications": products * multiply}
    return {
        name: EnergyEstimate(
            low=sum(parts.values()),
            high=sum(parts.values()),
            parts=parts,
            certainty=weakest(energy.certainty for energy in used),
            sources=tuple(energy.source for energy in used),
            not_counted=tuple(left_out),
        )
        for name, parts, used, left_out in (
            (model.name, spiking, (model.addition, model.multiply_add), model.not_counted),
            (
                f"{model.name}{ANN}",
                {"multiplications": once * multiply},
                (model.multiply_add,),
                model.ann_not_counted,
            ),
        )
    }
