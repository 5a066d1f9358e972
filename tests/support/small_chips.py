"""Networks of small round numbers for chips with narrow fields: what fits a field often just fits it."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from snndeploy.chip import Target, load_target
from snndeploy.ir.network import Network
from snndeploy.ir.ops import Conv, Dense, Op, Pointwise, Reshape, SumPool, chain_shapes
from snndeploy.ir.weights import Weight
from snndeploy.lower import InputCoding
from tests.support.builders import inputs, lif, project
from tests.support.rules import RULES, fields_of

Rng = np.random.Generator
LEAKS = (0.0, 0.5, 0.75, 1.0, 0.9, 1 - 2.0**-12, 1 - 1e-5)
LEVELS = (1.0, 0.5, 2.0, 0.75, 255 / 64, 511 / 64, 511 / 16, 15.0, 16.0, 0.3)


def narrow(rng: Rng) -> Target:
    """Loihi 2 with fields of a few bits."""
    target = load_target("loihi2")
    fields = {
        "state_bits": (10, 12, 16, 24),
        "vth_max": (15, 16, 31, 64, 4096),
        "bias_mant_max": (7, 8, 15, 64),
        "bias_exp_max": (0, 2, 3, 7),
    }
    numeric = {
        name: getattr(target.numeric, name).model_copy(update={"limit": int(rng.choice(limits))})
        for name, limits in fields.items()
    }
    exponent = target.synapse.exponent.model_copy(
        update={"low": int(rng.choice((-8, -2, 0))), "high": int(rng.choice((1, 3, 7)))}
    )
    synapse = target.synapse.model_copy(update={"exponent": exponent})
    return target.model_copy(
        update={"numeric": target.numeric.model_copy(update=numeric), "synapse": synapse}
    )


def small(seed: int) -> tuple[Network, Target, dict[str, Any]]:
    """A layer or two, a chip, and how to lower it."""
    rng = np.random.default_rng([seed, 7])
    target = load_target("loihi2") if rng.random() < 0.2 else narrow(rng)

    def pick(*values: Any) -> Any:
        return values[rng.integers(len(values))]

    def each(shape: tuple[int, ...], *values: float) -> Any:
        form = pick((), (), (shape[0], *(1,) * (len(shape) - 1)), shape)
        return rng.choice(values, form)

    source: tuple[int, ...] = pick((3,), (1,), (2, 4), (2, 3, 3))
    populations = [inputs(source)]
    projections = []
    for i in range(pick(1, 1, 2)):
        before, name = populations[-1], f"n{i}"
        ops = _chain(before.shape, pick)
        shape = chain_shapes(ops, before.shape)[-1]
        rule = RULES[int(rng.integers(len(RULES)))] if rng.random() < 0.5 else RULES[0]
        fields: dict[str, Any] = {"threshold": each(shape, *LEVELS), **fields_of(rule)}
        if rule.max_spikes is not None and rule.spikes_per_step == "one":
            fields["max_spikes"] = None
        if i and rng.random() < 0.25:
            fields = {"threshold": None, "reset": "none"}
        fields["leak"] = each(shape, pick(*LEAKS), pick(*LEAKS))
        if rng.random() < 0.3:
            fields["syn_leak"] = each(shape, pick(*LEAKS), 0.5)
        for level, often in (("bias", 0.35), ("drive", 0.15)):
            if rng.random() < often:
                fields[level] = each(shape, *LEVELS, 0.0) * pick(-1, -0.25, 0.25, 1)
        if rng.random() < 0.25:
            fields["v_floor"] = -each(shape, *LEVELS, 0.0) * pick(1, 1, 1, -0.5)
        populations.append(lif(name, shape, **fields))
        for k in range(pick(1, 1, 2)):
            weight = _weight(rng, pick, next(op for op in ops if hasattr(op, "weight_shape")))
            bias = None
            if rng.random() < 0.15:
                bias = rng.choice((0.25, -0.5, 3.0), (shape[0], *(1,) * (len(shape) - 1)))
            late = pick(0, 0, 0, 2)
            link = project(f"{name}.{k}", before.name, name, ops, weight, delay=late, bias=bias)
            projections.append(link)
    populations[-1] = dataclasses.replace(populations[-1], role="output")
    kind = pick("binary", "binary", "graded", "analog")
    peak = 1.0 if kind == "binary" else pick(1.0, 2.0, 7.5 if kind == "analog" else 7.0, 255.0)
    options: dict[str, Any] = {
        "inputs": InputCoding(kind=kind, peak=peak),
        "steps": pick(1, 2, 4, 64),
        "layout": pick("chip", "chip", "chip", "netx"),
    }
    if rng.random() < 0.3:
        options["observed"] = {p.name: pick(0.5, 1.0, 4.0) for p in populations[1:]}
    return Network(tuple(populations), tuple(projections)).verify(), target, options


def _chain(shape: tuple[int, ...], pick: Any) -> tuple[Op, ...]:
    n = int(np.prod(shape))
    if len(shape) == 1:
        out = pick(1, 2, 4)
        return pick((Dense(out, n),), (Pointwise(shape, pick((), shape)),), (Dense(out, n),))
    flat = (Reshape((n,)), Dense(pick(1, 3), n))
    axes = len(shape) - 1
    plain = (1,) * axes
    kernel = Conv(pick(1, 2), shape[0], (2,) * axes, plain, ((0, 1),) * axes, plain, 1)
    ways: list[tuple[Op, ...]] = [flat, (kernel,), (Pointwise(shape, (shape[0], *plain)),)]
    if axes == 2 and min(shape[1:]) > 2:
        pool = SumPool((2, 2), (1, 1))
        ways.append((pool, Conv(2, shape[0], (2, 2), (1, 1), ((0, 0),) * 2, (1, 1), 1)))
    return ways[pick(*range(len(ways)))]


def _weight(rng: Rng, pick: Any, op: Any) -> Weight:
    shape = op.weight_shape
    mask = rng.random(shape) < 0.6 if shape and rng.random() < 0.2 else None
    way = pick("whole", "whole", "codes", "rows", "real", "apart")
    if way == "real":
        return Weight(np.asarray(rng.normal(0.2, 0.7, shape)), mask=mask)
    codes = rng.integers(pick(-7, 0), pick(1, 8), shape)
    if way == "whole":
        return Weight(np.asarray(codes * pick(1.0, 0.25, 2.0, 127 / 7)), mask=mask)
    rows = (shape[0], *(1,) * (len(shape) - 1)) if len(shape) > 1 else ()
    if way == "apart":
        return Weight(np.asarray(codes * 2.0 ** -rng.integers(0, 9, rows)), mask=mask)
    scale = pick(0.25, 0.1, 1.0, 0.75)
    steps = scale * rng.choice((1.0, 0.5, 0.3, 2.0**-9), rows) if way == "rows" else scale
    return Weight(np.asarray(codes, np.int32), np.asarray(steps), pick(4, 8), mask)
