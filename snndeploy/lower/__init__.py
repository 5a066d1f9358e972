"""Lowering: a float or quantised `Network` becomes an integer `Program`."""

from .coding import InputCoding, encode_inputs, infer_coding
from .lowering import lower

__all__ = ["InputCoding", "encode_inputs", "infer_coding", "lower"]
