"""What a chip does not have becomes what it has: neurons, loops, and filters between neurons."""

from .adapt import Adapt, adapted, unsupported
from .graph import connected, unconnected

__all__ = ["Adapt", "adapted", "connected", "unconnected", "unsupported"]
