"""A module and the network made of it, run side by side: what an exporter lost shows here.

Exporters follow the calls of layers, and know nothing of what else a ``forward`` does: additions,
concatenations, factors, layers that are used twice. So every neuron layer of the module has to be one
population of the network, and to give the same spikes.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ..ir.arrays import Array
from ..ir.finding import Finding
from ..ir.network import Network
from ..simulate.float.engine import run_float
from ..simulate.recording import Recording

if TYPE_CHECKING:
    from torch import Tensor

STEPS = 16
_PROBABILITY = 0.5
_AMPLITUDES = (1.0, 4.0, 16.0)
"""Factors on the input, the next one where a layer did not spike."""
_ROUNDING = 1e-5
"""Relative error of a membrane that rounding in another order explains."""
_CLOSE = 1e-4
"""Relative and absolute difference of values that are not spikes."""
_LOST = (
    "a framework's exporter follows the calls of layers alone: additions, concatenations and factors "
    "in forward(), and layers that are used twice, get lost; write the NIR graph yourself, or give the "
    "network layers that say the same"
)

Calls = Iterable[Callable[[], Any]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Module:
    """A live module as it can be run.

    Args:
        layers: its neuron layers, by name.
        calls: for an input ``(steps, samples, *shape)``, from the initial state: the module's calls in
            their order, as functions that return what the module returns.
        unpack: what one layer emitted in each call, as ``(steps, samples, *shape)``.
        steps: steps that may be run.
        samples: samples at a time.
    """

    layers: Mapping[str, Any]
    calls: Callable[[Tensor], Calls]
    unpack: Callable[[Sequence[Tensor]], Tensor]
    steps: int = STEPS
    samples: int = 1


def refuse_count(layer: str, count: int, where: str) -> None:
    """Refuse a layer that did not run exactly once in one call of its module.

    Raises:
        InputError: it ran ``count`` times.
    """
    if count > 1:
        raise InputError(
            "live-reused",
            f"layer {layer!r} ran {count} times in one call of the module",
            where=where,
            hint="one call is one time step, and a layer that is used twice is two populations: give "
            "each use a layer of its own",
        )
    if count < 1:
        raise InputError(
            "live-unused",
            f"layer {layer!r} did not run in a call of the module",
            where=where,
            hint="take layers without use out of the module",
        )


def populations_of(layers: Iterable[str], network: Network, where: str) -> dict[str, str]:
    """The population that each layer became.

    Raises:
        InputError: a layer became none, or two became one.
    """
    spiking = [p.name for p in network.populations if p.neuron is not None]
    by_name = {_plain(name): name for name in spiking}
    found: dict[str, str] = {}
    for layer in layers:
        plain = _plain(layer)
        name = by_name.get(plain) or by_name.get(f"{plain}lif")
        if name is None or name in found.values():
            raise InputError(
                "live-layer-lost",
                f"layer {layer!r} became no population of the network",
                where=where,
                hint=_LOST,
            )
        found[layer] = name
    return found


def _plain(name: str) -> str:
    """A name without what exporters change about it: case, dots and underscores."""
    return re.sub(r"[^0-9a-z]", "", name.lower())


def refuse_other(module: Module, network: Network, sample: Tensor, where: str) -> Network:
    """The network, where it does what the module does on random input.

    Args:
        module: what is run.
        network: what was made of it.
        sample: what the user gave as an example, for the range of the inputs.
        where: for messages.

    Returns:
        The network, with a finding for layers that never spiked, behind which nothing was compared.

    Raises:
        InputError: a layer runs more than once per call, became no population, or differs.
    """
    names = populations_of(module.layers, network, where)
    entry = network.with_role("input")[0]
    peak = max(1.0, float(sample.detach().abs().max()) if sample.numel() else 1.0)
    rng = np.random.default_rng(0)
    full = (module.steps, module.samples, *entry.shape)
    silent = set(names)
    for amplitude in _AMPLITUDES:
        drawn = (rng.random(full) < _PROBABILITY).astype(np.float32) * np.float32(peak * amplitude)
        silent &= _compared(module, network, names, drawn, where)
        if not silent:
            break
    if not silent:
        return network
    told = Finding(
        code="live-silent",
        severity="note",
        where=where,
        message=f"layer {', '.join(map(repr, sorted(silent)))} never spiked when module and network ran "
        "side by side, so what it leads to was not compared",
    )
    return dataclasses.replace(network, findings=(*network.findings, told))


def _compared(
    module: Module, network: Network, names: Mapping[str, str], inputs: Array, where: str
) -> set[str]:
    """Compare one run; return the layers that did not spike in it."""
    theirs, answers = _recorded(module, inputs, where)
    ours = run_float(network, inputs)
    order = {name: i for i, name in enumerate(network.order)}
    differing: list[tuple[int, int, str]] = []
    for layer, emitted in theirs.items():
        mine = ours.spikes[names[layer]]
        if emitted.shape != mine.shape:
            raise InputError(
                "live-differs",
                f"layer {layer!r} gives {emitted.shape[2:]}, its population has {mine.shape[2:]}",
                where=where,
                hint=_LOST,
            )
        steps = np.flatnonzero(_unequal(network, names[layer], emitted, mine))
        if len(steps):
            differing.append((int(steps[0]), order[names[layer]], layer))
    if differing:
        step, _, layer = min(differing)
        if not _only_rounding(network, names[layer], inputs, theirs[layer], ours, step):
            raise _differs(layer, step, theirs[layer], ours.spikes[names[layer]], where)
    elif answers is not None:
        _check_answer(network, names, answers, ours, where)
    return {layer for layer, emitted in theirs.items() if not emitted.any()}


def _recorded(
    module: Module, inputs: Array, where: str
) -> tuple[dict[str, Array], tuple[str, Array] | None]:
    """What every layer emitted, and what the module returned: the layer it is from, or its values."""
    import torch

    emitted: dict[str, list[Tensor]] = {name: [] for name in module.layers}

    def hook(name: str) -> Callable[..., None]:
        def record(layer: object, given: object, output: Any) -> None:
            del layer, given
            emitted[name].append(_first(output))

        return record

    handles = [layer.register_forward_hook(hook(name)) for name, layer in module.layers.items()]
    returned: list[Any] = []
    try:
        with torch.no_grad():
            for i, call in enumerate(module.calls(torch.tensor(inputs)), start=1):
                returned.append(_first(call()))
                for name, outputs in emitted.items():
                    refuse_count(name, len(outputs) - i + 1, where)
    except InputError:
        raise
    except Exception as error:  # user code of any kind
        raise InputError(
            "live-run",
            f"the module does not run step after step ({str(error).strip().splitlines()[0]})",
            where=where,
            hint="one call of the module takes one time step, whatever the values",
        ) from error
    finally:
        for handle in handles:
            handle.remove()
    theirs = {name: module.unpack(outputs).numpy() for name, outputs in emitted.items()}
    source = next((name for name, o in emitted.items() if o and o[-1] is returned[-1]), None)
    if source is not None:
        return theirs, (source, theirs[source])
    if not isinstance(returned[-1], torch.Tensor):
        return theirs, None
    try:
        return theirs, ("", module.unpack(returned).numpy())
    except (RuntimeError, ValueError, TypeError):
        return theirs, None  # something else than one value per neuron, step and sample


def _first(output: Any) -> Any:
    return output[0] if isinstance(output, (tuple, list)) else output


def _unequal(network: Network, name: str, theirs: Array, ours: Array) -> Array:
    """Per step, whether any place differs: spikes exactly, other values by more than rounding."""
    neuron = network.population(name).neuron
    if neuron is not None and neuron.spiking:
        places = theirs != ours
    else:
        places = ~np.isclose(theirs, ours, rtol=_CLOSE, atol=_CLOSE)
    return np.asarray(places.reshape(len(places), -1).any(axis=1))


def _only_rounding(
    network: Network, name: str, inputs: Array, theirs: Array, ours: Recording, step: int
) -> bool:
    """Whether all membranes that first differ are so near to the threshold that rounding decides."""
    neuron = network.population(name).neuron
    if neuron is None or neuron.threshold is None:
        return False
    run = run_float(network, inputs[: step + 1], record=[name])
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


def _differs(layer: str, step: int, theirs: Array, ours: Array, where: str) -> InputError:
    places = int((theirs != ours).sum())
    at = tuple(int(i[0]) for i in np.nonzero(theirs[step] != ours[step]))
    return InputError(
        "live-differs",
        f"layer {layer!r} first differs in step {step}: the module gives {theirs[step][at]:g} where the "
        f"network made of it gives {ours[step][at]:g} ({places:,} of {theirs.size:,} values differ)",
        where=where,
        hint=_LOST,
    )


def _check_answer(
    network: Network,
    names: Mapping[str, str],
    answers: tuple[str, Array],
    ours: Recording,
    where: str,
) -> None:
    """Refuse a network whose output is not what the module returns."""
    layer, values = answers
    outputs = [p.name for p in network.with_role("output")]
    if layer:
        if names[layer] in outputs and len(outputs) == 1:
            return
        raise InputError(
            "live-differs",
            f"the module returns what layer {layer!r} gives, the network made of it answers with "
            f"{', '.join(map(repr, outputs))}",
            where=where,
            hint=_LOST,
        )
    readouts = [name for name in outputs if name not in names.values()]
    if not readouts:
        return  # something that the module computes from its last layer, such as a membrane
    mine = ours.spikes[readouts[0]]
    if (
        len(outputs) > 1
        or values.size != mine.size
        or not np.allclose(values.reshape(mine.shape), mine, rtol=_CLOSE, atol=_CLOSE)
    ):
        raise InputError(
            "live-differs",
            "what the module returns is not what the network made of it answers with "
            f"({', '.join(map(repr, outputs))})",
            where=where,
            hint=_LOST,
        )
