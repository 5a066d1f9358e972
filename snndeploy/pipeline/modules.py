"""Compress a live torch module: the solvers of the passes, where NIR has no words for the network.

A spike-driven transformer multiplies spikes with spikes; no file format holds that, but its weights are
linear layers in front of spiking neurons all the same. So the layers are found by running the module:
a hook on every linear and convolutional layer sees what arrives, and what its output is handed to
(through batch norm) says which neuron's membrane it drives.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..calibrate.moments import Kernel, Moments, gather
from ..errors import InputError, PassRefused
from ..ir.arrays import Array, Shape, frozen
from ..ir.network import Network, Population, Projection, Source
from ..ir.neurons import Neuron
from ..ir.ops import Conv, Dense
from ..ir.weights import Weight
from ..passes.prune import Prune
from ..passes.prune_quantize import PruneQuantize
from ..passes.quantize import Quantize
from ..passes.second_order.layers import problem
from ..passes.second_order.plan import PrunePlan
from ..recipe import Recipe, load_recipe

if TYPE_CHECKING:
    from torch import Tensor, nn

Run = Callable[["nn.Module", Any], object]


@dataclass(frozen=True, kw_only=True)
class ModuleLayer:
    """What was done to one layer: the neuron it drives, and the membrane error of its new weights."""

    leak: float | None
    syn_leak: float | None
    loss: float
    sparsity: float


@dataclass(frozen=True, kw_only=True, eq=False)
class CompressedModule:
    """The compressed copy, and a record per layer in the order they ran."""

    module: nn.Module
    layers: Mapping[str, ModuleLayer]


def compress_module(
    module: nn.Module,
    samples: Iterable[Any],
    recipe: Recipe | str,
    *,
    run: Run | None = None,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> CompressedModule:
    """Prune and quantise the linear and convolutional layers of a module by membrane error.

    Neurons are known by the parameters that their frameworks give them: SpikingJelly's ``IFNode``,
    ``LIFNode``, ``ParametricLIFNode``; snnTorch's ``Leaky``, ``Synaptic`` and their kin; Norse's
    ``LIF``, ``LIFBox`` and their cells. A layer whose output goes elsewhere (an attention product, an
    answer) is measured on its current. Every layer is measured in the uncompressed module, as OSBC
    and SBC are published. Quantised weights are written back as the real values of their codes.

    Args:
        module: is not changed; state that it keeps is reset before each sample where it can be
            (``reset()`` of its parts).
        samples: what the module takes, one call each; gone through once per group of layers, so a
            list rather than a generator.
        recipe: passes ``prune``, ``quantize`` or ``prune-quantize`` with second-order methods.
        run: how to run the module on a sample, for modules that are called step by step.
        progress: is told (layers done, layers).

    Raises:
        PassRefused: the recipe asks for what has no form here (sequential calibration, magnitude).
        InputError: no layer was found, or the module was not called on the samples.
    """
    import torch

    recipe = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    prune, quantize = _steps(recipe)
    step = prune or quantize
    assert step is not None
    call = run or (lambda m, x: m(x))
    data = list(samples)[: recipe.calibration.samples]
    result = copy.deepcopy(module)
    with torch.no_grad():
        watch = _Watch(module)
        watch.run(call, data[:1])
        layers = [seen for seen in watch.layers.values() if seen.calls]
        if not layers:
            raise InputError(
                "module-no-layers", "no linear or convolutional layer ran",
                where=type(module).__name__, hint="give samples, and run= if a call needs more than x",
            )  # fmt: skip
        blocks = [_projection(seen) for seen in layers]
        kernel: Kernel = step.kernels[0] if step.kernels else "membrane"
        plan = None if prune is None else _plan(prune, blocks)
        records: dict[str, ModuleLayer] = {}
        for group in _groups(layers, step.max_memory << 20):
            moments = _measured(module, call, data, layers, group, kernel, step.positions)
            for i in group:
                progress(i, len(layers))
                found = problem((blocks[i].projections[0],), moments[i], step.damp)
                solution = None
                if plan is not None:
                    solution = plan.solve(i, found, blocks[i])
                if quantize is not None:
                    mask = None if solution is None else solution.weights[0].mask
                    flat = None if mask is None else mask.reshape(len(mask), -1)
                    solution = quantize.codes(found, blocks[i], step.max_memory << 20, mask=flat)
                assert solution is not None
                weight = solution.weights[0]
                own: Any = result.get_submodule(layers[i].name).weight
                values = weight.values() / layers[i].gain.reshape(-1, *(1,) * (own.ndim - 1))
                own.copy_(torch.as_tensor(values).reshape(own.shape))
                records[layers[i].name] = ModuleLayer(
                    leak=layers[i].leak, syn_leak=layers[i].syn_leak, loss=solution.loss,
                    sparsity=1 - weight.alive / weight.data.size,
                )  # fmt: skip
    return CompressedModule(module=result, layers=records)


def _steps(recipe: Recipe) -> tuple[Prune | None, Quantize | None]:
    """The pruning and the quantisation that a recipe asks for."""
    prune: Prune | None = None
    quantize: Quantize | None = None
    for step in recipe.passes:
        if isinstance(step, PruneQuantize):
            prune, quantize = step.parts()
        elif isinstance(step, Prune):
            prune = step
        elif isinstance(step, Quantize):
            quantize = step
        else:
            raise _refused(f"the pass {step.name!r}")
    for part in (prune, quantize):
        if part is None:
            continue
        if part.method in ("magnitude", "sparsegpt", "rtn"):
            raise _refused(f'method = "{part.method}"')
        if part.sequential:
            raise _refused("sequential calibration")
        if len(part.kernels) > 1:
            raise _refused("a choice of several kernels")
    if prune is not None and prune.scope not in ("layer", "lamp"):
        raise _refused(f'scope = "{prune.scope}"')
    if prune is None and quantize is None:
        raise _refused("a recipe without prune or quantize")
    if quantize is not None and quantize.grid == "loihi":
        raise _refused('grid = "loihi"')
    return prune, quantize


def _refused(what: str) -> PassRefused:
    return PassRefused(
        "module-option", f"{what} has no form on a live module", where="compress_module",
        hint='for example the recipes "sbc" and "osbc"',
    )  # fmt: skip


@dataclass(eq=False)
class _Seen:
    """A layer, what arrived at it in the last run (steps × (samples, *shape)), and its neuron."""

    name: str
    layer: Any
    calls: list[Tensor] = field(default_factory=list)
    steps: int | None = None
    leak: float | None = None
    syn_leak: float | None = None
    gain: Array = field(default_factory=lambda: np.ones(1))


class _Watch:
    """Hooks that follow each layer's output, through batch norm, to the neuron it drives."""

    def __init__(self, module: nn.Module, only: Iterable[str] | None = None) -> None:
        from torch import nn

        kinds = (nn.Linear, nn.Conv1d, nn.Conv2d)
        named = dict(module.named_modules())
        wanted = set(named if only is None else only)
        self.module = module
        self.layers = {
            n: _Seen(n, m) for n, m in named.items() if isinstance(m, kinds) and n in wanted
        }
        self._of: dict[int, _Seen] = {}
        self._held: list[object] = []
        self._folded: int | None = None

    def run(self, call: Run, data: Iterable[Any]) -> None:
        """Run the samples with the hooks in place."""
        handles = []
        for name, part in self.module.named_modules():
            if type(part).__name__ == "SeqToANNContainer":
                handles.append(part.register_forward_pre_hook(self._enter))
                handles.append(part.register_forward_hook(self._leave))
            elif name in self.layers:
                handles.append(part.register_forward_hook(self._layer(self.layers[name])))
            elif "BatchNorm" in type(part).__name__:
                handles.append(part.register_forward_hook(self._passes_on))
            elif _response(part) is not None:
                handles.append(part.register_forward_pre_hook(self._neuron))
        try:
            for x in data:
                for part in self.module.modules():
                    if part is not self.module and callable(getattr(part, "reset", None)):
                        part.reset()  # type: ignore[operator]
                call(self.module, x)
        finally:
            for handle in handles:
                handle.remove()
            self._held.clear()

    def _tag(self, out: object, seen: _Seen) -> None:
        self._of[id(out)] = seen
        self._held.append(out)  # as long as it lives, its id is its own

    def _layer(self, seen: _Seen) -> Callable[..., None]:
        def hook(layer: Any, args: tuple[Any, ...], out: Any) -> None:
            seen.calls.append(args[0].detach())
            if self._folded is not None:
                seen.steps = self._folded
            elif getattr(layer, "step_mode", "s") == "m":
                seen.steps = len(args[0])
            self._tag(out, seen)

        return hook

    def _passes_on(self, part: Any, args: tuple[Any, ...], out: Any) -> None:
        seen = self._of.get(id(args[0]))
        if seen is None:
            return
        self._tag(out, seen)
        if part.running_var is not None:  # what a row weighs to the neuron: its batch norm's gain
            gain = (part.running_var + part.eps).rsqrt()
            gain = gain if part.weight is None else gain * part.weight
            values = gain.detach().double().cpu().numpy()
            seen.gain = np.where(values == 0, 1.0, values)

    def _enter(self, part: Any, args: tuple[Any, ...]) -> None:
        self._folded = len(args[0])

    def _leave(self, part: Any, args: tuple[Any, ...], out: Any) -> None:
        self._folded = None
        inside = {id(m) for m in part.modules()}
        for seen in self.layers.values():
            if id(seen.layer) in inside:
                self._tag(out, seen)

    def _neuron(self, part: Any, args: tuple[Any, ...]) -> None:
        seen = self._of.get(id(args[0])) if args else None
        response = _response(part)
        if seen is None or response is None:
            return
        seen.leak, seen.syn_leak = response
        several = getattr(part, "step_mode", "s") == "m" or type(part).__name__ in ("LIF", "LIFBox")
        if several and seen.steps is None and args[0].ndim == seen.calls[-1].ndim:
            seen.steps = len(args[0])


