"""Valid networks drawn at random: every operator, neuron option and kind of connection, and odd values.

A case is the same on every machine. There are three kinds, by the numbers in them:

``exact``
    small dyadic numbers and leaks of 0, 1/2 or 1, which integers hold, so that every engine must agree;
``real``
    what training leaves: any numbers, also quantised and pruned;
``extreme``
    ends of what is allowed: huge, tiny and denormal weights, rows of zeros, leaks next to 0 and 1,
    thresholds that are zero, negative or far away.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, cast, get_args

import numpy as np

from snndeploy.errors import InputError
from snndeploy.ir.arrays import Array, Shape, frozen, parameter, size
from snndeploy.ir.network import Network, Population, Projection, Role, Source
from snndeploy.ir.neurons import Neuron
from snndeploy.ir.ops import Conv, Dense, Op, Pointwise, Reshape, SumPool, chain_shapes, weighted_op
from snndeploy.ir.weights import Levels, Weight, levels_of
from snndeploy.lower import InputCoding, infer_coding
from tests.support.rules import RULES, fields_of

Kind = Literal["exact", "real", "extreme"]
KINDS: tuple[Kind, ...] = get_args(Kind)
TARGETS = ("loihi2", "loihi2", "loihi2-spec", "loihi1")
LARGEST = 48
"""Neurons of a population, at the most: a case takes a fraction of a second."""


@dataclass(frozen=True, eq=False)
class Case:
    """A network, data for it, and the chip that it is compiled for."""

    seed: int
    kind: Kind
    network: Network
    data: Mapping[str, Array]
    target: str

    @property
    def steps(self) -> int:
        return next(iter(self.data.values())).shape[0]

    @property
    def coding(self) -> InputCoding:
        """One coding that all inputs have room in."""
        return infer_coding(self.data.values())

    def changed(self, network: Network, data: Mapping[str, Array] | None = None) -> Case:
        return replace(self, network=network, data=self.data if data is None else data)


def draw(seed: int) -> Case:
    """Case ``seed``; kinds take turns."""
    kind = KINDS[seed % len(KINDS)]
    for attempt in range(50):
        draft = _Draft(np.random.default_rng([seed, attempt]), kind)
        try:
            network = draft.network()
        except InputError:  # a loop without delay, say: nothing that a network may be
            continue
        target = TARGETS[int(draft.rng.integers(len(TARGETS)))]
        return Case(seed, kind, network, draft.data(network, target), target)
    raise AssertionError(f"no valid network in 50 tries of seed {seed}")


class _Draft:
    """Populations and projections in the making."""

    def __init__(self, rng: np.random.Generator, kind: Kind) -> None:
        self.rng = rng
        self.kind = kind
        self.populations: list[Population] = []
        self.projections: list[Projection] = []

    def pick(self, *values: Any) -> Any:
        return values[self.rng.integers(len(values))]

    def often(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    # --- structure ------------------------------------------------------------------------------------

    def network(self) -> Network:
        for i in range(self.pick(1, 1, 1, 2)):
            self.populations.append(Population(f"in{i}", self.shape(), None, "input"))
        layers = int(self.rng.integers(1, 5))
        for i in range(layers):
            self.layer(f"n{i}", "output" if i == layers - 1 else "hidden")
        if layers > 1 and self.often(0.2):  # a second output, read and heard
            at = len(self.populations) - 2
            self.populations[at] = replace(self.populations[at], role="output")
        if self.often(0.2):  # a readout beside the output
            source = self.pick(
                *[p for p in self.populations if p.neuron is None or p.neuron.spiking]
            )
            self.layer("read", "output", source=source, readout=True)
        for _ in range(self.pick(0, 0, 0, 1, 2)):
            self.loop()
        return Network(tuple(self.populations), tuple(self.projections)).verify()

    def shape(self) -> Shape:
        n = self.rng.integers
        return cast(
            "Shape",
            self.pick(
                (int(n(1, 9)),),
                (1,),
                (int(n(1, 4)), int(n(3, 7))),
                (int(n(1, 4)), int(n(2, 6)), int(n(2, 6))),
                (int(n(1, 3)), 4, 4),
            ),
        )

    def spiking(self) -> list[Population]:
        return [p for p in self.populations if p.neuron is None or p.neuron.spiking]

    def layer(
        self, name: str, role: Role, source: Population | None = None, readout: bool | None = None
    ) -> None:
        source = source or self.pick(*self.spiking()[-2:])
        ops = self.chain(source.shape)
        shape = chain_shapes(ops, source.shape)[-1]
        silent = role == "output" and self.often(0.2) if readout is None else readout
        neuron = self.neuron(shape, readout=silent)
        before = self.spiking()
        self.populations.append(Population(name, shape, neuron, role))
        self.project(f"{name}.0", [source], name, ops)
        for i in range(self.pick(0, 0, 0, 1, 2)):
            other = self.pick(*before)
            alike = [p for p in before if p.shape == other.shape]
            sources = [other, self.pick(*alike)] if self.often(0.3) else [other]
            self.project(f"{name}.{i + 1}", sources, name, self.chain_to(other.shape, shape))

    def loop(self) -> None:
        """A connection back, or of a population to itself."""
        hidden = [p for p in self.populations if p.neuron is not None and p.neuron.spiking]
        if not hidden:
            return
        at = int(self.rng.integers(len(hidden)))
        source, target = hidden[at], hidden[int(self.rng.integers(at + 1))]
        name = f"loop{len(self.projections)}"
        ops = self.chain_to(source.shape, target.shape)
        self.project(name, [source], target.name, ops, least=self.pick(1, 1, 2, 3), gain=0.5)

    def chain(self, shape: Shape) -> tuple[Op, ...]:
        """Operators that take ``shape`` somewhere small."""
        for _ in range(20):
            ops = self.draw_chain(shape)
            try:
                shapes = chain_shapes(ops, shape)
            except InputError:
                continue
            if max(map(size, shapes[1:])) <= LARGEST:
                return ops
        return self.chain_to(shape, (3,))

    def draw_chain(self, shape: Shape) -> tuple[Op, ...]:
        n = self.rng.integers
        if len(shape) == 1:
            out = int(n(1, 9))
            return self.pick(
                (Dense(out, shape[0]),),
                (Dense(out, shape[0]),),
                (Pointwise(shape, self.pick((), shape)),),
                (Dense(4 * out, shape[0]), Reshape((out, 2, 2))),
                (Dense(3 * out, shape[0]), Reshape((out, 3))),
            )
        convolution = self.convolution(shape)
        flat = size(shape)
        per_channel = (shape[0], *(1,) * (len(shape) - 1))
        ways: list[tuple[Op, ...]] = [
            (convolution,),
            (convolution,),
            (Reshape((flat,)), Dense(int(n(1, 9)), flat)),
            (Pointwise(shape, self.pick((), shape, per_channel)),),
        ]
        if len(shape) == 3:
            pool = SumPool(
                self.pick((2, 2), (2, 1), (1, 3), (3, 3)),
                self.pick((2, 2), (1, 1), (2, 1)),
                self.pick((0, 0), (0, 0), (1, 0)),
            )
            after = pool.out_shape(shape)
            ways += [
                (pool, self.convolution(after)),
                (convolution, pool),
                (pool, Pointwise(after)),
                (pool, Reshape((size(after),)), Dense(int(n(1, 7)), size(after))),
            ]
        return cast("tuple[Op, ...]", ways[n(len(ways))])

    def convolution(self, shape: Shape) -> Conv:
        axes, c = len(shape) - 1, shape[0]
        groups = self.pick(1, 1, c, *[g for g in (2, 3) if c % g == 0])

        def each(*values: Any) -> tuple[Any, ...]:
            return tuple(self.pick(*values) for _ in range(axes))

        pads = each((0, 0), (1, 1), (0, 1), (2, 1))
        out = groups * int(self.rng.integers(1, 4))
        return Conv(out, c, each(1, 2, 3), each(1, 1, 2, 3), pads, each(1, 1, 2), groups)

    def chain_to(self, source: Shape, target: Shape) -> tuple[Op, ...]:
        """One-to-one where shapes allow it, or everything to everything."""
        if source == target and self.often(0.5):
            return (Pointwise(source, self.pick((), source)),)
        ops: tuple[Op, ...] = (Dense(size(target), size(source)),)
        if len(source) > 1:
            ops = (Reshape((size(source),)), *ops)
        return ops if len(target) == 1 else (*ops, Reshape(target))

    def project(
        self,
        name: str,
        sources: list[Population],
        target: str,
        ops: tuple[Op, ...],
        least: int = 0,
        gain: float = 1.0,
    ) -> None:
        shape = sources[0].shape
        late = self.often(0.2)

        def delay() -> Array:
            if not late:
                return frozen(least, np.int64)
            return parameter(least + self.rng.integers(0, 4, self.pick((), shape)), shape, np.int64)

        out = chain_shapes(ops, shape)[-1]
        bias = None
        if self.often(0.15):
            channel = (out[0], *(1,) * (len(out) - 1))
            bias = frozen(self.values(channel) * self.pick(0.0, 0.25, 0.25))
        self.projections.append(
            Projection(
                name,
                tuple(Source(p.name, delay()) for p in sources),
                target,
                ops,
                self.weight(weighted_op(ops), gain),
                bias,
            )
        )

    # --- numbers --------------------------------------------------------------------------------------

    def values(self, shape: Shape) -> Array:
        """Numbers around one, of the kind."""
        if self.kind == "exact":
            return self.rng.integers(-6, 9, shape) / 8.0
        return np.asarray(self.rng.normal(0.15, 0.7, shape))

    def weight(self, op: Any, gain: float) -> Weight:
        shape = op.weight_shape
        values = np.asarray(self.values(shape) * gain)
        if self.kind == "extreme":
            values = self.extreme(values)
        mask = None
        if shape and self.often(0.25):
            mask = self.rng.random(shape) < self.pick(0.0, 0.3, 0.8)
        if self.kind == "exact" or self.often(0.6):
            dtype = self.pick(np.float32, np.float64)
            return Weight(values.astype(dtype if self.kind != "extreme" else np.float64), mask=mask)
        return self.quantised(values, mask)

    def quantised(self, values: Array, mask: Array | None) -> Weight:
        levels: Levels = self.pick("symmetric", "complement", "odd", "powers")
        bits = int(self.rng.integers(1, 8))
        grid = levels_of(levels, bits)
        codes = grid[self.rng.integers(len(grid), size=values.shape)]
        scale = np.asarray(self.pick(1 / 8, 0.1, 0.37, 1e-3) / max(1, np.abs(grid).max()) * 4)
        if values.ndim > 1 and self.often(0.4):
            scale = scale * self.rng.uniform(0.2, 2, (len(values), *(1,) * (values.ndim - 1)))
        return Weight(codes.astype(np.int32), scale, bits, mask, levels)

    def extreme(self, values: Array) -> Array:
        """Rows of zeros, rows far apart, ends of the number format."""
        rows = (len(values), *(1,) * (values.ndim - 1)) if values.ndim else ()
        way = self.pick("zero", "zero rows", "apart", "huge", "tiny", "denormal", "one", "as is")
        match way:
            case "zero":
                return np.zeros_like(values)
            case "zero rows":
                return values * (self.rng.random(rows) < 0.5)
            case "apart":
                return values * 2.0 ** self.rng.integers(-20, 3, rows)
            case "huge":
                return values * self.pick(1e4, 1e12, 1e30)
            case "tiny":
                return values * self.pick(1e-5, 1e-12, 1e-30)
            case "denormal":
                return values * 5e-324 * self.pick(1.0, 1e8)
            case "one":
                found = np.zeros_like(values)
                if values.size:
                    found.reshape(-1)[self.rng.integers(values.size)] = 1.0
                return found
            case _:
                return values

    def each(self, shape: Shape, *values: float) -> Array:
        """One of ``values`` for all, or one per channel, or one per neuron."""
        form = self.pick((), (), (shape[0], *(1,) * (len(shape) - 1)), shape)
        return np.asarray(self.rng.choice(values, form))

    def leaks(self) -> tuple[float, ...]:
        match self.kind:
            case "exact":
                return (1.0, 1.0, 1.0, 0.5)
            case "real":
                return (1.0, 0.9, 0.5, 0.95123, 0.7788, 0.36788, 0.99)
            case "extreme":
                return (0.0, 1.0, 1 - 2.0**-12, 1 - 1e-9, 1e-12, 2.0**-12, 0.9999, 5e-324)

    def neuron(self, shape: Shape, readout: bool) -> Neuron:
        leak = self.each(shape, self.pick(*self.leaks()), self.pick(*self.leaks()))
        fields: dict[str, Any] = {"leak": leak}
        if self.often(0.3):
            synapse = (0.5, 0.5, 0.0) if self.kind == "exact" else self.leaks()
            fields["syn_leak"] = self.each(shape, self.pick(*synapse), self.pick(*synapse))
        for name in ("bias", "drive"):
            if self.often(0.2):
                fields[name] = self.values(self.pick((), shape)) * 0.25
        if not readout:
            fields |= self.spikes(shape)
        return Neuron.create(shape, **fields)

    def spikes(self, shape: Shape) -> dict[str, Any]:
        fields = fields_of(RULES[self.rng.integers(len(RULES))] if self.often(0.5) else RULES[0])
        thresholds: tuple[float, ...] = (1.0, 0.75, 1.5)
        if self.kind == "real":
            thresholds = (1.0, 0.3, 0.777, 2.5)
        if self.kind == "extreme":
            thresholds = (1.0, 0.0, -0.5, 1e-6, 100.0, 1e6, 1e-30, 1e30)
        if fields["spikes_per_step"] == "many":
            thresholds = tuple(t for t in thresholds if t > 0)
        fields["threshold"] = self.each(shape, self.pick(*thresholds), self.pick(*thresholds))
        if self.often(0.25):
            fields["v_floor"] = self.each(shape, self.pick(-1.0, 0.0, -0.125), -0.5)
        return fields

    # --- data -----------------------------------------------------------------------------------------

    def data(self, network: Network, target: str) -> dict[str, Array]:
        steps, samples = self.pick(1, 4, 6, 6, 9), self.pick(1, 2, 3)
        rate = self.pick(0.0, 0.3, 0.5, 1.0)
        graded = target != "loihi1" and self.often(0.3)
        analog = graded and self.kind != "exact" and self.often(0.3)
        found = {}
        for p in network.with_role("input"):
            shape = (steps, samples, *p.shape)
            x = self.rng.random(shape) < rate
            found[p.name] = x.astype(np.int64)
            if graded:
                found[p.name] = x * self.rng.integers(-3, 8, shape)
            if analog:
                found[p.name] = x * self.rng.normal(0, self.pick(1.0, 1e-3, 1e4), shape)
        return found
