"""Linear operators between populations, and the index map each one stands for.

Shapes are without batch and time: ``(C, H, W)``, ``(C, L)`` or ``(N,)``. A projection is a chain of
these with exactly one *weighted* operator (`Dense`, `Conv`, `Pointwise`); the others (`SumPool`,
`Reshape`) are structure. Conventions follow PyTorch: cross-correlation, C-order flattening.

Every operator answers the questions of `Linear`; those with weights answer those of
`LinearWithWeights`, too. What else depends on the operator is a ``match`` over `Op` or `Weighted`
without a default, so that a type checker names each place that a new operator must be told to. Where
an operator is picked out by ``isinstance``, all others take the general way or are refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Protocol

import numpy as np

from ..errors import InputError
from .arrays import Array, Shape, size

Pair = tuple[int, int]


def _mismatch(op: object, shape: Shape, needs: str) -> InputError:
    return InputError(
        "shape-mismatch", f"{type(op).__name__} cannot take an input of shape {shape}: {needs}"
    )


def _window_extent(length: int, kernel: int, stride: int, padding: Pair, dilation: int = 1) -> int:
    return (length + sum(padding) - dilation * (kernel - 1) - 1) // stride + 1


class Linear(Protocol):
    """What every operator says about itself."""

    @property
    def weighted(self) -> bool:
        """Whether it has weights; all synapses of the others have weight 1."""

    @property
    def is_view(self) -> bool:
        """Whether its outputs are its inputs in the same order (C), whatever their shape."""

    @property
    def keeps_channels(self) -> bool:
        """Whether index i of axis 0 of the output hears index i of the input's axis 0, and no other."""

    @property
    def fan_in(self) -> int:
        """Synapses into one output, at most."""

    @property
    def splits(self) -> bool:
        """Whether one input may reach several outputs."""

    def out_shape(self, shape: Shape) -> Shape:
        """The shape that it delivers for an input of ``shape``.

        Raises:
            InputError: it cannot take such an input.
        """


class LinearWithWeights(Linear, Protocol):
    """What an operator with weights says about them. A row holds the weights into one output."""

    @property
    def weight_shape(self) -> Shape: ...

    @property
    def weight_rows(self) -> int:
        """Rows of the weight, whose elements lie one row after the other."""

    @property
    def one_to_one(self) -> bool:
        """Whether each neuron hears the one in its own place and no other: a row is one weight."""

    @property
    def blocks(self) -> int:
        """Blocks of rows, of equal size and one after the other, that each hear inputs of their own."""

    @property
    def mixes_channels(self) -> bool:
        """Whether each output channel hears all input channels; otherwise they are coupled."""


@dataclass(frozen=True)
class Dense:
    """Fully connected: weight ``(out, in)`` on a 1-d input ``(in,)``."""

    out_features: int
    in_features: int

    weighted = True
    is_view = False
    keeps_channels = False
    splits = True
    one_to_one = False
    mixes_channels = True
    blocks = 1

    @property
    def fan_in(self) -> int:
        return self.in_features

    @property
    def weight_rows(self) -> int:
        return self.out_features

    @property
    def weight_shape(self) -> Shape:
        return (self.out_features, self.in_features)

    def out_shape(self, shape: Shape) -> Shape:
        if shape != (self.in_features,):
            raise _mismatch(self, shape, f"its weight expects ({self.in_features},)")
        return (self.out_features,)

    def __str__(self) -> str:
        return f"dense {self.in_features}->{self.out_features}"


