"""Which layers a pass works on: patterns of projection names."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TypeVar

import numpy as np

from ..errors import PassRefused, RecipeError, did_you_mean
from ..ir.network import Network, Projection
from ..ir.weights import Weight
from .base import Pass


@dataclass(frozen=True, kw_only=True)
class LayerPass(Pass):
    """A pass over layers, i.e. projections, chosen by name.

    A pattern with a wildcard (``conv*``) picks the matching layers that the pass is meant for and
    leaves the others alone; a name spelled out picks exactly that layer, whatever it is.
    """

    layers: tuple[str, ...] = ("*",)
    """Patterns of the layers to work on."""
    ignore: tuple[str, ...] = ()
    """Patterns of the layers to leave alone, whatever ``layers`` says."""

    @abstractmethod
    def spares(self, net: Network) -> Mapping[str, str]:
        """The layers that a wildcard passes over, each with the reason."""

    def select(self, net: Network) -> tuple[Projection, ...]:
        """The layers to work on, in the network's order; none where all there is is wiring.

        Raises:
            RecipeError: a pattern matches nothing, or nothing the pass works on.
        """
        names = [p.name for p in net.projections]
        exempt = self.ignored(net)
        spared = self.spares(net)
        chosen: set[str] = set()
        if self.layers == ("*",) and self.nothing_to_do(net):
            return ()  # nobody chose a layer
        for pattern in self.layers:
            found = matching(pattern, names, self.key("layers"))
            meant = [n for n in found if pattern == n or n not in spared]
            if not meant:
                why = "; ".join(f"{n}: {spared[n]}" for n in found[:3])
                raise RecipeError(
                    "pattern-matches-nothing",
                    f"{pattern!r} matches no layer that {self.name!r} works on ({why})",
                    where=self.key("layers"),
                    hint="spell a layer's name out to include it anyway",
                )
            chosen.update(meant)
        return tuple(p for p in net.projections if p.name in chosen - exempt)

    def nothing_to_do(self, net: Network) -> bool:
        """Whether no layer is one to work on, so that none need be there: all there is is wiring."""
        return wiring(net).keys() >= {p.name for p in net.projections}

    def ignored(self, net: Network) -> set[str]:
        """Names of the layers that ``ignore`` matches.

        Raises:
            RecipeError: a pattern matches nothing.
        """
        names = [p.name for p in net.projections]
        return {n for i in self.ignore for n in matching(i, names, self.key("ignore"))}

    def key(self, option: str) -> str:
        """How error messages name an option."""
        return f"{self.name}.{option}"


def wiring(net: Network) -> dict[str, str]:
    """One-to-one layers whose weights are all 0, 1 or -1, with the reason to spare them."""
    return {
        p.name: "it is one-to-one with unit weights"
        for p in net.projections
        if p.op.one_to_one and np.isin(p.weight.values(), (-1, 0, 1)).all()
    }


def unquantizable(net: Network) -> dict[str, str]:
    """What quantising passes leave alone: wiring, and layers that have codes already."""
    taken = {p.name: "it is quantized already" for p in net.projections if p.weight.quantized}
    return {**wiring(net), **taken}


def to_quantize(step: LayerPass, net: Network) -> tuple[Projection, ...]:
    """The layers that a quantising pass works on.

    Raises:
        PassRefused: there are none, or one has codes already.
    """
    chosen = step.select(net)
    if not chosen and step.ignore:
        raise PassRefused(
            "nothing-to-quantize",
            "every layer that was chosen is also ignored",
            where=step.key("ignore"),
        )
    refuse_quantized(chosen, "quantize each layer once; start again from the real-valued network")
    return chosen


def refuse_quantized(chosen: Iterable[Projection], hint: str) -> None:
    """Codes are the truth: what has some is not rounded again.

    Raises:
        PassRefused: a layer is quantised.
    """
    for projection in chosen:
        if projection.weight.quantized:
            raise PassRefused(
                "already-quantized",
                f"it has {projection.weight.bits}-bit codes, which are its only truth",
                where=projection.name,
                hint=hint,
            )


Amount = TypeVar("Amount", int, float)


def per_layer(
    net: Network,
    chosen: Iterable[Projection],
    own: Mapping[str, Amount],
    common: Amount,
    where: str,
) -> dict[str, Amount]:
    """An amount per chosen layer: that of the last pattern in ``own`` that matches, or ``common``.

    Raises:
        RecipeError: a pattern matches no layer of the network.
    """
    names = [p.name for p in net.projections]
    given = {n: v for pattern, v in own.items() for n in matching(pattern, names, where)}
    return {p.name: given.get(p.name, common) for p in chosen}


def as_if_quantized(net: Network, chosen: Iterable[Projection], bits: int) -> Network:
    """``net`` with codes in the chosen layers, whatever they are: for `Pass.expect`."""
    coded = [
        dataclasses.replace(
            p, weight=Weight(np.ones(p.weight.shape, np.int8), np.ones(()), bits, p.weight.mask)
        )
        for p in chosen
    ]
    return net.replace(projections=coded)


def matching(pattern: str, names: Iterable[str], where: str) -> list[str]:
    """The names that a shell-style pattern matches; a name always matches itself.

    Raises:
        RecipeError: there are none.
    """
    known = list(names)
    found = [name for name in known if name == pattern or fnmatchcase(name, pattern)]
    if not found:
        raise RecipeError(
            "pattern-matches-nothing",
            f"{pattern!r} matches no layer",
            where=where,
            hint=did_you_mean(pattern, known),
        )
    return found
