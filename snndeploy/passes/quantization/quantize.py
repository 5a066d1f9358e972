"""Quantisation: real weights become integer codes with a scale."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from ...calibrate.moments import Response
from ...chip.families.loihi import MANTISSA_BITS
from ...errors import PassRefused
from ...ir.arrays import Array
from ...ir.network import Network, Projection
from ...ir.weights import Weight
from ..base import Pass, PassContext, PassResult, PassStage
from ..clipping import code_levels, code_range, eased_bits, encode, scale_for
from ..patterns import as_if_quantized, per_layer, to_quantize, unquantizable, wiring
from ..second_order.choose import settled
from ..second_order.codes import quantized_solution
from ..second_order.grids import GridOptions
from ..second_order.layers import Problem, Solution, blocks_of, refuse_one_to_one, run_layers
from ..second_order.options import CodeOptions
from .sharing import groups_of, refuse_unshareable, share_partial, target_channels

_RESPONSE: dict[str, Response] = {
    "obq": "current",
    "gptq": "current",
    "osbc": "membrane",
    "sbc": "membrane",
}
_FINER = 0.75
"""From this share of relief on a layer has all its bits back, and gets a scale per channel."""


@dataclass(frozen=True, kw_only=True)
class Quantize(CodeOptions):
    """Quantise real weights: integer codes, and a scale for each layer or channel.

    Wildcards take every layer that is still real-valued, except one-to-one layers whose weights are
    all 0, 1 or -1: they are wiring, exact as they are, and would cost a shared scale its precision.
    Named literally, they are quantised like any other. Codes are the truth, so a layer is quantised
    once: naming a quantised one is refused. Pruned weights stay pruned, with no say in the scale.

    ``layer_bits`` gives single layers another width, by patterns of their names.
    """

    name: ClassVar[str] = "quantize"
    stage: ClassVar[PassStage] = "quantize"

    share: Literal["none", "target"] = "none"
    """``target`` gives the layers that feed one population one scale (per channel: one for each of
    its channels), as the neurons of a chip hold one membrane unit per population. With ``rtn``
    only."""
    method: Literal["rtn", "obq", "gptq", "osbc", "sbc"] = "rtn"
    """Finds the codes: ``rtn`` rounds to nearest (exact zeros keep the code 0); the rest look at
    samples and let the weights of a row make up for each other's rounding: ``obq`` greedily, for
    the input current; ``gptq`` column by column, for the current; ``osbc`` and ``sbc`` column by
    column, for the membrane potential."""

    @property
    def response(self) -> Response:
        """As published."""
        return _RESPONSE[self.method]

    @property
    def looks(self) -> bool:
        """Rounding to nearest looks at the weights alone."""
        return self.method != "rtn"

    def expect(self, net: Network) -> Network:
        """The chosen layers have codes."""
        return as_if_quantized(net, self.select(net), self.bits)

    def eased(
        self, before: Network, after: Network, relief: Mapping[str, float]
    ) -> tuple[Pass, ...]:
        """More bits per layer, then a scale per channel; with everything back it stays real-valued."""
        del after
        chosen = self.select(before)
        if self.share == "target":  # one scale for several layers is one amount, too
            most = {
                t: max(relief.get(p.name, 0.0) for p in chosen if p.target == t)
                for t in {p.target for p in chosen}
            }
            relief = {p.name: most[p.target] for p in chosen}
        widths = self.widths(before)
        bits, finer, real = dict(widths), [], []
        for p in chosen:
            share = relief.get(p.name, 0.0)
            if share >= 1:
                real.append(p.name)
                continue
            bits[p.name] = eased_bits(widths[p.name], MANTISSA_BITS, min(1.0, share / _FINER))
            if self.per == "layer" and share >= _FINER:
                finer.append(p.name)
        coarse = [p.name for p in chosen if p.name not in {*finer, *real}]
        parts: list[Pass] = []
        for names, per in ((coarse, self.per), (finer, "channel")):
            own = {n: bits[n] for n in names if bits[n] != self.bits}
            if names:
                options: dict[str, Any] = {"per": per, "layer_bits": own, "ignore": ()}
                parts.append(dataclasses.replace(self, layers=tuple(names), **options))
        return tuple(parts)

    def blind(self) -> Pass:
        """Rounding to nearest at the step of least squared error; on a chip's grid, one per target."""
        if not self.looks:
            return self
        near = dataclasses.replace(self, method="rtn", clip="mse", grid="symmetric", refine=0)
        if self.grid == "loihi":
            near = dataclasses.replace(near, per="layer", share="target")
        return near

    def closer(self) -> Pass:
        """Codes and steps by membrane error, and each layer makes up for half of what was lost before.

        One setting, so that it is quick, but for thresholds, which are corrected where that answers
        more alike. On a chip's grid up to the bits of its weights.
        """
        fine: dict[str, Any] = {"kernels": ("long",), "asymmetry": (0.5,), "choose": "output"}
        fine |= {"sequential": True, "thresholds": True, "refine": max(2, self.refine)}
        widest = max(self.bits, *self.layer_bits.values(), 0)
        grid = "loihi" if widest <= MANTISSA_BITS else "symmetric"
        how: dict[str, Any] = {"method": "sbc", "share": "none", "clip": "hessian", "grid": grid}
        return dataclasses.replace(self, **fine, **how)

    def widths(self, net: Network) -> dict[str, int]:
        """Bits of each chosen layer.

        Raises:
            RecipeError: a pattern of ``layer_bits`` matches nothing.
        """
        return per_layer(net, self.select(net), self.layer_bits, self.bits, self.key("layer_bits"))

    def nothing_to_do(self, net: Network) -> bool:
        """Nor are layers that have codes as short already."""
        wires = wiring(net)
        return all(
            p.name in wires or (p.weight.quantized and (p.weight.bits or 0) <= self.bits)
            for p in net.projections
        )

    def spares(self, net: Network) -> Mapping[str, str]:
        """Quantised layers, and one-to-one layers that only wire, are not taken by a wildcard."""
        return unquantizable(net)

    def requires(self, net: Network) -> None:
        """Something real-valued must be chosen, and sharing must be possible."""
        chosen = to_quantize(self, net)
        self.widths(net)
        if self.share == "target":
            refuse_unshareable(net, chosen, self.per)
        self._refuse_options(chosen)
        if self.method != "rtn":
            self.refuse_beyond_room(net)

    def _refuse_options(self, chosen: Iterable[Projection]) -> None:
        if self.method == "rtn":
            for what, asked in (
                ('clip = "hessian"', self.clip == "hessian"),
                ('grid = "loihi"', self.grid == "loihi"),
            ):
                if asked:
                    raise PassRefused(
                        "option-needs-method",
                        f"{what} needs a method that measures membrane errors",
                        where=self.key("method"),
                        hint='use method = "sbc", or share = "target" for representable scales',
                    )
            return
        self.refuse_unused()
        refuse_one_to_one(chosen, self.method)
        if self.share == "target":
            raise PassRefused(
                "option-needs-method",
                'share = "target" is for method = "rtn"',
                where=self.key("share"),
                hint='use grid = "loihi", which ties scales by powers of two',
            )
        if self.grid == "loihi" and self.bits > MANTISSA_BITS:
            raise PassRefused(
                "loihi-bits",
                f"Loihi's weights have at most {MANTISSA_BITS} bits, not {self.bits}",
                where=self.key("bits"),
                hint='lower bits, or use grid = "symmetric"',
            )

    def run(self, net: Network, ctx: PassContext) -> PassResult:
        """Choose scales, round, and store the codes."""
        if self.method == "rtn":
            return self._nearest(net, ctx)
        chosen = self.select(net)
        step, notes = settled(
            [dataclasses.replace(self, **c) for c in self.combinations()], net, ctx
        )
        settings = step.settings()

        widths = self.widths(net)

        def solve(index: int, p: Problem, /, net: Network) -> Solution:
            del index
            bits = max(widths[q.name] for q in p.block)
            return self.codes(p, net, settings.max_memory, bits=bits)

        result = run_layers(net, chosen, ctx, settings, solve, self.name)
        new = {p.name: p.weight for p in result.network.projections}
        metrics = {
            p.name: {**_metrics(p.weight, new[p.name]), **result.metrics[p.name]} for p in chosen
        }
        return dataclasses.replace(result, metrics=metrics, findings=(*notes, *result.findings))

    def codes(
        self,
        p: Problem,
        current: Network,
        max_memory: int,
        mask: Array | None = None,
        bits: int = 0,
    ) -> Solution:
        """Codes of one block, ``bits`` wide (0: as the pass says).

        ``mask`` (rows, d) adds weights that are to be pruned on the way.
        """
        per_row, tied = self.per == "channel", None
        if self.grid == "loihi":
            target = current.population(p.block[0].target)
            per_row = per_row and all(target_channels(q) == target.shape[0] for q in p.block)
            others = [
                q.weight.scale
                for q in current.incoming(target.name)
                if q.weight.scale is not None and q not in p.block
            ]
            if others:
                per_row = per_row and others[0].size in (1, len(p.alive))
                tied = others[0].reshape(-1, 1)
                if tied.size > 1 and not per_row:
                    tied = np.full((1, 1), float(np.median(tied)))
        options = GridOptions(
            bits=bits or self.bits, per_row=per_row, clip=self.clip, dyadic=self.grid == "loihi"
        )
        return quantized_solution(
            p,
            options,
            method="obq" if self.method == "obq" else "sweep",
            order=self.order,
            refine=self.refine,
            max_memory=max_memory,
            mask=mask,
            tied=tied,
        )

    def _nearest(self, net: Network, ctx: PassContext) -> PassResult:
        groups = groups_of(self.select(net), self.share)
        widths = self.widths(net)
        changed: list[Projection] = []
        for done, group in enumerate(groups):
            ctx.progress("layers", done, len(groups))
            changed += self._quantized(group, max(widths[p.name] for p in group))
        old = {p.name: p.weight for p in net.projections}
        return PassResult(
            network=net.replace(projections=changed),
            modified=True,
            metrics={p.name: _metrics(old[p.name], p.weight) for p in changed},
            findings=() if self.share == "none" else share_partial(net, {p.name for p in changed}),
        )

    def ensures(self, before: Network, after: Network) -> None:
        """Codes in range, masks kept, shared scales equal."""
        new = {p.name: p for p in after.projections}
        widths = self.widths(before)
        for group in self._promised(before):
            bits = max(widths[p.name] for p in group)
            for p in group:
                weight = new[p.name].weight
                low, high = code_range(bits, self.clip)
                inside = (weight.data >= low) & (weight.data <= high)
                self.promise(
                    weight.bits == bits and bool(inside.all()),
                    f"{p.name} holds codes of {bits} bits",
                )
                kept = (p.weight.mask is None) == (weight.mask is None)
                self.promise(
                    kept and (weight.mask is None or np.array_equal(weight.mask, p.weight.mask)),  # type: ignore[arg-type]
                    f"{p.name} keeps its mask",
                )

    def _promised(self, net: Network) -> list[tuple[Projection, ...]]:
        """Layers that get one width: those that share a scale, or are solved together."""
        chosen = self.select(net)
        return groups_of(chosen, self.share) if self.method == "rtn" else blocks_of(net, chosen)

    def _quantized(self, group: tuple[Projection, ...], bits: int) -> list[Projection]:
        rows = [self._rows(p.weight.data) for p in group]
        scale = scale_for(np.concatenate(rows, axis=1), bits, self.clip)
        return [
            dataclasses.replace(
                p,
                weight=Weight(
                    encode(r, scale, bits, self.clip).reshape(p.weight.shape),
                    scale=self._stored(scale, p.weight.data),
                    bits=bits,
                    mask=p.weight.mask,
                    levels=code_levels(bits, self.clip),
                ),
            )
            for p, r in zip(group, rows, strict=True)
        ]

    def _rows(self, data: Array) -> Array:
        """Weights as float64 rows that share a scale each (pruned weights are zeros: no say)."""
        channels = data.shape[0] if self.per == "channel" and data.ndim else 1
        return data.reshape(channels, -1).astype(np.float64)

    def _stored(self, scale: Array, data: Array) -> Array:
        """The scale in a shape that broadcasts against the weight."""
        if self.per == "layer" or not data.ndim:
            return scale[0]  # type: ignore[no-any-return]
        return scale.reshape((-1,) + (1,) * (data.ndim - 1))


def _metrics(old: Weight, new: Weight) -> dict[str, float]:
    alive = np.ones(old.shape, dtype=bool) if old.mask is None else old.mask
    difference = (old.data - new.values())[alive]
    power = float(np.square(old.data, dtype=np.float64).sum())
    error = float(np.square(difference, dtype=np.float64).sum())
    rounded_to_zero = int(((new.data == 0) & (old.data != 0)).sum())
    return {
        "mean_squared_error": error / max(1, difference.size),
        "relative_error": (error / power) ** 0.5 if power else 0.0,
        "rounded_to_zero": rounded_to_zero,
    }
