"""A live module as a network: recorded, built, and run beside what was built."""

from __future__ import annotations

import copy
import dataclasses
import importlib
import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import BackendMissing, InputError
from ..ir.network import Network
from .beside import compared
from .layers import Framework, TimeForm
from .trace.build import Built, built
from .trace.recorder import SignalRecorder, first_line

if TYPE_CHECKING:
    from torch import Tensor, nn

_STEPS = 4
"""Steps that are recorded where each call is one: delays up to three steps are seen."""

Sample = Any
"""A tensor; or several, as a list, a tuple, or by the names of ``forward``."""


def library(name: str) -> Any:
    """Import a framework.

    Raises:
        BackendMissing: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        missing = (error.name or package).partition(".")[0]  # it, or something that it needs
        raise BackendMissing(
            "framework-missing",
            f"{package} cannot be imported here ({error})",
            where=f"from_{package}",
            hint=f"pip install {missing}",
        ) from error


def read_module(framework: Framework, module: nn.Module, sample: Sample) -> Network:
    """Record what ``module`` does with ``sample``, build that as a network, and compare both.

    Args:
        framework: of its neurons.
        module: it is not changed, nor are states of other modules.
        sample: what one call takes.

    Raises:
        InputError: what has no exact form in a network, or a module that does not run.
    """
    where = framework.where
    names, given = _inputs(module, sample, where)
    ours = copied(module, where)
    _known_only(ours, framework)
    with framework.isolated(ours):
        return _read(framework, ours, names, given)


def _read(
    framework: Framework, ours: nn.Module, names: Sequence[str], given: Sequence[Tensor]
) -> Network:
    steps = _counted(framework, ours, given)
    refusals: list[InputError] = []
    for form in framework.forms(ours, given[0], steps):
        try:
            found = _recorded(framework, ours, names, given, form)
            network = compared(framework, ours, given, form, found)
        except InputError as error:
            refusals.append(error)
            continue
        return dataclasses.replace(network, notes={**network.notes, **_told(form)})
    # a form that does not run says less than one whose network is refused
    raise next((r for r in refusals if r.code != "live-run"), refusals[0])


def _told(form: TimeForm) -> Mapping[str, str]:
    if form.kind == "steps":
        return {"time": "one call is one step"}
    if form.time is None:
        return {"time": "forward goes through the steps; one frame stands for all of them"}
    return {"time": f"axis {form.time} of what a call takes"}


def copied(module: nn.Module, where: str) -> nn.Module:
    """A copy in evaluation mode.

    Raises:
        InputError: it cannot be copied.
    """
    try:
        ours = _twin(module).eval()
    except (RuntimeError, TypeError) as error:
        raise InputError(
            "live-copy",
            f"the module cannot be copied ({first_line(error)})",
            where=where,
            hint="take out what cannot be copied: locks, open files, generators",
        ) from error
    for layer in ours.modules():
        _simplify(layer)
    return ours


def _twin(module: nn.Module) -> nn.Module:
    """A deep copy that trusts no layer's own way of copying: Sinabs' loses weights that it holds."""
    memo = _detached(module)
    own = [layer for layer in module.modules() if hasattr(type(layer), "__deepcopy__")]
    for layer in own:
        memo[id(layer)] = type(layer).__new__(type(layer))
    for layer in own:
        vars(memo[id(layer)]).update(copy.deepcopy(vars(layer), memo))
    return copy.deepcopy(module, memo)


def _detached(module: nn.Module) -> dict[int, Any]:
    """Copies of the tensors with a gradient history that layers hold, such as states after training.

    Torch copies no such tensor; their values are all that counts here.
    """
    import torch

    found: dict[int, Any] = {}

    def look(value: object) -> None:
        if isinstance(value, torch.Tensor):
            if not value.is_leaf:
                found[id(value)] = value.detach().clone()
        elif isinstance(value, (tuple, list)):
            for item in value:
                look(item)
        elif isinstance(value, dict):
            for item in value.values():
                look(item)

    for layer in module.modules():
        look({name: held for name, held in vars(layer).items() if name != "_modules"})
    return found


def _simplify(layer: nn.Module) -> None:
    """A power-average pooling of power 1 is a sum, whatever detour it takes."""
    from torch import nn
    from torch.nn import functional

    if isinstance(layer, nn.LPPool2d) and layer.norm_type == 1:
        kernel, stride, ceil = layer.kernel_size, layer.stride, layer.ceil_mode

        def summed(x: Tensor) -> Tensor:
            return functional.avg_pool2d(x, kernel, stride, ceil_mode=ceil, divisor_override=1)

        vars(layer)["forward"] = summed


def _inputs(
    module: nn.Module, sample: Sample, where: str
) -> tuple[tuple[str, ...], tuple[Tensor, ...]]:
    """Names and tensors, in the order in which ``forward`` takes them."""
    import torch

    taken = [p for p in inspect.signature(module.forward).parameters if p != "self"]
    if isinstance(sample, torch.Tensor):
        return ("input",), (sample,)
    if isinstance(sample, Mapping):
        unknown = [name for name in sample if name not in taken]
        if not unknown:
            names = tuple(name for name in taken if name in sample)
            return names, tuple(sample[name] for name in names)
        sample = [unknown]
    tensors = list(sample) if isinstance(sample, Sequence) else [sample]
    if not tensors or not all(isinstance(t, torch.Tensor) for t in tensors):
        raise InputError(
            "live-sample",
            "the sample is no tensor, and not several of them",
            where=where,
            hint=f"forward takes {', '.join(taken)}: give a tensor, or a tuple or dict of them",
        )
    names = tuple(taken[: len(tensors)]) if len(taken) >= len(tensors) else ()
    return names or tuple(f"input{i}" for i in range(len(tensors))), tuple(tensors)


def _known_only(module: nn.Module, framework: Framework) -> None:
    layers = dict(module.named_modules())
    neurons = {n: x for n, x in layers.items() if isinstance(x, framework.neurons)}
    for name, layer in neurons.items():
        if not isinstance(layer, framework.known):
            kinds = ", ".join(k.__name__ for k in framework.known)
            raise InputError(
                "live-neuron",
                f"layer {name!r} is a {type(layer).__name__}, which is not known",
                where=framework.where,
                hint=f"known are {kinds}",
            )
    if not any(isinstance(x, framework.known) for x in layers.values()):
        raise InputError(
            "live-no-neurons",
            "the module holds no neurons that are known",
            where=framework.where,
            hint="known are " + ", ".join(k.__name__ for k in framework.known),
        )


def _counted(framework: Framework, module: nn.Module, given: Sequence[Tensor]) -> int:
    """How many steps a layer of neurons takes in one call, the fewest of any."""
    form = TimeForm(kind="steps", batch=None)  # whole shapes take parameters of any shape
    recorder = SignalRecorder(module, framework, form, symbolic=False)
    recorder.calls([tuple(t.detach() for t in given)])
    return min((seen.steps for seen in recorder.populations.values()), default=1)


def _recorded(
    framework: Framework,
    module: nn.Module,
    names: Sequence[str],
    given: Sequence[Tensor],
    form: TimeForm,
) -> Built:
    recorder = SignalRecorder(module, framework, form)
    steps = form.count or _STEPS
    by_input = [form.arranged(frames_of(tensor, form, steps)) for tensor in given]
    if form.kind == "sequence":
        by_input = [_one_by_one(tensors[0], form, steps) for tensors in by_input]
    calls = [tuple(c) for c in zip(*by_input, strict=True)]
    each = steps if form.kind == "loop" and form.time is not None else 1
    for at, call in enumerate(calls):
        for name, tensor in zip(names, call, strict=True):
            recorder.feed(name, tensor, at, each)
    returned = recorder.calls(calls)
    return built(recorder, returned, form, steps)


def _one_by_one(whole: Tensor, form: TimeForm, steps: int) -> list[Tensor]:
    axis = form.time or 0
    return [whole.narrow(axis, t, 1).contiguous().clone() for t in range(steps)]


def frames_of(sample: Tensor, form: TimeForm, steps: int) -> Tensor:
    """One sample's frames (steps, *frame); those that it lacks are its first ones once more."""
    import torch

    x = sample.detach()
    if form.time is None:
        frame = x if form.batch is None else x[0]
        return torch.stack([frame] * steps)
    x = x.movedim(form.time, 0)
    if form.batch is not None:
        x = x[:, 0]
    return torch.stack([x[t % len(x)] for t in range(steps)])
