"""What arrives at the layers of a live module, and its moments."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...calibrate.moments import Moments, Response, moments_of_trains, pooled
from ...ir.arrays import Array
from ...ir.network import Network
from ...passes.second_order.options import CalibratedPass
from ...passes.second_order.room import moment_bytes
from .hooks import ModuleWatch, Run, Seen
from .projections import projection_of, trains_of

if TYPE_CHECKING:
    from torch import nn


class Arrivals:
    """What arrives in a module as it is: all settings that compete ask for the same."""

    def __init__(self, module: nn.Module, call: Run) -> None:
        self.module, self.call = module, call
        self._kept: dict[tuple[int, str], Array] = {}

    def of(
        self, data: Sequence[Any], layers: Sequence[Seen], memory: int
    ) -> Iterator[dict[str, Array]]:
        """Trains by layer, call by call; kept within ``memory`` bytes, beyond it computed again.

        Calls are told apart by identity, so they have to stay alive between two times.
        """
        free = memory - sum(train.nbytes for train in self._kept.values())
        for x in data:
            keys = {seen.name: (id(x), seen.name) for seen in layers}
            if not all(key in self._kept for key in keys.values()):
                found = _run(self.module, self.call, x, layers)
                fresh = {keys[name]: _small(trains_of(seen)) for name, seen in found.items()}
                free -= sum(train.nbytes for train in fresh.values())
                if free < 0:
                    yield {name: trains_of(seen) for name, seen in found.items()}
                    continue
                self._kept |= fresh
            yield {name: self._kept[key].astype(np.float64) for name, key in keys.items()}


def measured_together(blocks: Sequence[Network], max_memory: int) -> list[list[int]]:
    """Layers that are measured in one run over the samples: their moments must fit the memory."""
    groups: list[list[int]] = []
    free = 0
    for i, block in enumerate(blocks):
        needed = moment_bytes(block, block.projections)
        if not groups or needed > free:
            groups.append([])
            free = max_memory
        groups[-1].append(i)
        free -= needed
    return groups


def moments_at(
    module: nn.Module,
    call: Run,
    data: Sequence[Any],
    layers: Sequence[Seen],
    step: CalibratedPass,
    kernel: Response,
    aim: Iterable[Mapping[str, Array]] | None = None,
) -> dict[str, Moments]:
    """Moments of some layers over all samples; ``aim`` is what should arrive at them in each call."""
    sums: dict[str, Moments] = {}
    for x, wanted in zip(data, itertools.repeat(None) if aim is None else aim, strict=False):
        for name, found in _run(module, call, x, layers).items():
            part = moments_of_trains(
                projection_of(found),
                {"input": trains_of(found)},
                name,
                reference=None if wanted is None else {"input": wanted[name]},
                kernel=kernel,
                positions=step.positions or None,
                max_memory=step.max_memory << 20,
            )
            sums[name] = pooled(sums[name], part) if name in sums else part
    return sums


def _small(train: Array) -> Array:
    """The same numbers in few bytes: spikes in one, what single precision holds in four."""
    counts = bool((np.abs(train) <= 127).all()) and bool((train == np.rint(train)).all())
    if counts:
        return train.astype(np.int8)
    single = train.astype(np.float32)
    return single if bool((single == train).all()) else train


def _run(module: nn.Module, call: Run, x: Any, layers: Sequence[Seen]) -> dict[str, Seen]:
    watch = ModuleWatch(module, [seen.name for seen in layers], like=layers)
    watch.run(call, [x])
    return watch.layers
