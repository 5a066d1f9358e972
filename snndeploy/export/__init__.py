"""Export: a network back to NIR, or a program to lava-dl's netx format."""

from .netx import write_netx
from .nir import write_nir

__all__ = ["write_netx", "write_nir"]
