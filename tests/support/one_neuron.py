"""A program of one neuron, in the form in which the separate checker reads programs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from snndeploy.certify.checks import structure

LOIHI: dict[str, Any] = {
    "state_bits": 24,
    "u_overflow": "wrap",
    "v_overflow": "saturate",
    "decay": "multiply",
    "decay_bits": 12,
    "u_decay_offset": 1,
    "state_shift": 6,
    "sum_bits": 32,
    "arrival": "summed",
    "v_step": "free",
}


def arithmetic(**fields: Any) -> SimpleNamespace:
    return SimpleNamespace(type="Arithmetic", **{**LOIHI, **fields})


def one(
    weights: tuple[int, ...] = (2,),
    exponent: int = 0,
    bits: int = 0,
    latency: int = 1,
    **fields: Any,
) -> SimpleNamespace:
    """A program of one neuron behind as many inputs as it has weights."""
    plain = {
        "kind": "custom",
        "role": "output",
        "depth": 1,
        "message_bits": 0,
        "du": np.array(4095),
        "dv": np.array(0),
        "vth": np.array(1),
        "bias_mant": np.array(0),
        "bias_exp": 0,
        "compare": ">",
        "reset": "zero",
        "reset_timing": "immediate",
        "spikes_per_step": "one",
        "max_spikes": None,
        "message_peak": None,
        "v_floor": None,
        "scale": np.array(1.0),
    }
    n = len(weights)
    rest = {"kind": "input", "role": "input", "depth": 0, "message_bits": bits}
    groups = [
        SimpleNamespace(**{**plain, "name": "in", "shape": (n,), **rest}),
        SimpleNamespace(**{**plain, "name": "n", "shape": (1,), **fields}),
    ]
    synapses = SimpleNamespace(
        name="s",
        sources=[SimpleNamespace(group="in", latency=np.array(latency))],
        target="n",
        ops=[SimpleNamespace(type="Dense", out_features=1, in_features=n)],
        mantissa=np.array([weights], np.int64),
        exponent=exponent,
        port="",
        sign_mode="mixed",
        weight_bits=8,
        alive=None,
    )
    program = SimpleNamespace(arithmetic=arithmetic(), groups=groups, synapses=[synapses])
    structure(program)
    return program
