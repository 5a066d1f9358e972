"""SynSense Xylo: one core of leaky neurons with synapses, 16-bit states and 8-bit weights."""

from __future__ import annotations

from .family import Xylo

__all__ = ["Xylo"]
