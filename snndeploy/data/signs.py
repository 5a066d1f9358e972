"""Signed spikes on chips whose spikes are all alike: two inputs, one for each sign.

What arrives is linear, so ``W x = W x+ + (-W) x-``: the values above zero go into the input, those below
into a second one whose weights are negated. Nothing is rounded; synapses of the input are stored twice.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..ir.arrays import Array, Shape
from ..ir.network import Network, Projection, Source
from ..ir.weights import Weight
from .samples import SampleSource

NEGATIVE = ".negative"
"""Behind the name of an input: the one that takes what is below zero."""


def split_signs(network: Network) -> Network:
    """The network with a second input beside each, for what is below zero; see `snndeploy.data.signs`.

    `load_samples` feeds both from the same data.

    Raises:
        InputError: ``signs-split``, an input has a second one already.
    """
    inputs = [p.name for p in network.with_role("input")]
    taken = {p.name for p in network.populations}
    for name in inputs:
        if f"{name}{NEGATIVE}" in taken:
            raise InputError(
                "signs-split",
                f"there is a population {name}{NEGATIVE} already",
                where=name,
                hint="leave --split-signs out",
            )
    populations = []
    for population in network.populations:
        populations.append(population)
        if population.role == "input":
            populations.append(dataclasses.replace(population, name=f"{population.name}{NEGATIVE}"))
    projections = []
    for projection in network.projections:
        projections.append(projection)
        sources = tuple(
            dataclasses.replace(s, population=f"{s.population}{NEGATIVE}")
            for s in projection.sources
            if s.population in inputs
        )
        if sources:
            projections.append(_negated(projection, sources))
    notes = {**network.notes, "signs": "inputs are split by sign"}
    return dataclasses.replace(
        network, populations=tuple(populations), projections=tuple(projections), notes=notes
    )


def _negated(projection: Projection, sources: tuple[Source, ...]) -> Projection:
    """The projection from the other inputs, with negated weights and no bias of its own."""
    w = projection.weight
    levels = (
        None if w.levels == "complement" else w.levels
    )  # which has no opposite of its least code
    weight = Weight(-w.data, w.scale, w.bits, w.mask, levels)
    return dataclasses.replace(
        projection, name=f"{projection.name}{NEGATIVE}", sources=sources, weight=weight, bias=None
    )


def bases_of(shapes: Mapping[str, Shape]) -> dict[str, Shape]:
    """The inputs that data are given for: without the second ones."""
    return {name: shape for name, shape in shapes.items() if _base(name) not in shapes}


def with_signs(
    sources: Mapping[str, Array | SampleSource], shapes: Mapping[str, Shape]
) -> dict[str, Array | SampleSource]:
    """The data of every input, where some are given for both signs."""
    found: dict[str, Array | SampleSource] = {}
    for name in shapes:
        base = _base(name)
        if base in shapes:
            found[name] = OneSign(sources[base], -1)
        elif f"{name}{NEGATIVE}" in shapes:
            found[name] = OneSign(sources[name], 1)
        else:
            found[name] = sources[name]
    return found


def _base(name: str) -> str:
    return name.removesuffix(NEGATIVE) if name.endswith(NEGATIVE) else ""


@dataclass(frozen=True, eq=False)
class OneSign:
    """The magnitudes of the values of one sign, zero elsewhere."""

    source: Array | SampleSource
    sign: int

    @property
    def shape(self) -> Shape:
        """That of the source."""
        return tuple(self.source.shape)

    def read(self, low: int, high: int) -> Array:
        """Samples ``low`` to ``high``."""
        source = self.source
        part = source[:, low:high] if isinstance(source, np.ndarray) else source.read(low, high)
        if part.dtype.kind in "bu":
            return part if self.sign > 0 else np.zeros_like(part)
        return np.asarray(np.maximum(part * self.sign, 0), part.dtype)
