"""Run by an interpreter that has SANA-FE: a placed program of Loihi 1, one sample, everything counted.

    python sana_fe_worker.py work.npz result.npz

Its Loihi is read from its own file. Inputs sit on tiles beside the mesh, whose messages cost nothing, so
that what is charged is the chip's. States are in units of weights (v / 64).
"""

from __future__ import annotations

import copy
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import sanafe
import yaml

TILES, ROWS, CORES, HOSTS = 32, 4, 4, 16
"""Tiles of the chip, how many are in a column, cores of each, and tiles added for inputs."""
MOST_INPUTS = 1024
FREE = ("energy_message_out", "latency_message_out")


def architecture() -> Any:
    """SANA-FE's own Loihi with more columns of tiles, which send for nothing."""
    file = Path(sanafe.__file__).parent / "examples" / "loihi.yaml"
    told = yaml.safe_load(file.read_text())
    chip = told["architecture"]
    chip["attributes"]["width"] += HOSTS // ROWS
    host = copy.deepcopy(chip["tile"][0])
    host["name"] = f"host_tile[0..{HOSTS - 1}]"
    for unit in host["core"][0]["axon_out"]:
        unit["attributes"].update(dict.fromkeys(FREE, 0.0))
    chip["tile"].append(host)
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as written:
        yaml.safe_dump(told, written, sort_keys=False)
        written.flush()
        return sanafe.load_arch(written.name)


def built(work: Any, spec: Any, arch: Any) -> dict[str, Any]:
    """Groups, mapped neuron by neuron, and all synapses that are not zero."""
    network, groups, inputs = sanafe.Network(), {}, 0
    for g in spec["groups"]:
        name, n = g["name"], g["size"]
        group = groups[name] = network.create_neuron_group(name, n)
        if g["kind"] == "input":
            train = work[f"train {name}"]
            for i in range(n):
                spot, unit = divmod(inputs + i, MOST_INPUTS)
                group[i].set_attributes(
                    soma_hw_name=f"loihi_inputs[{unit}]",
                    log_spikes=True,
                    model_attributes={"spikes": [bool(x) for x in train[:, i]]},
                )
                tile, core = divmod(spot, CORES)
                group[i].map_to_core(arch.tiles[TILES + tile].cores[core])
            inputs += n
            continue
        values = {k: work[f"{k} {name}"] for k in ("threshold", "leak_decay", "input_decay")}
        for i in range(n):
            attributes = {k: float(v[i]) for k, v in values.items()}
            group[i].set_attributes(
                soma_hw_name="loihi_lif",
                default_synapse_hw_name=g["synapse"],
                log_spikes=True,
                model_attributes={**attributes, "reset_mode": g["reset"], "reset": 0.0},
            )
            tile, core = divmod(int(work[f"core {name}"][i]), CORES)
            group[i].map_to_core(arch.tiles[tile].cores[core])
    for k, s in enumerate(spec["synapses"]):
        pairs = list(zip(work[f"from {k}"].tolist(), work[f"to {k}"].tolist(), strict=True))
        weights = {"weight": work[f"weight {k}"].astype(float).tolist()}
        groups[s["source"]].connect_neurons_sparse(groups[s["target"]], weights, pairs)
    return {"network": network, **groups}


def main(work_file: str, result_file: str) -> None:
    """Step by step, so that biases begin when a group's first step comes."""
    work = np.load(work_file)
    spec = json.loads(str(work["spec"]))
    arch = architecture()
    found = built(work, spec, arch)
    chip = sanafe.SpikingChip(arch)
    chip.load(found["network"])
    steps = spec["steps"]
    trains = {g["name"]: np.zeros((steps, g["size"]), np.uint8) for g in spec["groups"]}
    total = {"energy": dict.fromkeys(("synapse", "soma", "network"), 0.0), "time": 0.0}
    counts = {"messages": 0, "hops": 0, "events": 0, "host_hops": [0, 0]}
    for step in range(steps):
        for g in spec["groups"]:
            if g["kind"] != "input" and g["depth"] == step and f"bias {g['name']}" in work.files:
                for i, bias in enumerate(work[f"bias {g['name']}"]):
                    mapped = chip.mapped_neuron_groups[g["name"]][i]
                    mapped.set_attributes(model_attributes={"bias": float(bias)})
        run = chip.sim(1, spike_trace=True, message_trace=True)
        for part in total["energy"]:
            total["energy"][part] += run["energy"][part]
        total["time"] += run["sim_time"]
        for address in run["spike_trace"][0]:
            trains[address.group_name][step, address.neuron_offset] = 1
        for message in run["message_trace"][0]:
            count(message, spec, step, counts)
    np.savez(
        result_file,
        told=np.array(json.dumps({**total, **counts})),
        **{f"train {name}": train for name, train in trains.items()},
    )


def count(message: dict[str, Any], spec: Any, step: int, counts: dict[str, Any]) -> None:
    """Add a message that a neuron sent within its group's window: from where, how far, what it drove."""
    name = message["src_neuron_group_id"]
    first = spec["depths"][name]
    if message["placeholder"]:
        return
    x, y = (abs(message[f"src_{axis}"] - message[f"dest_{axis}"]) for axis in "xy")
    host = message["src_tile_id"] >= TILES
    if host:
        counts["host_hops"][0] += x
        counts["host_hops"][1] += y
    if first <= step < first + spec["window"]:
        counts["events"] += message["spikes"]
        if not host:
            counts["messages"] += 1
            counts["hops"] += x + y


if __name__ == "__main__":
    main(*sys.argv[1:])
