"""Options that passes share: of methods that look at samples, of masks, and of codes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Annotated, Any, Literal

from pydantic import Field

from ...calibrate.moments import Response
from ...errors import PassRefused
from ...ir.network import Network
from ..base import Pass
from ..patterns import LayerPass
from .grids import Clip
from .layers import Settings, blocks_of
from .pruning import MaskSearch
from .room import refuse_beyond_room, solving_bytes

Scope = Literal["layer", "global", "lamp", "sensitivity", "measured"]


@dataclass(frozen=True, kw_only=True)
class CalibratedPass(LayerPass):
    """Options of methods that look at calibration samples; the others ignore them."""

    kernels: tuple[Response, ...] = ()
    """How input is filtered in time before errors are measured: not at all (``current``), as the
    receiving neuron does (``membrane``), four times as long (``long``), twice (``double``), or
    without end (``integrator``). Empty: what the method is known for. Of several, each layer takes
    the one that holds out best."""
    asymmetry: tuple[Annotated[float, Field(ge=0, le=1)], ...] = (0.0,)
    """0 keeps each layer on what arrives; 1 makes it aim at the membranes of the uncompressed
    network, making up for its compressed predecessors. Of several, as for ``kernels``."""
    choose: Literal["layer", "output"] = "layer"
    """Who decides between several: each ``layer`` (whose spike trains come closest to the
    uncompressed ones on held-out samples), or the ``output``: every combination is tried on the
    whole network, and the one that answers most alike is used for all layers."""
    sequential: bool = False
    """Measure what compressed predecessors deliver, not what the original ones do."""
    thresholds: bool = False
    """After each population, scale its thresholds by what is left of its membrane potentials, as
    the pass ``correct-threshold`` does; later layers then see its spikes. Where the ``output``
    chooses, it chooses between with and without, too."""
    damp: Annotated[float, Field(ge=0)] = 0.01
    """Ridge, relative to the mean second moment."""
    positions: Annotated[int, Field(ge=0)] = 32
    """Output positions of a convolution drawn per sample; 0 takes all."""
    max_memory: Annotated[int, Field(ge=16)] = 1024
    """MiB for recordings, patches and blocks of rows; the second moments of one layer come on top, for
    which the memory of the machine is the limit, or ``--max-memory``."""

    @property
    def response(self) -> Response:
        """What the method looks at where no kernel is named."""
        return "membrane"

    def settings(self) -> Settings:
        """The options, with the method's own kernel where none is named."""
        return Settings(
            kernels=self.kernels or (self.response,),
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

    def refuse_beyond_room(self, net: Network) -> None:
        """Say so before the work where a chosen layer takes more memory than there is.

        Raises:
            PassRefused: it does.
        """
        compares = self.sequential and any(self.asymmetry)
        several = self.choose == "layer" and len(self.asymmetry) > 1
        refuse_beyond_room(
            (block, solving_bytes(net, block, compares=compares, several=several))
            for block in blocks_of(net, self.select(net))
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


@dataclass(frozen=True, kw_only=True)
class MaskOptions(CalibratedPass):
    """How many weights go, and which shapes a mask may have."""

    sparsity: Annotated[float, Field(ge=0, lt=1)]
    """The fraction of all stored weights that is pruned afterwards, so those that were pruned
    before count, and stay pruned: ``round(sparsity * weights)`` of them, exactly."""
    scope: Scope = "layer"
    """What the sparsity is shared out over: each ``layer`` has it, ``lamp`` shares by LAMP scores,
    ``global`` by score (magnitude) or membrane error of all weights together, ``sensitivity`` by
    membrane error relative to the layer's own membranes; ``measured`` takes the one of ``lamp``,
    ``global`` and ``layer`` whose network answers most like the uncompressed one on held-out
    calibration samples. Within a layer, rows share by membrane error."""
    lamp_power: Annotated[float, Field(gt=0)] = 2.0
    """Exponent of the weights in LAMP scores."""
    search: MaskSearch = "greedy"
    """How a mask is found from samples: ``greedy`` takes one weight of a row at a time, exactly;
    ``rounds`` takes many at once."""
    rounds: Annotated[int, Field(ge=1)] = 8
    """How many rounds the search in ``rounds`` takes."""
    pattern: str = ""
    """Makes a mask regular: ``"2:4"`` prunes 2 of 4 consecutive weights of a row, ``"run:4"`` 4
    consecutive ones at a time; empty for any mask."""
    layer_sparsity: Mapping[str, Annotated[float, Field(ge=0, lt=1)]] = field(
        default_factory=dict, hash=False
    )
    """A sparsity of their own for single layers, by patterns of their names (of several that match,
    the last one counts); the others share ``sparsity`` as ``scope`` says."""


@dataclass(frozen=True, kw_only=True)
class PruneOptions(MaskOptions):
    """Options of the pass `prune`; here, as its plan and its budgets read them."""

    method: Literal["magnitude", "obc", "osbc", "sbc", "sparsegpt"] = "magnitude"
    """What matters. ``magnitude`` takes the smallest weights and changes no others. The rest look
    at samples and give the weights that stay the values that make up best for those that go:
    ``obc`` for the input current (Optimal Brain Compression), ``osbc`` and ``sbc`` for the membrane
    potential (arXiv 2506.03996; they differ in how they justify the same Hessian), ``sparsegpt``
    for the current in one sweep over the columns, which counts per block of them and so is off by a
    rounding."""
    count: Literal["weights", "synops"] = "weights"
    """What the sparsity is a fraction of: weights, or synaptic operations on the calibration samples,
    so that weights behind busy inputs go first."""
    cores: Annotated[int, Field(ge=0)] = 0
    """Raise the sparsity until the network, as it is at this point, fits so many cores of the
    target; 0 does not ask."""
    words: Annotated[int, Field(ge=0)] = 0
    """Raise it until the network fits so many 64-bit synapse words of the target; 0 does not ask."""


@dataclass(frozen=True, kw_only=True)
class CodeOptions(CalibratedPass):
    """Which codes weights may have, and how they are found from samples."""

    bits: Annotated[int, Field(ge=1, le=16)] = 8
    """Width b of the codes, -(2^(b-1) - 1) … 2^(b-1) - 1; with one bit they are signs, and the
    scale is the mean magnitude."""
    per: Literal["layer", "channel"] = "layer"
    """Extent of a scale: one for the layer, or one per output channel (axis 0 of the weight)."""
    clip: Clip = "mse"
    """How a scale is chosen: ``max`` represents the largest weight, so no weight is off by more
    than half a step; ``mse`` minimises the squared error and may clip large weights; ``minmax`` is
    the grid of the papers, with one more negative code; ``hessian`` has that code, too, and takes
    the step of least membrane error, tried with the codes that each method finds (of the step that
    rounds to nearest best, and those of ``minmax`` and ``mse``)."""
    grid: Literal["symmetric", "loihi"] = "symmetric"
    """``loihi`` makes everything that feeds one population exactly representable there together: at
    most 8 bits, steps that differ by powers of two (one exponent per connection), and a scale per
    channel only where the target's thresholds can absorb it, else one per layer."""
    order: Literal["inverse", "activity", "natural"] = "inverse"
    """Order of the columns: ascending diagonal of H^-1 (``inverse``, as SBC), descending diagonal
    of H (``activity``), or as they are (``natural``)."""
    refine: Annotated[int, Field(ge=0)] = 0
    """Rounds of coordinate descent on the codes that follow, each with the scale that is then best,
    if it is free."""
    layer_bits: Mapping[str, Annotated[int, Field(ge=1, le=16)]] = field(
        default_factory=dict, hash=False
    )
    """A width of their own for single layers, by patterns of their names (of several that match, the
    last one counts). Layers that share a scale, or are solved together, get the widest of theirs."""
