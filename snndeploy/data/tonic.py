"""Public data sets of events by name, through the tonic package (the ``tonic`` extra)."""

from __future__ import annotations

import inspect
import os
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import BackendMissing, InputError, did_you_mean
from ..ir.arrays import Array, Shape
from .events import Events, in_turn

PREFIX = "tonic:"
FOLDER_VARIABLE = "SNNDEPLOY_DATASETS"
_SPLITS = ("train", "valid", "test")


@dataclass(frozen=True, eq=False)
class TonicRecordings:
    """A tonic data set, its classes taken in turn, as `Recordings`."""

    dataset: Any
    title: str
    order: Array
    labels: Array | None

    @property
    def sensor(self) -> Shape | None:
        """Tonic's (columns, rows, polarities), turned round."""
        size = getattr(self.dataset, "sensor_size", None)
        return None if size is None else tuple(int(n) for n in reversed(size))

    def __len__(self) -> int:
        return len(self.order)

    def name(self, index: int) -> str:
        return f"{self.title}: recording {self.order[index]}"

    def __getitem__(self, index: int, /) -> Events:
        events = self.dataset[int(self.order[index])][0]
        names = getattr(getattr(events, "dtype", None), "names", None)
        if not names:
            raise InputError(
                "tonic-not-events",
                "its samples are no plain streams of events",
                where=self.title,
                hint="export what you need of it to .npz files of events",
            )
        return Events.of({n: events[n] for n in names}, self.name(index))


def open_tonic(name: str) -> TonicRecordings:
    """Open ``NAME`` or ``NAME:SPLIT``, downloading it if need be; of split sets, ``test`` by default.

    Files lie in ``$SNNDEPLOY_DATASETS``, or in this user's cache.

    Raises:
        BackendMissing: tonic is not installed.
        InputError: an unknown data set or split, or files that cannot be had.
    """
    name, _, split = name.partition(":")
    title = f"{PREFIX}{name}"
    try:
        from tonic import datasets
    except ImportError as error:
        raise BackendMissing(
            "tonic-missing",
            f"tonic cannot be imported here ({error})",
            where=title,
            hint="pip install 'snndeploy[tonic]'",
        ) from error
    if name not in datasets.__all__:
        raise InputError(
            "tonic-name",
            f"tonic has no data set {name!r}",
            where=title,
            hint=did_you_mean(name, datasets.__all__),
        )
    kind = getattr(datasets, name)
    options = _split_options(kind, split, title)
    folder = _folder()
    try:
        with redirect_stdout(sys.stderr):  # it says what it downloads
            dataset = kind(save_to=str(folder), **options)
            labels = _labels(dataset)
    except Exception as error:  # downloads and archives fail in any way
        raise InputError(
            "tonic-unavailable",
            f"tonic cannot load it: {type(error).__name__}: {error}",
            where=title,
            hint=f"put its files below {folder / name}, as tonic would",
        ) from error
    if labels is None:
        return TonicRecordings(dataset, title, np.arange(len(dataset)), None)
    order = in_turn(labels)
    return TonicRecordings(dataset, title, order, labels[order])


def _split_options(kind: Any, split: str, title: str) -> dict[str, Any]:
    known = inspect.signature(kind).parameters
    if split and split not in _SPLITS:
        raise InputError(
            "tonic-split",
            f"there is no split {split!r}",
            where=title,
            hint=did_you_mean(split, _SPLITS),
        )
    if "train" in known and split != "valid":
        return {"train": split == "train"}
    if "split" in known:
        return {"split": split or "test"}
    if split:
        raise InputError(
            "tonic-split",
            f"the data set has no split {split!r}",
            where=title,
            hint="leave the split out, or use train or test",
        )
    return {}


def _labels(dataset: Any) -> Array | None:
    """A class per recording; None where targets are something else."""
    targets = getattr(dataset, "targets", None)
    if targets is None or len(targets) != len(dataset):
        targets = [dataset[i][1] for i in range(len(dataset))]
    array = np.asarray(targets)
    return array.astype(np.int64) if array.ndim == 1 and array.dtype.kind in "iu" else None


def _folder() -> Path:
    import platformdirs

    named = os.environ.get(FOLDER_VARIABLE)
    return Path(named or Path(platformdirs.user_cache_dir("snndeploy")) / "datasets").expanduser()