@dataclass(frozen=True)
class Conv:
    """Cross-correlation over one or two spatial axes; weight ``(out, in / groups, *kernel)``.

    ``padding`` holds (before, after) zeros per spatial axis, so that 'same' padding of even kernels
    is expressible.
    """

    out_channels: int
    in_channels: int
    kernel: Shape
    stride: Shape
    padding: tuple[Pair, ...]
    dilation: Shape
    groups: int = 1

    weighted = True
    is_view = False
    keeps_channels = False
    splits = True
    one_to_one = False

    @property
    def blocks(self) -> int:
        return self.groups

    @property
    def mixes_channels(self) -> bool:
        return self.groups == 1

    @property
    def fan_in(self) -> int:
        return self.in_channels // self.groups * prod(self.kernel)

    @property
    def weight_rows(self) -> int:
        return self.out_channels

    @property
    def weight_shape(self) -> Shape:
        return (self.out_channels, self.in_channels // self.groups, *self.kernel)

    def out_shape(self, shape: Shape) -> Shape:
        if len(shape) != 1 + len(self.kernel) or shape[0] != self.in_channels:
            axes = ", ".join("LHW"[-len(self.kernel) :] if len(self.kernel) > 1 else "L")
            raise _mismatch(self, shape, f"its weight expects ({self.in_channels}, {axes})")
        spatial = tuple(
            _window_extent(n, k, s, p, d)
            for n, k, s, p, d in zip(
                shape[1:], self.kernel, self.stride, self.padding, self.dilation, strict=True
            )
        )
        if min(spatial) < 1:
            raise _mismatch(self, shape, f"the output would be {spatial}")
        return (self.out_channels, *spatial)

    def __str__(self) -> str:
        parts = [f"conv {self.in_channels}->{self.out_channels} k{_x(self.kernel)}"]
        if set(self.stride) != {1}:
            parts.append(f"s{_x(self.stride)}")
        if any(p != (0, 0) for p in self.padding):
            parts.append(
                "p" + _x([p[0] if p[0] == p[1] else f"{p[0]}:{p[1]}" for p in self.padding])
            )
        if set(self.dilation) != {1}:
            parts.append(f"d{_x(self.dilation)}")
        if self.groups > 1:
            parts.append(f"g{self.groups}")
        return " ".join(parts)


@dataclass(frozen=True)
class Pointwise:
    """One synapse per neuron (identity, scale): a weight broadcastable to the input's shape."""

    shape: Shape
    weight_shape: Shape = ()

    weighted = True
    is_view = False
    keeps_channels = True
    splits = False
    fan_in = 1
    one_to_one = True
    mixes_channels = False

    @property
    def weight_rows(self) -> int:
        return size(self.weight_shape)

    @property
    def blocks(self) -> int:
        return self.weight_rows

    def out_shape(self, shape: Shape) -> Shape:
        if shape != self.shape:
            raise _mismatch(self, shape, f"its weight expects {self.shape}")
        return shape

    def __str__(self) -> str:
        return "one-to-one"


@dataclass(frozen=True)
class SumPool:
    """Sum over windows of the last two axes of ``(C, H, W)``; zeros are padded on both sides."""

    kernel: Pair
    stride: Pair
    padding: Pair = (0, 0)

    weighted = False
    is_view = False
    keeps_channels = True

    @property
    def fan_in(self) -> int:
        return prod(self.kernel)

    @property
    def splits(self) -> bool:
        return any(s < k for s, k in zip(self.stride, self.kernel, strict=True))

    def out_shape(self, shape: Shape) -> Shape:
        if len(shape) != 3:
            raise _mismatch(self, shape, "it expects (C, H, W)")
        spatial = tuple(
            _window_extent(n, k, s, (p, p))
            for n, k, s, p in zip(shape[1:], self.kernel, self.stride, self.padding, strict=True)
        )
        if min(spatial) < 1:
            raise _mismatch(self, shape, f"the output would be {spatial}")
        return (shape[0], *spatial)

    def __str__(self) -> str:
        pad = f" p{_x(self.padding)}" if any(self.padding) else ""
        return f"sumpool k{_x(self.kernel)} s{_x(self.stride)}{pad}"


@dataclass(frozen=True)
class Reshape:
    """View the same values, in C order, under another shape (flatten is the usual case)."""

    shape: Shape

    weighted = False
    is_view = True
    keeps_channels = False
    splits = False
    fan_in = 1

    def out_shape(self, shape: Shape) -> Shape:
        if size(shape) != size(self.shape):
            raise _mismatch(self, shape, f"it must hold {size(self.shape)} values")
        return self.shape

    def __str__(self) -> str:
        return "flatten" if len(self.shape) == 1 else f"reshape {self.shape}"


Op = Dense | Conv | Pointwise | SumPool | Reshape
Weighted = Dense | Conv | Pointwise


def chain_shapes(ops: Sequence[Linear], shape: Shape) -> list[Shape]:
    """Shapes before the first operator, between operators, and after the last one."""
    shapes = [shape]
    for op in ops:
        shapes.append(op.out_shape(shapes[-1]))
    return shapes


def weighted_index(ops: Sequence[Linear]) -> int:
    """Position of the chain's one weighted operator."""
    found = [i for i, op in enumerate(ops) if op.weighted]
    if len(found) != 1:
        raise ValueError(f"a projection holds exactly one weighted operator, found {len(found)}")
    return found[0]


def weighted_op(ops: Sequence[Op]) -> Weighted:
    """The chain's one weighted operator."""
    match ops[weighted_index(ops)]:
        case Dense() | Conv() | Pointwise() as op:
            return op
        case SumPool() | Reshape() as op:
            raise ValueError(f"{op} has no weights")


@dataclass(frozen=True)
class IndexMap:
    """Every synapse of one operator as coordinate lists: output, input and weight element (flat).

    ``weight`` is None for operators without weights, whose synapses all have weight 1.
    """

    out_index: Array
    in_index: Array
    weight_index: Array | None
    out_size: int
    in_size: int


def index_map(op: Op, in_shape: Shape) -> IndexMap:
    """List the synapses of ``op`` on an input of ``in_shape``, one entry per (output, input) pair.

    The obvious form that everything else (unrolling to a sparse matrix, kernel removal, memory
    counting) is derived from and tested against.
    """
    out_shape = op.out_shape(in_shape)
    n_in, n_out = size(in_shape), size(out_shape)
    line = np.arange(n_in)
    match op:
        case Dense():
            out, inp = np.divmod(np.arange(n_out * n_in), n_in)
            return IndexMap(out, inp, np.arange(n_out * n_in), n_out, n_in)
        case Reshape():
            return IndexMap(line, line, None, n_out, n_in)
        case Pointwise():
            return IndexMap(line, line, elements(op), n_out, n_in)
        case SumPool():
            channels = in_shape[0]
            as_conv = Conv(
                channels,
                channels,
                op.kernel,
                op.stride,
                tuple((p, p) for p in op.padding),
                (1, 1),
                groups=channels,
            )
            return _with_unit_weights(_conv_map(as_conv, in_shape, out_shape))
        case Conv():
            return _conv_map(op, in_shape, out_shape)


def elements(op: Pointwise) -> Array:
    """Which element of a one-to-one weight each neuron uses, flat."""
    numbers = np.arange(size(op.weight_shape)).reshape(op.weight_shape)
    return np.broadcast_to(numbers, op.shape).reshape(-1).copy()


def _with_unit_weights(m: IndexMap) -> IndexMap:
    return IndexMap(m.out_index, m.in_index, None, m.out_size, m.in_size)


def _conv_map(op: Conv, in_shape: Shape, out_shape: Shape) -> IndexMap:
    """Enumerate (weight element) x (output position), dropping taps that fall on padding."""
    co, ci, *k = (np.arange(n) for n in op.weight_shape)
    grid = np.meshgrid(
        co, ci, *k, *(np.arange(n) for n in out_shape[1:]), indexing="ij", sparse=True
    )
    n_axes = len(op.kernel)
    out_channel, in_channel, taps, places = (
        grid[0],
        grid[1],
        grid[2 : 2 + n_axes],
        grid[2 + n_axes :],
    )
    in_channel = in_channel + (out_channel // (op.out_channels // op.groups)) * op.weight_shape[1]
    inside: Array = np.ones((1,) * (2 + 2 * n_axes), dtype=bool)
    inp, out, weight = in_channel, out_channel, out_channel * op.weight_shape[1] + grid[1]
    for axis, (tap, place) in enumerate(zip(taps, places, strict=True)):
        position = place * op.stride[axis] + tap * op.dilation[axis] - op.padding[axis][0]
        inside = inside & (position >= 0) & (position < in_shape[1 + axis])
        inp = inp * in_shape[1 + axis] + position
        out = out * out_shape[1 + axis] + place
        weight = weight * op.kernel[axis] + tap
    full = np.broadcast_shapes(inp.shape, out.shape, weight.shape, inside.shape)
    keep = np.broadcast_to(inside, full).reshape(-1)
    out, inp, weight = (np.broadcast_to(a, full).reshape(-1)[keep] for a in (out, inp, weight))
    order = np.lexsort((inp, out))
    return IndexMap(out[order], inp[order], weight[order], size(out_shape), size(in_shape))


def _x(values: Sequence[object]) -> str:
    return "x".join(str(v) for v in values) if len(set(values)) > 1 else str(values[0])
