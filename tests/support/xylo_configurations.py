"""Configurations of Xylo: recorded, random, and as a wiring for the engine in turn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from snndeploy.ir.arrays import Array
from snndeploy.ir.step import Arithmetic
from snndeploy.simulate.integer.in_turn.plain import TurnTrace
from snndeploy.simulate.integer.in_turn.wiring import Synapses, Wiring

MOST_IN, MOST_HIDDEN, MOST_OUT = 15, 31, 1


def arithmetic(version: int = 2) -> Arithmetic:
    """Registers as the notes on the two simulators spell them."""
    return Arithmetic(
        state_bits=16,
        u_overflow="saturate-full",
        v_overflow="saturate-full",
        decay="floor-shift",
        decay_bits=15,
        u_decay_offset=0,
        state_shift=0,
        sum_bits=32,
        arrival="in-turn",
        v_step="held" if version == 2 else "free",
    )


def wired(c: Mapping[str, Any]) -> Wiring:
    """A configuration in the fields of the recorded cases."""
    n, o = c["w_rec"].shape[0], c["w_out"].shape[1]
    states = c["w_in"].shape[2]
    shift = [int(x) for x in c["shift"]]

    def entries(weight: Array, by: int, base: int) -> tuple[Array, ...]:
        i, j, s = np.nonzero(weight)
        w = (weight[i, j, s].astype(np.int64) << by).astype(np.int16).astype(np.int64)
        return i, j + base, s, w

    host = entries(c["w_in"], shift[0], 0)
    inner = [
        np.concatenate(pair)
        for pair in zip(
            entries(c["w_rec"], shift[1], 0), entries(c["w_out"], shift[2], n), strict=True
        )
    ]
    du = np.zeros((n + o, states), np.int64)
    du[:n] = c["dash_syn"]
    du[n:, :1] = c["dash_syn_out"]
    biased = bool(c["has_bias"])

    def both(name: str) -> Array:
        return np.concatenate([c[name], c[f"{name}_out"]]).astype(np.int64)

    return Wiring(
        arithmetic=arithmetic(int(c["version"])),
        neurons=n + o,
        host=Synapses.of(c["w_in"].shape[0], host[0], host[1], host[3], state=host[2]),
        inner=Synapses.of(n + o, inner[0], inner[1], inner[3], state=inner[2]),
        du=du,
        dv=both("dash_mem"),
        threshold=both("threshold"),
        bias=both("bias") * biased,
        most=np.array([MOST_HIDDEN] * n + [MOST_OUT] * o),
        read=np.zeros(n + o, bool),
        alias=c["alias"].astype(np.int64).reshape(-1, 2),
    )


def messages(c: Mapping[str, Any]) -> Array:
    """What the chip takes in of what the host sends, one sample."""
    return np.minimum(c["x"].astype(np.int64), MOST_IN)[:, None]


def differing(c: Mapping[str, Any], trace: TurnTrace) -> dict[str, int]:
    """Places of spikes and states in which a run differs from the recording."""
    n, states = c["w_rec"].shape[0], c["w_in"].shape[2]
    spikes, u, v = trace.spikes[:, 0], trace.u[:, 0], trace.v[:, 0]
    ours = {
        "hid": spikes[:, :n],
        "out": spikes[:, n:],
        "i_syn": u[:, :n, :states],
        "i_syn_out": u[:, n:, :1],
        "v_mem": v[:, :n],
        "v_mem_out": v[:, n:],
    }
    return {name: int((x != c[name]).sum()) for name, x in ours.items()}


def random_configuration(seed: int, *, legal: bool = False) -> dict[str, Any]:
    """Any configuration that the simulator takes (``legal``: that the chip takes): saturation, two
    synapses, aliases, loops, biases, thresholds of any sign, dashes up to 15, shifts that wrap."""
    rng = np.random.default_rng(seed)
    i, n, o = (int(rng.integers(1, high)) for high in (9, 25, 7))
    s, steps = int(rng.integers(1, 3)), int(rng.integers(20, 80))
    size = int(rng.choice([8, 40, 127]))

    def weights(a: int, b: int, states: int) -> Array:
        density = rng.choice([0.1, 0.4, 1.0])
        w = rng.integers(-size - 1, size + 1, (a, b, states))
        return (w * (rng.random((a, b, states)) < density)).astype(np.int8)

    def dashes(*shape: int) -> Array:
        return rng.integers(0 if seed % 3 else 1, 16 if seed % 2 else 6, shape).astype(np.uint8)

    strange = not legal and seed % 5 == 0
    low, high = (-32768, 32767) if strange else (1, int(rng.choice([60, 600, 30000])))
    aliases = np.zeros((0, 2), np.int16)
    if seed % 4 == 1:
        k = int(rng.integers(1, n + 1))
        aliases = np.stack([rng.permutation(n)[:k], rng.integers(0, n, k)], axis=1).astype(np.int16)
    return {
        "w_in": weights(i, n, s),
        "w_rec": weights(n, n, s) * np.int8(seed % 7 != 0),
        "w_out": weights(n, o, 1),
        "shift": rng.integers(0, 8 if legal or seed % 6 else 11, 3).astype(np.int8),
        "threshold": rng.integers(low, high, n).astype(np.int16),
        "threshold_out": rng.integers(low, high, o).astype(np.int16),
        "dash_mem": dashes(n),
        "dash_mem_out": dashes(o),
        "dash_syn": dashes(n, s),
        "dash_syn_out": dashes(o, 1),
        "has_bias": np.array(seed % 3 == 0),
        "bias": rng.integers(-128, 128, n).astype(np.int16),
        "bias_out": rng.integers(-128, 128, o).astype(np.int16),
        "alias": aliases,
        "version": np.array(2, np.int8),
        "x": rng.poisson(rng.choice([0.2, 1.0, 8.0]), (steps, i)).astype(np.uint8),
    }
