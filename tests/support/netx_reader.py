"""Read a ``.net`` file with lava-dl's own reader and run it: ``python netx_reader.py NET DATA OUT``.

For an interpreter with lava-nc, h5py and lava-dl 0.6.0, which need not have torch: netx takes one
function for resonate-and-fire neurons from the training library, and a module for torch users; both are
left empty. The reader itself (``netx/hdf5.py``, ``netx/utils.py``, ``netx/blocks``) is lava-dl's.

``DATA`` holds ``x`` (steps, samples, *input shape) and ``depth``, the chip steps until the output has
seen the whole sample. ``OUT`` gets ``s`` (steps, samples, outputs): spikes, or v where nothing spikes.
"""

from __future__ import annotations

import sys
import types
from typing import Any

import numpy as np


def left_empty(name: str, **content: Any) -> None:
    module = sys.modules[name] = types.ModuleType(name)
    module.__path__ = []
    vars(module).update(content)


for part in ("slayer", "slayer.neuron", "netx.sequential_modules"):
    left_empty(f"lava.lib.dl.{part}")
left_empty("lava.lib.dl.slayer.neuron.rf", neuron_params=None)

from lava.lib.dl.netx import hdf5  # noqa: E402
from lava.magma.core.run_conditions import RunSteps  # noqa: E402
from lava.magma.core.run_configs import Loihi2SimCfg  # noqa: E402
from lava.proc.io.sink import RingBuffer as Sink  # noqa: E402
from lava.proc.io.source import RingBuffer as Source  # noqa: E402


def run(path: str, x: np.ndarray[Any, Any], depth: int) -> Any:
    """One sample, ``(steps, *shape)``, in a network of its own: ``(steps, outputs)``."""
    net = hdf5.Network(net_config=path)
    total = len(x) + depth
    data = np.zeros((*net.inp.shape, total), np.int32)
    data[..., : len(x)] = x.transpose(*range(x.ndim - 1, -1, -1))  # lava: x, y, channel, time
    source, sink = Source(data=data), Sink(shape=net.out.shape, buffer=total)
    source.s_out.connect(net.inp)
    net.out.connect(sink.a_in)
    config = Loihi2SimCfg(select_tag="fixed_pt")
    v = []
    try:
        for _ in range(total):
            net.run(condition=RunSteps(num_steps=1), run_cfg=config)
            v.append(net.out_layer.neuron.v.get().copy())
        spikes = sink.data.get()
    finally:
        net.stop()
    found = spikes.transpose(*range(spikes.ndim - 1, -1, -1))[depth:]
    if not found.any():
        found = np.array(v)[depth:]
    return found.reshape(len(x), -1)


if __name__ == "__main__":
    net_file, data_file, out_file = sys.argv[1:]
    with np.load(data_file, allow_pickle=False) as stored:
        trains, layers = stored["x"], int(stored["depth"])
    runs = [run(net_file, trains[:, n], layers) for n in range(trains.shape[1])]
    np.savez(out_file, s=np.stack(runs, axis=1))
