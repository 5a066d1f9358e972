"""Targets: every limit of a chip in one TOML file, each with its source and certainty."""

from __future__ import annotations

from .families import built_in_families, family_class, family_names, family_of
from .family import Family, Form, NoForm, OwnNeuron, Realisation, WeightFormat
from .load import (
    arithmetic_models,
    dump_target,
    load_target,
    parse_target,
    target_folder,
    target_names,
)
from .schema import (
    STRENGTH,
    ArithmeticModel,
    Axons,
    Chip,
    Duration,
    Energy,
    EnergyModel,
    Limit,
    Neurons,
    Numeric,
    Range,
    Strict,
    Synapse,
    Target,
    TimeModel,
    Widths,
    weakest,
)

__all__ = [
    "STRENGTH",
    "ArithmeticModel",
    "Axons",
    "Chip",
    "Duration",
    "Energy",
    "EnergyModel",
    "Family",
    "Form",
    "Limit",
    "Neurons",
    "NoForm",
    "Numeric",
    "OwnNeuron",
    "Range",
    "Realisation",
    "Strict",
    "Synapse",
    "Target",
    "TimeModel",
    "WeightFormat",
    "Widths",
    "arithmetic_models",
    "built_in_families",
    "dump_target",
    "family_class",
    "family_names",
    "family_of",
    "load_target",
    "parse_target",
    "target_folder",
    "target_names",
    "weakest",
]
