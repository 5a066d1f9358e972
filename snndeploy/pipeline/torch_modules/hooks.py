"""Follow a live torch module's layers to the neurons that they drive, by hooks, while it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ...ir.arrays import Array

if TYPE_CHECKING:
    from torch import Tensor, nn

Run = Callable[["nn.Module", Any], object]
"""How to run a module on one batch."""


@dataclass(eq=False)
class Seen:
    """A layer, what arrived at it in the last run (steps × (samples, *shape)), and its neuron.

    ``whole`` says that a call is told apart as one of all steps by the layer itself, ``norm`` is the
    batch norm behind it. Where it is ``alone``, nothing else reaches its ``neuron``, and it reaches
    nothing else; then, if the neuron ``scales``, a threshold may as well be a factor of the current.
    """

    name: str
    layer: Any
    calls: list[Tensor] = field(default_factory=list)
    steps: int | None = None
    whole: bool = False
    leak: float | None = None
    syn_leak: float | None = None
    gain: Array = field(default_factory=lambda: np.ones(1))
    norm: str | None = None
    neuron: Any = None
    alone: bool = True
    scales: bool = False


_SUMS = frozenset(("add", "__add__", "__radd__", "__iadd__", "add_"))
_VIEWS = frozenset(
    (
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
"""Tensor functions through which a current stays the same current."""
_SCALING = frozenset(
    (
        "IFNode",
        "LIFNode",
        "ParametricLIFNode",
        "Leaky",
        "Synaptic",
        "LIF",
        "LIFCell",
        "LIFBox",
        "LIFBoxCell",
    )
)
"""Neurons that fire alike where a factor is of all that reaches them as it is of their threshold, unless
they rest elsewhere than at zero."""


class _Enough(BaseException):
    """Ends a run in which everything has arrived that was asked for."""


class ModuleWatch:
    """Hooks that follow each layer's output, through batch norm and sums, to the neuron it drives.

    In a block whose shortcut carries membranes, several layers are summed before they reach a neuron;
    each of them then drives it. ``like`` are the same layers as a whole run has shown them: where they
    take all steps at once, a run ends as soon as the last of them has been called as often, or, with
    ``reached``, has reached its neuron: this is told the layer, the current, and whether that is one of
    all steps.
    """

    def __init__(
        self,
        module: nn.Module,
        only: Iterable[str] | None = None,
        like: Sequence[Seen] = (),
        reached: Callable[[Seen, Tensor, bool], None] | None = None,
    ) -> None:
        from torch import nn

        kinds = (nn.Linear, nn.Conv1d, nn.Conv2d)
        named = dict(module.named_modules())
        wanted = set(named if only is None else only)
        self.module = module
        self.layers = {
            n: Seen(n, m) for n, m in named.items() if isinstance(m, kinds) and n in wanted
        }
        self._of, self._held_by = _tags(), _tags()
        self._reached = reached
        self._inside = 0
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
                handles.append(part.register_forward_pre_hook(self._begin))
                handles.append(part.register_forward_hook(self._norm(name)))
            elif _response(part) is not None:
                handles.append(part.register_forward_pre_hook(self._neuron))
                handles.append(part.register_forward_hook(self._end))
        try:
            for x in data:
                reset(self.module)
                self._folded, self._inside = None, 0
                self._missing = {
                    n: c + len(self.layers[n].calls) for n, c in self._expected.items()
                }
                with _following(self._computed), suppress(_Enough):
                    call(self.module, x)
        finally:
            for handle in handles:
                handle.remove()

    def _tag(self, out: Any, *seen: Seen) -> None:
        if seen:
            self._of[out] = seen

    def _computed(self, name: str, parts: Iterable[Any], out: Any) -> None:
        if self._inside:  # what norms and neurons do with a current is known
            return
        for part in parts:  # who looks at membranes sees what was divided
            for seen in self._held_by.get(part, ()):
                seen.alone = False
        found = dict.fromkeys(seen for part in parts for seen in self._of.get(part, ()))
        if name in _VIEWS or name in _SUMS:
            self._tag(out, *found)
        if name not in _VIEWS:
            for seen in found:
                seen.alone = False

    def _layer(self, seen: Seen) -> Callable[..., None]:
        def hook(layer: Any, args: tuple[Any, ...], out: Any) -> None:
            seen.calls.append(args[0].detach())
            seen.whole = self._folded is not None or getattr(layer, "step_mode", "s") == "m"
            if seen.whole:
                seen.steps = len(args[0]) if self._folded is None else self._folded
            self._tag(out, seen)
            if self._reached is None:
                self._done(seen)

        return hook

    def _done(self, seen: Seen) -> None:
        if self._missing.get(seen.name) == len(seen.calls):
            del self._missing[seen.name]
            if not self._missing:
                raise _Enough

    def _begin(self, _part: Any, _args: tuple[Any, ...]) -> None:
        self._inside += 1

    def _end(self, part: Any, args: tuple[Any, ...], out: Any) -> None:
        self._inside -= 1
        held = [getattr(part, name, None) for name in ("mem", "syn", "v")]
        if isinstance(out, tuple):
            held += [
                t for state in out[1:] for t in (state if isinstance(state, tuple) else [state])
            ]
        for state in held:
            if hasattr(state, "shape"):
                self._held_by[state] = self._of.get(args[0], ())

    def _norm(self, name: str) -> Callable[..., None]:
        def passes_on(part: Any, args: tuple[Any, ...], out: Any) -> None:
            self._inside -= 1
            tagged = self._of.get(args[0], ())
            self._tag(out, *tagged)
            values = None
            if part.running_var is not None:  # what a row weighs to the neuron: its norm's gain
                gain = (part.running_var + part.eps).rsqrt()
                gain = gain if part.weight is None else gain * part.weight
                values = gain.detach().double().cpu().numpy()
            for seen in tagged:
                if seen.leak is None and values is not None:
                    seen.gain = np.where(values == 0, 1.0, values)
                seen.norm = name
                seen.alone &= part.weight is not None

        return passes_on

    def _enter(self, _part: Any, args: tuple[Any, ...]) -> None:
        self._folded = len(args[0])

    def _leave(self, part: Any, _args: tuple[Any, ...], out: Any) -> None:
        self._folded = None
        inside = {id(m) for m in part.modules()}
        for seen in self.layers.values():
            if id(seen.layer) in inside:
                self._tag(out, seen)

    def _neuron(self, part: Any, args: tuple[Any, ...]) -> None:
        self._inside += 1
        response = _response(part)
        if not args or response is None:
            return
        several = getattr(part, "step_mode", "s") == "m" or type(part).__name__ in ("LIF", "LIFBox")
        tagged = self._of.get(args[0], ())
        for seen in tagged:
            if seen.leak is None:  # a shortcut goes on to further neurons: the first one counts
                seen.leak, seen.syn_leak = response
                seen.neuron, seen.scales = part, _scales(part)
            seen.alone &= len(tagged) == 1 and seen.neuron in (None, part)
            if several and seen.steps is None and args[0].ndim == seen.calls[-1].ndim:
                seen.steps = len(args[0])
            if self._reached is not None:
                self._reached(seen, args[0].detach(), several)
                self._done(seen)


def _tags() -> Any:
    """Which layers a tensor comes from; a tensor that is gone takes its entry with it."""
    from torch.utils.weak import WeakIdKeyDictionary

    return WeakIdKeyDictionary()


def _following(tell: Callable[[str, Iterable[Any], Any], None]) -> Any:
    """A context in which ``tell(name, tensors, result)`` hears of all that is computed."""
    import torch
    from torch.overrides import TorchFunctionMode

    class Follow(TorchFunctionMode):
        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            out = func(*args, **(kwargs or {}))
            if isinstance(out, torch.Tensor):
                parts = args[0] if args and isinstance(args[0], (list, tuple)) else args
                parts = [a for a in parts if isinstance(a, torch.Tensor)]
                tell(getattr(func, "__name__", ""), parts, out)
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


def _scales(neuron: Any) -> bool:
    """Whether a factor of all that reaches the neuron is one of its threshold, the other way round."""
    own = getattr(neuron, "p", None)
    rest = [getattr(neuron, "v_reset", 0), getattr(own, "v_reset", 0), getattr(own, "v_leak", 0)]
    at_zero = all(value is None or float(value) == 0 for value in rest)
    # rounded states and winners that take all compare channels with what does not scale
    other = getattr(neuron, "state_quant", False) or getattr(neuron, "inhibition", False)
    return type(neuron).__name__ in _SCALING and at_zero and not other


def reset(module: nn.Module) -> None:
    """Forget the state that parts of a module keep, where they can (``reset()``)."""
    for part in module.modules():
        if part is not module and callable(getattr(part, "reset", None)):
            part.reset()  # type: ignore[operator]
