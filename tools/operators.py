"""What becomes of each operator and each neuron on each shipped target, asked of the families."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from snndeploy.chip import Target, load_target, target_names
from snndeploy.chip.families import family_of
from snndeploy.chip.family import Form
from snndeploy.ir.arrays import Shape, frozen, size
from snndeploy.ir.fan.fan import fans
from snndeploy.ir.network import Network, Population, Projection, Source
from snndeploy.ir.neurons import Neuron
from snndeploy.ir.ops import Conv, Dense, Op, Pointwise, Reshape, SumPool, chain_shapes, weighted_op
from snndeploy.ir.weights import Weight
from snndeploy.lower import lower

_CONV = Conv(4, 4, (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1))
_DEPTHWISE = Conv(4, 4, (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 4)
_DILATED = Conv(4, 4, (3, 3), (2, 2), ((1, 1), (1, 1)), (2, 2))
_LINE = Conv(4, 4, (3,), (1,), ((1, 1),), (1,))
_MAP: Shape = (4, 8, 8)

OPERATORS: dict[str, tuple[tuple[Op, ...], Shape]] = {
    "`Linear`, `Affine`": ((Dense(12, 16),), (16,)),
    "`Conv2d`": ((_CONV,), _MAP),
    "`Conv2d`, strided and dilated": ((_DILATED,), _MAP),
    "`Conv2d`, grouped": ((_DEPTHWISE,), _MAP),
    "`Conv1d`": ((_LINE,), (4, 16)),
    "`SumPool2d`, `AvgPool2d`, then `Conv2d`": ((SumPool((2, 2), (2, 2)), _CONV), _MAP),
    "`Conv2d`, then `SumPool2d`": ((_CONV, SumPool((2, 2), (2, 2))), _MAP),
    "`Flatten`, then `Linear`": ((Reshape((256,)), Dense(12, 256)), _MAP),
    "pool, `Flatten`, then `Linear`": (
        (SumPool((2, 2), (2, 2)), Reshape((64,)), Dense(12, 64)),
        _MAP,
    ),
    "`Scale`, a shortcut (one weight each)": ((Pointwise(_MAP),), _MAP),
}
"""Chains as users know them, between two populations, each with the shape that it takes."""

NEURONS: dict[str, dict[str, Any]] = {
    "LIF, IF: reset to zero": {},
    "reset to zero, spikes at `>=`": {"compare": ">="},
    "reset by subtraction": {"reset": "subtract"},
    "reset by subtraction, any number of spikes per step": {
        "reset": "subtract",
        "spikes_per_step": "many",
    },
    "the same, spikes at `>=` (Rockpool, Sinabs)": {
        "reset": "subtract",
        "spikes_per_step": "many",
        "compare": ">=",
    },
    "reset in the next step": {"reset_timing": "next-step"},
    "subtraction in the next step": {"reset": "subtract", "reset_timing": "next-step"},
    "no reset": {"reset": "none"},
    "a floor below v": {"v_floor": -1.0},
    "a filter of synapses (`CubaLIF`)": {"syn_leak": 0.75},
}
"""Rules of spiking neurons, as what differs from the plain one."""


def neuron_rows() -> Iterator[tuple[str, ...]]:
    """A row per neuron: what each target makes of it."""
    for name, fields in NEURONS.items():
        neuron = Neuron.create((4,), **{"leak": 0.875, "threshold": 1.0, **fields})
        yield (name, *(_form(neuron, target) for target in targets()))


def operator_rows() -> Iterator[tuple[str, ...]]:
    """A row per operator: how each target can store its synapses."""
    for name, (ops, shape) in OPERATORS.items():
        yield (name, *(", ".join(stored(ops, shape, target)) for target in targets()))


def targets() -> list[Target]:
    """The shipped targets, in their order."""
    return [load_target(name) for name in target_names()]


def stored(ops: tuple[Op, ...], shape: Shape, target: Target) -> list[str]:
    """The encodings that a target's family can choose from, for these operators in a small network."""
    out = chain_shapes(ops, shape)[-1]
    rng = np.random.default_rng(0)
    weight = rng.integers(-7, 8, weighted_op(ops).weight_shape).astype(np.float32)
    family = family_of(target)
    reset = {"reset": "subtract"} if family.own_neuron is not None else {}
    how: dict[str, Any] = {"leak": 0.875, "threshold": 1.0, **reset}
    if family.own_neuron is not None:
        how["compare"] = family.native_compare
    network = Network(
        (
            Population("a", shape, None, "input"),
            Population("b", out, Neuron.create(out, **how), "output"),
        ),
        (
            Projection(
                "ab", (Source("a", frozen(0, np.int64)),), "b", ops, Weight(weight / np.float32(8))
            ),
        ),
    )
    fan = fans(lower(network, target))["ab"]
    into = fan.into(tuple((0, n) for n in out))
    return list(dict.fromkeys(s.encoding for s in family.encodings(fan, into, size(out))))


def _form(neuron: Neuron, target: Target) -> str:
    match family_of(target).form(neuron):
        case Form(way=way):
            return way.replace("-", " ")
        case _:
            return "–"
