"""What every engine returns: spike trains per population, and states when asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ..brief import brief, brief_html
from ..ir.answers import chosen, step_answers
from ..ir.arrays import Array
from ..ir.program import Program


@dataclass(frozen=True, kw_only=True)
class RegisterUse:
    """How full a group's registers got in a run.

    ``u_peak`` and ``v_peak`` are the largest magnitudes (v units) before u wraps and v clips, so they
    exceed the register, which holds up to ``limit``, where it overflowed; ``wraps`` and ``clips`` count
    the places (step, sample, neuron) where u and v overflowed. v is taken before the reset.
    """

    limit: int
    u_peak: int
    v_peak: int
    wraps: int
    clips: int

    def __add__(self, other: RegisterUse) -> RegisterUse:
        """Both runs together."""
        return RegisterUse(
            limit=self.limit,
            u_peak=max(self.u_peak, other.u_peak),
            v_peak=max(self.v_peak, other.v_peak),
            wraps=self.wraps + other.wraps,
            clips=self.clips + other.clips,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Recording:
    """Spike trains of one run, every array ``(steps, samples, *shape)``.

    ``spikes[name]`` counts the spikes of each neuron at each step of the sample; a population that
    does not spike records the values it emits. Whatever the engine, step t is the t-th step *of the
    sample*: delays of the chip's layers are taken out. ``u`` and ``v`` (synaptic state and membrane
    potential after the reset) are there for the populations they were asked for, ``registers`` where an
    integer run was watched. ``units`` is what one unit of the network is where that differs between the
    neurons of a readout; without it, those of one population emit in one unit. ``output`` is the
    population that answers, where whoever ran it said so.
    """

    engine: str
    spikes: Mapping[str, Array]
    u: Mapping[str, Array] = field(default_factory=dict)
    v: Mapping[str, Array] = field(default_factory=dict)
    registers: Mapping[str, RegisterUse] = field(default_factory=dict)
    units: Mapping[str, Array] = field(default_factory=dict)
    output: str = ""

    __repr__ = brief
    _repr_html_ = brief_html

    def counts(self, name: str) -> Array:
        """Sum over time of what ``name`` emitted, flattened per sample: ``(samples, neurons)``."""
        total: Array = self.spikes[name].sum(axis=0)
        return total.reshape(total.shape[0], -1)

    def predictions(self, name: str | None = None) -> Array:
        """Class per sample: the neuron of ``name`` that emitted most; see `snndeploy.ir.answers.chosen`.

        Without a name, that of the output that answers.

        What neurons emit in different units is compared in the network's.
        """
        name = self.output if name is None else name
        best: Array = chosen(self._in_units(name, self.counts(name)))
        return best

    def step_predictions(self, name: str, window: int = 1) -> Array:
        """Class per step, ``(samples, steps)``; see `snndeploy.ir.answers.step_answers`."""
        emitted = self.spikes[name]
        flat = emitted.reshape(*emitted.shape[:2], -1)
        return step_answers(self._in_units(name, flat), window)

    def means(self, name: str) -> Array:
        """Mean over time of what ``name`` emitted, in the network's units: ``(samples, neurons)``."""
        return self._in_units(name, self.counts(name)) / len(self.spikes[name])

    def _in_units(self, name: str, values: Array) -> Array:
        """``values`` of flat neurons, made comparable."""
        if name not in self.units:
            return values
        shape = self.spikes[name].shape[2:]
        compared: Array = values / np.broadcast_to(self.units[name], shape).reshape(-1)
        return compared


def units_of(program: Program) -> dict[str, Array]:
    """`Recording.units` of a run of ``program``."""
    return {g.name: g.scale for g in program.groups if g.kind == "readout" and g.scale.size > 1}


def accuracy(predictions: Array, labels: Array) -> float:
    """Fraction of samples answered right."""
    return float((predictions == labels).mean())


def differing_spikes(a: Recording, b: Recording) -> dict[str, int]:
    """Number of (step, sample, neuron) places that differ, per population that both recorded."""
    both = [name for name in a.spikes if name in b.spikes]
    return {name: int((a.spikes[name] != b.spikes[name]).sum()) for name in both}
