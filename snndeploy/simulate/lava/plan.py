"""Which Lava process realises each group and each synapse group, and when it runs.

**Streams and windows.** All samples run as one stream. A group of depth k answers to step t of
sample n at chip step ``n * interval + k + t + 1`` (chip steps count from 1): those are its
*windows*. `LIFReset` clears u and v where a window opens, so whatever a bias or a late spike did to
the group before is gone. What remains is what *arrives* inside a window although it was sent before
it opened, and only a synapse with a delay in sample time (`Program.delay` > 0: recurrence, true
delays) can bring that. Hence:

* no such delay anywhere: the interval is T, samples follow each other without a gap, and every
  group is Lava's own `LIFReset`;
* otherwise the interval is T + the longest delay, and the groups that a delayed synapse reads are
  silent between their windows, for long enough that nothing crosses. Inputs and constants are
  replayed data, silent where the data is zero. Neurons get a gate on their spikes
  (`WindowedLIFReset`: Lava's arithmetic, spikes only inside the window), since a bias or a leftover
  current would fire them. A neuron that only undelayed synapses read needs no gate: nobody sees
  what it does between windows;
* a single sample has nothing before it, so a delayed group needs the gate only if it, or something
  that leads to it, can fire before the sample reaches it (a bias, a threshold below zero).

Neuron programs (kind ``custom``) always know their window.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import BackendMissing
from ...ir.arrays import Array, size
from ...ir.graded.delta import DeltaRule
from ...ir.graded.resonator import ResonatorForm, ResonatorRule
from ...ir.program import CompartmentGroup, Program
from ...ir.step import LOIHI, Arithmetic, NeuronRule
from ..integer.neurons.step import registers
from .synapses import Arrays, ConvRoute, connections, joined

ARITHMETIC = LOIHI
"""What lava's processes compute in; a program in another cannot run on them."""
READOUT_VTH = (ARITHMETIC.state_max + 1) >> ARITHMETIC.state_shift
"""A threshold that v, which saturates, cannot exceed."""
_INT16 = 2**15 - 1


@dataclass(frozen=True, kw_only=True)
class Windows:
    """Chip steps of a run: ``steps`` per sample, ``interval`` from one sample to the next."""

    steps: int
    interval: int
    depth: int

    def total(self, samples: int) -> int:
        """Chip steps until the last group has seen the last sample."""
        return (samples - 1) * self.interval + self.steps + self.depth

    def window(self, group: CompartmentGroup) -> list[int]:
        """What `lava_worker.processes.window.Window` takes."""
        return [group.depth, self.steps, self.interval]

    def rows(self, group: CompartmentGroup, samples: int) -> Array:
        """Chip step (counting from 0) of every step of every sample, ``(steps, samples)``."""
        starts = group.depth + self.interval * np.arange(samples)
        return starts[None, :] + np.arange(self.steps)[:, None]


@dataclass(frozen=True, kw_only=True)
class LavaPlan:
    """Specifications of processes, in JSON; arrays are named by their key in ``arrays``.

    ``processes`` names the Lava process of each group and synapse group.
    """

    timing: Windows
    neurons: list[dict[str, Any]]
    connections: list[dict[str, Any]]
    parts: list[list[str]]
    processes: Mapping[str, str]
    arrays: dict[str, Array]


def plan_lava(
    program: Program,
    steps: int,
    samples: int,
    *,
    peaks: Mapping[str, int] | None = None,
    record_states: Collection[str] = (),
    conv: ConvRoute = "auto",
) -> LavaPlan:
    """Decide how to run ``program`` on Lava.

    Args:
        program: what to run.
        steps: of each sample.
        samples: in the whole run.
        peaks: largest magnitude in the data of each graded input (else 2**message_bits).
        record_states: groups whose u and v are wanted; readouts always are.
        conv: ``auto`` uses lava's `Conv` wherever it is exact, ``sparse`` never, ``native`` refuses
            a convolution for which it is not.

    Raises:
        BackendMissing: ``lava-arithmetic``, the program is not in lava's arithmetic.
        UsageError: ``conv="native"``, and a convolution has no exact native form.
        ValueError: the program is not one that Lava can hold; a bug of the lowering.
    """
    if program.arithmetic != ARITHMETIC:
        raise BackendMissing(
            "lava-arithmetic",
            f"lava's processes compute in {_differing(program.arithmetic)}",
            where=f"program for {program.target}",
            hint="run it on the integer engine, which computes in the arithmetic of any program",
        )
    delays = [program.delay(s, o).max(initial=0) for s in program.synapses for o in s.sources]
    timing = Windows(steps=steps, interval=steps + int(max(delays, default=0)), depth=program.depth)
    gated = gated_groups(program, samples)
    arrays = Arrays()
    processes: dict[str, str] = {}
    neurons: list[dict[str, Any]] = []
    for group in program.groups:
        if group.kind in ("input", "constant"):
            processes[group.name] = "RingBuffer"
            continue
        spec = _neurons(program, group, timing, gated, arrays)
        spec["states"] = (
            f"states{len(neurons)}.npy"
            if group.kind == "readout" or group.name in record_states
            else None
        )
        spec["spikes"] = None if group.kind == "readout" else f"spikes{len(neurons)}.npy"
        processes[group.name] = spec["process"]
        neurons.append(spec)
    wiring: list[dict[str, Any]] = []
    for synapses in program.synapses:
        new = connections(program, synapses, peaks or {}, conv, arrays)
        processes[synapses.name] = " + ".join(sorted({spec["process"] for spec in new}))
        wiring += new
    return LavaPlan(
        timing=timing,
        neurons=neurons,
        connections=joined(wiring, arrays),
        parts=_parts(program),
        processes=processes,
        arrays=arrays.values,
    )


