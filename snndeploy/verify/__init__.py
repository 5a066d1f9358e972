"""Comparing engines: the same samples, spike for spike."""

from .compare import Comparison, Divergence, compare

__all__ = ["Comparison", "Divergence", "compare"]
