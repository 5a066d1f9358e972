"""Comparing runs spike for spike: engines with each other, and ours with a framework's own."""

from .compare import Comparison, Divergence, compare
from .probe import Attempt, Probe, probe
from .trace import Trace

__all__ = ["Attempt", "Comparison", "Divergence", "Probe", "Trace", "compare", "probe"]
