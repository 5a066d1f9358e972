"""Prune and quantise each layer in one go, so that later layers know what both did to it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ...ir.network import Network
from ..base import Pass, PassContext, PassResult, PassStage
from ..clipping import eased_bits
from ..patterns import as_if_quantized
from ..prune import Prune, best_scope, eased_sparsity, settled_scope
from ..second_order.choose import settled
from ..second_order.grids import Clip
from ..second_order.layers import Problem, Solution, alive_of, run_layers
from ..second_order.options import CodeOptions, MaskOptions, Scope
from ..second_order.plan import PrunePlan
from .quantize import Quantize


@dataclass(frozen=True, kw_only=True)
class PruneQuantize(MaskOptions, CodeOptions):
    """The mask of `prune` and the codes of `quantize` (method ``"sbc"``), layer by layer.

    A layer's codes are chosen for its mask, from the real weights that are best on it; the next
    layer is measured on what the pruned codes deliver (with ``sequential``).
    """

    name: ClassVar[str] = "prune-quantize"
    stage: ClassVar[PassStage] = "prune"

    bits: Annotated[int, Field(ge=1, le=16)] = 4
    scope: Scope = "lamp"
    per: Literal["layer", "channel"] = "channel"
    clip: Clip = "hessian"

    def expect(self, net: Network) -> Network:
        """The chosen layers have codes."""
        return as_if_quantized(net, self.select(net), self.bits)

    def eased(
        self, before: Network, after: Network, relief: Mapping[str, float]
    ) -> tuple[Pass, ...]:
        """Denser and wider per layer; a layer that gets everything back stays as it was."""
        chosen = [p for p in self.select(before) if relief.get(p.name, 0.0) < 1]
        if not chosen:
            return ()
        widths = self.parts()[1].widths(before)
        bits = {p.name: eased_bits(widths[p.name], 8, relief.get(p.name, 0.0)) for p in chosen}
        eased = dataclasses.replace(
            self,
            layers=tuple(p.name for p in chosen),
            ignore=(),
            scope=settled_scope(self.scope),
            layer_sparsity=eased_sparsity(chosen, after, relief),
            layer_bits={name: b for name, b in bits.items() if b != self.bits},
        )
        return (eased,)

    @property
    def stages(self) -> tuple[PassStage, ...]:
        """It prunes, then quantises."""
        return ("prune", "quantize")

    def spares(self, net: Network) -> Mapping[str, str]:
        """What either of the two passes leaves alone."""
        return {**self.parts()[0].spares(net), **self.parts()[1].spares(net)}

    def requires(self, net: Network) -> None:
        """What the two passes require."""
        self.parts()[0].requires(net)
        self.parts()[1].requires(net)

    def run(self, net: Network, ctx: PassContext) -> PassResult:
        """Mask, weights, codes; then the next layer."""
        if self.scope == "measured":
            chosen, notes = best_scope(self, net, ctx)
            result = chosen.run(net, ctx)
            return dataclasses.replace(result, findings=(*notes, *result.findings))
        step, notes = settled(
            [dataclasses.replace(self, **c) for c in self.combinations()], net, ctx
        )
        settings = step.settings()
        prune, quantize = self.parts()
        plan = PrunePlan.of(prune, net, ctx, settings)
        widths = quantize.widths(net)

        def solve(index: int, p: Problem, /, net: Network) -> Solution:
            pruned = plan.solve(index, p, net)
            masked = tuple(
                dataclasses.replace(q, weight=w)
                for q, w in zip(p.block, pruned.weights, strict=True)
            )
            bits = max(widths[q.name] for q in p.block)
            return quantize.codes(p, net, settings.max_memory, mask=alive_of(masked), bits=bits)

        result = run_layers(net, self.select(net), ctx, settings, solve, self.name)
        after = {p.name: p.weight for p in result.network.projections}
        metrics = {
            name: {**numbers, "sparsity": 1 - after[name].alive / after[name].data.size}
            for name, numbers in result.metrics.items()
        }
        return dataclasses.replace(result, metrics=metrics, findings=(*notes, *result.findings))

    def ensures(self, before: Network, after: Network) -> None:
        """The promises of the two passes."""
        self.parts()[0].ensures(before, after)
        masked = before.map_projections(
            lambda p: dataclasses.replace(
                p,
                weight=dataclasses.replace(
                    p.weight,
                    mask=next(q.weight.mask for q in after.projections if q.name == p.name),
                ),
            )
        )
        self.parts()[1].ensures(masked, after)

    def parts(self) -> tuple[Prune, Quantize]:
        """The two passes that it is made of."""
        options = self.options()
        masks, codes = (
            {f.name: options[f.name] for f in dataclasses.fields(shared)}
            for shared in (MaskOptions, CodeOptions)
        )
        return Prune(method="sbc", **masks), Quantize(method="sbc", **codes)
