"""From a NIR neuron and a semantics profile to the discrete update that really runs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...errors import InputError
from ...ir.arrays import Array, Shape
from ...ir.step import LOIHI, ResetTiming
from ..readers.raw import RawNode
from ..semantics.profiles import SemanticsProfile

_FLOAT32 = 2.0**-23
_DECAY_GRID = LOIHI.decay_one


@dataclass(frozen=True)
class DiscreteNeuron:
    """Fields for `Neuron.create`, and the factor that its input is still to be multiplied with."""

    fields: dict[str, object]
    gain: Array

    @property
    def spiking(self) -> bool:
        return "threshold" in self.fields

    def same_as(self, other: DiscreteNeuron) -> bool:
        """Whether both update alike and take the same input."""
        if self.fields.keys() != other.fields.keys() or not (self.gain == other.gain).all():
            return False
        return all(bool(np.all(v == other.fields[k])) for k, v in self.fields.items())

    def in_units_of_gain(self) -> DiscreteNeuron:
        """The same spikes with u and v divided by the gain, so that the input needs no factor."""
        scaled = ("threshold", "v_floor", "v_init", "bias", "drive")
        fields = {
            k: np.asarray(v, np.float64) / self.gain if k in scaled else v
            for k, v in self.fields.items()
        }
        return DiscreteNeuron(fields, np.ones(()))


def discretise(
    node: RawNode, profile: SemanticsProfile, where: str, *, recurrent: bool
) -> DiscreteNeuron:
    """The neuron that ``node`` is under ``profile``.

    v is shifted so that a reset to v_reset becomes a reset to zero; what leaks towards v_leak
    becomes a constant, which enters behind the synapse where there is one.

    Args:
        node: of one of the neuron types.
        profile: with dt filled in wherever the node needs it.
        where: of the node, for messages.
        recurrent: whether the node is part of a loop (snnTorch resets those later).

    Raises:
        InputError: a time constant or threshold that no neuron can have.
    """
    if node.kind == "Threshold":
        threshold = node.array("threshold").astype(np.float64)
        return DiscreteNeuron({"leak": 0.0, "threshold": threshold}, np.ones(()))
    leak, gain = _membrane(node, profile, where)
    fields: dict[str, object] = {"leak": leak}
    if node.kind.startswith("Cuba"):
        fields["syn_leak"] = _leak(node, "tau_syn", profile, where)
    constant = _parameter(node, "v_leak", 0.0) * (1.0 - leak)
    shift = np.zeros(())
    if node.has("v_threshold"):
        shift = _parameter(node, "v_reset", 0.0) if profile.reset == "zero" else shift
        constant = constant - (1.0 - leak) * shift
        fields |= _firing(node, profile, shift, where, recurrent=recurrent)
    fields["v_init"] = _initial(node, profile) - shift
    if profile.v_floor is not None:
        floor = _floor(node, profile)
        fields |= {} if floor is None else {"v_floor": floor - shift}
    # without a synapse a constant drive is a bias: one place for one meaning
    fields["drive" if "syn_leak" in fields else "bias"] = constant
    return DiscreteNeuron(fields, gain)


def _parameter(node: RawNode, name: str, default: float) -> Array:
    return node.array(name).astype(np.float64) if node.has(name) else np.asarray(default)


def _membrane(node: RawNode, profile: SemanticsProfile, where: str) -> tuple[Array, Array]:
    """Leak per step and input gain."""
    r = _parameter(node, "r", 1.0)
    if node.kind in ("I", "IF"):
        gain = r if profile.if_gain == "unit" else r * _dt(profile)
        return np.ones(()), simplest_gain(gain)
    cuba = node.kind.startswith("Cuba")
    leak = _leak(node, "tau_mem" if cuba else "tau", profile, where)
    return leak, _gain(node, profile, where)


def _gain(node: RawNode, profile: SemanticsProfile, where: str) -> Array:
    cuba = node.kind.startswith("Cuba")
    if profile.input_gain == "unit":
        return np.ones(())
    if profile.input_gain == "rockpool":
        return _leak(node, "tau_syn", profile, where) if cuba else np.ones(())
    r, w_in = _parameter(node, "r", 1.0), _parameter(node, "w_in", 1.0)
    gain = _factor(node, "r", r, "tau_mem" if cuba else "tau", profile, where)
    lif_cell = profile.input_gain == "norse" and (r == 1).all() and (w_in == 1).all()
    if cuba and not lif_cell:
        gain = gain * _factor(node, "w_in", w_in, "tau_syn", profile, where)
    return simplest_gain(gain)


def _factor(
    node: RawNode, name: str, factor: Array, tau: str, profile: SemanticsProfile, where: str
) -> Array:
    """``factor`` times 1 - leak; 1 for an integrator, whose factor tau / dt is as infinite as its tau.

    Raises:
        InputError: only one of the two is infinite.
    """
    _time_constant(node, tau, profile, where)
    stored = node.array(tau).astype(np.float64)  # of a clamped leak, the factor is as it was stored
    endless = np.isinf(stored)
    odd = endless != np.isposinf(factor)
    if odd.any():
        raise InputError(
            "time-constant",
            f"{tau} and {name} are not infinite together ({int(odd.sum())} neuron(s))",
            where=where,
            hint="an integrator has both infinite, or is an I or IF node",
        )
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(endless, 1.0, factor * _steps_decay(stored, profile)))


def _dt(profile: SemanticsProfile) -> float:
    if profile.dt is None:
        raise ValueError("the profile's dt is not filled in")
    return profile.dt


def _decay(node: RawNode, tau: str, profile: SemanticsProfile, where: str) -> Array:
    """1 - leak, without the cancellation."""
    return _steps_decay(_time_constant(node, tau, profile, where), profile)


def _leak(node: RawNode, tau: str, profile: SemanticsProfile, where: str) -> Array:
    decay = _decay(node, tau, profile, where)
    if profile.integrator == "exp":
        return 1.0 - decay
    if profile.leak_range == "clamped":
        decay = np.clip(decay, 0.0, 1.0)
    # the framework's leak is a float32 near 1 and the exporter's tau has a float32's error
    return simplest_leak(1.0 - decay, _FLOAT32 * (0.5 + 2.0 * np.abs(decay)))


def _steps_decay(tau: Array, profile: SemanticsProfile) -> Array:
    ratio = _dt(profile) / tau
    return -np.expm1(-ratio) if profile.integrator == "exp" else ratio


def _time_constant(node: RawNode, name: str, profile: SemanticsProfile, where: str) -> Array:
    tau = node.array(name).astype(np.float64)
    if profile.leak_range == "clamped":
        tau = np.where(tau < 0, np.inf, tau)  # exported of a leak above 1
    if (tau <= 0).any():
        raise InputError(
            "time-constant",
            f"{name} is {float(tau.min()):g}; time constants are positive",
            where=where,
        )
    return tau


def simplest_leak(values: Array, tolerance: Array) -> Array:
    """The roundest leaks within ``tolerance`` of ``values``.

    Exporters compute tau from the leak in float32, so a leak of 0.875 comes back as 0.87500001: any
    number within that error is as good as any other, and a round one is what was meant. Multiples
    of 1/4096 (the chip's leaks) come first, then four significant digits; what is near neither
    stays as it is.
    """
    on_grid = np.round(values * _DECAY_GRID) / _DECAY_GRID
    return _nearest(values, (_four_digits(values), on_grid), tolerance)


def simplest_gain(values: Array) -> Array:
    """The roundest gains within the float32 error of ``values``: 1, or four significant digits.

    An exporter that folds dt into r means a gain of 1, and 1 leaves the weights untouched.
    """
    rounded = _nearest(values, (_four_digits(values),), 2 * _FLOAT32 * np.abs(values))
    return _nearest(rounded, (np.ones_like(rounded),), np.asarray(8 * _FLOAT32))


def _nearest(values: Array, candidates: tuple[Array, ...], tolerance: Array) -> Array:
    """The last candidate within ``tolerance`` of each value, else the value."""
    result = np.array(values, dtype=np.float64)
    for rounded in candidates:
        result = np.where(np.abs(rounded - values) <= tolerance, rounded, result)
    return result


def _four_digits(values: Array) -> Array:
    digits = 3 - np.floor(np.log10(np.where(values == 0, 1.0, np.abs(values))))
    with np.errstate(over="ignore", invalid="ignore"):  # too small to round: stays as it is
        scale = 10.0**digits
        return np.asarray(np.round(values * scale) / scale)


def _firing(
    node: RawNode, profile: SemanticsProfile, shift: Array, where: str, *, recurrent: bool
) -> dict[str, object]:
    threshold = node.array("v_threshold").astype(np.float64) - shift
    if (threshold <= 0).any() and (
        profile.spikes_per_step == "many" or profile.reset == "subtract"
    ):
        raise InputError(
            "threshold",
            f"the threshold {float(threshold.min()):g} is not above the reset value",
            where=where,
            hint="such a neuron would fire without end; check the model",
        )
    return {
        "threshold": threshold,
        "compare": profile.compare,
        "reset": profile.reset,
        "reset_timing": _timing(node, profile, recurrent=recurrent),
        "spikes_per_step": profile.spikes_per_step,
        "max_spikes": profile.max_spikes if profile.spikes_per_step == "many" else None,
    }


def _timing(node: RawNode, profile: SemanticsProfile, *, recurrent: bool) -> ResetTiming:
    """The reset's timing; ``Leaky`` zeroes v before it leaks, a reset at once, others after."""
    if profile.reset == "none":
        return "immediate"
    if profile.reset_timing == "snntorch-delayed":
        at_once = profile.reset == "zero" and node.kind in ("LIF", "IF") and not recurrent
        return "immediate" if at_once else "next-step"
    if profile.reset_timing == "snntorch-immediate" and profile.reset == "zero":
        return "immediate"
    return profile.reset_timing


def _initial(node: RawNode, profile: SemanticsProfile) -> Array:
    start = profile.v_init
    if start == "rest":
        start = "v_reset" if node.kind in ("I", "IF") else "v_leak"
    return np.zeros(()) if start == "zero" else _parameter(node, start, 0.0)


def _floor(node: RawNode, profile: SemanticsProfile) -> Array | None:
    if profile.v_floor != "minus-threshold":
        return np.asarray(profile.v_floor, dtype=np.float64)
    return -node.array("v_threshold").astype(np.float64) if node.kind == "IF" else None


def neuron_shape(node: RawNode) -> Shape:
    """Common shape of the node's parameters; ``()`` where all of them are single values."""
    shapes = [v.shape for v in node.fields.values() if not isinstance(v, str) and v.size != 1]
    return np.broadcast_shapes(*shapes) if shapes else ()
