"""Follow a live torch module's layers to the neurons that they drive, by hooks, while it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import InputError
from ...ir.arrays import Array, Shape, frozen
from ...ir.network import Network, Population, Projection, Source
from ...ir.neurons import Neuron
from ...ir.ops import Conv, Dense
from ...ir.weights import Weight

if TYPE_CHECKING:
    from torch import Tensor, nn

Run = Callable[["nn.Module", Any], object]
"""How to run a module on one batch."""


@dataclass(eq=False)
class Seen:
    """A layer, what arrived at it in the last run (steps × (samples, *shape)), and its neuron.

    ``whole`` says that a call is told apart as one of all steps by the layer itself.
    """

    name: str
    layer: Any
    calls: list[Tensor] = field(default_factory=list)
    steps: int | None = None
    whole: bool = False
    leak: float | None = None
    syn_leak: float | None = None
    gain: Array = field(default_factory=lambda: np.ones(1))


_LINEAR = frozenset(
    (
        "add",
        "__add__",
        "__radd__",
        "__iadd__",
        "add_",
        "flatten",
        "unflatten",
        "reshape",
        "view",
        "permute",
        "transpose",
        "unsqueeze",
        "squeeze",
        "contiguous",
        "stack",
        "cat",
    )
)
"""Tensor functions through which a current stays a current: sums, and other views of it."""


class _Enough(BaseException):
    """Ends a run in which everything has arrived that was asked for."""


class ModuleWatch:
    """Hooks that follow each layer's output, through batch norm and sums, to the neuron it drives.

    In a block whose shortcut carries membranes, several layers are summed before they reach a neuron;
    each of them then drives it. ``like`` are the same layers as a whole run has shown them: where they
    take all steps at once, a run ends as soon as the last of them has been called as often.
    """

    def __init__(
        self, module: nn.Module, only: Iterable[str] | None = None, like: Sequence[Seen] = ()
    ) -> None:
        from torch import nn

        kinds = (nn.Linear, nn.Conv1d, nn.Conv2d)
        named = dict(module.named_modules())
        wanted = set(named if only is None else only)
        self.module = module
        self.layers = {
            n: Seen(n, m) for n, m in named.items() if isinstance(m, kinds) and n in wanted
        }
        self._of = _tags()
        self._folded: int | None = None
        self._expected: dict[str, int] = {}
        self._missing: dict[str, int] = {}
        for seen in like:
            mine = self.layers[seen.name]
            mine.leak, mine.syn_leak, mine.gain = seen.leak, seen.syn_leak, seen.gain
            self._expected[seen.name] = len(seen.calls)
        if not all(seen.whole for seen in like):
            self._expected.clear()  # how often they are called depends on the sample

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
                self._folded = None
                self._missing = {
                    n: c + len(self.layers[n].calls) for n, c in self._expected.items()
                }
                with _following(self._sum), suppress(_Enough):
                    call(self.module, x)
        finally:
            for handle in handles:
                handle.remove()

    def _tag(self, out: Any, *seen: Seen) -> None:
        self._of[out] = seen

    def _sum(self, parts: Iterable[Any], out: Any) -> None:
        found = dict.fromkeys(seen for part in parts for seen in self._of.get(part, ()))
        if found:
            self._tag(out, *found)

    def _layer(self, seen: Seen) -> Callable[..., None]:
        def hook(layer: Any, args: tuple[Any, ...], out: Any) -> None:
            seen.calls.append(args[0].detach())
            seen.whole = self._folded is not None or getattr(layer, "step_mode", "s") == "m"
            if seen.whole:
                seen.steps = len(args[0]) if self._folded is None else self._folded
            self._tag(out, seen)
            if self._missing.get(seen.name) == len(seen.calls):
                del self._missing[seen.name]
                if not self._missing:
                    raise _Enough

        return hook

    def _passes_on(self, part: Any, args: tuple[Any, ...], out: Any) -> None:
        tagged = self._of.get(args[0], ())
        if not tagged:
            return
        self._tag(out, *tagged)
        if part.running_var is not None:  # what a row weighs to the neuron: its batch norm's gain
            gain = (part.running_var + part.eps).rsqrt()
            gain = gain if part.weight is None else gain * part.weight
            values = gain.detach().double().cpu().numpy()
            for seen in tagged:
                if seen.leak is None:
                    seen.gain = np.where(values == 0, 1.0, values)

    def _enter(self, _part: Any, args: tuple[Any, ...]) -> None:
        self._folded = len(args[0])

    def _leave(self, part: Any, _args: tuple[Any, ...], out: Any) -> None:
        self._folded = None
        inside = {id(m) for m in part.modules()}
        for seen in self.layers.values():
            if id(seen.layer) in inside:
                self._tag(out, seen)

    def _neuron(self, part: Any, args: tuple[Any, ...]) -> None:
        response = _response(part)
        if not args or response is None:
            return
        several = getattr(part, "step_mode", "s") == "m" or type(part).__name__ in ("LIF", "LIFBox")
        for seen in self._of.get(args[0], ()):
            if seen.leak is None:  # a shortcut goes on to further neurons: the first one counts
                seen.leak, seen.syn_leak = response
            if several and seen.steps is None and args[0].ndim == seen.calls[-1].ndim:
                seen.steps = len(args[0])


def _tags() -> Any:
    """Which layers a tensor comes from; a tensor that is gone takes its entry with it."""
    from torch.utils.weak import WeakIdKeyDictionary

    return WeakIdKeyDictionary()


def _following(tell: Callable[[Iterable[Any], Any], None]) -> Any:
    """A context in which ``tell(tensors, result)`` hears of every sum and view."""
    import torch
    from torch.overrides import TorchFunctionMode

    class Follow(TorchFunctionMode):
        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            out = func(*args, **(kwargs or {}))
            if getattr(func, "__name__", "") in _LINEAR and isinstance(out, torch.Tensor):
                parts = args[0] if args and isinstance(args[0], (list, tuple)) else args
                tell([a for a in parts if isinstance(a, torch.Tensor)], out)
            return out

    return Follow()


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


def shape_of(seen: Seen) -> Shape:
    """Shape of what arrives at a step of a sample."""
    axes = seen.layer.weight.ndim - 1
    return tuple(seen.calls[-1].shape[-axes:])


def projection_of(seen: Seen) -> Network:
    """A network of this one layer: what arrives as input, and the neuron it drives."""
    layer = seen.layer
    weight = layer.weight.detach().double().cpu().numpy()
    weight = weight * seen.gain.reshape(-1, *(1,) * (weight.ndim - 1))
    shape = shape_of(seen)
    op: Dense | Conv
    if weight.ndim == 2:
        op = Dense(*weight.shape)
    else:
        if isinstance(layer.padding, str):
            raise InputError(
                "module-padding",
                f"padding {layer.padding!r} is not a number",
                where=seen.name,
                hint="give the padding in pixels",
            )
        pads = tuple((int(p), int(p)) for p in layer.padding)
        op = Conv(
            weight.shape[0],
            layer.in_channels,
            tuple(weight.shape[2:]),
            tuple(layer.stride),
            pads,
            tuple(layer.dilation),
            layer.groups,
        )
    out: Shape = op.out_shape(shape)
    neuron = Neuron.create(
        out, leak=0.0 if seen.leak is None else seen.leak, syn_leak=seen.syn_leak, threshold=1.0
    )
    source = Source("input", frozen(0, np.int64))
    return Network(
        (Population("input", shape, None, "input"), Population("output", out, neuron, "output")),
        (Projection(seen.name, (source,), "output", (op,), Weight(weight)),),
    )


def trains_of(seen: Seen) -> Array:
    """What arrived in the last run, (steps, samples, *shape); more axes count as samples."""
    import torch

    if seen.steps is None:  # called once per step
        x = torch.stack(seen.calls)
    else:
        x = seen.calls[-1]
        x = x.reshape(seen.steps, -1, *x.shape[1:]) if len(x) != seen.steps else x
    axes = seen.layer.weight.ndim - 1
    return np.asarray(x.reshape(x.shape[0], -1, *x.shape[x.ndim - axes :]).double().cpu().numpy())