def _differing(arithmetic: Arithmetic) -> str:
    """Lava's arithmetic as far as ``arithmetic`` is another."""
    own, other = dataclasses.asdict(ARITHMETIC), dataclasses.asdict(arithmetic)
    parts = [f"{k} {own[k]}, not {v}" for k, v in other.items() if k in own and own[k] != v]
    return "; ".join(parts) or "another arithmetic"


def gated_groups(program: Program, samples: int) -> frozenset[str]:
    """Groups that must not spike outside their windows; see the module's text."""
    delayed = {
        o.group for s in program.synapses for o in s.sources if program.delay(s, o).max() > 0
    }
    return frozenset(delayed - silent_before(program) if samples == 1 else delayed)


def silent_before(program: Program) -> set[str]:
    """Groups that cannot spike before the first sample reaches them."""
    silent = {
        g.name
        for g in program.groups
        if g.kind in ("input", "constant")  # their data is zero there
        or (g.kind == "lif" and not g.bias.any() and g.vth.min() >= 0)
    }
    while True:
        fed = {s.target for s in program.synapses for o in s.sources if o.group not in silent}
        if not silent & fed:
            return silent
        silent -= fed


def _parts(program: Program) -> list[list[str]]:
    """Groups that are connected with each other, inputs last; lone inputs are left out."""
    part = {g.name: {g.name} for g in program.groups}
    for synapses in program.synapses:
        for name in [o.group for o in synapses.sources]:
            union = part[synapses.target] | part[name]
            part.update(dict.fromkeys(union, union))
    distinct = {id(names): names for names in part.values()}.values()
    on_chip = [g.name for g in program.groups if g.kind not in ("input", "constant")]
    return [[n for n in on_chip if n in names] for names in distinct if names & set(on_chip)]


def _neurons(
    program: Program,
    group: CompartmentGroup,
    timing: Windows,
    gated: Collection[str],
    arrays: Arrays,
) -> dict[str, Any]:
    def value(x: Array) -> Any:
        if x.size == 1:
            return int(x.reshape(-1)[0])
        return {"array": arrays.add(np.broadcast_to(x, group.shape).reshape(-1).astype(np.int64))}

    spec = {"name": group.name, "size": size(group.shape), "window": timing.window(group)}
    match group.dynamics:
        case DeltaRule() as rule:
            return {**spec, **_deltas(group, rule, value)}
        case ResonatorRule() as rule:
            return {**spec, **_resonators(group, rule)}
        case None:
            pass
    if group.kind == "custom":
        held = vars(registers(group, program.arithmetic))
        options = {
            "rule": dataclasses.asdict(NeuronRule.of(group)),
            "arithmetic": dataclasses.asdict(program.arithmetic),
            "parameters": {n: None if x is None else value(x) for n, x in held.items()},
        }
        return {**spec, "process": "NeuronProgram", "parameters": options}
    if group.kind == "readout" and program.outgoing(group.name):
        raise ValueError(f"{group.name} is a readout: it sends nothing that a synapse could read")
    if np.abs(group.bias_mant).max(initial=0) > _INT16:
        raise ValueError(f"{group.name}: bias mantissas exceed lava's 16 bit")
    parameters = {
        **{name: value(getattr(group, name)) for name in ("du", "dv", "vth", "bias_mant")},
        "bias_exp": group.bias_exp,
    }
    if group.kind == "readout":
        parameters["vth"] = READOUT_VTH
    process = "WindowedLIFReset" if group.name in gated else "LIFReset"
    return {**spec, "process": process, "parameters": parameters}


_DELTA_PROCESSES = {
    "delta": "WindowedDelta",
    "sigma-delta": "WindowedSigmaDelta",
    "sigma": "WindowedSigma",
}


def _deltas(
    group: CompartmentGroup, rule: DeltaRule, value: Callable[[Array], Any]
) -> dict[str, Any]:
    """Lava's sigma-delta processes, which have a threshold for all of their neurons."""
    process = _DELTA_PROCESSES[rule.form]
    if rule.form == "sigma":
        return {"process": process, "parameters": {}}
    if group.vth.size > 1:
        raise ValueError(f"{group.name}: lava's sigma-delta neurons share a threshold")
    parameters: dict[str, Any] = {
        "vth": int(group.vth.reshape(-1)[0]),
        "cum_error": rule.cumulates,
        "spike_exp": rule.spike_exp,
        "state_exp": rule.state_exp,
    }
    if rule.form == "sigma-delta":
        parameters |= {"bias": value(group.bias_mant), "act_mode": rule.activation}
    return {"process": process, "parameters": parameters}


_RESONATOR_PROCESSES: dict[ResonatorForm, str] = {
    "phase": "WindowedRF",
    "izhikevich": "WindowedRFIZ",
}


def _resonators(group: CompartmentGroup, rule: ResonatorRule) -> dict[str, Any]:
    """Lava's resonate-and-fire processes, which have one threshold."""
    if group.vth.size > 1:
        raise ValueError(f"{group.name}: lava's resonate-and-fire neurons share a threshold")
    parameters = {
        "vth": int(group.vth.reshape(-1)[0]),
        "factors": (rule.sin, rule.cos),
        "state_exp": rule.state_exp,
        "decay_bits": rule.decay_bits,
    }
    return {"process": _RESONATOR_PROCESSES[rule.form], "parameters": parameters}
