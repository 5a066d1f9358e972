"""Targets: every limit of a chip in one TOML file, each with its source and certainty."""

from __future__ import annotations

from .load import (
    arithmetic_models,
    dump_target,
    load_target,
    parse_target,
    target_folder,
    target_names,
)
from .schema import (
    RESOURCES,
    STRENGTH,
    ArithmeticModel,
    Axons,
    Chip,
    Energy,
    EnergyModel,
    Limit,
    MemoryModel,
    Neurons,
    Numeric,
    Range,
    Strict,
    Synapse,
    Target,
    Widths,
    weakest,
)

__all__ = [
    "RESOURCES",
    "STRENGTH",
    "ArithmeticModel",
    "Axons",
    "Chip",
    "Energy",
    "EnergyModel",
    "Limit",
    "MemoryModel",
    "Neurons",
    "Numeric",
    "Range",
    "Strict",
    "Synapse",
    "Target",
    "Widths",
    "arithmetic_models",
    "dump_target",
    "load_target",
    "parse_target",
    "target_folder",
    "target_names",
    "weakest",
]
