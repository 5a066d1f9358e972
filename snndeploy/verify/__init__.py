"""Comparing runs spike for spike: engines with each other, and ours with a framework's own."""

from .compare import Comparison, Divergence, compare
from .probe import Attempt, Probe, probe
from .trace import Trace
from .verdict import Judgement, judge
from .verification import PairResult, Verification, kept_kernels
from .worst import WorstFound, worst_found, worst_inputs

__all__ = [
    "Attempt",
    "Comparison",
    "Divergence",
    "Judgement",
    "PairResult",
    "Probe",
    "Trace",
    "Verification",
    "WorstFound",
    "compare",
    "judge",
    "kept_kernels",
    "probe",
    "worst_found",
    "worst_inputs",
]
