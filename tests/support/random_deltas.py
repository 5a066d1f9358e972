"""Random sigma-delta networks, in the chip's time and in that of the sample."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from snndeploy.ir.arrays import Shape, frozen
from snndeploy.ir.graded.delta import DeltaRule
from snndeploy.ir.ops import Conv, Dense, Op, Pointwise, Reshape, chain_shapes
from snndeploy.ir.program import Program
from tests.support.conformance_programs import Draft

INT = np.int64


class Deltas(Draft):
    """A draft of layers in a row, which start together (``chip``) or one after the other."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.wild = bool(self.rng.random() < 0.2)  # weights that drive states to wrap
        self.together = bool(self.rng.integers(2))
        self.number = 0

    def fields(self, form: str, shape: Shape) -> dict[str, Any]:
        """Parameters of a layer of ``form``."""
        rng = self.rng
        rule = DeltaRule(
            form=form,  # type: ignore[arg-type]
            spike_exp=int(rng.integers(0, 9)),
            state_exp=int(rng.integers(0, 9)),
            activation=self.pick("relu", "relu", "unit"),
            cumulates=bool(rng.integers(2)) and form != "sigma",
        )
        bias = rng.integers(-40, 60, self.pick((), shape[:1] + (1,) * (len(shape) - 1), shape))
        return {
            "role": "hidden",
            "kind": "delta",
            "message_bits": 16,
            "vth": frozen(0 if form == "sigma" else int(self.pick(0, 1, 7, 40, 300)), INT),
            "bias_mant": frozen(bias * int(form == "sigma-delta"), INT),
            "dynamics": rule,
        }

    def layer(self, source: str, form: str, *ops: Op, **fields: Any) -> str:
        """Neurons behind ``source``."""
        before = next(g for g in self.groups if g.name == source)
        shape = chain_shapes(ops, before.shape)[-1]
        depth = before.depth + (0 if self.together and before.kind != "input" else 1)
        self.number += 1
        name = f"{form}{self.number}"
        self.neurons(name, shape, depth=depth, **{**self.fields(form, shape), **fields})
        late = 1 - (depth - before.depth)
        self.connect([(source, late)], name, *ops)
        return name


def random_deltas(seed: int) -> Program:
    """One to three layers, dense or convolutional, behind a Delta or behind numbers."""
    d = Deltas(seed)
    image = bool(d.rng.integers(2))
    shape: Shape = (2, 5, 4) if image else (int(d.rng.integers(2, 9)),)
    last = d.input(shape, bits=int(d.pick(6, 12)))
    if d.rng.random() < 0.6:
        last = d.layer(last, "delta", Pointwise(shape))
    layers = int(d.rng.integers(1, 4))
    for i in range(layers):
        here = next(g for g in d.groups if g.name == last).shape
        form = "sigma" if i == layers - 1 and d.rng.random() < 0.4 else "sigma-delta"
        if len(here) > 1 and here[1] > 1 and d.rng.integers(2):
            stride, pad = int(d.pick(1, 2)), int(d.pick(0, 1))
            groups = int(d.pick(1, 2))
            conv = Conv(4, here[0], (2, 3), (stride, 1), ((pad, pad), (1, 1)), (1, 1), groups)
            last = d.layer(last, form, conv)
        else:
            n = int(np.prod(here))
            flat: tuple[Op, ...] = (Reshape((n,)),) if len(here) > 1 else ()
            last = d.layer(last, form, *flat, Dense(int(d.rng.integers(1, 7)), n))
    if d.rng.random() < 0.2:
        here = next(g for g in d.groups if g.name == last).shape
        n = int(np.prod(here))
        flat = (Reshape((n,)),) if len(here) > 1 else ()
        d.connect([(last, 1)], last, *(flat + (Dense(n, n),) + ((Reshape(here),) if flat else ())))
    d.groups[-1] = _answering(d.groups[-1])
    return d.finish()


def _answering(group: Any) -> Any:
    return dataclasses.replace(group, role="output")
