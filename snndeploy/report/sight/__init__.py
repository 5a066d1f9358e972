"""What pictures show of a program, its placement and its golden run: counted once, as plain data."""

from .codes import CodeCounts
from .cores import CoreTile, Mesh
from .layers import GraphEdge, LayerNode
from .sight import Sight, sight_of
from .trains import LayerTrains

__all__ = [
    "CodeCounts",
    "CoreTile",
    "GraphEdge",
    "LayerNode",
    "LayerTrains",
    "Mesh",
    "Sight",
    "sight_of",
]
