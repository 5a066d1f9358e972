"""Fine-tuning under the constraints that a network already has, or is to have."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from ...errors import RecipeError
from ...ir.arrays import Array
from ...ir.network import Network
from ...ir.weights import Weight
from ..base import Pass, PassContext, PassResult, PassStage
from .options import Fraction, TrainingPass

if TYPE_CHECKING:
    from .loop.penalties import ActivityPrice
    from .loop.session import Session


@dataclass(frozen=True, kw_only=True)
class FineTune(TrainingPass):
    """Train on, within what the network is: masks stay, and codes stay on their grid.

    What has masks or codes keeps them: codes move on their grid. Steps of a grid follow the weights from
    epoch to epoch, and gradients pass straight through the rounding.
    """

    name: ClassVar[str] = "finetune"
    stage: ClassVar[PassStage] = "any"

    bits: Annotated[int, Field(ge=0, le=8)] = 0
    """Quantise real-valued layers to this width in the forward pass; 0 leaves them real."""
    grid: Literal["symmetric", "loihi", "rescaw"] = "symmetric"
    """The grid of ``bits``: that of the pass ``quantize`` (``symmetric``), the same with one step
    for all layers into a population, a power of two from that of a layer which is not quantised
    (``loihi``: it lowers exactly), or that of the pass ``rescaw``."""
    per: Literal["layer", "channel"] = "layer"
    """Extent of a scale."""
    fit: Literal["max", "mse", "mean", "percentile"] = "mse"
    """How a scale is chosen: ``clip`` of ``quantize``, or ``gamma`` of ``rescaw``."""
    exempt: tuple[Literal["first", "last"], ...] = ()
    """Do not quantise layers that read an input (``first``) or feed an output (``last``)."""
    keep: Literal["codes", "real"] = "codes"
    """What comes out: codes, or the real weights behind them, for passes that must come before
    quantising."""
    activity: Annotated[float, Field(ge=0)] = 0.0
    """The price of spikes: of each hidden layer's rate above ``target_rate`` or, with a budget of
    SynOps, of what is above that, as a fraction of it. SynOps are weights met by spikes; inputs
    that are values cost none, as there is nothing to save. With a price the last epoch is kept,
    whatever validation says of the ones before it."""
    target_rate: Annotated[float, Field(ge=0)] = 0.0
    """Spikes per neuron and step that cost nothing."""
    synops: Annotated[float, Field(ge=0)] = 0.0
    """Budget of SynOps per sample; 0 for none."""
    synops_ratio: Fraction = 0.0
    """The budget as a share of what the network uses before this pass; 0 for none."""
    restart: bool = False
    """Draw the weights of the chosen layers anew, with the spread that they had."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.synops and self.synops_ratio:
            raise RecipeError(
                "finetune-budget",
                "two budgets of SynOps are given",
                where=self.key("synops_ratio"),
                hint="give synops, or synops_ratio",
            )
        if (self.synops or self.synops_ratio) and not self.activity:
            raise RecipeError(
                "finetune-budget",
                "a budget of SynOps has no price",
                where=self.key("activity"),
                hint="say what is paid above it, for example activity = 10.0",
            )
        if self.bits and self.grid != "rescaw" and self.fit not in ("max", "mse"):
            raise RecipeError(
                "finetune-fit",
                f"fit = {self.fit!r} is for grid = 'rescaw'",
                where=self.key("fit"),
                hint="use max or mse",
            )

    @property
    def stages(self) -> tuple[PassStage, ...]:
        """It quantises where it is given bits, and keeps any other network as it is."""
        return ("quantize",) if self.bits and self.keep == "codes" else ("any",)

    def requires(self, net: Network) -> None:
        """The patterns must match; what is to be quantised must not be so yet."""
        self.select(net)
        quantizer = self.quantizer(net)
        if quantizer is not None:
            quantizer.requires(net)

    def expect(self, net: Network) -> Network:
        """Codes, where it leaves some."""
        quantizer = self.quantizer(net)
        if quantizer is None or self.keep == "real":
            return net
        return quantizer.expect(net)

    def run(self, net: Network, ctx: PassContext) -> PassResult:
        """Train, and write back what learnt."""
        from .loop.session import Session

        start = self._restarted(net, ctx) if self.restart else net
        session = Session(self, start, ctx, self.quantizer(start))
        penalties = [self._price(session)] if self.activity else []
        # a price is paid off by the end, so no earlier epoch is comparable
        session.fit("finetune", self.epochs, penalties=penalties, best=not penalties)
        return trained(net, session, rounded=self.keep == "codes")

    def ensures(self, before: Network, after: Network) -> None:
        """What was pruned stays pruned; codes stay on their grid."""
        keep_constraints(self, before, after)

    def quantizer(self, net: Network) -> Pass | None:
        """The pass whose grid the weights train on."""
        from ..quantization.quantize import Quantize
        from ..quantization.rescaw import ReScaW

        if not self.bits:
            return None
        roles = {p.name: p.role for p in net.populations}
        spared = {
            p.name
            for p in net.projections
            if ("first" in self.exempt and any(roles[s.population] == "input" for s in p.sources))
            or ("last" in self.exempt and roles[p.target] == "output")
        }
        names = tuple(p.name for p in self.select(net) if p.name not in spared)
        if not names:  # every layer is exempt
            return None
        if self.grid == "rescaw":
            return ReScaW(bits=self.bits, gamma=self.fit, per=self.per, layers=names)
        return Quantize(
            bits=self.bits,
            per=self.per,
            clip=self.fit,  # type: ignore[arg-type]
            layers=names,
            share="target" if self.grid == "loihi" else "none",
        )

    def _price(self, session: Session) -> ActivityPrice:
        from .loop.penalties import ActivityPrice
        from .loop.session import codings

        session.refresh(session.module)
        samples = session.data.samples
        values = [name for name, coding in codings(samples).items() if coding.kind == "analog"]
        price = ActivityPrice(
            session.module,
            weight=self.activity,
            target_rate=self.target_rate,
            synops=self.synops,
            ignore=values,
        )
        if self.synops_ratio:
            price.synops = self.synops_ratio * price.used(session.module, session.batches(samples))
        return price

    def _restarted(self, net: Network, ctx: PassContext) -> Network:
        stream = ctx.stream("restart")
        changed = []
        for p in self.select(net):
            drawn = stream.normal(0.0, float(p.weight.values().std()), p.weight.shape)
            weight = Weight(drawn.astype(np.float32), mask=p.weight.mask)
            changed.append(dataclasses.replace(p, weight=weight))
        return net.replace(projections=changed)


