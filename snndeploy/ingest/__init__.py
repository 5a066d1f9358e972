"""Ingest: a NIR file or graph becomes a verified `Network`, under explicit semantics."""

from __future__ import annotations

from .losses import known_losses
from .netx import read_netx
from .normalise import normalise
from .profile import choose_profile
from .reader import read_raw
from .reading import Reading, read_model, read_network
from .semantics import PRESETS, SemanticsProfile, preset
from .traces import Candidate, fingerprint

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
