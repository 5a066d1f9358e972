"""ReLU networks in torch as sigma-delta networks."""

from .convert import from_relu

__all__ = ["from_relu"]
