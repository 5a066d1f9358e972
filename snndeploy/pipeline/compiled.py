"""What a compilation came to: of a trained network, or of a program that a file holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from ..brief import brief, brief_html
from ..chip import Target
from ..ir.finding import Finding
from ..ir.network import Network
from ..ir.placement import Placement
from ..ir.program import Program
from ..lower import InputCoding, LayoutName
from ..mapping import fits
from ..mapping.place import Share
from ..passes.runner import PassLog
from ..recipe import Recipe

Scale = Literal["bounds", "calibrated"]
Objective = Literal["speed", "cores"]
"""What a placement is to be: the fastest spread, a core per slice while there are enough, or the fewest
cores."""
SHARE: Mapping[Objective, Share] = MappingProxyType({"speed": "if-needed", "cores": "always"})


@dataclass(frozen=True, kw_only=True, eq=False)
class Compiled:
    """Every stage of one compilation. ``findings`` are those of reading, passes, lowering
    and check.

    ``training`` records what passes were trained on, if they were; ``inputs`` how data enter the chip
    (None: as assumed without data), ``read`` the options that the model was read with, and ``data``
    what it was compiled with. ``scale``, ``layout`` and ``objective`` are as of `compile`.
    """

    source: Network
    log: PassLog
    program: Program
    placement: Placement
    target: Target
    board: str
    recipe: Recipe
    scale: Scale
    layout: LayoutName
    objective: Objective
    findings: tuple[Finding, ...]
    training: Mapping[str, Any] = field(default_factory=dict)
    inputs: InputCoding | None = None
    read: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)

    __repr__ = brief
    _repr_html_ = brief_html

    @property
    def network(self) -> Network:
        """The compressed network."""
        return self.log.network

    @property
    def networks(self) -> dict[str, Network]:
        """What float stages run: the network as it was trained, and as it was compressed."""
        return {"float": self.source, "compressed": self.network}

    @property
    def fits(self) -> bool:
        """Whether no check found an error."""
        return fits(self.findings)

    @property
    def output(self) -> str:
        """The population that answers."""
        return self.network.with_role("output")[0].name


@dataclass(frozen=True, kw_only=True, eq=False)
class Loaded:
    """A program from a file, placed on a target; ``findings`` are those of reading and of the check."""

    source: str
    program: Program
    placement: Placement
    target: Target
    board: str
    findings: tuple[Finding, ...]

    __repr__ = brief
    _repr_html_ = brief_html

    @property
    def networks(self) -> dict[str, Network]:
        """None: there never was a trained network."""
        return {}

    @property
    def fits(self) -> bool:
        """Whether no check found an error."""
        return fits(self.findings)