def _response(neuron: Any) -> tuple[float, float | None] | None:
    """Leak and synaptic leak per step of a neuron of a known framework; None for anything else."""
    import torch

    def mean(value: Any) -> float:
        return float(torch.as_tensor(value, dtype=torch.float64).mean())

    kind = type(neuron).__name__
    if kind == "IFNode":
        return 1.0, None
    if kind == "LIFNode" and hasattr(neuron, "tau"):
        return 1 - 1 / mean(neuron.tau), None
    if kind == "ParametricLIFNode":
        return 1 - float(torch.sigmoid(neuron.w.detach()).mean()), None
    if hasattr(neuron, "beta") and hasattr(neuron, "threshold"):
        alpha = getattr(neuron, "alpha", None) if "Synaptic" in kind else None
        return mean(neuron.beta.detach()), None if alpha is None else mean(alpha.detach())
    if kind.startswith("LIF") and hasattr(getattr(neuron, "p", None), "tau_mem_inv"):
        dt = float(neuron.dt)
        filtered = hasattr(neuron.p, "tau_syn_inv")
        synapse = 1 - dt * mean(neuron.p.tau_syn_inv) if filtered else None
        return 1 - dt * mean(neuron.p.tau_mem_inv), synapse
    return None


def _projection(seen: _Seen) -> Network:
    """A network of this one layer: what arrives as input, and the neuron it drives."""
    layer = seen.layer
    weight = layer.weight.detach().double().cpu().numpy()
    weight = weight * seen.gain.reshape(-1, *(1,) * (weight.ndim - 1))
    shape = tuple(_trains(seen).shape[2:])
    op: Dense | Conv
    if weight.ndim == 2:
        op = Dense(*weight.shape)
    else:
        if isinstance(layer.padding, str):
            raise InputError(
                "module-padding", f"padding {layer.padding!r} is not a number", where=seen.name,
                hint="give the padding in pixels",
            )  # fmt: skip
        pads = tuple((int(p), int(p)) for p in layer.padding)
        op = Conv(
            weight.shape[0], layer.in_channels, tuple(weight.shape[2:]), tuple(layer.stride), pads,
            tuple(layer.dilation), layer.groups,
        )  # fmt: skip
    out: Shape = op.out_shape(shape)
    neuron = Neuron.create(
        out, leak=0.0 if seen.leak is None else seen.leak, syn_leak=seen.syn_leak, threshold=1.0
    )
    source = Source("input", frozen(0, np.int64))
    return Network(
        (Population("input", shape, None, "input"), Population("output", out, neuron, "output")),
        (Projection(seen.name, (source,), "output", (op,), Weight(weight)),),
    )


