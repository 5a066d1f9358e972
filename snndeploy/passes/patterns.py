"""Which layers a pass works on: patterns of projection names."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from ..errors import RecipeError, did_you_mean
from ..ir.network import Network, Projection
from .base import Pass


@dataclass(frozen=True, kw_only=True)
class LayerPass(Pass):
    """A pass over layers, i.e. projections, chosen by name.

    A pattern with a wildcard (``conv*``) picks the matching layers that the pass is meant for and
    leaves the others alone; a name spelled out picks exactly that layer, whatever it is.
    """

    layers: tuple[str, ...] = ("*",)
    ignore: tuple[str, ...] = ()

    @abstractmethod
    def spares(self, net: Network) -> Mapping[str, str]:
        """The layers that a wildcard passes over, each with the reason."""

    def select(self, net: Network) -> tuple[Projection, ...]:
        """The layers to work on, in the network's order.

        Raises:
            RecipeError: a pattern matches nothing, or nothing the pass works on.
        """
        names = [p.name for p in net.projections]
        exempt = self.ignored(net)
        spared = self.spares(net)
        chosen: set[str] = set()
        for pattern in self.layers:
            found = matching(pattern, names, self.key("layers"))
            meant = [n for n in found if pattern == n or n not in spared]
            if not meant:
                why = "; ".join(f"{n}: {spared[n]}" for n in found[:3])
                raise RecipeError(
                    "pattern-matches-nothing",
                    f"{pattern!r} matches no layer that {self.name!r} works on ({why})",
                    where=self.key("layers"), hint="spell a layer's name out to include it anyway",
                )  # fmt: skip
            chosen.update(meant)
        return tuple(p for p in net.projections if p.name in chosen - exempt)

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


def matching(pattern: str, names: Iterable[str], where: str) -> list[str]:
    """The names that a shell-style pattern matches; a name always matches itself.

    Raises:
        RecipeError: there are none.
    """
    known = list(names)
    found = [name for name in known if name == pattern or fnmatchcase(name, pattern)]
    if not found:
        raise RecipeError(
            "pattern-matches-nothing", f"{pattern!r} matches no layer",
            where=where, hint=did_you_mean(pattern, known),
        )  # fmt: skip
    return found
