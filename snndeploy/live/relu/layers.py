"""A feed-forward ReLU network in torch as linear layers in a row, each with or without a ReLU behind."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...brief import brief
from ...errors import InputError
from ...ir.arrays import Array, Shape, size
from ...ir.linear.float_chain import float_chain
from ...ir.ops import Conv, Dense, Op, Reshape, SumPool, chain_shapes

if TYPE_CHECKING:
    from torch import Tensor, nn

_WHERE = "from_relu"
_NEAR = 1e-3
"""Largest difference, relative to the largest answer, that float32 explains."""


@dataclass(frozen=True, eq=False)
class ReluLayer:
    """A weighted layer: ``act(chain of ops (x) + bias)``.

    ``bias`` has one value per output channel, ``shape`` is that of the outputs.
    """

    name: str
    ops: tuple[Op, ...]
    weight: Array
    bias: Array
    relu: bool
    shape: Shape

    __repr__ = brief

    def sums(self, x: Tensor) -> Tensor:
        """What arrives at the neurons: ``(frames, *shape)`` without the bias."""
        import torch

        return float_chain(self.ops, torch.from_numpy(self.weight), x)

    def activation(self, sums: Tensor) -> Tensor:
        """What they answer with."""
        import torch

        bias = torch.from_numpy(self.bias).reshape(-1, *(1,) * (len(self.shape) - 1))
        x = sums + bias
        return torch.relu(x) if self.relu else x


def relu_layers(module: nn.Module, frames: Array) -> tuple[ReluLayer, ...]:
    """Read a module, and hold what was read against what it answers on ``frames``.

    Args:
        module: convolutions, linear layers, batch norm behind them, average pools, ReLU, flatten and
            dropout in a row; in evaluation mode. It is not changed.
        frames: ``(frames, *shape)``.

    Raises:
        InputError: ``relu-trace`` (torch.fx cannot follow it), ``relu-branch`` (not in a row),
            ``relu-layer`` (no form of a layer), ``relu-differs`` (it answers otherwise).
    """
    import torch

    if module.training:
        raise InputError(
            "relu-training",
            "the module is in training mode, where batch norm and dropout do something else",
            where=_WHERE,
            hint="call module.eval() first",
        )
    row = _Reading(tuple(frames.shape[1:]))
    for node, target in _in_a_row(module):
        row.take(node, target)
    layers = row.finished()
    x = torch.from_numpy(np.ascontiguousarray(frames, np.float32))
    with torch.no_grad():
        expected = module(x)
        for layer in layers:
            x = layer.activation(layer.sums(x))
    worst = float((x.reshape(expected.shape) - expected).abs().max())
    if worst > _NEAR * max(1e-6, float(expected.abs().max())):
        raise InputError(
            "relu-differs",
            f"what was read answers otherwise than the module, by up to {worst:g}",
            where=_WHERE,
            hint="forward() may do more than its layers; write them as nn.Sequential",
        )
    return layers


def _in_a_row(module: nn.Module) -> list[tuple[str, Any]]:
    """Every operation with a name for messages: a module, or (function or method name, arguments)."""
    import torch.fx

    try:
        graph = torch.fx.symbolic_trace(module).graph
    except Exception as error:  # whatever a user's forward does
        raise InputError(
            "relu-trace",
            f"torch.fx cannot follow the module ({str(error)[:200]})",
            where=_WHERE,
            hint="write forward() without branches on values, or the layers as nn.Sequential",
        ) from error
    parts = dict(module.named_modules())
    found: list[tuple[str, Any]] = []
    last = None
    for node in graph.nodes:
        sources = node.all_input_nodes
        if node.op == "placeholder" and last is None:
            last = node
            continue
        if sources != [last]:
            raise InputError(
                "relu-branch",
                f"{node.name} takes {[s.name for s in sources] or 'nothing'}, the layer before it is "
                f"{last.name if last is not None else 'none'}: layers must be in a row",
                where=_WHERE,
                hint="residuals and several inputs have no sigma-delta form here",
            )
        last = node
        if node.op == "call_module":
            found.append((node.target, parts[node.target]))
        elif node.op in ("call_function", "call_method"):
            word = node.target if isinstance(node.target, str) else node.target.__name__
            found.append((node.name, (word, node.args[1:], dict(node.kwargs))))
    return found


class _Reading:
    """Layers as far as they are read."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.layers: list[ReluLayer] = []
        self.waiting: tuple[Op, ...] = ()
        self.factor = 1.0
        self.open = False

    def take(self, name: str, what: Any) -> None:
        """Read one operation."""
        from torch import nn

        match what:
            case nn.Conv1d() | nn.Conv2d():
                self._weighted(name, what, _conv(name, what))
            case nn.Linear():
                self._weighted(name, what, Dense(what.out_features, what.in_features))
            case nn.BatchNorm1d() | nn.BatchNorm2d():
                self._normalised(name, what)
            case nn.ReLU() | (("relu" | "relu_"), _, _):
                self._activated(name)
            case nn.Flatten() if what.start_dim == 1 and what.end_dim == -1:
                self._flat()
            case (("flatten" | "view" | "reshape"), arguments, _) if _flattens(arguments):
                self._flat()
            case nn.AvgPool2d() if not what.ceil_mode and what.divisor_override is None:
                self._pooled(name, what)
            case nn.Identity() | nn.Dropout() | nn.Dropout2d() | (("dropout"), _, _):
                pass
            case _:
                kind = what[0] if isinstance(what, tuple) else type(what).__name__
                raise _no_form(name, f"a {kind} here has no sigma-delta form")

    def finished(self) -> tuple[ReluLayer, ...]:
        """All layers.

        Raises:
            InputError: there are none, or something stands behind the last.
        """
        if not self.layers or self.waiting or self.factor != 1.0:
            raise _no_form(
                "the last layer", "the network must end with a weighted layer or its ReLU"
            )
        return tuple(self.layers)

    def _weighted(self, name: str, module: Any, op: Conv | Dense) -> None:
        weight = module.weight.detach().cpu().numpy().astype(np.float32) * np.float32(self.factor)
        bias = np.zeros(op.weight_shape[0], np.float32)
        if module.bias is not None:
            bias = module.bias.detach().cpu().numpy().astype(np.float32)
        ops = (*self.waiting, op)
        try:
            self.shape = chain_shapes(ops, self.shape)[-1]
        except InputError as error:
            raise _no_form(name, error.message) from error
        self.layers.append(ReluLayer(name, ops, weight, bias, relu=False, shape=self.shape))
        self.waiting, self.factor, self.open = (), 1.0, True

    def _normalised(self, name: str, module: Any) -> None:
        if not self.open or self.waiting or module.running_mean is None:
            raise _no_form(
                name, "batch norm must follow a weighted layer at once, and hold its means"
            )
        last = self.layers[-1]
        scale = 1.0 / np.sqrt(module.running_var.cpu().numpy() + module.eps)
        shift = -module.running_mean.cpu().numpy() * scale
        if module.affine:
            gain, beta = (x.detach().cpu().numpy() for x in (module.weight, module.bias))
            scale, shift = scale * gain, shift * gain + beta
        each = scale.reshape(-1, *(1,) * (last.weight.ndim - 1))
        self.layers[-1] = dataclasses.replace(
            last,
            weight=(last.weight * each).astype(np.float32),
            bias=(last.bias * scale + shift).astype(np.float32),
        )

    def _activated(self, name: str) -> None:
        if not self.layers or self.factor != 1.0 or any(not op.is_view for op in self.waiting):
            raise _no_form(name, "a ReLU must follow a weighted layer")
        self.layers[-1] = dataclasses.replace(self.layers[-1], relu=True)
        self.open = False

    def _flat(self) -> None:
        if self.waiting and isinstance(self.waiting[-1], Reshape):
            return
        before = chain_shapes(self.waiting, self.shape)[-1] if self.waiting else self.shape
        if len(before) > 1:
            self.waiting += (Reshape((size(before),)),)

    def _pooled(self, name: str, module: Any) -> None:
        kernel, stride, padding = map(_pair, (module.kernel_size, module.stride, module.padding))
        if any(padding) and not module.count_include_pad:
            raise _no_form(name, "a pool that leaves its padding out divides places differently")
        self.waiting += (SumPool(kernel, stride, padding),)
        self.factor /= kernel[0] * kernel[1]


def _pair(value: Any) -> tuple[int, int]:
    one = value if isinstance(value, Sequence) else (value, value)
    return int(one[0]), int(one[1])


def _conv(name: str, module: Any) -> Conv:
    if module.padding_mode != "zeros" or isinstance(module.padding, str):
        raise _no_form(name, f"its padding is {module.padding!r} ({module.padding_mode})")
    return Conv(
        module.out_channels,
        module.in_channels,
        tuple(module.kernel_size),
        tuple(module.stride),
        tuple((p, p) for p in module.padding),
        tuple(module.dilation),
        module.groups,
    )


def _flattens(arguments: tuple[Any, ...]) -> bool:
    """Whether the arguments of flatten, view or reshape put all but the samples into one axis."""
    return arguments[-1:] == (-1,) if len(arguments) > 1 else arguments == (1,)


def _no_form(name: str, why: str) -> InputError:
    return InputError(
        "relu-layer",
        why,
        where=f"{_WHERE}: {name}",
        hint="use convolutions, linear layers, average pools, batch norm, ReLU and flatten in a row; "
        "a strided convolution does what a max-pool is for",
    )
