"""What all frameworks share: copying, folding, shapes, and answers that must agree."""

from __future__ import annotations

import copy
import dataclasses
import glob
import importlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import BackendMissing, InputError
from ..ingest import read_model
from ..ingest.semantics.losses import ABOUT_EXPORTERS
from ..ingest.semantics.profiles import PER_NETWORK
from ..ir.network import Network
from .beside import populations_of, refuse_count

if TYPE_CHECKING:
    from torch import Tensor, nn

Answers = Mapping[str, Any]


def framework(name: str) -> Any:
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


def prepared(module: nn.Module, where: str) -> nn.Module:
    """A copy in evaluation mode, batch norm folded and dropout left out; the original stays as it is.

    Raises:
        InputError: a layer that has no linear form, or batch norm where it cannot be folded.
    """
    try:
        copied = copy.deepcopy(module).eval()
    except (RuntimeError, TypeError) as error:
        raise InputError(
            "live-copy",
            f"the module cannot be copied ({_first_line(error)})",
            where=where,
            hint="reset its states first; tensors with a gradient history cannot be copied",
        ) from error
    folded = _folded(copied)
    for name, layer in folded.named_modules():
        kind = type(layer).__name__
        if "MaxPool" in kind:
            raise InputError(
                "live-max-pool",
                f"layer {name!r} is a {kind}: the largest of several spikes is no sum "
                "of synapses, and neither NIR nor the chip has it",
                where=where,
                hint="train with AvgPool2d or SumPool2d, or give the convolution in front a stride",
            )
        if "BatchNorm" in kind:
            raise InputError(
                "live-batch-norm",
                f"layer {name!r} is a {kind} that does not directly follow a "
                "convolution or linear layer of the same Sequential",
                where=where,
                hint="fold it first, e.g. with torch.nn.utils.fusion.fuse_conv_bn_eval",
            )
    return folded


def _folded(module: nn.Module) -> nn.Module:
    from torch import nn
    from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

    for name, child in list(module.named_children()):
        setattr(module, name, _folded(child))
    if not isinstance(module, nn.Sequential):
        _bypass(module)
        return module
    kept: dict[str, nn.Module] = {}
    for name, child in module.named_children():
        last = next(reversed(kept), None)
        before = kept[last] if last is not None else None
        if isinstance(child, nn.modules.batchnorm._BatchNorm) and last is not None:
            if isinstance(before, (nn.Conv1d, nn.Conv2d)):
                kept[last] = fuse_conv_bn_eval(before, child)
                continue
            if isinstance(before, nn.Linear):
                kept[last] = fuse_linear_bn_eval(before, child)
                continue
        if not isinstance(child, (nn.modules.dropout._DropoutNd, nn.Identity)):
            kept[name] = child
    if list(kept.values()) == list(module.children()):
        return module
    if type(module) is nn.Sequential:
        module._modules = dict(kept)
        return module
    return type(module)(*kept.values())


def _bypass(module: nn.Module) -> None:
    """Put a function in the place of dropout outside a Sequential: exporters know no such layer."""
    from torch import nn

    if isinstance(module, (nn.ModuleList, nn.ModuleDict)):
        return
    for name, child in list(module.named_children()):
        if isinstance(child, (nn.modules.dropout._DropoutNd, nn.Identity)):
            delattr(module, name)
            setattr(module, name, _same)


def _same(x: Tensor) -> Tensor:
    return x


def layers_of(module: nn.Module, kinds: tuple[type, ...]) -> dict[str, Any]:
    """The layers of these types, by name."""
    layers: dict[str, Any] = dict(module.named_modules())
    return {name: layer for name, layer in layers.items() if isinstance(layer, kinds)}


