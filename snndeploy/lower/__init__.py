"""Lowering: a float or quantised `Network` becomes an integer `Program`."""

from .coding import InputCoding, encode_inputs, infer_coding
from .in_turn.adapt import adapted
from .layout import LayoutName
from .lowering import lower

__all__ = ["InputCoding", "LayoutName", "adapted", "encode_inputs", "infer_coding", "lower"]
