"""`Loihi2`: what only Loihi 2 knows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ....ir.arrays import Array
from ....ir.fan.fan import Fan
from ....ir.fan.fan_in import FanIn
from ....ir.placement import Bounds
from ....ir.program import CompartmentGroup
from ...counting import CoreRule, Count, Cuts, Resources, Sent, Stored, neurons_in
from ...floor import Boxes, Floor
from ...schema import Target
from ..loihi.family import LoihiFamily
from .encodings import encodings
from .floor import Floor2
from .pool import with_pool
from .rules import RULES
from .tables import Loihi2Target


@dataclass(frozen=True)
class Loihi2(LoihiFamily):
    """Loihi 2."""

    name: ClassVar[str] = "loihi2"
    tables: ClassVar[type[Target]] = Loihi2Target
    rules: ClassVar[tuple[CoreRule, ...]] = RULES
    neuron_resource: ClassVar[str | None] = "neurons"
    filled: ClassVar[str] = "pool_words"
    synapse_resource: ClassVar[str] = "synapse_words"

    target: Loihi2Target

    def encodings(self, fan: Fan, into: FanIn, neurons: int) -> list[Stored]:
        return encodings(fan, into, neurons, self.target)

    def cost(
        self, fan: Fan, into: FanIn, neurons: int, group: CompartmentGroup, parts: int
    ) -> Callable[[Stored], Any]:
        """Cheapest is what leaves most room: the smaller of the larger share of words or axons."""
        core = {name: max(limit, 1) for name, limit in self.limits.items()}

        def shared(s: Stored) -> float:
            return max((s.words + s.axons) / core["synapse_words"], s.axons / core["axon_in"])

        return shared

    def least_words(self, fan: Fan, into: FanIn, neurons: int, parts: list[Stored]) -> int:
        return min(p.words for p in parts)

    def incoming(
        self, group: CompartmentGroup, bounds: Bounds, stored: Sequence[Stored], fans: Sequence[Fan]
    ) -> Resources:
        neurons = neurons_in(bounds)
        used = {
            "neurons": neurons,
            "groups": 1,
            "neuron_words": neurons * self._state(group),
            "axon_in": sum(s.axons for s in stored),
            "synapse_words": sum(s.words for s in stored),
            "axon_map": 0,
            "axon_mem": 0,
        }
        return with_pool(used)

    def _state(self, group: CompartmentGroup) -> int:
        """Words of state of a neuron."""
        model = self.target.neurons
        return model.words if self.way(group) == "native" else model.program_words

    def outgoing(self, sent: Sent) -> Resources:
        """Axon map and memory.

        Channels share the entry of their position on the way to kernels; dense targets and the host
        need one per neuron. More than one destination needs one word each, but lists are not charged
        for theirs: the printed tables show none, even for 12 destinations.
        """
        kernels = sent.kernels
        places = kernels.max(axis=0) if kernels.ndim > 1 else kernels
        return {
            "axon_map": kernels.size if sent.listed else places.size if sent.heard else 0,
            "axon_mem": int(places[places > 1].sum()),
        }

    def outgoing_grid(self, sent: Sent, cuts: Cuts) -> dict[str, Array]:
        starts = [[low for low, _ in axis] for axis in cuts]
        extents = [np.array([high - low for low, high in axis]) for axis in cuts]
        if sent.kernels.ndim == 1:
            places, spatial = sent.kernels, extents
        else:
            places = np.maximum.reduceat(sent.kernels, starts[0], axis=0)
            spatial = [np.ones_like(extents[0]), *extents[1:]]
        memory = np.where(places > 1, places, 0)
        for axis in range(0 if places.ndim == 1 else 1, places.ndim):
            memory = np.add.reduceat(memory, starts[axis], axis=axis)
        per_tile = extents if sent.listed else spatial
        entries = np.ones((), np.int64)
        for extent in per_tile:
            entries = entries[..., None] * extent
        return {"axon_map": entries * (sent.listed or sent.heard), "axon_mem": memory}

    def completed(self, used: Mapping[str, Count]) -> dict[str, Count]:
        return with_pool(used)

    @property
    def published(self) -> Target | None:
        """Intel's compiler, whose printed lists hold their zeros."""
        synapse = self.target.synapse
        if not synapse.sparse.limit:
            return None
        zeros = synapse.sparse.model_copy(update={"limit": 0})
        stored = synapse.model_copy(update={"sparse": zeros})
        return self.target.model_copy(update={"synapse": stored})

    def floor(self, boxes: Boxes) -> Floor:
        return Floor2(boxes, self.target, self._state(boxes.group))

    def contents(
        self, group: str, used: Mapping[str, int], stored: Mapping[str, Stored]
    ) -> Iterator[tuple[str, int]]:
        for name, s in stored.items():
            yield f"synapses of {name} ({s.encoding})", s.words
            yield f"input axons of {name}", s.axons
        for what, resource in (
            ("neurons", "neuron_words"),
            ("group entries", "groups"),
            ("axon map", "axon_map"),
            ("axon memory", "axon_mem"),
        ):
            yield f"{what} of {group}", used[resource]

    def axons_in(self, used: Mapping[str, int]) -> int:
        return used["axon_in"]

    def axons_out(self, used: Mapping[str, int]) -> int:
        """Entries of the axon map and the words of axon memory."""
        return used["axon_map"] + used["axon_mem"]