def output_shapes(
    module: nn.Module, sample: Tensor, kinds: tuple[type, ...], where: str
) -> dict[str, tuple[int, ...]]:
    """Shape of what each layer of ``kinds`` emits for ``sample``, batch axis included.

    Raises:
        InputError: the module does not run on the sample, or not each of the layers once.
    """
    import torch

    shapes: dict[str, tuple[int, ...]] = {}
    runs = dict.fromkeys(layers_of(module, kinds), 0)

    def hook(name: str) -> Callable[..., None]:
        def record(layer: object, inputs: object, output: Any) -> None:
            del layer, inputs
            first = output[0] if isinstance(output, tuple) else output
            shapes[name] = tuple(first.shape)
            runs[name] += 1

        return record

    handles = [
        layer.register_forward_hook(hook(name)) for name, layer in layers_of(module, kinds).items()
    ]
    try:
        with torch.no_grad():
            module(sample)
    except Exception as error:  # user code of any kind
        raise InputError(
            "live-run",
            f"the module does not run on the sample ({_first_line(error)})",
            where=where,
            hint="the sample is what one call of the module takes",
        ) from error
    finally:
        for handle in handles:
            handle.remove()
    for name, count in runs.items():
        refuse_count(name, count, where)
    return shapes


def agreed(answers: Mapping[str, Answers], where: str) -> tuple[Answers, dict[str, Answers]]:
    """What the first layer answers, and what others answer otherwise, by name.

    Raises:
        InputError: there is no spiking layer, or two differ in what holds for a whole network.
    """
    if not answers:
        raise InputError(
            "live-no-neurons", "the module holds no neurons that are known", where=where
        )
    first_name, first = next(iter(answers.items()))
    local = {
        name: {k: v for k, v in other.items() if v != first[k]} for name, other in answers.items()
    }
    for name, other in local.items():
        for key in PER_NETWORK:
            if key in other:
                raise InputError(
                    "live-mixed",
                    f"{key} is {first[key]!r} in layer {first_name!r} and "
                    f"{other[key]!r} in {name!r}; one network has one",
                    where=where,
                    hint=f"give all neurons the same {key}",
                )
    return first, {name: other for name, other in local.items() if other}


def known_only(
    module: nn.Module, base: tuple[type, ...], known: tuple[type, ...], where: str
) -> None:
    """Refuse neuron layers that nobody here knows.

    Args:
        module: what is read.
        base: what all neurons of the framework derive from.
        known: the layers that are known, and parts of them.
        where: for messages.

    Raises:
        InputError: there is another one.
    """
    for name, layer in layers_of(module, base).items():
        if not isinstance(layer, known):
            kinds = ", ".join(k.__name__ for k in known)
            raise InputError(
                "live-neuron",
                f"layer {name!r} is a {type(layer).__name__}, which is not known",
                where=where,
                hint=f"known are {kinds}",
            )


def refuse(where: str, layer: str, what: str) -> InputError:
    """An error about an option of a layer that has no exact form."""
    return InputError("live-option", f"layer {layer!r}: {what}", where=where)


def exported(export: Callable[[], Any], where: str) -> Any:
    """The graph that the framework's own exporter makes.

    Raises:
        InputError: it failed.
    """
    import torch

    try:
        with torch.no_grad(), np.errstate(divide="ignore"):  # a leak of 1 has no time constant
            return export()
    except Exception as error:  # exporters raise anything
        raise InputError(
            "live-export",
            f"the framework's own NIR exporter failed: {type(error).__name__}: "
            f"{_first_line(error)}",
            where=where,
            hint="it does not know one of the layers; replace it, or write the NIR graph yourself",
        ) from error


def read_live(
    graph: Any,
    frontend: str,
    answers: Answers,
    local: Mapping[str, Answers] = MappingProxyType({}),
    where: str = "",
) -> Network:
    """Ingest an exported graph with what the module itself says.

    Args:
        graph: what the framework's exporter made.
        frontend: the framework.
        answers: fields of the profile.
        local: those that differ in single layers, by their names.
        where: for messages.

    Raises:
        InputError: the graph cannot be read, or lacks one of the layers.
    """
    network = read_model(graph, frontend, **answers).network
    if local:
        names = populations_of(local, network, where)
        populations = {glob.escape(names[layer]): own for layer, own in local.items()}
        network = read_model(graph, frontend, populations=populations, **answers).network
    # the module was asked, and is run beside the network: nothing may have been lost
    found = tuple(f for f in network.findings if f.code not in ABOUT_EXPORTERS)
    notes = {**network.notes, "why": f"read from the live {frontend} module"}
    return dataclasses.replace(network, notes=notes, findings=found)


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).strip().splitlines()[0]
