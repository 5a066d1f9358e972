"""What is run: inputs and labels, in memory or still on disk."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, TypeAlias

import numpy as np

from ..brief import brief, brief_html
from ..errors import InputError, did_you_mean
from ..ir.arrays import Array, Shape, size
from .arrays import forget

_BATCH_VALUES = 1 << 24
"""Values that one batch holds when the caller does not say how many samples."""


class SampleSource(Protocol):
    """InputValues that are read some samples at a time; whoever reads them in order reads them once."""

    @property
    def shape(self) -> Shape:
        """``(steps, samples, *input shape)``."""

    def read(self, low: int, high: int) -> Array:
        """Samples ``low`` to ``high`` (exclusive): ``(steps, high - low, *input shape)``."""


InputValues: TypeAlias = "Array | Mapping[str, Array]"
"""Values of one input, or of several by the name of their population."""


@dataclass(frozen=True, eq=False)
class Samples:
    """InputValues ``(steps, samples, *shape)`` and, where known, a class per sample or per step.

    ``labels`` are ``(samples,)`` or ``(samples, steps)``; a step labelled
    `snndeploy.ir.answers.UNLABELLED` does not count. ``window`` is over how many steps answers per step
    are smoothed. ``targets`` are values instead of classes, ``(samples, neurons)``: what the output
    should emit as mean over time.

    ``source`` feeds a network with one input (the same values go into all inputs of another). For
    several inputs it is a mapping from their names, which all have the same steps and samples.

    Raises:
        InputError: ``input-shape``, inputs of different steps or numbers of samples; ``input-names``, a
            mapping without any; ``data-labels``, labels or targets of another number of samples.
    """

    source: Array | SampleSource | Mapping[str, Array | SampleSource]
    labels: Array | None = None
    window: int = 1
    targets: Array | None = None

    __repr__ = brief
    _repr_html_ = brief_html

    def __post_init__(self) -> None:
        if isinstance(self.source, Mapping):
            self._refuse_unlike(self.source)
        for what, beside in (("labels", self.labels), ("targets", self.targets)):
            if beside is not None and len(beside) != len(self):
                raise InputError(
                    "data-labels",
                    f"there are {what} for {len(beside)} samples beside {len(self)} samples",
                    hint="inputs are (steps, samples, *shape): the second axis counts samples",
                )

    @staticmethod
    def _refuse_unlike(source: Mapping[str, Array | SampleSource]) -> None:
        if not source:
            raise InputError("input-names", "there is no input among the samples")
        extents = {name: tuple(s.shape[:2]) for name, s in source.items()}
        if len(set(extents.values())) > 1:
            listed = ", ".join(f"{name} has {extent}" for name, extent in extents.items())
            raise InputError("input-shape", f"inputs differ in (steps, samples): {listed}")

    @cached_property
    def inputs(self) -> InputValues:
        """All inputs at once; `batches` hands them out without holding all of them."""
        return self._read(0, len(self))

    @property
    def per_step(self) -> bool:
        """Whether every step has a label of its own."""
        return self.labels is not None and self.labels.ndim > 1

    @property
    def _sources(self) -> tuple[Array | SampleSource, ...]:
        if isinstance(self.source, Mapping):
            return tuple(self.source.values())
        return (self.source,)

    @property
    def values(self) -> tuple[Array, ...]:
        """The values of all inputs, in the order of their names' mapping."""
        inputs = self.inputs
        return tuple(inputs.values()) if isinstance(inputs, Mapping) else (inputs,)

    def by_input(self, names: Iterable[str]) -> dict[str, Array]:
        """The values for each of the inputs ``names``.

        Raises:
            InputError: ``input-names``, an input has none, or there is no input of a name.
        """
        names, inputs = tuple(names), self.inputs
        if not isinstance(inputs, Mapping):
            return dict.fromkeys(names, inputs)
        refuse_names(inputs, names)
        return {name: inputs[name] for name in names}

    def shape_of(self, name: str) -> Shape | None:
        """Shape of the values for the input ``name``; None if it has none."""
        if isinstance(self.source, Mapping):
            return tuple(self.source[name].shape[2:]) if name in self.source else None
        return tuple(self.source.shape[2:])

    @property
    def steps(self) -> int:
        return int(self._sources[0].shape[0])

    def __len__(self) -> int:
        return int(self._sources[0].shape[1])

    def first(self, n: int | None) -> Samples:
        """The first ``n`` samples (all of them for None)."""
        return self.part(0, n)

    def part(self, low: int, n: int | None) -> Samples:
        """``n`` samples (as many as there are for None), beginning with number ``low``."""
        high = len(self) if n is None else min(low + n, len(self))

        def of(source: Array | SampleSource) -> Array | SampleSource:
            if isinstance(source, np.ndarray):
                return source[:, low:high]
            return _Part(source, low, max(0, high - low))

        return self._some(_each(self.source, of), slice(low, high))

    def picked(self, which: Array) -> Samples:
        """The samples that an array of numbers, or of truth values, picks."""
        return self._some(_each(self.inputs, lambda values: values[:, which]), which)

    def cut(self, steps: int | None) -> Samples:
        """The first ``steps`` steps of every sample (all of them for None)."""
        labels = self.labels
        if labels is not None and labels.ndim > 1:
            labels = labels[:, :steps]
        source = _each(self.inputs, lambda values: values[:steps])
        return dataclasses.replace(self, source=source, labels=labels)

    def batches(self, n: int | None = None) -> Iterator[Samples]:
        """Consecutive batches of at most ``n`` samples (as many as suit the memory for None)."""
        width = sum(size(s.shape[2:]) for s in self._sources)
        n = n or max(1, _BATCH_VALUES // max(1, self.steps * width))
        for low in range(0, len(self), n):
            high = min(low + n, len(self))
            yield self._some(self._read(low, high), slice(low, high))
            for source in self._sources:
                forget(source)

    def _some(self, source: Any, which: slice | Array) -> Samples:
        """The samples of ``source``, with what else is known of these of all."""
        known = {"labels": self.labels, "targets": self.targets}
        some = {name: None if x is None else x[which] for name, x in known.items()}
        return Samples(source, window=self.window, **some)

    def _read(self, low: int, high: int) -> InputValues:
        def of(source: Array | SampleSource) -> Array:
            if isinstance(source, np.ndarray):
                return source[:, low:high]
            return source.read(low, high)

        read: InputValues = _each(self.source, of)
        return read


def refuse_names(given: Iterable[str], wanted: Collection[str]) -> None:
    """Refuse data that are not named as the inputs are.

    Raises:
        InputError: ``input-names``, an input has none, or there is no input of a name.
    """
    given = tuple(given)
    for name in given:
        if name not in wanted:
            raise InputError(
                "input-names",
                f"there is no input {name!r}",
                hint=did_you_mean(name, wanted) or f"the inputs are {', '.join(wanted)}",
            )
    if missing := [name for name in wanted if name not in given]:
        raise InputError(
            "input-names",
            f"no data for the input {', '.join(map(repr, missing))}",
            hint=f"give --data NAME=FILE for each of {', '.join(wanted)}",
        )


def _each(source: Any, function: Callable[[Any], Any]) -> Any:
    """``function`` of one source, or of each of several."""
    if isinstance(source, Mapping):
        return {name: function(one) for name, one in source.items()}
    return function(source)


@dataclass(frozen=True, eq=False)
class _Part:
    """Consecutive samples of a source."""

    source: SampleSource
    first: int
    samples: int

    @property
    def shape(self) -> Shape:
        return (self.source.shape[0], self.samples, *self.source.shape[2:])

    def read(self, low: int, high: int) -> Array:
        return self.source.read(self.first + low, self.first + high)
