"""What operations are given and what they answer, and how rows of a batch are taken apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from ....ingest.normal_form.linear import LinearStage
from ....ir.arrays import Array, Shape
from ....ir.ops import Pair
from ..signals import Blocks, Signal

if TYPE_CHECKING:
    from torch import Tensor


class SignalReading(Protocol):
    """What operations ask a recorder."""

    def knows(self, tensor: Any) -> bool:
        """Whether it is a tensor that holds signals."""

    def read(self, tensor: Tensor) -> Blocks: ...

    def name_of(self, weight: Tensor) -> str:
        """The layer that a weight belongs to."""

    def either(self, signals: Signal, name: str, shape: Shape) -> Signal | None:
        """What neurons emit that fire where any spike of a sum arrives; None: it is no sum of spikes."""

    def is_positive(self, signal: Signal) -> bool:
        """Whether no value can be negative."""

    def is_binary(self, signal: Signal) -> bool:
        """Whether all values are 0 or 1."""


Outcome = Blocks | str
"""Signals, or the reason why the operation has none."""
Operation = Callable[[SignalReading, Sequence[Any], Mapping[str, Any], "Tensor"], Outcome]


def argument(
    args: Sequence[Any], kwargs: Mapping[str, Any], at: int, name: str, default: Any
) -> Any:
    """An argument by its place, else by its name."""
    return args[at] if len(args) > at else kwargs.get(name, default)


def rows_of(reading: SignalReading, x: Tensor, count: int) -> tuple[Signal, ...]:
    """The signals of ``count`` rows of equal size."""
    step = x.numel() // max(count, 1)
    return reading.read(x).divided([i * step for i in range(count + 1)]).signals


def by_row(
    reading: SignalReading, x: Tensor, stage: LinearStage, factor: Array | None = None
) -> Blocks:
    """A stage on each row of a batch."""
    rows = (s.through(stage) for s in rows_of(reading, x, x.shape[0]))
    return Blocks(tuple(s if factor is None else s.times(factor) for s in rows))


def pair(values: Any) -> Pair:
    """One number for two axes, or one each."""
    values = [values] if isinstance(values, int) else list(values)
    return (int(values[0]), int(values[-1]))
