"""Training without labels: the compressed network learns to answer as the trained one did."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from ...ir.finding import Finding
from ...ir.network import Network
from ..base import PassContext, PassResult, PassStage
from ..patterns import LayerPass, wiring
from .options import Fraction, Positive

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .loop.distillation import Distillation


@dataclass(frozen=True, kw_only=True)
class Distil(LayerPass):
    """Repair a compressed network without labels; the network before the first pass is the teacher.

    Masks stay, and codes too, unless ``codes`` says otherwise. What is minimised is the divergence of
    softened answers, the figure that guards and choices go by. After each epoch it is measured on
    samples that were put aside (``aside`` of a recipe's ``calibration``), which no pass has seen, and
    the epoch where it is least is kept, the start included: a network that did not get better comes
    out as it came. Where nothing was put aside, the last epoch is kept.
    """

    name: ClassVar[str] = "distil"
    stage: ClassVar[PassStage] = "any"

    epochs: Annotated[int, Field(ge=1)] = 50
    """How often each sample is seen."""
    batch: Annotated[int, Field(ge=1)] = 64
    """Samples per update; those that are made up are among them."""
    rate: Positive = 0.03
    """Length of a step at the start, relative to the layer: to the root mean square of the weights
    that are left, to the row's own step where there are codes, to the mean magnitude of biases and
    thresholds. It falls to zero along a cosine."""
    synthetic: Fraction = 0.5
    """The part of each batch that is made up of the samples: moved in time by up to a tenth, with up
    to a fifth of the events dropped, the beginning of one and the end of another (or, of inputs that
    are no spikes, a mix of two)."""
    shift: Annotated[int, Field(ge=0)] = 0
    """Move made-up samples by up to so many pixels as well, where inputs are maps."""
    learn: tuple[Literal["weights", "biases", "leaks", "thresholds"], ...] = ("weights", "biases")
    """What learns; biases only where there are any."""
    codes: bool = False
    """Let codes move on their grid. At two bits that does more harm than good."""
    surrogate: Literal["arctan", "triangular", "fast-sigmoid"] = "arctan"
    """Shape of the gradient of a spike."""
    width: Positive = 0.5
    """Its extent, in units of the threshold."""
    window: Annotated[int, Field(ge=0)] = 0
    """Bound memory by so many steps at a time, and compute them twice; 0 takes all."""

    def spares(self, net: Network) -> Mapping[str, str]:
        """One-to-one layers of unit weights are wiring, and stay; so do codes that may not move."""
        fixed = (
            {}
            if self.codes
            else {p.name: "it has codes" for p in net.projections if p.weight.quantized}
        )
        return {**wiring(net), **fixed}

    def requires(self, net: Network) -> None:
        """Patterns must match a layer."""
        self.ignored(net)

    def quick(self) -> Distil:
        """A fifth of the epochs."""
        from dataclasses import replace

        return replace(self, epochs=max(1, self.epochs // 5))

    def run(self, net: Network, ctx: PassContext) -> PassResult:
        """Train, and write back the epoch that is kept."""
        from .loop.distillation import Distillation

        teacher = ctx.source
        if teacher is None or teacher.digest == net.digest:
            return PassResult(network=net, modified=False)
        ctx.samples(f"the pass {self.name!r}")
        work = Distillation(self, net, teacher, ctx)
        if not work.learns:
            return PassResult(network=net, modified=False, findings=(_nothing(self.name),))
        work.run()
        after = work.network
        return PassResult(
            network=after,
            modified=after is not net,
            metrics={"distillation": work.metrics()},
            findings=(_kept(self.name, work),),
        )

    def ensures(self, before: Network, after: Network) -> None:
        """What was pruned stays pruned; codes stay, or at least on their grid."""
        from .finetune import keep_constraints

        keep_constraints(self, before, after)
        for p, q in zip(before.projections, after.projections, strict=True):
            moved = p.weight.quantized and (p.weight.data != q.weight.data).any()
            self.promise(self.codes or not moved, f"{p.name}: codes stay")


def _nothing(name: str) -> Finding:
    return Finding(
        code="nothing-to-learn",
        severity="note",
        where=name,
        message="every layer has codes, which stay, and there are no biases: nothing can learn",
    )


def _kept(name: str, work: Distillation) -> Finding:
    epochs = len(work.history)
    if work.reference is None:
        told = (
            f"trained for {epochs} epochs; no samples were put aside to say which of them is best"
        )
    elif not work.best:
        told = (
            f"none of {epochs} epochs made the answers to samples aside any better: nothing is kept"
        )
    else:
        told = (
            f"epoch {work.best} of {epochs} is kept: divergence on samples aside "
            f"{work.start:.3g} before, {work.history[work.best - 1].aside:.3g} after"
        )
    return Finding(code="distilled", severity="note", where=name, message=told)
