"""Mapping: count memory, split groups over cores, place them and check every limit."""

from __future__ import annotations

from .check import check_program, fits
from .place import place_program
from .summary import LayerUse, Summary, summarise
from .traffic import Traffic, traffic

__all__ = [
    "LayerUse",
    "Summary",
    "Traffic",
    "check_program",
    "fits",
    "place_program",
    "summarise",
    "traffic",
]
