"""Mapping: count memory, split groups over cores, place them and check every limit."""

from __future__ import annotations

from .check import check_program, fits
from .explain import explain_core, explain_layer
from .fan_out import fan_out
from .place import place_program
from .repair import Repair, repair
from .summary import LayerUse, Summary, summarise
from .timing import StepTime, step_time
from .traffic import Traffic, traffic
from .validate import validate_placement

__all__ = [
    "LayerUse",
    "Repair",
    "StepTime",
    "Summary",
    "Traffic",
    "check_program",
    "explain_core",
    "explain_layer",
    "fan_out",
    "fits",
    "place_program",
    "repair",
    "step_time",
    "summarise",
    "traffic",
    "validate_placement",
]
