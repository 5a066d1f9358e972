"""Lowering: a float or quantised `Network` becomes an integer `Program`."""

from .coding import InputCoding, encode_inputs, infer_coding, reaching
from .in_turn.adapt import fitted_in_turn
from .layout import LayoutName
from .lowering import lower

__all__ = [
    "InputCoding",
    "LayoutName",
    "encode_inputs",
    "fitted_in_turn",
    "infer_coding",
    "lower",
    "reaching",
]
