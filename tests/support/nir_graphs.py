"""Small NIR graphs for tests, built in code: ``from tests.support.nir_graphs import graph``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import nir
import numpy as np

from snndeploy.ir.arrays import Array, Shape


def full(shape: Shape | int, value: float) -> Array:
    return np.full(shape, value)


def lif(shape: Shape | int, **fields: Any) -> nir.LIF:
    """A LIF neuron (tau 10 ms, threshold 1, gain 1 for dt 1 ms)."""
    values = {"tau": 1e-2, "r": 10.0, "v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0, **fields}
    return nir.LIF(**{k: full(shape, v) if np.ndim(v) == 0 else v for k, v in values.items()})


def cuba(shape: Shape | int, **fields: Any) -> nir.CubaLIF:
    values = {
        "tau_mem": 1e-2,
        "tau_syn": 5e-3,
        "r": 10.0,
        "w_in": 5.0,
        "v_leak": 0.0,
        "v_threshold": 1.0,
        "v_reset": 0.0,
        **fields,
    }
    return nir.CubaLIF(**{k: full(shape, v) if np.ndim(v) == 0 else v for k, v in values.items()})


def conv2d(weight: Array, bias: Array | None = None, **fields: Any) -> nir.Conv2d:
    options = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, **fields}
    zeros = np.zeros(weight.shape[0]) if bias is None else bias
    return nir.Conv2d(input_shape=None, weight=weight, bias=zeros, **options)


def graph(
    nodes: Mapping[str, Any],
    edges: Iterable[tuple[str, str]],
    inputs: Mapping[str, Any] | int | tuple[int, ...] = 4,
    **fields: Any,
) -> nir.NIRGraph:
    """A graph with Input ``input`` (unless given by name) and Output ``output``."""
    edges = list(edges)
    if not isinstance(inputs, Mapping):
        inputs = {"input": inputs}
    entries = {n: nir.Input({"input": np.array(s).reshape(-1)}) for n, s in inputs.items()}
    everything = {**entries, **nodes}
    if "output" not in everything and any(b == "output" for _, b in edges):
        everything["output"] = nir.Output({"output": None})
    return nir.NIRGraph(everything, edges, type_check=False, **fields)


def chain(shape: int | tuple[int, ...], *nodes: Any, names: Iterable[str] = ()) -> nir.NIRGraph:
    """Input -> nodes in a row -> Output; nodes are named n0, n1, … unless ``names`` says otherwise."""
    listed = list(names) or [f"n{i}" for i in range(len(nodes))]
    row = ["input", *listed, "output"]
    return graph(dict(zip(listed, nodes, strict=True)), list(pairwise(row)), shape)


def written(folder: Path, model: nir.NIRGraph, name: str = "model.nir") -> Path:
    """Write a graph whose types nir would reject or invent, as nir.write would."""
    import h5py

    def write(group: Any, value: Any) -> None:
        for key, item in value.items():
            if isinstance(item, Mapping):
                write(group.create_group(key), item)
            elif item is not None:
                group[key] = item

    path = folder / name
    with h5py.File(path, "w") as file:
        write(file.create_group("node"), model.to_dict())
    return path
