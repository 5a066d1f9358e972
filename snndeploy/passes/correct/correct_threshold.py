"""Give back to each neuron the spikes that it lost with the size of its membrane potential."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from ...ir.arrays import Array
from ...ir.network import Network
from ..base import PassStage
from ..second_order.thresholds import with_threshold
from .correction import Correction


@dataclass(frozen=True, kw_only=True)
class CorrectThreshold(Correction):
    """Scale every neuron's threshold by how much compression shrank its membrane potential.

    The potential without reset, where it is positive, is summed over the calibration samples in the
    network before the first pass and in the one now; the ratio, per neuron (per channel of a
    convolution), is the factor. That is the same as a gain on all weights of the neuron, which codes
    on a grid cannot have. Populations are corrected in the order in which spikes pass, so later ones
    are measured with the earlier ones corrected.
    """

    name: ClassVar[str] = "correct-threshold"
    stage: ClassVar[PassStage] = "any"

    strength: Annotated[float, Field(gt=0, le=1)] = 1.0
    """The power to which the factor is raised."""

    def corrected(
        self, net: Network, source: Network, name: str, inputs: Mapping[str, Array]
    ) -> tuple[Network, Mapping[str, float]]:
        """Scale by what is left of the membrane potential, per neuron or channel."""
        scaled, factor = with_threshold(net, source, name, inputs, strength=self.strength)
        return scaled, {
            "lowest_factor": float(np.min(factor)),
            "highest_factor": float(np.max(factor)),
        }

    def ensures(self, before: Network, after: Network) -> None:
        """Thresholds that were positive stay so, and weights stay as they are."""
        for old, new in zip(before.populations, after.populations, strict=True):
            if old.neuron is not None and old.neuron.threshold is not None:
                kept = (
                    new.neuron is not None
                    and new.neuron.threshold is not None
                    and bool(np.all(np.sign(new.neuron.threshold) == np.sign(old.neuron.threshold)))
                )
                self.promise(kept, f"{old.name}: thresholds keep their signs")
