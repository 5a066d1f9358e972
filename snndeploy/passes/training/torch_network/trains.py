"""Spike trains of one window of time: what populations emit, and the past that delays reach."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ....ir.network import Source

UnrolledState = tuple[Tensor, ...]
"""What `NeuronState.carried` of a population holds: u, v, spikes …, ``(samples, *shape)`` each."""


@dataclass(frozen=True, eq=False)
class Carried:
    """What one window leaves to the next: states, and the past that delays reach."""

    states: Mapping[str, UnrolledState]
    past: Mapping[str, Tensor]

    def detached(self) -> Carried:
        return Carried(
            {name: tuple(t.detach() for t in state) for name, state in self.states.items()},
            {name: t.detach() for name, t in self.past.items()},
        )


class Trains:
    """What populations emit in a window, preceded by as much past as delays reach."""

    def __init__(
        self, inputs: Mapping[str, Tensor], past: Mapping[str, Tensor], samples: int
    ) -> None:
        self.steps = len(next(iter(inputs.values())))
        self.samples = samples
        self._past = past
        self._growing: dict[str, list[Tensor]] = {}
        self._whole: dict[str, Tensor] = dict(inputs)

    def start(self, name: str) -> None:
        """Begin to record a population."""
        self._growing[name] = []

    def append(self, name: str, emitted: Tensor) -> None:
        """The next step of a population that was started."""
        self._growing[name].append(emitted)

    def set(self, name: str, emitted: Tensor) -> None:
        """All steps of a population at once."""
        self._whole[name] = emitted

    def whole(self, name: str) -> Tensor:
        """All steps of the window."""
        if name not in self._whole:
            self._whole[name] = torch.stack(self._growing[name])
        return self._whole[name]

    def ends(self) -> dict[str, Tensor]:
        """The past that the next window needs, oldest step first."""
        return {
            name: torch.cat([past, self.whole(name)])[-len(past) :]
            for name, past in self._past.items()
        }

    def delayed(self, source: Source, start: int, stop: int) -> Tensor:
        """The steps ``start:stop`` of the window as they arrive over ``source``."""
        name = source.population
        if source.min_delay == source.max_delay:
            return self._at(name, source.max_delay, start, stop)
        arriving = self._at(name, source.max_delay, start, stop)
        shape = arriving.shape[2:]
        delays = torch.tensor(np.broadcast_to(source.delay, shape).copy(), device=arriving.device)
        for delay in torch.unique(delays).tolist()[:-1]:
            arriving = torch.where(delays == delay, self._at(name, delay, start, stop), arriving)
        return arriving

    def _at(self, name: str, delay: int, start: int, stop: int) -> Tensor:
        """The steps ``start - delay : stop - delay``."""
        low, high = start - delay, stop - delay
        if (low, high) == (0, self.steps):
            return self.whole(name)
        if low >= 0:
            if name in self._whole:
                return self._whole[name][low:high]
            if len(self._growing[name]) == self.steps:
                return self.whole(name)[low:high]
            return torch.stack(self._growing[name][low:high])
        reach = len(self._past[name])
        before = self._past[name][reach + low : reach + min(high, 0)]
        return before if high <= 0 else torch.cat([before, self._at(name, 0, 0, high)])