def _trains(seen: _Seen) -> Array:
    """What arrived in the last run, (steps, samples, *shape); more axes count as samples."""
    import torch

    if seen.steps is None:  # called once per step
        x = torch.stack(seen.calls)
    else:
        x = seen.calls[-1]
        x = x.reshape(seen.steps, -1, *x.shape[1:]) if len(x) != seen.steps else x
    axes = seen.layer.weight.ndim - 1
    return np.asarray(x.reshape(x.shape[0], -1, *x.shape[x.ndim - axes :]).double().cpu().numpy())


def _plan(prune: Prune, blocks: list[Network]) -> PrunePlan:
    return PrunePlan.for_layers(prune, [b.projections for b in blocks])


def _groups(layers: list[_Seen], max_memory: int) -> list[list[int]]:
    """Layers that are measured in one run over the samples: their moments must fit the memory."""
    groups: list[list[int]] = []
    free = 0
    for i, seen in enumerate(layers):
        shape = seen.layer.weight.shape
        needed = 8 * int(np.prod(shape[1:])) ** 2 * getattr(seen.layer, "groups", 1)
        if not groups or needed > free:
            groups.append([])
            free = max_memory
        groups[-1].append(i)
        free -= needed
    return groups


def _measured(
    module: nn.Module,
    call: Run,
    data: list[Any],
    layers: list[_Seen],
    group: list[int],
    kernel: Kernel,
    positions: int,
) -> dict[int, Moments]:
    """Moments of a group of layers over all samples."""
    sums: dict[int, list[Moments]] = {i: [] for i in group}
    for x in data:
        watch = _Watch(module, [layers[i].name for i in group])
        watch.run(call, [x])
        for i in group:
            seen = watch.layers[layers[i].name]
            net = _projection(seen)
            found = gather(net, _trains(seen), kernel=kernel, positions=positions or None)
            sums[i].append(found[layers[i].name])
    return {i: _added(parts) for i, parts in sums.items()}


def _added(parts: list[Moments]) -> Moments:
    count = sum(m.count for m in parts)
    return Moments(
        hessian=sum(m.hessian * (m.count / count) for m in parts),  # type: ignore[arg-type]
        mean=sum(m.mean * (m.count / count) for m in parts),  # type: ignore[arg-type]
        cross=None, group=parts[0].group, count=count,
    )  # fmt: skip
