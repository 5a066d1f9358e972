"""Lava's sparse connections for places where several synapses meet.

Overlapping pooling windows give two neurons more than one synapse, each of which is a legal weight;
their sum need not be. Lava's `Sparse` holds one weight per pair and clips it, so these don't clip.
"""

from __future__ import annotations

from typing import Any

from lava.proc.sparse.models import PyDelaySparseModelBitAcc, PySparseModelBitAcc
from lava.proc.sparse.process import DelaySparse, Sparse


class MultiSparse(Sparse):
    """`Sparse` whose entries are sums of weights."""


class MultiDelaySparse(DelaySparse):
    """`DelaySparse` whose entries are sums of weights."""


class PyMultiSparse(PySparseModelBitAcc):
    """Model of `MultiSparse`."""

    # Set by hand: the decorator refuses to derive from a model that implements another process.
    implements_process = MultiSparse

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.weights_set = True  # lava: clipped and truncated already


class PyMultiDelaySparse(PyDelaySparseModelBitAcc):
    """Model of `MultiDelaySparse`."""

    implements_process = MultiDelaySparse

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.weights_set = True
