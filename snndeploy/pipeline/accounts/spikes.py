"""What populations emitted in a run, and what was answered, kept for files."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import product
from typing import Any

import numpy as np

from ...data import Samples
from ...errors import UsageError
from ...ir.answers import UNLABELLED
from ...ir.arrays import Array
from ...limits import current
from ...report.listing import csv_text
from ...simulate.recording import Recording


class KeptSpikes:
    """Collects what populations emit, batch by batch.

    Args:
        patterns: names of populations, or shell-style patterns; empty for none.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        self._patterns = tuple(patterns)
        self._parts: dict[str, list[Array]] = {}
        self._labels: list[Array] = []
        self._bytes = 0

    def add(self, runs: Mapping[str, Recording], samples: Samples) -> None:
        """Take in one batch that every engine has run.

        Raises:
            UsageError: ``record-unknown``, a pattern names no population; ``record-too-large``, what is
                kept would not fit the memory that one file may take.
        """
        if samples.labels is not None:
            self._labels.append(samples.labels)
        for engine, run in runs.items():
            for name in self._chosen(run.spikes):
                emitted = run.spikes[name]
                self._bytes += emitted.nbytes
                if self._bytes > current().memory:
                    raise UsageError(
                        "record-too-large",
                        f"recordings take more than {current().memory:,} bytes",
                        where="--save-spikes",
                        hint="record fewer populations (--record NAME) or samples, or give it more: "
                        "snndeploy --max-memory MIB",
                    )
                self._parts.setdefault(f"{engine}.{name}", []).append(emitted)

    def _chosen(self, known: Mapping[str, Array]) -> list[str]:
        chosen: dict[str, None] = {}
        for pattern in self._patterns:
            found = [n for n in known if n == pattern or fnmatchcase(n, pattern)]
            if not found:
                raise UsageError(
                    "record-unknown",
                    f"there is no population {pattern!r}",
                    where="--record",
                    hint=f"known: {', '.join(known)}",
                )
            chosen.update(dict.fromkeys(found))
        return list(chosen)

    def file(self) -> bytes:
        """A ``.npz``: ``ENGINE.POPULATION`` as ``(samples, steps, *shape)``, and labels as ``y``."""
        arrays = {n: np.concatenate(p, axis=1).swapaxes(0, 1) for n, p in self._parts.items()}
        labels = self.labels()
        content = io.BytesIO()
        np.savez_compressed(content, **arrays, **({} if labels is None else {"y": labels}))  # type: ignore[arg-type]
        return content.getvalue()

    def labels(self) -> Array | None:
        """Those of all samples so far."""
        return np.concatenate(self._labels) if self._labels else None


def predictions_table(report: Mapping[str, Any], labels: Array | None) -> str:
    """What every engine answered, as CSV: a line per sample, or per step where steps have labels.

    Args:
        report: of the run.
        labels: those of its samples.
    """
    answers = {engine: np.asarray(p) for engine, p in report["predictions"].items()}
    shape = next(iter(answers.values())).shape
    columns = ["sample", "step"][: len(shape)]
    columns += [*(["label"] if labels is not None else []), *answers]
    return csv_text(columns, _lines(shape, answers, labels))


def _lines(
    shape: tuple[int, ...], answers: Mapping[str, Array], labels: Array | None
) -> Iterator[list[Any]]:
    for place in product(*(range(n) for n in shape)):
        told: list[Any] = list(place)
        if labels is not None:
            label = int(labels[place])
            told.append("" if len(shape) > 1 and label == UNLABELLED else label)
        yield told + [int(found[place]) for found in answers.values()]
