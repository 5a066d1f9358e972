"""Semantics profiles: what a NIR file does not say about how its network is stepped.

A file holds time constants, thresholds and weights, but no time step, reset rule, comparison,
number of spikes per step or initial state. A `SemanticsProfile` says them; the presets say what each
framework really does.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import math
import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

from ...errors import UsageError, did_you_mean
from ...ir.step import Compare, Reset, SpikesPerStep

Integrator = Literal["euler", "exp"]
InputGain = Literal["ode", "unit", "norse", "rockpool"]
IfGain = Literal["dt", "unit"]
ResetTime = Literal["immediate", "next-step", "snntorch-immediate", "snntorch-delayed"]
Start = Literal["zero", "v_reset", "v_leak", "rest"]
LeakRange = Literal["checked", "clamped"]
RecurrentDelay = Literal["spikes", "nirtorch"]


@dataclass(frozen=True, kw_only=True)
class SemanticsProfile:
    """How one framework turns NIR's equations into steps.

    Attributes:
        name: the frontend it belongs to.
        dt: time step in the file's unit of time (seconds; Sinabs: steps). None: from the file.
        integrator: leak per step, ``euler`` 1 - dt/tau or ``exp`` exp(-dt/tau).
        input_gain: factor on the input of LI, LIF, CubaLI and CubaLIF neurons. ``ode``: what the
            equations give, r * (1 - leak), times w_in * (1 - synaptic leak) behind a synapse.
            ``unit``: 1. ``norse``: as ode, but a CubaLIF with r = w_in = 1 is an exported LIFCell,
            whose synapse adds spikes undivided. ``rockpool``: 1, or the synaptic leak (the synapse
            decays after it has added).
        if_gain: factor on the input of I and IF neurons, ``dt`` for r * dt or ``unit`` for r.
        compare: whether a neuron at exactly its threshold fires (``>=``) or not (``>``).
        reset: ``zero`` (to v_reset), ``subtract`` the threshold, or ``none``.
        reset_timing: see `Neuron`; ``snntorch-delayed`` is snnTorch's ``reset_delay=True``, which
            for reset ``zero`` takes effect at once in ``Leaky`` and one step later everywhere else.
        spikes_per_step: ``one``, or ``many`` (floor(v / threshold)).
        max_spikes: upper limit for ``many``.
        v_floor: lower limit of v for all neurons; ``minus-threshold`` limits IF neurons only.
        v_init: initial v; ``rest`` is where a neuron stays without input: v_leak of those that leak,
            v_reset of the others (I, IF).
        leak_range: whether a leak outside 0…1 is an error (``checked``) or the nearest of the two ends
            (``clamped``).
        recurrent_delay: where a loop waits one step: ``spikes`` (before its weights, so a recurrent
            bias acts from the first step) or ``nirtorch`` (behind them, so it comes a step later).
        layer_delay: steps that spikes take to the next population.
        source: where this was found.
    """

    name: str
    dt: float | None = None
    integrator: Integrator = "euler"
    input_gain: InputGain = "ode"
    if_gain: IfGain = "dt"
    compare: Compare = ">"
    reset: Reset = "zero"
    reset_timing: ResetTime = "immediate"
    spikes_per_step: SpikesPerStep = "one"
    max_spikes: int | None = None
    v_floor: float | Literal["minus-threshold"] | None = None
    v_init: Start = "zero"
    leak_range: LeakRange = "checked"
    recurrent_delay: RecurrentDelay = "spikes"
    layer_delay: int = 0
    source: str = ""

    def describe(self) -> str:
        """One line with everything that a user may want to override."""
        words = [
            f"dt {'from the file' if self.dt is None else f'{self.dt:g}'}",
            f"{self.integrator} leak",
            f"fires at v {self.compare} threshold",
            f"reset {self.reset}"
            + ("" if self.reset_timing == "immediate" else f" ({self.reset_timing})"),
            f"{self.spikes_per_step} spike{'s' * (self.spikes_per_step == 'many')} per step",
            f"input gain {self.input_gain} (IF: {self.if_gain})",
        ]
        if self.v_floor is not None:
            words.append(f"v floor {self.v_floor}")
        if self.v_init != "zero":
            words.append(f"starts at {self.v_init}")
        if self.recurrent_delay != "spikes":
            words.append(f"recurrent delay {self.recurrent_delay}")
        if self.layer_delay:
            words.append(f"{self.layer_delay} step(s) per layer")
        return ", ".join(words)


_MEASURED = "compared spike by spike with "
_PRESETS = (
    SemanticsProfile(name="nir", source="the equations of nir 1.0.8, read literally"),
    SemanticsProfile(
        name="snntorch",
        dt=1e-4,
        input_gain="ode",
        reset="subtract",
        reset_timing="snntorch-delayed",
        leak_range="clamped",
        source=_MEASURED + "snntorch 1.0.0 (Leaky, Synaptic, RLeaky, RSynaptic)",
    ),
    SemanticsProfile(
        name="norse",
        input_gain="norse",
        if_gain="unit",
        v_init="rest",
        recurrent_delay="nirtorch",
        source=_MEASURED + "norse 1.1.0 (LIFBoxCell, LIFCell, IAFCell, LIBoxCell)",
    ),
    SemanticsProfile(
        name="sinabs",
        dt=1.0,
        integrator="exp",
        input_gain="unit",
        if_gain="unit",
        compare=">=",
        reset="subtract",
        spikes_per_step="many",
        v_floor="minus-threshold",
        source=_MEASURED + "sinabs 3.1.3 (sinabs.nir.from_nir: IAF, LIF with norm_input=False)",
    ),
    SemanticsProfile(
        name="spikingjelly",
        compare=">=",
        v_init="v_reset",
        recurrent_delay="nirtorch",
        source=_MEASURED + "spikingjelly 2.0.0 (IFNode, LIFNode, ParametricLIFNode, CUBALIFNode)",
    ),
    SemanticsProfile(
        name="rockpool",
        integrator="exp",
        input_gain="rockpool",
        if_gain="unit",
        compare=">=",
        reset="subtract",
        spikes_per_step="many",
        max_spikes=2**16,
        source=_MEASURED + "rockpool 3.1.0 (LIFTorch, LIFNeuronTorch)",
    ),
    SemanticsProfile(
        name="spyx",
        input_gain="unit",
        if_gain="unit",
        reset="subtract",
        reset_timing="next-step",
        layer_delay=1,
        source="spyx's LIF and CuBaLIF (spyx/nn.py): spikes come from the v of the step before",
    ),
    SemanticsProfile(
        name="lava",
        dt=1e-4,
        layer_delay=1,
        source="lava-nc 0.10.0's floating-point LIF, as the NIR paper's lava importer sets it up",
    ),
    SemanticsProfile(
        name="lava-dl",
        dt=1e-4,
        compare=">=",
        source="lava-dl 0.6.0, slayer/neuron/dynamics/leaky_integrator.py, without its rounding",
    ),
)

PRESETS: Mapping[str, SemanticsProfile] = types.MappingProxyType({p.name: p for p in _PRESETS})
"""What each frontend does, by name."""

_FIELDS = tuple(
    f.name for f in dataclasses.fields(SemanticsProfile) if f.name not in ("name", "source")
)
_HINTS = get_type_hints(SemanticsProfile)


def preset(name: str, /, **overrides: object) -> SemanticsProfile:
    """The profile of a frontend, with some of its answers replaced.

    Raises:
        UsageError: an unknown frontend or option, or a value that the option does not take.
    """
    if name not in PRESETS:
        raise UsageError(
            "unknown-frontend",
            f"there is no frontend {name!r}",
            where="frontend",
            hint=did_you_mean(str(name), PRESETS),
        )
    checked: dict[str, Any] = {k: _checked_option(k, v) for k, v in overrides.items()}
    return dataclasses.replace(PRESETS[name], **checked)


PER_NETWORK = ("dt", "recurrent_delay", "layer_delay")
"""Fields that hold for a whole network; all others may differ from population to population."""


def per_population(
    profile: SemanticsProfile, overrides: Mapping[str, Mapping[str, object]], names: Iterable[str]
) -> dict[str, SemanticsProfile]:
    """The profile of each population, with its own answers where ``overrides`` gives any.

    Args:
        profile: of the network.
        overrides: fields by pattern of population names (``fnmatch``); later patterns win.
        names: the network's populations.

    Raises:
        UsageError: a pattern that matches nothing, an unknown field or value, or a field of the
            whole network.
    """
    profiles = dict.fromkeys(names, profile)
    for pattern, fields in overrides.items():
        matched = fnmatch.filter(profiles, pattern)
        if not matched:
            raise UsageError(
                "semantics-population",
                f"no population is named {pattern!r}",
                where="semantics",
                hint=did_you_mean(pattern, profiles),
            )
        for key in fields:
            if key in PER_NETWORK:
                raise UsageError(
                    "semantics-whole-network",
                    f"{key} holds for the whole network",
                    where=f"semantics of {pattern}",
                    hint="give it without a population",
                )
        checked: dict[str, Any] = {k: _checked_option(k, v) for k, v in fields.items()}
        profiles.update({n: dataclasses.replace(profiles[n], **checked) for n in matched})
    return profiles


def _checked_option(key: str, value: object) -> object:
    if key not in _FIELDS:
        raise UsageError(
            "unknown-semantics-option",
            f"a semantics profile has no {key!r}",
            where="semantics",
            hint=did_you_mean(key, _FIELDS),
        )
    for kind in _alternatives(_HINTS[key]):
        if get_origin(kind) is Literal:
            if isinstance(value, str) and value in get_args(kind):
                return value
        elif kind is type(None):
            if value is None:
                return None
        elif isinstance(value, bool):
            continue
        elif kind is int and isinstance(value, int) and value >= (key == "max_spikes"):
            return value
        elif kind is float and _is_number(value) and (key != "dt" or value > 0):  # type: ignore[operator]
            return float(value)  # type: ignore[arg-type]
    raise UsageError(
        "semantics-value",
        f"{key} cannot be {value!r}",
        where="semantics",
        hint="one of: " + ", ".join(_spelled(k, key) for k in _alternatives(_HINTS[key])),
    )


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _alternatives(hint: Any) -> tuple[Any, ...]:
    return (hint,) if get_origin(hint) is Literal or not get_args(hint) else get_args(hint)


def _spelled(kind: Any, key: str) -> str:
    if get_origin(kind) is Literal:
        return ", ".join(get_args(kind))
    number = "a positive number" if key == "dt" else "a number"
    return {int: "a whole number", float: number}.get(kind, "None")
