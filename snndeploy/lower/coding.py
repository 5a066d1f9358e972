"""How data enters the chip: binary spikes, graded spikes, or analog values rounded to graded ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..errors import InputError
from ..ir.arrays import Array, Shape, frozen
from ..ir.program import CompartmentGroup

Coding = Literal["binary", "graded", "analog"]

_ANALOG_PEAK = 255
_DEFAULT_GRADED_PEAK = 15
"""Events per step and pixel that head-room assumes when no data says better."""


@dataclass(frozen=True, kw_only=True)
class InputCoding:
    """``peak`` bounds |value| in data units; it decides head-room, and for analog data the grid."""

    kind: Coding
    peak: float

    @classmethod
    def named(cls, kind: Coding) -> InputCoding:
        """The coding assumed without data."""
        return cls(
            kind=kind, peak={"binary": 1.0, "graded": _DEFAULT_GRADED_PEAK, "analog": 1.0}[kind]
        )

    @property
    def only_signs(self) -> bool:
        """Whether the data are -1, 0 and 1: spikes, but for their sign."""
        return self.kind == "graded" and self.peak <= 1

    @property
    def scale(self) -> float:
        """Integer message per unit of data: 1, or for analog data the largest power of two that keeps
        the peak within 8 bits and sign. A power of two folds into weight exponents exactly.
        """
        if self.kind != "analog":
            return 1.0
        return float(2.0 ** np.floor(np.log2(_ANALOG_PEAK / max(self.peak, 1e-12))))

    @property
    def largest(self) -> int:
        """Largest integer message of the data."""
        return int(np.ceil(self.peak * self.scale))

    @property
    def message_peak(self) -> int:
        """Size of the largest message that is let in, which head-room is proved for."""
        return max(1, self.largest) if self.message_bits else 1

    @property
    def message_bits(self) -> int:
        """Payload bits of a message (0: a plain spike), sign included."""
        return 0 if self.kind == "binary" else self.largest.bit_length() + 1


def input_group(name: str, shape: Shape, coding: InputCoding) -> CompartmentGroup:
    """What the host sends for an input of the network."""
    return CompartmentGroup(
        name=name,
        shape=shape,
        role="input",
        kind="input",
        depth=0,
        scale=frozen(coding.scale),
        message_bits=coding.message_bits,
        message_peak=coding.message_peak if coding.message_bits else None,
    )


def infer_coding(data: Array | Iterable[Array]) -> InputCoding:
    """The cheapest coding that represents ``data``: 0/1 is binary, whole numbers graded, else analog.

    Args:
        data: all of it, or its parts one after the other.

    Raises:
        InputError: the data hold NaN or infinity.
    """
    low, high, whole = 0.0, 0.0, True
    for part in (data,) if isinstance(data, np.ndarray) else data:
        if part.size:
            least, most = float(part.min()), float(part.max())
            if not np.isfinite([least, most]).all():
                raise _not_finite()
            low, high = min(low, least), max(high, most)
        if np.issubdtype(part.dtype, np.floating):
            whole = whole and bool((part == np.floor(part)).all())
    if whole and low >= 0 and high <= 1:
        return InputCoding.named("binary")
    return InputCoding(kind="graded" if whole else "analog", peak=max(abs(low), abs(high)))


def reaching(coding: InputCoding | None, peak: float) -> InputCoding:
    """The coding for values up to ``peak`` too; without one, whole numbers up to it."""
    if coding is None or (coding.kind == "binary" and peak > 1):
        return InputCoding(kind="graded" if peak > 1 else "binary", peak=max(peak, 1.0))
    return dataclasses.replace(coding, peak=max(coding.peak, peak))


def _not_finite(where: str = "") -> InputError:
    return InputError("input-not-finite", "the data hold NaN or infinity", where=where)


def encode_inputs(data: Array, group: CompartmentGroup) -> Array:
    """Round data to the integers that an input group of a program sends.

    Of more spikes than a channel takes in a step (``max_spikes``; None: of any number) the rest is not
    sent. Nothing beyond the size that head-room was proved for may enter, or no bound would hold.

    Raises:
        InputError: a value does not fit the coding that the program was compiled for.
    """
    where, scale = f"input {group.name}", float(group.scale)
    if np.issubdtype(data.dtype, np.floating) and not np.isfinite(data).all():
        raise _not_finite(where)
    messages = np.rint(data * scale).astype(np.int64) if scale != 1.0 else data
    if not np.issubdtype(messages.dtype, np.integer) and messages.dtype != bool:
        if (messages != np.rint(messages)).any():
            raise InputError(
                "input-not-integer",
                "the program takes whole numbers, the data hold fractions",
                where=where,
                hint="compile with --input analog",
            )
        messages = messages.astype(np.int64)
    if group.max_spikes is not None:
        messages = np.minimum(messages, group.max_spikes)
    low, high = (int(messages.min()), int(messages.max())) if messages.size else (0, 0)
    most = group.largest
    if group.message_bits and max(-low, high) > most:
        reach = "value" if scale == 1.0 else f"value (times {scale:g})"
        raise InputError(
            "input-beyond",
            f"the program takes inputs up to {most:,} in size, the data hold a {reach} of "
            f"{high if high > most else low:,}: registers might overflow",
            where=where,
            hint=f"compile with --input-peak {max(-low, high) / scale:g} (or more), or with --data "
            "that reaches as far",
        )
    if group.message_bits == 0 and (low < 0 or high > 1):
        raise InputError(
            "input-not-binary",
            f"the program takes binary spikes, the data hold values from {low} to {high}",
            where=where,
            hint="compile with --input graded",
        )
    return messages
