"""Everything that only this family knows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from snndeploy.chip.counting import CoreRule, Cuts, Resources, Sent, Stored, neurons_in, tile_sums
from snndeploy.chip.family import Family, Form, NoForm, Realisation, WeightFormat
from snndeploy.chip.floor import Boxes, Floor
from snndeploy.chip.forms import neuron_form, way_of
from snndeploy.chip.schema import Limit, Neurons, Synapse, Target
from snndeploy.ir.arrays import Array
from snndeploy.ir.fan.fan import Fan
from snndeploy.ir.fan.fan_in import FanIn
from snndeploy.ir.finding import Certainty
from snndeploy.ir.neurons import Neuron
from snndeploy.ir.placement import Bounds
from snndeploy.ir.program import CompartmentGroup
from snndeploy.ir.step import Arithmetic


class FlatSynapse(Synapse):
    """A row of weights per source, or a list of them with the address of each; either with a head."""

    head_bytes: Limit
    address_bytes: Limit


class FlatNeurons(Neurons):
    """``bytes`` of state per neuron, ``route_bytes`` per neuron and core that hears it."""

    bytes: int
    route_bytes: int


class FlatTarget(Target):
    """A chip of this family."""

    resources: ClassVar[tuple[str, ...]] = ("bytes",)

    synapse: FlatSynapse
    neurons: FlatNeurons


@dataclass(frozen=True)
class Flat(Family):
    """Flat memory, saturating states, shifts."""

    name: ClassVar[str] = "flat"
    tables: ClassVar[type[Target]] = FlatTarget
    rules: ClassVar[tuple[CoreRule, ...]] = (
        CoreRule(
            code="core-bytes",
            resources=("bytes",),
            sentence="All that a core holds must fit its one memory.",
            of_memory=True,
            shrinks=True,
        ),
    )
    filled: ClassVar[str] = "bytes"
    synapse_resource: ClassVar[str] = "bytes"

    target: FlatTarget

    @property
    def arithmetic(self) -> Arithmetic:
        numeric = self.target.numeric
        return Arithmetic(
            state_bits=numeric.state_bits.limit,
            u_overflow="saturate",
            v_overflow="saturate",
            decay="shift",
            decay_bits=numeric.decay_max.limit,
            u_decay_offset=0,
            state_shift=0,
            sum_bits=32,
        )

    @property
    def weights(self) -> WeightFormat:
        span = self.target.synapse.mantissa
        return WeightFormat(bits=8, low=span.low, high=span.high, mixed_step=1)

    def form(self, neuron: Neuron) -> Form | NoForm:
        return neuron_form(neuron, self.target)

    def way(self, group: CompartmentGroup) -> Realisation:
        return way_of(group, self.target)

    def encodings(self, fan: Fan, into: FanIn, neurons: int) -> list[Stored]:
        del neurons
        synapse = self.target.synapse
        found = []
        for encoding, counts, each, skips in (
            ("row", into.full, 1, False),
            ("list", into.stored, 1 + synapse.address_bytes.limit, True),
        ):
            heads = int((counts > 0).sum())
            most = int(counts.max(initial=0)) * each + synapse.head_bytes.limit
            found.append(
                Stored(
                    encoding=encoding,
                    words=(int(counts.sum()) * each + heads * synapse.head_bytes.limit)
                    * fan.delay_patterns,
                    longest=most if heads else 0,
                    axons=heads * len(fan.synapses.sources),
                    slots=1,
                    synapses=int(counts.sum()),
                    nonzero=int(into.stored.sum()),
                    skips_zeros=skips,
                )
            )
        return found

    def store(
        self, fan: Fan, into: FanIn, neurons: int, group: CompartmentGroup, parts: int
    ) -> Stored:
        return min(self.encodings(fan, into, neurons), key=lambda s: s.words)

    def cheapest(self, fan: Fan, into: FanIn, neurons: int) -> Stored:
        return min(self.encodings(fan, into, neurons), key=lambda s: s.words)

    def incoming(
        self, group: CompartmentGroup, bounds: Bounds, stored: Sequence[Stored], fans: Sequence[Fan]
    ) -> Resources:
        return {
            "bytes": neurons_in(bounds) * self.target.neurons.bytes + sum(s.words for s in stored),
            "rows": sum(s.axons for s in stored),
            "routes": 0,
        }

    def outgoing(self, sent: Sent) -> Resources:
        routes = int(sent.slots.sum())
        return {"bytes": routes * self.target.neurons.route_bytes, "routes": routes}

    def outgoing_grid(self, sent: Sent, cuts: Cuts) -> dict[str, Array]:
        routes = tile_sums(sent.slots, cuts)
        return {"bytes": routes * self.target.neurons.route_bytes, "routes": routes}

    def floor(self, boxes: Boxes) -> Floor:
        return FlatFloor(boxes, self.target.neurons.bytes)

    def contents(
        self, group: str, used: Mapping[str, int], stored: Mapping[str, Stored]
    ) -> Iterator[tuple[str, int]]:
        for name, s in stored.items():
            yield f"synapses of {name} ({s.encoding})", s.words
        routes = used["routes"] * self.target.neurons.route_bytes
        yield f"routes of {group}", routes
        yield (
            f"neurons of {group}",
            used["bytes"] - routes - sum(s.words for s in stored.values()),
        )

    def axons_in(self, used: Mapping[str, int]) -> int:
        return used["rows"]

    def axons_out(self, used: Mapping[str, int]) -> int:
        return used["routes"]

    @property
    def memory_certainties(self) -> tuple[Certainty, ...]:
        synapse = self.target.synapse
        return synapse.head_bytes.certainty, synapse.address_bytes.certainty


@dataclass(frozen=True, eq=False)
class FlatFloor(Floor):
    """State is spent neuron by neuron, and every synapse that is not zero takes a byte."""

    state: int

    def each(self) -> dict[str, Array]:
        taken = np.full(self.boxes.group.shape, float(self.state))
        for fan in self.boxes.fans:
            if fan.plain:
                taken = taken + fan.synapses_per_target
        return {"bytes": taken}

    def once(self) -> dict[str, float]:
        return {}

    def extents(
        self, channels: Array, extents: Array, each: Mapping[str, float]
    ) -> dict[str, Array]:
        return {"bytes": channels * extents.prod(axis=0) * each["bytes"]}

    def of_all_boxes(self, boxes: int) -> dict[str, float]:
        return {}

    def sending(self, used: Resources, slots: Array) -> Resources:
        return used
