"""Ingest: a NIR file or graph becomes a verified `Network`, under explicit semantics."""

from __future__ import annotations

from .normal_form.normalise import normalise
from .readers.netx import read_netx
from .readers.reader import read_raw
from .reading import Reading, read_model, read_network
from .semantics.choose import choose_profile
from .semantics.losses import known_losses
from .semantics.profiles import PRESETS, SemanticsProfile, preset
from .semantics.traces import Candidate, fingerprint

__all__ = [
    "PRESETS",
    "Candidate",
    "Reading",
    "SemanticsProfile",
    "choose_profile",
    "fingerprint",
    "known_losses",
    "normalise",
    "preset",
    "read_model",
    "read_network",
    "read_netx",
    "read_raw",
]
