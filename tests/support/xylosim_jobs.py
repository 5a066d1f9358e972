"""Configurations as the worker of the judge takes them, and what it recorded, as cases hold it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from snndeploy.ir.arrays import Array

_AS_THEY_ARE = (
    "shift",
    "threshold",
    "threshold_out",
    "dash_mem",
    "dash_mem_out",
    "dash_syn",
    "dash_syn_out",
    "has_bias",
    "bias",
    "bias_out",
    "alias",
    "version",
)


def job(c: Mapping[str, Any]) -> dict[str, Array]:
    """One configuration, in the fields of the recorded cases."""

    def entries(w: Array) -> Array:
        i, j, s = np.nonzero(w)
        return np.stack([i, j, w[i, j, s].astype(np.int64), s], axis=1)

    blocks = {"inputs": entries(c["w_in"]), "hidden": entries(c["w_rec"])}
    blocks["outputs"] = entries(c["w_out"])
    return {**blocks, "x": c["x"][None], **{name: c[name] for name in _AS_THEY_ARE}}


def recorded(c: Mapping[str, Any], result: Mapping[str, Array]) -> dict[str, Any]:
    """The configuration with what the simulator recorded of its one sample."""
    states = c["w_in"].shape[2]
    first = {name: values[0] for name, values in result.items()}
    u = np.stack([first["i_syn"], first["i_syn2"]][:states], axis=-1)
    return {**c, **first, "i_syn": u, "i_syn_out": first["i_syn_out"][..., None]}
