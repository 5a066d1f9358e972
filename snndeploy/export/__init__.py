"""Export: a network back to NIR, or a program to lava-dl's netx format or to rockpool's Xylo."""

from .netx import write_netx
from .nir import write_nir
from .xylo import write_xylo

__all__ = ["write_netx", "write_nir", "write_xylo"]
