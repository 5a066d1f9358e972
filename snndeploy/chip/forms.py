"""The form of a neuron on a chip whose target file says how it realises each feature."""

from __future__ import annotations

from ..ir.neurons import Neuron
from ..ir.program import CompartmentGroup
from .family import Form, NoForm, Realisation
from .schema import Target

_HINT = "compile for loihi2, or retrain with a reset to zero and one spike per step"
_LATE = {"next-step": "reset in the next step", "snntorch-immediate": "snnTorch reset"}


def neuron_form(neuron: Neuron, target: Target) -> Form | NoForm:
    """How the target realises a spiking neuron, or why it cannot."""
    ways = _ways(target, neuron)
    if not ways:
        return Form(kind="lif", way="native", route="native compartment")
    missing = [feature for feature, way in ways.items() if way == "none"]
    if missing:
        names = ", ".join(feature.replace("_", " ") for feature in missing)
        return NoForm(reason=f"{target.name} has no form for: {names}", hint=_HINT)
    if neuron.reset == "none" or neuron.reset_timing != "immediate":
        word = _LATE.get(neuron.reset_timing, "no reset")
    else:
        word = f"reset {neuron.reset}"
    way = _whole(ways)
    many = ", many spikes per step" if neuron.spikes_per_step == "many" else ""
    many += "".join(f", {name.replace('_', ' ')}" for name in neuron.beyond())
    match way:
        case "two-compartments":
            route = f"two compartments per neuron ({word})"
        case "native":
            route = f"native compartment ({word}{many})"
        case "program":
            route = f"neuron program ({word}{many})"
    return Form(kind="custom", way=way, route=route)


def native_only(target: Target) -> Target:
    """The target without neuron programs, which need microcode that no public tool writes."""
    neurons = target.neurons
    fields = type(neurons).model_fields
    lost = {name: "none" for name in fields if getattr(neurons, name) == "program"}
    if not lost:
        return target
    own = neurons.model_copy(update=lost)
    return target.model_copy(update={"name": f"{target.name}-native", "neurons": own})


def way_of(group: CompartmentGroup, target: Target) -> Realisation:
    """How the target realises the neurons of a group, by what they do."""
    if group.kind == "resonator":
        return "program"
    if group.kind != "custom":
        return "native"
    ways = _ways(target, group)
    if group.compare != ">" or not ways:
        return "program"
    return _whole(ways)


def _ways(target: Target, model: Neuron | CompartmentGroup) -> dict[str, str]:
    """Every feature beyond the plain neuron, and how the target realises it.

    What target files do not speak of takes a program, where the chip runs some.
    """
    neurons = target.neurons
    program = "program" if neurons.programmable else "none"
    ways: dict[str, str] = dict.fromkeys(model.beyond(), program)
    if model.reset == "subtract":
        ways["subtract_reset"] = neurons.subtract_reset
    if model.spikes_per_step == "many":
        ways["many_spikes"] = neurons.many_spikes
    if model.v_floor is not None:
        ways["v_floor"] = neurons.v_floor
    if model.reset == "none" or model.reset_timing != "immediate":
        # A second compartment subtracts late by nature; a native reset acts at once.
        late_zero = model.reset == "zero" and neurons.subtract_reset == "two-compartments"
        if neurons.subtract_reset == "native" or late_zero:
            ways["late_reset"] = program
        else:
            ways["subtract_reset"] = neurons.subtract_reset
    return ways


def _whole(ways: dict[str, str]) -> Realisation:
    """How a neuron is realised whose features are realised in these ways."""
    if "two-compartments" in ways.values():
        return "two-compartments"
    return "native" if set(ways.values()) == {"native"} else "program"
