"""Loihi: compartments, lists behind discrete and population axons, profiles, delay slots."""

from __future__ import annotations

from .family import Loihi1

__all__ = ["Loihi1"]
