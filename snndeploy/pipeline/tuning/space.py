"""The recipes that a search may choose from: what varies, in which steps, and the recipe of a choice."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from typing import Any, TypeAlias

from ...chip import Target
from ...ir.network import Network
from ...passes.adapt import Adapt
from ...passes.base import Pass
from ...passes.kernels.coupling import coupling
from ...passes.kernels.remove_kernels import RemoveKernels
from ...passes.prune import Prune
from ...passes.quantization.prune_quantize import PruneQuantize
from ...passes.quantization.quantize import Quantize
from ...recipe import CalibrationOptions, Recipe
from ..advise.sensitivity import Sensitivity
from .shares import MOST, bits_by_need, layer_sizes, shared_out

Setting: TypeAlias = "str | int | float"
RecipeChoice: TypeAlias = "Mapping[str, Setting]"
"""A value for every dimension of a `RecipeSpace`."""

BITS = (2, 3, 4, 5, 6, 8)
SPARSITIES = (0.0, 0.25, 0.5, 0.625, 0.75, 0.85, 0.9, 0.95)
RATIOS = (0.0, 0.125, 0.25, 0.5)
"""Shares of the kernels that are removed."""
_DENSER = (0.5, 1.0, 2.0)
"""Times the weights that a layer keeps by its share."""
_WIDER = (-2, -1, 0, 1, 2)
"""Steps of `BITS` that a layer has more than the others."""
_OWN = 6
"""Layers that get deviations of their own; of more, the first and the last ones."""
_STARTS = (
    (8, 0.0),
    (6, 0.5),
    (4, 0.5),
    (4, 0.75),
    (3, 0.75),
    (4, 0.85),
    (3, 0.9),
    (4, 0.95),
    (2, 0.95),
)
"""Bits and sparsity that a search begins with, shared out over the layers."""
_RASTER = tuple(product((8, 6, 4, 3, 2), (0.0, 0.5, 0.75, 0.9, 0.95)))
"""Bits and sparsity, alike in all layers, that one would try by hand: no front should be worse."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RecipeSpace:
    """Recipes for one network on one chip.

    Attributes:
        network: as trained.
        target: whose widths weights may have.
        samples: calibration samples that passes see.
        seed: of the recipes.
        adapt: whether neurons get forms that the chip has first.
        found: what pruning and rounding each layer alone costs; None where that was too much to measure.
    """

    network: Network
    target: Target
    samples: int
    seed: int = 0
    adapt: bool = False
    found: Sensitivity | None = field(default=None, repr=False)

    @cached_property
    def layers(self) -> tuple[str, ...]:
        """Layers with weights to prune and to quantise."""
        return tuple(layer_sizes(self.network))

    @cached_property
    def own(self) -> tuple[str, ...]:
        """Layers that may deviate from what all of them get."""
        half = _OWN // 2
        few = len(self.layers) <= _OWN
        return self.layers if few else (*self.layers[:half], *self.layers[-half:])

    @cached_property
    def widths(self) -> tuple[int, ...]:
        """Bits that weights may have on this chip."""
        largest = self.target.synapse.weight.largest
        return tuple(b for b in BITS if b <= largest) or (largest,)

    @cached_property
    def dimensions(self) -> dict[str, tuple[Setting, ...]]:
        """What varies, each with its values from mild to harsh where there is such an order."""
        measured = () if self.found is None else ("measured",)
        common: dict[str, tuple[Setting, ...]] = {
            "method": ("magnitude", "second-order"),
            "bits": tuple(reversed(self.widths)),
            "sparsity": SPARSITIES,
            "share": ("layer", "lamp", *measured),
            "widths": ("even", *measured),
            "scale": ("layer", "channel"),
        }
        if any(not group.fixed for group in coupling(self.network)):
            common["kernels"] = RATIOS
        for layer in self.own:
            common[f"bits {layer}"] = _WIDER
            common[f"density {layer}"] = _DENSER
        return common

    @property
    def size(self) -> int:
        """How many choices there are."""
        return math.prod(len(values) for values in self.dimensions.values())

    @property
    def uniform(self) -> int:
        """How many choices there are in which no layer deviates: the grid that brute force would try."""
        own = {f"{what} {layer}" for layer in self.own for what in ("bits", "density")}
        return math.prod(len(v) for name, v in self.dimensions.items() if name not in own)

    def choice(self, **given: Setting) -> dict[str, Setting]:
        """A choice with these values, and in everything else the plain one."""
        plain: dict[str, Setting] = {
            "method": "second-order",
            "bits": self.widths[-1],
            "sparsity": 0.0,
            "share": "layer" if self.found is None else "measured",
            "widths": "even",
            "scale": "layer",
            "kernels": 0.0,
        }
        for layer in self.own:
            plain[f"bits {layer}"], plain[f"density {layer}"] = 0, 1.0
        return {name: {**plain, **given}[name] for name in self.dimensions}

    @cached_property
    def starts(self) -> tuple[dict[str, Setting], ...]:
        """Choices to begin with: mild ones first, then what one would try by hand."""
        first = [
            self.choice(bits=b, sparsity=s, share=share)
            for b, s in _STARTS
            if b in self.widths
            for share in ("lamp", self.dimensions["share"][-1])
        ]
        by_size = [
            self.choice(method="magnitude", bits=b, sparsity=s)
            for b, s in _STARTS[:4]
            if b in self.widths
        ]
        alike = [
            self.choice(bits=b, sparsity=s, share="layer") for b, s in _RASTER if b in self.widths
        ]
        listed = (*by_size[:1], *first, *by_size[1:], *alike)
        distinct = {tuple(c.items()): c for c in listed}
        return tuple(distinct.values())

    def steps_from(self, choice: RecipeChoice) -> list[tuple[str, Setting]]:
        """Every change of one dimension by one step (of words: to another one)."""
        found: list[tuple[str, Setting]] = []
        for name, values in self.dimensions.items():
            at = values.index(choice[name])
            near = {at - 1, at + 1} if not isinstance(values[0], str) else set(range(len(values)))
            found += [(name, values[i]) for i in sorted(near - {at}) if 0 <= i < len(values)]
        return found

    def amounts(self, choice: RecipeChoice) -> tuple[dict[str, float], dict[str, int]]:
        """The sparsity and the bits of every layer."""
        share = choice["share"]
        sparsity = shared_out(
            self.network,
            float(choice["sparsity"]),
            share,  # type: ignore[arg-type]
            self.found,
        )
        shift = {}
        if choice["widths"] == "measured":
            assert self.found is not None
            shift = bits_by_need(self.found, self.layers)
        at = self.widths.index(int(choice["bits"]))
        bits = {}
        for layer in self.layers:
            place = at + shift.get(layer, 0) + int(choice.get(f"bits {layer}", 0))
            bits[layer] = self.widths[min(max(place, 0), len(self.widths) - 1)]
            kept = (1 - sparsity[layer]) * float(choice.get(f"density {layer}", 1.0))
            if sparsity[layer]:
                sparsity[layer] = round(min(max(1 - kept, 0.0), MOST), 4)
        return sparsity, bits

    def recipe(self, choice: RecipeChoice) -> Recipe:
        """The recipe of a choice; it looks at the first ``samples`` of what it is compiled with."""
        return Recipe(
            name="tuned",
            description=described(choice),
            seed=self.seed,
            guard="off",
            calibration=CalibrationOptions(samples=self.samples),
            passes=self._passes(choice),
        )

    def _passes(self, choice: RecipeChoice) -> tuple[Pass, ...]:
        passes: list[Pass] = [Adapt()] if self.adapt else []
        sparsity, bits = self.amounts(choice)
        looks = choice["method"] == "second-order"
        if ratio := float(choice.get("kernels", 0.0)):
            passes.append(
                RemoveKernels(
                    ratio=ratio,
                    kinds=("conv", "dense"),
                    score="second-order" if looks else "l1",
                    fold="weights" if looks else "none",
                    optional=True,
                )
            )
        widest = max(bits.values())
        amounts: dict[str, Any] = {
            "sparsity": float(choice["sparsity"]),
            "layer_sparsity": sparsity,
            "scope": "layer",
        }
        codes: dict[str, Any] = {
            "bits": widest,
            "layer_bits": {name: b for name, b in bits.items() if b != widest},
            "per": choice["scale"],
        }
        best: dict[str, Any] = {"grid": "loihi", "clip": "hessian", "refine": 1}
        if looks and any(sparsity.values()):
            passes.append(PruneQuantize(**amounts, **codes, **best, sequential=True))
        elif looks:
            passes.append(Quantize(**codes, **best, method="sbc", sequential=True))
        else:
            if any(sparsity.values()):
                passes.append(Prune(**amounts))
            passes.append(Quantize(**codes))
        return tuple(passes)


def described(choice: RecipeChoice) -> str:
    """A choice in words; what is as it usually is goes without saying."""
    words = [f"{choice['method']}, {choice['bits']} bits"]
    if choice["widths"] != "even":
        words.append("more where it is needed")
    if choice["sparsity"]:
        words.append(f"{float(choice['sparsity']):.1%} pruned by {choice['share']}")
    if choice.get("kernels"):
        words.append(f"{float(choice['kernels']):.1%} of the kernels removed")
    for name, value in choice.items():
        what, _, layer = name.partition(" ")
        if what == "bits" and layer and value:
            words.append(f"{layer} {int(value):+d} widths")
        if what == "density" and value != 1.0 and choice["sparsity"]:
            words.append(f"{layer} {float(value):g}x as dense")
    return ", ".join(words)