def trained(before: Network, session: Session, *, rounded: bool = True) -> PassResult:
    """The result of a pass that trained ``before``."""
    after = session.module.to_network(rounded=rounded)
    modified = after.digest != before.digest
    old = {p.name: p.weight.values() for p in before.projections}
    changes = {
        p.name: {"change": _relative(old[p.name], p.weight.values())} for p in after.projections
    }
    return PassResult(
        network=after if modified else before,
        modified=modified,
        metrics={**changes, "training": session.metrics()},
        findings=session.findings(),
    )


def _relative(old: Array, new: Array) -> float:
    """Relative change of the weights: |new - old| / |old|."""
    size = float(np.linalg.norm(old))
    return float(np.linalg.norm(new - old)) / size if size else 0.0


def keep_constraints(step: Pass, before: Network, after: Network) -> None:
    """Promise that masks and quantisation of ``before`` are those of ``after``, or stricter."""
    new = {p.name: p.weight for p in after.projections}
    for p in before.projections:
        weight, mask = new[p.name], new[p.name].mask
        step.promise(
            p.weight.mask is None or (mask is not None and bool((mask <= p.weight.mask).all())),
            f"{p.name}: what was pruned stays pruned",
        )
        step.promise(
            not p.weight.quantized
            or (weight.bits == p.weight.bits and np.array_equal(weight.scale, p.weight.scale)),  # type: ignore[arg-type]
            f"{p.name}: codes stay on their grid",
        )
