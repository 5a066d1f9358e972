"""A pass of one's own: every weight becomes the mean magnitude of its layer, with its own sign."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from snndeploy.ir.network import Network, Projection
from snndeploy.passes.base import Pass, PassContext, PassResult, PassStage


@dataclass(frozen=True, kw_only=True)
class KeepSigns(Pass):
    """Keep the sign of every weight, and one magnitude per layer."""

    name: ClassVar[str] = "keep-signs"
    stage: ClassVar[PassStage] = "prune"

    strength: float = 1.0
    """How far weights go: 0 leaves them as they are, 1 takes them all the way."""

    def requires(self, net: Network) -> None:
        """Nothing in particular."""

    def run(self, net: Network, ctx: PassContext) -> PassResult:
        """Give every layer its one magnitude."""
        del ctx
        changed = net.map_projections(self._changed)
        return PassResult(network=changed, modified=changed is not net)

    def _changed(self, p: Projection) -> Projection:
        if p.op.one_to_one or p.weight.quantized:
            return p
        data = p.weight.data
        one = np.sign(data) * np.abs(data).mean()
        mixed = (1 - self.strength) * data + self.strength * one
        return replace(p, weight=replace(p.weight, data=mixed.astype(data.dtype)))
