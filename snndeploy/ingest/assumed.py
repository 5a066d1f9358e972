"""What a file leaves open: which answers were assumed, and what else they may be.

A framework's options that its exporter does not write are open, and so is a time step that no
parameter shows. What the user or the file's metadata say is decided, and so is what makes no
difference to this network.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from ..errors import InputError
from ..ir.finding import Finding, Fix
from .normal_form.loops import looped
from .normal_form.neurons import DiscreteNeuron, discretise
from .readers.raw import RawGraph
from .semantics.profiles import SemanticsProfile, per_population
from .semantics.traces import told_dt

Alternatives = tuple[object, ...]

OPEN: Mapping[str, Mapping[str, Alternatives]] = MappingProxyType(
    {
        # NIR gives equations in continuous time, and neither how they are stepped nor v at time 0
        "nir": {
            "integrator": ("exp",),
            "reset": ("subtract",),
            "spikes_per_step": ("many",),
            "v_init": ("rest",),
        },
        # Leaky(reset_mechanism=, reset_delay=)
        "snntorch": {"reset": ("zero", "none"), "reset_timing": ("snntorch-immediate",)},
        # LIFParameters(reset_method=)
        "norse": {"reset": ("subtract",)},
        # LIF(spike_fn=, reset_fn=, min_v_mem=, norm_input=)
        "sinabs": {
            "reset": ("zero",),
            "spikes_per_step": ("one",),
            "v_floor": (None,),
            "input_gain": ("ode",),
        },
        # its exporter refuses a soft reset
        "spikingjelly": {},
        # LIFTorch(max_spikes_per_dt=)
        "rockpool": {"max_spikes": (1,)},
        "spyx": {},
        "lava": {},
        "lava-dl": {},
    }
)
"""By frontend: fields of the profile that its files do not decide, and the other answers."""

_DT_IN_STEPS = ("sinabs",)
_DT_SQUARED = ("norse",)
_FLAGS = {
    "dt": "--dt",
    "reset": "--reset",
    "reset_timing": "--reset-timing",
    "spikes_per_step": "--spikes-per-step",
    "integrator": "--integrator",
}


@dataclass(frozen=True, kw_only=True)
class Assumption:
    """One field of the profile that nothing decides: what was taken, and what it may be instead."""

    field: str
    value: object
    alternatives: Alternatives


def flag(field: str, value: object) -> str:
    """The option of the command line that gives a field of the profile."""
    text = "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
    return f"{_FLAGS[field]} {text}" if field in _FLAGS else f"--semantics {field}={text}"


def assumptions(
    raw: RawGraph,
    profile: SemanticsProfile,
    decided: Collection[str],
    local: Mapping[str, Mapping[str, object]] = MappingProxyType({}),
) -> tuple[Assumption, ...]:
    """What was assumed in reading ``raw`` under ``profile``, as far as it makes a difference.

    Args:
        raw: flat and checked.
        profile: with dt filled in.
        decided: fields that the user or the file's metadata gave.
        local: fields of single populations, as in `normalise`.
    """
    open_fields: dict[str, Alternatives] = dict(OPEN[profile.name])
    if profile.dt is not None and profile.name not in _DT_IN_STEPS:
        told = told_dt(raw, profile.name)
        if told is None or not np.isclose(told, profile.dt, rtol=1e-5, atol=0):
            factor = 100.0 if profile.name in _DT_SQUARED else 10.0
            open_fields["dt"] = tuple(float(f"{profile.dt * f:.6g}") for f in (factor, 1 / factor))
    taken = _neurons(raw, profile, local)
    found = []
    for field, answers in open_fields.items():
        if field in decided:
            continue
        value = getattr(profile, field)
        other = tuple(
            answer
            for answer in answers
            if answer != value and _differs(raw, replaced(profile, field, answer), local, taken)
        )
        if other:
            found.append(Assumption(field=field, value=value, alternatives=other))
    return tuple(found)


def replaced(profile: SemanticsProfile, field: str, value: object) -> SemanticsProfile:
    """The profile with another answer for one field."""
    return dataclasses.replace(profile, **{field: value})  # type: ignore[arg-type]


def assumed_finding(
    found: tuple[Assumption, ...],
    where: str,
    effects: Mapping[tuple[str, object], str] = MappingProxyType({}),
) -> Finding:
    """All assumptions of a reading, with what each alternative would change where that is known."""
    told = "; ".join(
        f"{a.field} (taken: {_word(a.value)}, may be {' or '.join(map(_word, a.alternatives))})"
        for a in found
    )
    return Finding(
        code="assumed",
        severity="warning",
        where=where,
        message=f"the file does not say {told}",
        rule="to confirm what was taken: " + " ".join(flag(a.field, a.value) for a in found),
        fixes=tuple(
            Fix(
                action="semantics",
                text=flag(a.field, answer),
                options=((a.field, _word(answer)),),
                effect=effects.get((a.field, answer), ""),
            )
            for a in found
            for answer in a.alternatives
        ),
    )


def refused(found: tuple[Assumption, ...], where: str) -> InputError:
    """The error of a strict reading that would have to assume something."""
    names = ", ".join(f"{a.field} (would be {_word(a.value)})" for a in found)
    return InputError(
        "semantics-assumed",
        f"the file does not say {names}",
        where=where,
        hint="say it: " + " ".join(flag(a.field, a.value) for a in found),
    )


def _word(value: object) -> str:
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _neurons(
    raw: RawGraph, profile: SemanticsProfile, local: Mapping[str, Mapping[str, object]]
) -> dict[str, DiscreteNeuron]:
    loops = looped(raw.edges)
    profiles = per_population(profile, local, [n.name for n in raw.neurons()])
    return {
        n.name: discretise(n, profiles[n.name], raw.where(n.name), recurrent=n.name in loops)
        for n in raw.neurons()
    }


def _differs(
    raw: RawGraph,
    other: SemanticsProfile,
    local: Mapping[str, Mapping[str, object]],
    taken: Mapping[str, DiscreteNeuron],
) -> bool:
    """Whether ``other`` is possible, and gives other neurons than those ``taken``."""
    try:
        neurons = _neurons(raw, other, local)
    except InputError:
        return False
    if not all(_steps(n) for n in neurons.values()):
        return False
    return any(not n.same_as(taken[name]) for name, n in neurons.items())


def _steps(neuron: DiscreteNeuron) -> bool:
    """Whether its leaks are possible: a time step above a time constant is none."""
    leaks = [np.asarray(neuron.fields[k]) for k in ("leak", "syn_leak") if k in neuron.fields]
    return all(((leak >= 0) & (leak <= 1)).all() for leak in leaks)
