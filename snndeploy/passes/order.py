"""The order of passes: what kind of compression each does, and which may still follow."""

from __future__ import annotations

from typing import Literal

from ..errors import PassRefused
from ..ir.network import Network

PassStage = Literal["any", "remove-kernels", "prune", "quantize"]

ORDER: tuple[PassStage, ...] = ("remove-kernels", "prune", "quantize")
"""The order law: each kind of compression works on what the ones before it left."""


def stage_of(net: Network) -> PassStage:
    """The furthest kind of compression whose marks the network carries."""
    weights = [p.weight for p in net.projections]
    if any(w.quantized for w in weights):
        return "quantize"
    return "prune" if any(w.mask is not None for w in weights) else "any"


def out_of_order(earlier: PassStage, later: PassStage) -> bool:
    """Whether ``later`` may no longer run once ``earlier`` has."""
    if "any" in (earlier, later):
        return False
    return ORDER.index(later) < ORDER.index(earlier)


def refuse_wrong_side(name: str, stage: PassStage, net: Network) -> None:
    """Apply the order law to the first stage of the pass ``name`` and the network it is to run on.

    Raises:
        PassRefused: the network has already been through a later kind of compression.
    """
    reached = stage_of(net)
    if out_of_order(reached, stage):
        done = {"prune": "pruned", "quantize": "quantized"}[reached]
        raise PassRefused(
            "order-law",
            f"{name!r} cannot run on a network that is already {done}",
            hint=f"the order is {' → '.join(ORDER)}; start from the network as it was ingested",
        )
