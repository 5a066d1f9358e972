"""Which of several solutions of a layer makes its neurons spike as they did."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from ...calibrate.listen import listen
from ...calibrate.moments import filtered
from ...ir.arrays import Array
from ...ir.network import Network, Population, Projection
from ...ir.weights import Weight
from ...simulate.float.engine import run_float


class Judge:
    """Runs one population on what really arrives at it, with one solution after the other."""

    def __init__(
        self,
        reference: Network,
        current: Network,
        block: Sequence[Projection],
        inputs: Mapping[str, Array],
        max_memory: int,
    ) -> None:
        self.block = block
        self.target = current.population(block[0].target)
        incoming = current.incoming(self.target.name)
        before = {s.population for p in incoming for s in p.sources} - {self.target.name}
        self.inputs = _recorded(current, before, inputs, max_memory)
        emitted = _recorded(reference, {self.target.name}, inputs, max_memory)[self.target.name]
        self.wanted = self._membrane(emitted)
        self.alone = Network(
            (
                *(
                    Population(n, current.population(n).shape, None, "input")
                    for n in sorted(before)
                ),
                dataclasses.replace(self.target, role="output"),
            ),
            incoming,
        )

    def _membrane(self, emitted: Array) -> Array:
        neuron = self.target.neuron
        if neuron is None or not neuron.spiking:
            return emitted.astype(np.float64)
        return filtered(emitted, float(np.mean(neuron.leak)), None)

    def error(self, weights: Sequence[Weight]) -> float:
        """Squared distance to the reference's spike trains, relative to their own square."""
        changed = [
            dataclasses.replace(p, weight=w) for p, w in zip(self.block, weights, strict=True)
        ]
        net = self.alone.replace(projections=changed)
        emitted = run_float(net, self.inputs).spikes[self.target.name]
        power = float(np.square(self.wanted).sum())
        return float(np.square(self._membrane(emitted) - self.wanted).sum()) / max(power, 1e-300)


def _recorded(
    net: Network, names: set[str], inputs: Mapping[str, Array], max_memory: int
) -> dict[str, Array]:
    chunks = [c.recording.spikes for c in listen(net, names, inputs, max_memory=max_memory)]
    return {n: np.concatenate([c[n] for c in chunks], axis=1) for n in names}
