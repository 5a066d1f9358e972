"""A module and the network made of it, run side by side on random input: equal, or refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ..ir.arrays import Array
from ..ir.finding import Finding
from ..ir.network import Network
from ..simulate.float.engine import run_float
from ..simulate.recording import Recording
from .layers import Framework, TimeForm
from .states import remembered
from .trace.answers import Returned, tensors
from .trace.build import Built
from .trace.recorder import SignalRecorder

if TYPE_CHECKING:
    from torch import Tensor, nn

STEPS = 16
_PROBABILITY = 0.5
_AMPLITUDES = (1.0, 4.0, 16.0)
"""Factors on the input, the next one where a layer did not spike."""
_ROUNDING = 1e-5
"""Relative error of a membrane that rounding in another order explains."""
_CLOSE = 1e-4
"""Relative and absolute difference of values that are not spikes."""
_HINT = (
    "the module does something that depends on values in another way than a sum: an if, a rounding, a "
    "state of its own; report it if you find none"
)


def compared(
    framework: Framework, module: nn.Module, given: Sequence[Tensor], form: TimeForm, found: Built
) -> Network:
    """The network, where it does what the module does on random input.

    Args:
        framework: of the module.
        module: what is run; a copy.
        given: what the user gave as an example, for the range of the inputs.
        form: how time lies in a call.
        found: what was made of the module.

    Returns:
        The network, with a finding for layers that never spiked, behind which nothing was compared, and
        for what the module remembers in plain Python.

    Raises:
        InputError: a population does not do what its layer does.
    """
    network = found.network
    rng = np.random.default_rng(0)
    steps = form.count or STEPS
    silent = {n for n in found.layers if _spiking(network, n)}
    for amplitude in _AMPLITUDES:
        inputs: dict[str, Array] = {}
        for population, sample in zip(network.with_role("input"), given, strict=False):
            peak = max(1.0, float(sample.detach().abs().max()) if sample.numel() else 1.0)
            shape = (steps, 1, *population.shape)
            drawn = (rng.random(shape) < _PROBABILITY).astype(np.float32)
            if form.kind == "loop" and form.time is None:
                drawn = np.broadcast_to(drawn[:1], shape).copy()
            inputs[population.name] = drawn * np.float32(peak * amplitude)
        silent &= _one_run(framework, module, form, found, inputs)
        if not silent:
            break
    calls = _calls(form, inputs)[:1]
    told = remembered(
        framework,
        module,
        lambda: SignalRecorder(module, framework, form, symbolic=False).calls(calls),
        steps,
    )
    if silent:
        told = (*told, _never_spiked(silent, framework.where))
    return dataclasses.replace(network, findings=(*network.findings, *told))


def _never_spiked(silent: Collection[str], where: str) -> Finding:
    return Finding(
        code="live-silent",
        severity="note",
        where=where,
        message=f"layer {', '.join(map(repr, sorted(silent)))} never spiked when module and network ran "
        "side by side, so what it leads to was not compared",
    )


def _calls(form: TimeForm, inputs: Mapping[str, Array]) -> list[tuple[Tensor, ...]]:
    """What the module takes in a row, of one sample per input."""
    import torch

    frames = [torch.tensor(x[:, 0]) for x in inputs.values()]
    return [tuple(c) for c in zip(*(form.arranged(f) for f in frames), strict=True)]


def _spiking(network: Network, name: str) -> bool:
    neuron = network.population(name).neuron
    return neuron is not None and neuron.spiking


def _one_run(
    framework: Framework,
    module: nn.Module,
    form: TimeForm,
    found: Built,
    inputs: Mapping[str, Array],
) -> set[str]:
    """Compare one run; return the layers that did not spike in it."""
    import torch

    recorder = SignalRecorder(module, framework, form, symbolic=False)
    returned = recorder.calls(_calls(form, inputs))
    network, where = found.network, framework.where
    ours = run_float(network, inputs)
    order = {name: i for i, name in enumerate(network.order)}
    theirs: dict[str, Array] = {}
    for name, (layer, what) in found.layers.items():
        if layer in recorder.populations:
            seen = recorder.populations[layer]
            steps = seen.emitted if what == "spikes" else seen.membranes
            flat = torch.cat([s.detach().reshape(-1) for s in steps]).numpy()
            expected = ours.spikes[name]
            if len(flat) < expected.size:  # of several steps at once, v is known behind the last
                flat = np.concatenate([expected.reshape(-1)[: -len(flat)], flat])
            theirs[name] = flat.reshape(expected.shape)
    differing: list[tuple[int, int, str]] = []
    for name, emitted in theirs.items():
        at = np.flatnonzero(_unequal(network, name, emitted, ours.spikes[name]))
        if len(at):
            differing.append((int(at[0]), order[name], name))
    if differing:
        step, _, name = min(differing)
        if not _only_rounding(network, name, inputs, theirs[name], ours, step):
            raise _differs(name, step, theirs[name], ours.spikes[name], where)
    else:
        _check_readouts(found, returned, form, ours, where)
    return {n for n in found.layers if _spiking(network, n) and not ours.spikes[n].any()}


def _unequal(network: Network, name: str, theirs: Array, ours: Array) -> Array:
    """Per step, whether any place differs: spikes exactly, other values by more than rounding."""
    if _spiking(network, name):
        places = theirs != ours
    else:
        places = ~np.isclose(theirs, ours, rtol=_CLOSE, atol=_CLOSE)
    return np.asarray(places.reshape(len(places), -1).any(axis=1))


def _only_rounding(
    network: Network,
    name: str,
    inputs: Mapping[str, Array],
    theirs: Array,
    ours: Recording,
    step: int,
) -> bool:
    """Whether all membranes that first differ are so near to the threshold that rounding decides."""
    neuron = network.population(name).neuron
    if neuron is None or neuron.threshold is None:
        return False
    run = run_float(network, {n: x[: step + 1] for n, x in inputs.items()}, record=[name])
    start = np.broadcast_to(neuron.v_init, theirs.shape[1:])
    before = run.v[name][step - 1] if step else start
    v = neuron.leak * before + run.u[name][step] + neuron.drive
    fired = run.spikes[name][step - 1] if step else np.zeros(())
    if neuron.reset_timing == "snntorch-immediate":
        v = v - (before > neuron.threshold) * neuron.threshold
    elif neuron.reset_timing == "next-step" and neuron.reset == "subtract":
        v = v - fired * neuron.threshold
    elif neuron.reset_timing == "next-step" and neuron.reset == "zero":
        v = np.where(fired > 0, 0.0, v)
    spikes = np.maximum(theirs[step], ours.spikes[name][step])  # the threshold between the two
    margin = np.abs(v - spikes * neuron.threshold)
    size = np.maximum(np.abs(v), np.abs(run.u[name][step]))
    return bool(
        (margin <= _ROUNDING * np.maximum(size, neuron.threshold))[
            theirs[step] != ours.spikes[name][step]
        ].all()
    )


def _differs(name: str, step: int, theirs: Array, ours: Array, where: str) -> InputError:
    unlike = ~np.isclose(theirs, ours, rtol=_CLOSE, atol=_CLOSE)
    at = tuple(int(i[0]) for i in np.nonzero(unlike[step]))
    return InputError(
        "live-differs",
        f"layer {name!r} first differs in step {step}: the module gives {theirs[step][at]:g} where the "
        f"network made of it gives {ours[step][at]:g} ({int(unlike.sum()):,} of {theirs.size:,} values "
        "differ)",
        where=where,
        hint=_HINT,
    )


def _check_readouts(
    found: Built, returned: Sequence[Any], form: TimeForm, ours: Recording, where: str
) -> None:
    """Refuse a map of populations that is not what the module returns."""
    for name, answer in found.readouts.items():
        if answer.over_time:
            continue
        emitted = ours.spikes[name]
        theirs = _returned(answer, returned, form)
        if theirs.size * len(emitted) == emitted.size > theirs.size:  # one value for all steps
            once = theirs.reshape(1, *emitted.shape[1:])
            alike = (f(emitted, axis=0, keepdims=True) for f in (np.mean, np.sum))
            if not any(
                np.allclose(once, all_steps, rtol=_CLOSE, atol=_CLOSE) for all_steps in alike
            ):
                mean = emitted.mean(axis=0, keepdims=True)
                raise _differs(name, 0, once, mean, where)
            continue
        theirs = theirs.reshape(emitted.shape)
        unlike = np.flatnonzero(_unequal(found.network, name, theirs, emitted))
        if len(unlike):
            raise _differs(name, int(unlike[0]), theirs, emitted, where)


def _returned(answer: Returned, returned: Sequence[Any], form: TimeForm) -> Array:
    import torch

    parts = [dict(tensors(r))[answer.place].detach() for r in returned]
    whole = parts[0] if form.kind != "steps" else torch.stack(parts)
    return np.asarray(whole.numpy())
