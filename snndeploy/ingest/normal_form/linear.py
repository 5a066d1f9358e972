"""NIR's linear nodes as operators with weights, and the shapes that flow between nodes."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from ...errors import InputError
from ...ir.arrays import Array, Shape, size
from ...ir.ops import Conv, Dense, Op, Pair, Pointwise, Reshape, SumPool
from ..readers.raw import RawNode


@dataclass(frozen=True, eq=False)
class LinearStage:
    """One operator on its way into a projection.

    ``bias`` broadcasts to the operator's output; it is ``bias_delay`` steps late.
    """

    node: str
    op: Op
    in_shape: Shape
    weight: Array | None = None
    bias: Array | None = None
    bias_delay: int = 0

    @property
    def out_shape(self) -> Shape:
        return self.op.out_shape(self.in_shape)


def stages(node: RawNode, shape: Shape, where: str) -> tuple[LinearStage, ...]:
    """The operators that a linear node stands for on an input of ``shape`` (none for `Delay`).

    Raises:
        InputError: the node cannot take such an input, or its fields contradict each other.
    """
    try:
        made = _BUILDERS[node.kind](node, shape)
        for stage in made:
            stage.op.out_shape(stage.in_shape)
    except InputError as error:
        hint = error.hint or ("a Flatten may be missing" if len(shape) > 1 else "")
        raise InputError(error.code, error.message, where=where, hint=hint) from error
    return made


def _dense(node: RawNode, shape: Shape) -> tuple[LinearStage, ...]:
    weight = real(node.array("weight"))
    if weight.ndim != 2:
        raise InputError("weight-shape", f"weight of shape {weight.shape}, expected (out, in)")
    op = Dense(*weight.shape)
    return (LinearStage(node.name, op, shape, weight, _bias(node, (op.out_features,))),)


def _bias(node: RawNode, shape: Shape) -> Array | None:
    """The bias broadcast to ``shape``; None where it is zero."""
    if not node.has("bias") or not node.array("bias").any():
        return None
    bias = node.array("bias").astype(np.float64)
    if bias.size != 1 and bias.size != size(shape):
        raise InputError("weight-shape", f"bias of shape {bias.shape}, expected {shape[:1]}")
    return np.broadcast_to(bias.reshape(-1) if bias.size == 1 else bias.reshape(shape), shape)


def _scale(node: RawNode, shape: Shape) -> tuple[LinearStage, ...]:
    scale = real(node.array("scale"))
    if scale.size == 1:
        scale = scale.reshape(())
    _check_broadcast("scale", scale.shape, shape)
    full = np.broadcast_to(scale, shape)
    if (full == full.flat[0]).all():
        full = np.asarray(full.flat[0])
    return (LinearStage(node.name, Pointwise(shape, full.shape), shape, full),)


def _check_broadcast(what: str, shape: Shape, target: Shape) -> None:
    try:
        fits = np.broadcast_shapes(shape, target) == target
    except ValueError:
        fits = False
    if not fits:
        raise InputError("shape-mismatch", f"{what} of shape {shape} on a signal of shape {target}")


def _conv(node: RawNode, shape: Shape) -> tuple[LinearStage, ...]:
    axes = 1 if node.kind == "Conv1d" else 2
    weight = real(node.array("weight"))
    if weight.ndim != 2 + axes:
        raise InputError("weight-shape", f"weight of shape {weight.shape} for a {node.kind}")
    groups = _whole(node, "groups", 1, 1)[0]
    if weight.shape[0] % groups:
        raise InputError("weight-shape", f"{weight.shape[0]} output channels in {groups} groups")
    stride, dilation = _whole(node, "stride", 1, axes), _whole(node, "dilation", 1, axes)
    kernel = weight.shape[2:]
    op = Conv(
        weight.shape[0],
        weight.shape[1] * groups,
        kernel,
        stride,
        _padding(node, kernel, stride, dilation),
        dilation,
        groups,
    )
    bias = _bias(node, (op.out_channels,) + (1,) * axes)
    return (LinearStage(node.name, op, shape, weight, bias),)


def _padding(node: RawNode, kernel: Shape, stride: Shape, dilation: Shape) -> tuple[Pair, ...]:
    stored = node.fields.get("padding")
    word = stored if isinstance(stored, str) else None
    if word == "valid":
        return ((0, 0),) * len(kernel)
    if word == "same":
        if set(stride) != {1}:
            raise InputError(
                "unsupported-node",
                f"padding 'same' with stride {stride} has no agreed meaning",
                hint="PyTorch refuses it too; give the padding as numbers",
            )
        totals = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        return tuple((t // 2, t - t // 2) for t in totals)  # the odd one goes behind, as in PyTorch
    return tuple((p, p) for p in _whole(node, "padding", 0, len(kernel), low=0))


def _whole(node: RawNode, name: str, default: int, count: int, low: int = 1) -> Shape:
    """A field of whole numbers, one per axis (one number stands for all axes)."""
    if not node.has(name):
        return (default,) * count
    values = np.asarray(node.fields[name]).reshape(-1)
    if values.dtype.kind == "U" or values.size not in (1, count):
        raise InputError(
            "weight-shape", f"{name} is {node.fields[name]!r}, expected {count} numbers"
        )
    whole = tuple(int(v) for v in np.broadcast_to(values, (count,)))
    if min(whole) < low or (np.asarray(whole) != values).any():
        raise InputError("weight-shape", f"{name} is {values.tolist()}, expected numbers >= {low}")
    return whole


def _pool(node: RawNode, shape: Shape) -> tuple[LinearStage, ...]:
    kernel = _whole(node, "kernel_size", 1, 2)
    stride = _whole(node, "stride", 1, 2) if node.has("stride") else kernel
    padding = _whole(node, "padding", 0, 2, low=0)
    op = SumPool((kernel[0], kernel[1]), (stride[0], stride[1]), (padding[0], padding[1]))
    summed = LinearStage(node.name, op, shape)
    if node.kind == "SumPool2d":
        return (summed,)
    factor = np.asarray(1.0 / (kernel[0] * kernel[1]))  # zeros of the padding count
    return (summed, LinearStage(node.name, Pointwise(summed.out_shape), summed.out_shape, factor))


def _flatten(node: RawNode, shape: Shape) -> tuple[LinearStage, ...]:
    start = _whole(node, "start_dim", 1, 1, low=-len(shape) - 1)[0]
    end = _whole(node, "end_dim", -1, 1, low=-len(shape) - 1)[0]
    stored = node.array("input_type").reshape(-1) if node.has("input_type") else None
    if stored is not None and stored.tolist() == [1, *shape]:
        start, end = (d - 1 if d > 0 else d for d in (start, end))  # it still counts the batch
    if not (-len(shape) <= start < len(shape) and -len(shape) <= end < len(shape)):
        raise InputError(
            "shape-mismatch",
            f"Flatten from axis {start} to {end} of a signal of shape {shape}",
            hint="NIR shapes have no batch axis: start_dim of a full flatten is 0",
        )
    start, end = start % len(shape), end % len(shape)
    if start > end:
        raise InputError("shape-mismatch", f"Flatten from axis {start} back to axis {end}")
    flat = (*shape[:start], size(shape[start : end + 1]), *shape[end + 1 :])
    return () if flat == shape else (LinearStage(node.name, Reshape(flat), shape),)


def _delay(node: RawNode, shape: Shape) -> tuple[LinearStage, ...]:
    delay = node.array("delay")
    if delay.size > 1:
        _check_broadcast("delay", delay.shape, shape)
    return ()


def real(array: Array) -> Array:
    """Weights as floats: whole numbers become float32, or float64 where that would round them."""
    if array.dtype.kind == "f":
        return array
    single = array.astype(np.float32)
    return single if (single == array).all() else array.astype(np.float64)


_BUILDERS = {
    "Affine": _dense,
    "Linear": _dense,
    "Scale": _scale,
    "Conv1d": _conv,
    "Conv2d": _conv,
    "SumPool2d": _pool,
    "AvgPool2d": _pool,
    "Flatten": _flatten,
    "Delay": _delay,
}


def out_shape(node: RawNode, shape: Shape, where: str) -> Shape:
    """Shape behind a linear node."""
    made = stages(node, shape, where)
    return made[-1].out_shape if made else shape


def delayed(stage: LinearStage, steps: int) -> LinearStage:
    """The stage whose bias arrives ``steps`` later."""
    if stage.bias is None:
        return stage
    return dataclasses.replace(stage, bias_delay=stage.bias_delay + steps)
