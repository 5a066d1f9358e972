"""torch's operations as linear maps of signals, and those that are none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..signals import Blocks, Lost, Signal
from . import moves, pooling, values, weights
from .reading import Operation, Outcome, SignalReading, argument

if TYPE_CHECKING:
    from torch import Tensor


LINEAR: Mapping[str, Operation] = {
    "add": values.add,
    "add_": values.add,
    "sub": values.sub,
    "sub_": values.sub,
    "rsub": values.rsub,
    "neg": values.negative,
    "mul": values.multiply,
    "mul_": values.multiply,
    "div": values.divide,
    "div_": values.divide,
    "clone": values.copy,
    "_to_copy": values.copy,
    "copy_": values.copy_in,
    "relu": values.relu,
    "relu_": values.relu,
    "clamp": values.clamp,
    "clamp_max": lambda r, a, k, o: values.clamp(r, (a[0], None, a[1]), k, o),
    "clamp_min": lambda r, a, k, o: values.clamp(r, (a[0], a[1]), k, o),
    "hardtanh": lambda r, a, k, o: values.clamp(
        r, (a[0], argument(a, k, 1, "min_val", -1), argument(a, k, 2, "max_val", 1)), {}, o
    ),
    "maximum": values.maximum,
    "logical_or": values.maximum,
    "bitwise_or": values.maximum,
    "sum": moves.summed(mean=False),
    "mean": moves.summed(mean=True),
    "cat": moves.stack_rows,
    "stack": moves.stack_rows,
    "constant_pad_nd": moves.constant_pad,
    "addmm": weights.addmm,
    "mm": weights.mm,
    "mv": weights.mv,
    "bmm": weights.bmm,
    "convolution": weights.convolution,
    "native_batch_norm": weights.batch_norm,
    "_native_batch_norm_legit_no_training": weights.batch_norm,
    "avg_pool2d": pooling.average,
    "_adaptive_avg_pool2d": pooling.adaptive,
    "max_pool2d_with_indices": pooling.max_pool,
    "adaptive_max_pool2d": pooling.adaptive_max,
}
"""By the name of the operation in aten, without its overload."""

MOVES = frozenset(
    {
        "cat",
        "stack",
        "constant_pad_nd",
        "index",
        "index_select",
        "gather",
        "take_along_dim",
        "flip",
        "roll",
        "repeat",
        "pixel_shuffle",
        "pixel_unshuffle",
        "channel_shuffle",
        "upsample_nearest1d",
        "upsample_nearest2d",
        "_upsample_nearest_exact1d",
        "_upsample_nearest_exact2d",
        "replication_pad1d",
        "replication_pad2d",
        "reflection_pad1d",
        "reflection_pad2d",
        "im2col",
    }
)
"""Operations that only move values, repeat them, or put zeros between them."""

WITHOUT_VALUES = frozenset(
    {
        "zeros_like",
        "ones_like",
        "full_like",
        "empty_like",
        "rand_like",
        "randn_like",
        "new_zeros",
        "new_ones",
        "new_full",
        "new_empty",
        "zero_",
        "fill_",
    }
)
"""Operations whose result does not depend on the values that they are given."""


def signals_of(
    reading: SignalReading,
    name: str,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    out: Tensor,
    run: Any,
) -> Outcome:
    """What an operation of aten makes of signals.

    Args:
        reading: the recorder.
        name: of the operation, without overload.
        args: what it was given, as positions.
        kwargs: what it was given by name.
        out: its (first) result.
        run: the operation, to be tried with other numbers.
    """
    found: Outcome = "moved" if name in MOVES else f"{name.strip('_')}"
    if name in LINEAR:
        found = LINEAR[name](reading, args, kwargs, out)
    return moves.moved(reading, args, kwargs, run) if found == "moved" else found


def lost(size_of: int, why: Lost) -> Blocks:
    """A signal that is no linear map of emissions."""
    return Blocks((Signal(size_of, (), None, why),))
