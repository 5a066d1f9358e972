"""Mapping: count memory, split groups over cores, place them and check every limit."""

from __future__ import annotations

from .check import check_program, fits
from .fix.repair import Repair, repair
from .place import compares, place_program, share_of
from .route.fan_out import fan_out
from .route.traffic import Traffic, traffic
from .rules.validate import recounted, validate_placement
from .tell.effects import Effects, effects
from .tell.explain import explain_core, explain_layer
from .tell.step_time import ASSUMED_ACTIVITY, StepMeter, StepTime, step_time
from .tell.summary import LayerUse, Summary, core_shares, summarise

__all__ = [
    "ASSUMED_ACTIVITY",
    "Effects",
    "LayerUse",
    "Repair",
    "StepMeter",
    "StepTime",
    "Summary",
    "Traffic",
    "check_program",
    "compares",
    "core_shares",
    "effects",
    "explain_core",
    "explain_layer",
    "fan_out",
    "fits",
    "place_program",
    "recounted",
    "repair",
    "share_of",
    "step_time",
    "summarise",
    "traffic",
    "validate_placement",
]
