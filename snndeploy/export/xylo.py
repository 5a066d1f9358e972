"""Write a program as what rockpool's ``config_from_specification`` takes: arrays in an ``.npz`` file.

So whoever has the board goes on from there, with the vendor's own tools::

    config, valid, message = config_from_specification(**dict(numpy.load("net.npz")))

The names are those of rockpool 3.1.0 for Audio 2 (SYNS61201). Neurons are numbered in the order of the
program's groups; there is one synapse per neuron, and no alias.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from ..chip.families.xylo.configuration import Connections, configuration_of
from ..files import write_file
from ..ir.arrays import Array
from ..ir.program import Program


def write_xylo(path: str | Path, program: Program, *, force: bool = False) -> Path:
    """Write ``program`` as a specification.

    Raises:
        InputError: the place is taken or not writable.
        LoweringRefused: the program is not one that the chip could be configured with.
    """
    content = io.BytesIO()
    np.savez(content, **xylo_specification(program))  # type: ignore[arg-type]
    write_file(Path(path), content.getvalue(), force=force)
    return Path(path)


def xylo_specification(program: Program) -> dict[str, Array]:
    """The arguments of ``config_from_specification`` by name, integers all of them.

    Biases are there only if one is not 0. Several synapses between the same two neurons are added up.

    Raises:
        LoweringRefused: the program is not one that the chip could be configured with.
    """
    c = configuration_of(program, program.arithmetic.state_max)
    n, outputs = c.neurons, len(c.threshold) - c.neurons
    found = {
        "weights_in": _matrix(c.inputs, (c.channels, n)),
        "weights_rec": _matrix(c.hidden, (n, n)),
        "weights_out": _matrix(c.outputs, (n, outputs)),
        "weight_shift_in": np.asarray(c.inputs.shift),
        "weight_shift_rec": np.asarray(c.hidden.shift),
        "weight_shift_out": np.asarray(c.outputs.shift),
    }
    for name in ("dash_mem", "dash_syn", "threshold"):
        values = getattr(c, name)
        found |= {name: values[:n], f"{name}_out": values[n:]}
    if c.bias.any():
        found |= {"bias_hidden": c.bias[:n], "bias_out": c.bias[n:]}
    return found


def _matrix(connections: Connections, shape: tuple[int, int]) -> Array:
    weights = np.zeros(shape, np.int64)
    np.add.at(weights, (connections.source, connections.target), connections.weight)
    return weights
