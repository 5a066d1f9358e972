"""Fields of one layer of a ``.net`` file, and its weights as Loihi holds them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...errors import InputError
from ...ir.arrays import Array, Shape
from ...ir.program import SignMode

LONGEST_DELAY = 62
"""netx clamps delays to this."""


class Layer:
    """One layer: its number, its type, and its fields with the checks that each needs."""

    def __init__(self, index: int, fields: Mapping[str, object], source: str) -> None:
        self.fields = fields
        self.where = f"{source}:layer/{index}"
        self.kind = self.text("type")
        self.name = f"{self.kind}-{index}"

    def has(self, name: str) -> bool:
        return self.fields.get(name) is not None

    @property
    def neuron(self) -> str:
        """The type of its neurons; empty where it has none."""
        return self.text("neuron", "type") if self.has("neuron") else ""

    def of_neuron(self, name: str) -> object:
        """A field of its neurons as it is stored, one value; None: there is none.

        Raises:
            InputError: it holds several values.
        """
        value = self._value(("neuron", name))
        if isinstance(value, (list, np.ndarray)):
            if np.size(value) != 1:
                raise self.misfit(name, np.shape(value), "one value")
            return np.asarray(value).reshape(-1)[0]
        return value

    def text(self, *path: str) -> str:
        """A text field, stored as a scalar or as one element.

        Raises:
            InputError: it is missing or not text.
        """
        value = self._value(path)
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        if not isinstance(value, str):
            raise self._missing(path, "text")
        return value

    def integers(self, *path: str) -> Array:
        """A numeric field that holds whole numbers, as int64.

        Raises:
            InputError: it is missing, not numeric, or holds fractions.
        """
        return self._integers(path)

    def whole(self, name: str, default: int | None, group: str = "") -> int:
        """One whole number; ``default`` where it is missing (None: it must be there)."""
        path = (group, name) if group else (name,)
        if default is not None and not self.has(name):
            return default
        values = self._integers(path)
        if values.size != 1:
            raise self.misfit(name, values.shape, "one number")
        return int(values.reshape(-1)[0])

    def pair(self, name: str, default: int) -> tuple[int, int]:
        """One or two whole numbers, (y, x)."""
        if not self.has(name):
            return default, default
        values = self._integers((name,)).reshape(-1)
        if values.size not in (1, 2) or (values < 0).any():
            raise self.misfit(name, values.shape, "one or two numbers >= 0")
        return int(values[0]), int(values[-1])

    @property
    def shape(self) -> Shape:
        """The block's neurons, (channels, height, width) or (n,)."""
        values = tuple(int(n) for n in self._integers(("shape",)).reshape(-1))
        if not values or min(values) < 1 or len(values) not in (1, 3):
            raise self.misfit("shape", values, "1 or 3 positive numbers")
        return values[:1] if values[1:] == (1, 1) and self.kind.startswith("dense") else values

    def delays(self, n_out: int, n_in: int) -> Array:
        """Extra steps of the synapses: a scalar, (n_in,) per input, or (n_out, 1) per output.

        Raises:
            InputError: another shape, or out of 0…62.
        """
        if not self.has("delay"):
            return np.zeros((), np.int64)
        values = self._integers(("delay",)).reshape(-1)
        if (values < 0).any() or (values > LONGEST_DELAY).any():
            raise InputError(
                "netx-range",
                f"its delays are {values.min()}…{values.max()}, outside 0…{LONGEST_DELAY}",
                where=self.where,
            )
        if values.size == 1 or (values == values[0]).all():
            return np.asarray(values[0])
        if values.size == n_out and self.kind.startswith("dense"):
            return values.reshape(-1, 1)
        if values.size == n_in:
            return values
        raise self.misfit("delay", values.shape, f"1, ({n_out},) or ({n_in},)")

    def misfit(self, name: str, shape: object, expected: str) -> InputError:
        """An error about a field's shape."""
        return InputError(
            "netx-shape", f"{name} has shape {shape}, expected {expected}", where=self.where
        )

    def _value(self, path: tuple[str, ...]) -> object:
        value: object = self.fields
        for part in path:
            value = value.get(part) if isinstance(value, Mapping) else None
        return value

    def _integers(self, path: tuple[str, ...]) -> Array:
        value = self._value(path)
        array = np.asarray(value if value is not None else "")
        if array.dtype.kind not in "biuf" or array.size == 0:
            raise self._missing(path, "numbers")
        if not np.isfinite(array).all() or (array != np.rint(array)).any():
            odd = array.reshape(-1)[(array != np.rint(array)).reshape(-1)][:1]
            raise InputError(
                "netx-integers",
                f"{'/'.join(path)} holds {odd[0] if odd.size else 'infinity'}, "
                "which is no whole number",
                where=self.where,
                hint="export quantised weights (SLAYER's export_hdf5 does)",
            )
        if np.abs(array.astype(np.float64)).max() >= 2**31:
            raise InputError("netx-range", f"{'/'.join(path)} exceeds 32 bits", where=self.where)
        return array.astype(np.int64)

    def _missing(self, path: tuple[str, ...], what: str) -> InputError:
        return InputError(
            "netx-field",
            f"the field {'/'.join(path)!r} is missing or does not hold {what}",
            where=self.where,
        )


def encoded_weight(weight: Array, where: str) -> tuple[Array, int, SignMode, int]:
    """Whole numbers as mantissa, exponent, sign mode and bits, without changing any.

    Mixed signs hold even mantissas in 8 bits: q enters as 2 q with one exponent less. Weights of one
    sign have a magnitude of 8 bits.

    Raises:
        InputError: a weight that needs more bits.
    """
    largest_common = int(np.bitwise_or.reduce(np.abs(weight).reshape(-1)))
    shift = (largest_common & -largest_common).bit_length() - 1 if largest_common else 0
    q = weight >> shift
    low, high = int(q.min()), int(q.max())
    if low >= 0 and high <= 255:
        return q, shift, "excitatory", 8
    if high <= 0 and low >= -255:
        return q, shift, "inhibitory", 8
    if low >= -128 and high <= 127:
        return 2 * q, shift - 1, "mixed", 8
    if low >= -256 and high <= 255:
        return q, shift, "mixed", 9
    raise InputError(
        "netx-range",
        f"weights from {int(weight.min())} to {int(weight.max())} need more than 9 bits",
        where=where,
        hint="Loihi's synapses hold 8 bits and a shared exponent",
    )
