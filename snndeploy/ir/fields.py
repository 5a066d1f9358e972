"""Fields of models: how a chip holds them, and which of them somebody does not know.

A parameter of neurons says in the metadata of its field how it is held. Whatever goes through all of
them (lowering, back to real numbers, files, pictures of registers) walks these tables, so that a new
parameter needs no place there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

PLAIN = (type(None), bool, int, float, str)
"""Types of values that are themselves in files, and in digests what they are written as."""

HeldAs = Literal["level", "factor"]
"""``level`` is in the unit of v: a register holds it times the scale of its population. ``factor`` is
what a step leaves of a state: a register holds the decay constant."""

LEVEL: Mapping[str, HeldAs] = {"held": "level"}
FACTOR: Mapping[str, HeldAs] = {"held": "factor"}
"""Metadata of the field of a `snndeploy.ir.neurons.Neuron`, or of the register of that name of a
`snndeploy.ir.program.CompartmentGroup`, which is made of it by this alone."""


def held_fields(cls: Any) -> Mapping[str, HeldAs]:
    """How each parameter of a class that says so is held, by name."""
    return _held(cls)


@lru_cache(100)
def _held(cls: Any) -> Mapping[str, HeldAs]:
    found = {f.name: f.metadata["held"] for f in dataclasses.fields(cls) if "held" in f.metadata}
    return MappingProxyType(found)


def beyond(model: Any, known: Collection[str]) -> tuple[str, ...]:
    """Fields of ``model`` that have another than their default value, and are not ``known``.

    A field at its default does nothing: it was so before the field came. Code that was written for
    some fields, and would lose what another one says, asks this first: then it refuses, or takes
    another way.
    """
    cls: Any = type(model)
    return tuple(
        f.name
        for f in _fields(cls)
        if f.name not in known and not np.array_equal(getattr(model, f.name), _default(f))
    )


_fields = lru_cache(100)(dataclasses.fields)


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default
