"""Run by an interpreter that has nengo-loihi: its emulator on integer layers, one sample at a time.

    python nengo_worker.py work.npz

Speaks as ``peer_worker.py`` does. Each layer is one block (so at most 1,024 neurons), built as
nengo-loihi's builder builds them; a run is a fresh emulator with the spikes of one sample.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np
from nengo_loihi.block import Axon, LoihiBlock, Synapse
from nengo_loihi.builder import Model
from nengo_loihi.builder.discretize import discretize_model
from nengo_loihi.emulator import EmulatorInterface
from nengo_loihi.inputs import SpikeInput
from nengo_loihi.probe import LoihiProbe


def model_of(weights: list[np.ndarray], x: np.ndarray) -> tuple[Model, LoihiProbe]:
    """The layers, fed with the spikes ``x`` (steps, inputs)."""
    model = Model()
    source = SpikeInput(x.shape[1])
    for step, frame in enumerate(x, start=1):
        source.add_spikes(step, np.flatnonzero(frame), permanent=True)
    model.add_input(source)
    before = source
    for weight in weights:
        block = LoihiBlock(weight.shape[0])
        block.compartment.configure_lif(tau_rc=0.0095, tau_ref=0.0, vth=1.0)
        block.compartment.configure_filter(0.0)
        model.add_block(block)
        synapse = Synapse(weight.shape[1])
        synapse.set_weights(weight.T)
        block.add_synapse(synapse)
        axon = Axon(weight.shape[1])
        axon.target = synapse
        before.add_axon(axon)
        before = block
    probe = LoihiProbe(target=before, key="spiked")
    model.add_probe(probe)
    discretize_model(model)
    return model, probe


def main() -> None:
    """Answer until the input ends; the seconds are those of one sample's steps."""
    with np.load(sys.argv[1]) as arrays:
        spec = json.loads(str(arrays["spec"]))
        weights = [arrays[item["weight"]] for item in spec if item["op"] == "dense"]
        x = arrays["x"]

    def run(sample: int) -> tuple[dict[str, float], list[int]]:
        model, probe = model_of(weights, x[:, sample].reshape(len(x), -1))
        with EmulatorInterface(model) as emulator:
            start = time.perf_counter(), time.process_time()
            emulator.run_steps(len(x))
            wall, cpu = time.perf_counter() - start[0], time.process_time() - start[1]
            counts = np.sum(emulator.collect_probe_output(probe), axis=0).tolist()
            return {"wall": wall, "cpu": cpu}, counts

    print(json.dumps({"counts": [run(0)[1]]}), flush=True)
    for count, _ in enumerate(sys.stdin):
        print(json.dumps(run(count % x.shape[1])[0]), flush=True)


if __name__ == "__main__":
    main()
