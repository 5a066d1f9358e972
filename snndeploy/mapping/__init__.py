"""Mapping: count memory, split groups over cores, place them and check every limit."""

from __future__ import annotations

from .check import check_program, fits
from .fan_out import fan_out
from .place import place_program
from .summary import LayerUse, Summary, Traffic, summarise, traffic

__all__ = [
    "LayerUse",
    "Summary",
    "Traffic",
    "check_program",
    "fan_out",
    "fits",
    "place_program",
    "summarise",
    "traffic",
]
