"""Loihi 2: neuron programs, kernels that all positions of a core share, one pool of memory."""

from __future__ import annotations

from .family import Loihi2

__all__ = ["Loihi2"]
