"""Read a ``.net`` file with lava-dl's own reader and run it: ``python netx_reader.py NET DATA OUT``.

For an interpreter with lava-nc, h5py and lava-dl 0.6.0, which need not have torch: netx takes one
function for resonate-and-fire neurons from the training library, which is run out of its file, and a
module for torch users, which is left empty. The reader itself (``netx/hdf5.py``, ``netx/utils.py``,
``netx/blocks``) is lava-dl's.

``DATA`` holds ``x`` (steps, samples, *input shape) and ``depth``, the chip steps until the output has
seen the whole sample. ``OUT`` gets ``s`` (steps, samples, outputs): spikes, or v where nothing spikes.
"""

from __future__ import annotations

import ast
import sys
import types
from pathlib import Path
from typing import Any

import lava.lib.dl
import numpy as np


def left_empty(name: str, **content: Any) -> None:
    """Stand in for a module, in its place: Lava looks for models beside all modules of a package."""
    module = sys.modules[name] = types.ModuleType(name)
    below = name.removeprefix("lava.lib.dl.").split(".")
    module.__file__ = str(Path(lava.lib.dl.__path__[0]).joinpath(*below).with_suffix(".py"))
    module.__path__ = []
    vars(module).update(content)


def function_of(name: str, *below: str) -> Any:
    """One function of lava-dl, which needs NumPy alone, without what its module imports."""
    text = Path(lava.lib.dl.__path__[0]).joinpath(*below).read_text(encoding="utf-8")
    found = [n for n in ast.parse(text).body if isinstance(n, ast.FunctionDef) and n.name == name]
    known: dict[str, Any] = {"np": np}
    exec(compile(ast.Module(found, []), below[-1], "exec"), known)
    return known[name]


for part in ("slayer", "slayer.neuron", "netx.sequential_modules"):
    left_empty(f"lava.lib.dl.{part}")
left_empty(
    "lava.lib.dl.slayer.neuron.rf",
    neuron_params=function_of("neuron_params", "slayer", "neuron", "rf.py"),
)

from lava.lib.dl.netx import hdf5  # noqa: E402
from lava.magma.core.run_conditions import RunSteps  # noqa: E402
from lava.magma.core.run_configs import Loihi2SimCfg  # noqa: E402
from lava.proc.io.sink import RingBuffer as Sink  # noqa: E402
from lava.proc.io.source import RingBuffer as Source  # noqa: E402


def run(path: str, x: np.ndarray[Any, Any], depth: int) -> Any:
    """One sample, ``(steps, *shape)``, in a network of its own: ``(steps, outputs)``.

    On a chip all layers run from its first step, so biases have filled a layer before the sample
    reaches it. Each is reset when it does, as in a run of many samples: the first behind one synapse.
    """
    total = len(x) + depth
    net = hdf5.Network(net_config=path, reset_interval=total + 1, reset_offset=1)
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
            if hasattr(net.out_layer.neuron, "v"):
                v.append(net.out_layer.neuron.v.get().copy())
        spikes = sink.data.get()
    finally:
        net.stop()
    found = spikes.transpose(*range(spikes.ndim - 1, -1, -1))[depth:]
    if v and not found.any():
        found = np.array(v)[depth:]
    return found.reshape(len(x), -1)


if __name__ == "__main__":
    net_file, data_file, out_file = sys.argv[1:]
    with np.load(data_file, allow_pickle=False) as stored:
        trains, layers = stored["x"], int(stored["depth"])
    runs = [run(net_file, trains[:, n], layers) for n in range(trains.shape[1])]
    np.savez(out_file, s=np.stack(runs, axis=1))
