"""A family of chips that does not exist, as a package outside of snndeploy would add it.

One memory per core, counted in bytes; 16-bit states that saturate and decay by shifts; neurons that
reset to zero or by subtraction by themselves, and no programs.
"""

from __future__ import annotations

from .family import Flat

__all__ = ["Flat"]
