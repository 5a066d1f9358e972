"""What a run did on the chip (synaptic operations, updates, messages) and an estimate of its energy.

An estimate multiplies counted events by published energies per event. It is not a measurement, and it
says what it leaves out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..ir.arrays import size
from ..ir.finding import Certainty
from ..ir.program import Program
from ..target import EnergyModel, weakest
from .recording import Recording
from .unroll import unroll


@dataclass(frozen=True, kw_only=True)
class Activity:
    """Events of a run, summed over its samples and steps.

    ``spikes`` counts the events that each group sent (a graded spike is one event), ``synops`` the
    synapses that they drove, per synapse group: one operation per event and synapse whose weight is
    not zero. ``dense_synops`` is what the same layers would do if every neuron spiked at every step.
    ``messages`` counts one per event and destination core, ``hops`` the routers they cross in x and y.
    """

    samples: int
    steps: int
    spikes: Mapping[str, int]
    synops: Mapping[str, int]
    dense_synops: Mapping[str, int]
    updates: int
    messages: int
    hops: tuple[int, int]

    @property
    def total_synops(self) -> int:
        return sum(self.synops.values())


@dataclass(frozen=True, kw_only=True)
class EnergyEstimate:
    """Energy per sample in nanojoules, from ``low`` to ``high``, and what it is made of (the low ends).

    ``certainty`` is that of the least certain number it rests on.
    """

    low: float
    high: float
    parts: Mapping[str, float]
    certainty: Certainty
    not_counted: tuple[str, ...]


def measure_activity(
    program: Program, recording: Recording, *, messages: int = 0, hops: tuple[int, int] = (0, 0)
) -> Activity:
    """Count the events of a recorded run of ``program``.

    ``messages`` and ``hops`` depend on the placement and come from whoever knows it.
    """
    events = {
        g.name: (recording.spikes[g.name] != 0).sum(axis=(0, 1)).reshape(-1)
        for g in program.groups
        if g.kind != "readout"
    }
    steps, samples = next(iter(recording.spikes.values())).shape[:2]
    synops: dict[str, int] = {}
    dense: dict[str, int] = {}
    for synapses in program.synapses:
        matrix = unroll(synapses.ops, synapses.mantissa, program.source_shape(synapses))
        fan_out = np.bincount(matrix.cols, minlength=matrix.shape[1])
        sources = [s.group for s in synapses.sources]
        synops[synapses.name] = sum(int(events[s] @ fan_out) for s in sources)
        dense[synapses.name] = int(fan_out.sum()) * len(sources) * steps * samples
    neurons = sum(size(g.shape) for g in program.on_chip)
    return Activity(
        samples=samples,
        steps=steps,
        spikes={name: int(count.sum()) for name, count in events.items()},
        synops=synops,
        dense_synops=dense,
        updates=neurons * steps * samples,
        messages=messages,
        hops=hops,
    )


def estimate_energy(activity: Activity, model: EnergyModel) -> EnergyEstimate:
    """Energy per sample under ``model``; idle updates bound it from below, active ones from above."""
    per_sample = 1e-3 / max(activity.samples, 1)  # picojoules of the run to nanojoules per sample
    idle, active = model.neuron_update_idle, model.neuron_update_active
    spikes = sum(activity.spikes.values())
    terms = [
        ("synaptic operations", activity.total_synops, model.synaptic_op),
        ("neuron updates", activity.updates, idle),
        ("messages", activity.messages, model.spike_message),
        ("hops in x", activity.hops[0], model.hop_x),
        ("hops in y", activity.hops[1], model.hop_y),
    ]
    if model.spike_out is not None:
        terms.append(("spikes", spikes, model.spike_out))
    parts = {name: count * energy.pj * per_sample for name, count, energy in terms}
    high = sum(count * (energy.high or energy.pj) for _, count, energy in terms) * per_sample
    busy = max(active.high or active.pj, idle.high or idle.pj) - (idle.high or idle.pj)
    return EnergyEstimate(
        low=sum(parts.values()),
        high=high + activity.updates * busy * per_sample,
        parts=parts,
        certainty=weakest([energy.certainty for _, _, energy in terms] + [active.certainty]),
        not_counted=tuple(model.not_counted),
    )


_CMOS_AC_PJ, _CMOS_MAC_PJ = 0.9, 4.6
"""32-bit floating point addition, and multiplication with addition, in 45 nm at 0.9 V (Horowitz, ISSCC
2014); the usual proxy in the literature on spiking networks."""
_CMOS_NOT_COUNTED = (
    "memory, which dominates on any real chip",
    "neuron updates, control, clock and leakage",
)


def estimate_cmos(program: Program, activity: Activity) -> dict[str, EnergyEstimate]:
    """The arithmetic alone in 45 nm CMOS: of this run, and of a conventional network of its shape.

    A synaptic operation of a plain spike is an addition, of a graded one a multiplication too. The
    conventional network (``ann``) multiplies every input by every weight that is not zero, once per
    sample.
    """
    graded = {
        s.name: any(program.group(o.group).message_bits > 0 for o in s.sources)
        for s in program.synapses
    }
    per_sample = 1e-3 / max(activity.samples, 1)
    additions = sum(n for name, n in activity.synops.items() if not graded[name])
    products = sum(n for name, n in activity.synops.items() if graded[name])
    once = sum(activity.dense_synops.values()) / max(activity.steps, 1)
    parts = {
        "45nm-cmos": {
            "additions": additions * _CMOS_AC_PJ * per_sample,
            "multiplications": products * _CMOS_MAC_PJ * per_sample,
        },
        "45nm-cmos-ann": {"multiplications": once * _CMOS_MAC_PJ * per_sample},
    }
    return {
        name: EnergyEstimate(
            low=sum(part.values()), high=sum(part.values()), parts=part,
            certainty="paper", not_counted=_CMOS_NOT_COUNTED,
        )
        for name, part in parts.items()
    }  # fmt: skip
