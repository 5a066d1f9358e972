"""Options that all second-order passes share."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from itertools import product
from typing import Annotated, Any, Literal

from pydantic import Field

from ...calibrate.moments import Kernel
from ...errors import PassRefused
from ..base import Pass
from ..patterns import LayerPass
from .layers import Settings


@dataclass(frozen=True, kw_only=True)
class CalibratedPass(LayerPass):
    """Options of methods that look at calibration samples; the others ignore them.

    Args:
        kernels: how input is filtered in time: ``current`` (not at all), ``membrane`` (as the
            receiving neuron does), ``long`` (four times as long), ``double`` (twice), ``integrator``.
            Empty: what the method is known for. Of several, each layer takes the one that holds out
            best.
        asymmetry: 0 keeps each layer on what arrives; 1 makes it aim at the membranes of the
            uncompressed network, making up for its compressed predecessors. Of several, as above.
        choose: who decides between several: each ``layer`` (whose spike trains come closest to the
            uncompressed ones on held-out samples), or the ``output``: every combination is tried on
            the whole network, and the one that answers most alike is used for all layers.
        sequential: measure what compressed predecessors deliver, not what the original ones do.
        thresholds: after each population, scale its thresholds by what is left of its membrane
            potentials, as the pass `correct-threshold` does; later layers then see its spikes. Where
            the ``output`` chooses, it chooses between with and without, too.
        damp: ridge, relative to the mean second moment.
        positions: output positions of a convolution drawn per sample; 0 takes all.
        max_memory: MiB for recordings, patches and blocks of rows.
    """

    kernels: tuple[Kernel, ...] = ()
    asymmetry: tuple[Annotated[float, Field(ge=0, le=1)], ...] = (0.0,)
    choose: Literal["layer", "output"] = "layer"
    sequential: bool = False
    thresholds: bool = False
    damp: Annotated[float, Field(ge=0)] = 0.01
    positions: Annotated[int, Field(ge=0)] = 32
    max_memory: Annotated[int, Field(ge=16)] = 1024

    def settings(self, kernel: Kernel) -> Settings:
        """The options with the method's own ``kernel`` where none is named."""
        return Settings(
            kernels=self.kernels or (kernel,),
            asymmetry=self.asymmetry or (0.0,),
            sequential=self.sequential,
            damp=self.damp,
            positions=self.positions,
            max_memory=self.max_memory << 20,
            thresholds=self.thresholds,
        )

    def quick(self) -> Pass:
        """The first of several settings, and masks searched in rounds."""
        few: dict[str, Any] = {
            "kernels": self.kernels[:1],
            "asymmetry": (self.asymmetry or (0.0,))[:1],
            "choose": "layer",
            "thresholds": self.thresholds and self.choose == "layer",
        }
        cheap = {"search": "rounds", "refine": 0}
        few |= {name: value for name, value in cheap.items() if name in self.options()}
        found: Pass = dataclasses.replace(self, **few)
        return found

    def refuse_unused(self) -> None:
        """Asymmetry is about predecessors that were compressed.

        Raises:
            PassRefused: it is asked for without looking at them.
        """
        if any(self.asymmetry) and not self.sequential:
            raise PassRefused(
                "asymmetry-needs-sequential",
                "asymmetry makes up for compressed predecessors, and calibration does not see them",
                where=self.key("asymmetry"),
                hint="set sequential = true, or asymmetry = [0.0]",
            )

    def combinations(self) -> list[dict[str, Any]]:
        """Every kernel, asymmetry and treatment of thresholds, as options of a pass without choice."""
        if self.choose == "layer":
            return [{}]
        settings = product(
            self.kernels or ((),),
            self.asymmetry or (0.0,),
            (False, True) if self.thresholds else (False,),
        )
        return [
            {"kernels": (k,) if k else (), "asymmetry": (a,), "thresholds": t, "choose": "layer"}
            for k, a, t in settings
        ]
