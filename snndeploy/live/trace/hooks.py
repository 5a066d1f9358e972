"""Being told what runs of a module, and what its neuron layers are given and give back."""

from __future__ import annotations

import contextlib
import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..layers import Framework, Heard, Told
from .memory import key

if TYPE_CHECKING:
    from torch import nn


class ModuleHooks:
    """Follows a module while it runs.

    Args:
        module: a copy that is ours.
        framework: of its neurons.
        note: told the name of a layer, the layer, what it heard and what it told, at each of its calls.

    Attributes:
        running: names of the modules whose ``forward`` runs, the outermost first.
        paused: whether what runs is not to be looked at.
    """

    def __init__(
        self, module: nn.Module, framework: Framework, note: Callable[[str, Any, Heard, Told], None]
    ) -> None:
        self.module, self.framework, self._note = module, framework, note
        self.running: list[str] = []
        self.paused = False

    @property
    def innermost(self) -> str:
        """The module that runs."""
        return self.running[-1] if self.running else ""

    @contextlib.contextmanager
    def attached(self) -> Iterator[None]:
        """Layers call back to us while this holds; names of running modules are known."""
        handles = []
        patched: list[Any] = []
        layers: list[tuple[str, Any]] = list(self.module.named_modules())
        for name, layer in layers:
            is_known = isinstance(layer, self.framework.known)
            if is_known:
                layer.forward = self._around(name or "neurons", layer, layer.forward)
                patched.append(layer)
            handles.append(layer.register_forward_pre_hook(self._entering(name)))
            handles.append(layer.register_forward_hook(self._leaving))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
            for layer in patched:
                del layer.forward

    def _entering(self, name: str) -> Any:
        def enter(module: object, given: object) -> None:
            del module, given
            self.running.append(name)

        return enter

    def _leaving(self, module: object, given: object, out: object) -> None:
        del module, given, out
        if self.running:
            self.running.pop()

    @contextlib.contextmanager
    def pause(self) -> Iterator[None]:
        """What runs while this holds is not looked at."""
        paused, self.paused = self.paused, True
        try:
            yield
        finally:
            self.paused = paused

    def _around(self, name: str, layer: Any, original: Any) -> Any:
        def forward(*args: Any, **kwargs: Any) -> Any:
            heard = self.framework.heard(layer, args, kwargs)
            with self.pause():
                returned = original(*args, **kwargs)
            self._note(name, layer, heard, self.framework.told(layer, returned))
            return returned

        return forward


def weight_names(module: nn.Module) -> dict[int, str]:
    """The module that each parameter or buffer belongs to, by its `key`."""
    tensors = itertools.chain(module.named_parameters(), module.named_buffers())
    return {key(t): name.rpartition(".")[0] or name for name, t in tensors if t.numel()}


def foreign_folders(framework: Framework) -> tuple[str, ...]:
    """Where code lies that is not the user's."""
    import torch

    modules = (torch.__file__, *(_file_of(kind) for kind in framework.known))
    return tuple({str(Path(f).parent) for f in modules if f})


def _file_of(kind: type) -> str:
    package = sys.modules.get(kind.__module__.partition(".")[0])
    return getattr(package, "__file__", "") or ""
