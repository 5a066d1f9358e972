"""Runs configurations in xylosim: ``python worker.py JOB.npz RESULT.npz``.

It is started by an interpreter that has xylosim, and imports nothing else but NumPy. A job holds arrays
named ``<k>.<field>``: ``inputs``, ``hidden`` and ``outputs`` are (entries, 4) integers (source, target,
weight, synaptic state) in the order in which they are to act, ``x`` is (samples, steps, channels). The
result holds what xylosim recorded, of all samples.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np


def block(synapse: Any, entries: Any, sources: int) -> list[list[Any]]:
    """Synapse lists by source."""
    lists: list[list[Any]] = [[] for _ in range(sources)]
    for source, target, weight, state in entries.tolist():
        lists[source].append(synapse(target, state, weight))
    return lists


def run(job: dict[str, Any]) -> dict[str, Any]:
    """One configuration on all its samples."""
    if int(job["version"]) == 1:
        from xylosim.v1 import XyloLayer, XyloSynapse
    else:
        from xylosim.v2 import XyloLayer, XyloSynapse
    hidden = len(job["dash_mem"])
    # The layer keeps raw pointers: the lists must live as long as it does.
    blocks = [
        block(XyloSynapse, job[name], sources)
        for name, sources in (
            ("inputs", job["x"].shape[2]),
            ("hidden", hidden),
            ("outputs", hidden),
        )
    ]
    aliases: list[list[int]] = [[] for _ in range(hidden)]
    for source, target in job["alias"].tolist():
        aliases[source].append(target)
    shift = job["shift"].tolist()
    fields: dict[str, Any] = {
        "synapses_in": blocks[0],
        "synapses_rec": blocks[1],
        "synapses_out": blocks[2],
        "aliases": aliases,
        "threshold": job["threshold"].tolist(),
        "threshold_out": job["threshold_out"].tolist(),
        "weight_shift_inp": shift[0],
        "weight_shift_rec": shift[1],
        "weight_shift_out": shift[2],
        "dash_mem": job["dash_mem"].tolist(),
        "dash_mem_out": job["dash_mem_out"].tolist(),
        "dash_syns": job["dash_syn"].tolist(),
        "dash_syns_out": job["dash_syn_out"].tolist(),
        "name": "judged",
    }
    if int(job["version"]) != 1:
        fields["has_bias"] = bool(job["has_bias"])
        fields["bias"] = job["bias"].tolist()
        fields["bias_out"] = job["bias_out"].tolist()
    layer = XyloLayer(**fields)
    found: dict[str, list[Any]] = {name: [] for name in NAMES}
    for sample in job["x"]:
        layer.reset_all()
        layer.evolve(sample.tolist())
        for name, recorded in NAMES.items():
            values = np.asarray(getattr(layer, recorded))
            found[name].append(values if name in ("hid", "out") else values.T)
    return {name: np.stack(values) for name, values in found.items()}


NAMES = {
    "hid": "rec_recurrent_spikes",
    "out": "rec_out_spikes",
    "i_syn": "rec_i_syn",
    "i_syn2": "rec_i_syn2",
    "v_mem": "rec_v_mem",
    "i_syn_out": "rec_i_syn_out",
    "v_mem_out": "rec_v_mem_out",
}
"""What a result holds, (samples, steps, neurons), and what xylosim calls it."""


def main(job_file: str, result_file: str) -> None:
    """Run all configurations of a job."""
    with np.load(job_file, allow_pickle=False) as stored:
        arrays = dict(stored)
    results: dict[str, Any] = {}
    for k in sorted({name.partition(".")[0] for name in arrays}, key=int):
        job = {n.partition(".")[2]: a for n, a in arrays.items() if n.partition(".")[0] == k}
        results.update({f"{k}.{name}": values for name, values in run(job).items()})
    np.savez(result_file, **results)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
