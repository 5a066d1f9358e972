"""Layers of lava-dl's ``.net`` files, written for tests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

LIF = (4096, 0, 2)
REAL, IMAG = [[40, -30], [0, 64]], [[-8, 60], [30, 2]]


def net(folder: Path, *layers: Mapping[str, Any]) -> Path:
    """Write layers; ``neuron`` is a tuple (iDecay, vDecay, vThMant)."""
    path = folder / "net.net"
    with h5py.File(path, "w") as file:
        for i, layer in enumerate(layers):
            group = file.create_group(f"layer/{i}")
            for key, value in layer.items():
                if value is None:
                    continue
                if key == "neuron":
                    names = ("iDecay", "vDecay", "vThMant")
                    group["neuron/type"] = np.bytes_("CUBA")
                    for name, number in zip(names, value, strict=True):
                        group[f"neuron/{name}"] = number
                else:
                    group[key] = np.array([value], "S10") if isinstance(value, str) else value
    return path


def dense(weight: Any, **fields: Any) -> dict[str, Any]:
    array = np.asarray(weight, np.float32)
    return {"type": "dense", "shape": [len(array)], "weight": array, "neuron": LIF, **fields}


def resonators(
    kind: str = "RF_PHASE", sin: int = 2000, cos: int = 3300, vth: int = 20, **fields: Any
) -> dict[str, Any]:
    """A dense block with complex weights."""
    return {
        "type": "dense",
        "shape": [2],
        "weight/real": np.asarray(REAL, np.float32),
        "weight/imag": np.asarray(IMAG, np.float32),
        "neuron/type": np.bytes_(kind),
        "neuron/vThMant": vth,
        "neuron/sinDecay": sin,
        "neuron/cosDecay": cos,
        **fields,
    }
