"""Read a lava-dl network (``.net``, HDF5 in the layout of lava-dl's netx) straight to a `Program`.

Such a file holds the integers that Loihi computes with, so there is nothing to interpret: layers in a
row (``layer/0``, ``layer/1``, …), each a block with integer weights and a neuron. What netx 0.6.0
does with it is what the program does (``lava/lib/dl/netx/hdf5.py``); `netx_neurons` tells which neurons
its neurons are.

Shapes and weights are in PyTorch's order (channels, height, width), strides and paddings (y, x).
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from ...errors import InputError, did_you_mean
from ...files.hdf5 import Tree, read_tree
from ...ir.arrays import Array, Shape, frozen, size
from ...ir.finding import Finding
from ...ir.ops import Conv, Dense, Op, Pointwise, Reshape, SumPool, chain_shapes
from ...ir.program import CompartmentGroup, Port, Program, SynapseGroup, SynapseSource
from ...ir.step import LOIHI, Compare
from ...ir.told.deltas import Starts, told_of_deltas
from .netx_fields import Layer, encoded_weight
from .netx_neurons import GRADED_BITS, RESONATORS, SIGMA_DELTA, ignored, neurons, refuse_neurons

IMAGE_BITS = 9
"""Width of what an input block with neurons takes: 8 bits and a sign."""
HOST_WEIGHT = 64
"""What netx multiplies values of an input block with where the file does not say."""


@dataclass
class _Row:
    """The program as far as it is built, and what waits in front of the next weights."""

    source: str
    groups: list[CompartmentGroup] = field(default_factory=list)
    synapses: list[SynapseGroup] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    shape: Shape = ()
    waiting: tuple[Op, ...] = ()
    together: bool = False
    entry: Entry = "spikes"

    def depth_behind(self, source: CompartmentGroup) -> int:
        """Chip step at which neurons start that hear ``source``.

        In the chip's time that is the same for all: the first step, or the one after it where data reach
        a Delta, which no synapse feeds on the chip: it takes a frame in the step of the frame.
        """
        if not self.together:
            return source.depth + 1
        return 1 if self.entry == "encoded" else 0

    @property
    def last(self) -> CompartmentGroup:
        return self.groups[-1]


def read_netx(
    path: str | os.PathLike[str],
    target: str = "loihi2",
    compare: Compare | None = None,
    *,
    starts: Starts = "chip",
) -> Program:
    """Read a ``.net`` file.

    Args:
        path: of the file.
        target: name of the target that the program is for.
        compare: ``>``, as Loihi and netx fire, or ``>=``, as lava-dl's SLAYER trained; None: ``>``,
            and a finding says that it matters.
        starts: when layers of a file with sigma-delta neurons start, see `Starts`; what they answer
            depends on it. Files without such neurons have one meaning.

    Returns:
        A verified program; groups are named ``<type>-<layer>``, the data enter through ``input``.

    Raises:
        InputError: the file cannot be read, is not in netx's layout, or holds a block or neuron
            that has no exact form here.
    """
    file = Path(path)
    layers = _layers(read_tree(file, ("layer", "node")), str(file))
    deltas = any(layer.neuron == SIGMA_DELTA for layer in layers)
    row = _Row(str(file), together=deltas and starts == "chip", entry=_entry(layers))
    for layer in layers:
        refuse_neurons(layer)
        _BLOCKS[layer.kind](row, layer)
        row.findings += ignored(layer)
    if len(row.groups) < 2:
        raise InputError("netx-layout", "it holds no layer with neurons", where=str(file))
    row.groups[-1] = dataclasses.replace(row.last, role="output")
    if compare == ">=":
        row.groups = [_reached(g) for g in row.groups]
    elif compare is None and any(g.kind == "lif" for g in row.groups):
        row.findings.append(_COMPARED)
    if deltas:
        row.findings += told_of_deltas(row.groups, row.synapses, starts)
    return Program(
        arithmetic=LOIHI,
        target=target,
        groups=tuple(row.groups),
        synapses=tuple(row.synapses),
        findings=tuple(row.findings),
    ).verify()


_COMPARED = Finding(
    code="netx-compare",
    severity="note",
    where="thresholds",
    message="lava-dl trains neurons that fire at v >= threshold, netx and Loihi fire at v > threshold; "
    "where v meets a threshold they differ. For the trained spikes read it with compare '>='",
)


_NUMBERS = Finding(
    code="netx-graded-input",
    severity="note",
    where="input",
    message="its first neurons add up numbers, so the input sends numbers (16 bits, in the units of the "
    "messages between layers); netx takes spikes there unless input_message_bits is given",
)


def _reached(group: CompartmentGroup) -> CompartmentGroup:
    """The neurons of ``group`` firing at v >= threshold, exactly.

    Where v is a multiple of the threshold's unit that is a threshold one unit lower; a leak leaves v
    between such multiples, and a neuron program compares.
    """
    if group.kind != "lif":
        return group
    ends = (0, LOIHI.decay_one)
    whole = np.isin(group.dv, ends) & np.isin(group.du + LOIHI.u_decay_offset, ends)
    if whole.all():
        return dataclasses.replace(group, vth=frozen(group.vth - 1, np.int64))
    route = "neuron program (compares with >=)"
    return dataclasses.replace(group, kind="custom", compare=">=", route=route)


def _layers(tree: Tree, source: str) -> list[Layer]:
    content = tree.get("layer")
    if not isinstance(content, dict) or not content:
        raise InputError(
            "netx-layout",
            "it holds no group 'layer', which netx files have",
            where=source,
            hint="it looks like a NIR file: name it .nir" if "node" in tree else "",
        )
    layers = []
    for i in range(len(content)):
        fields = content.get(str(i))
        if not isinstance(fields, Mapping):
            raise InputError("netx-layout", f"layer {i} is missing", where=source)
        layer = Layer(i, fields, source)
        if layer.kind not in _BLOCKS:
            raise InputError(
                "netx-block",
                f"a block of type {layer.kind!r} is not supported",
                where=layer.where,
                hint=did_you_mean(layer.kind, _BLOCKS),
            )
        layers.append(layer)
    return layers


Entry = Literal["spikes", "numbers", "encoded"]
"""What enters: spikes (or values that drive a neuron each), numbers for neurons that add them up, or
values whose changes a Delta sends."""


def _entry(layers: list[Layer]) -> Entry:
    first = next((layer for layer in layers if layer.neuron), None)
    if first is None or first.neuron != SIGMA_DELTA:
        return "spikes"
    return "encoded" if first.kind == "input" else "numbers"


def _enter(row: _Row, shape: Shape, message_bits: int = 0, scale: float = 1.0) -> None:
    """The data, where nothing came before."""
    if row.entry == "numbers":
        message_bits = GRADED_BITS
        row.findings.append(_NUMBERS)
    row.groups.append(
        CompartmentGroup(
            name="input",
            shape=shape,
            role="input",
            kind="input",
            depth=0,
            message_bits=message_bits,
            scale=frozen(scale),
        )
    )
    row.shape = shape


def _input(row: _Row, layer: Layer) -> None:
    """Spikes as they are, or values that drive one neuron each: weight * value + bias.

    The weight belongs to the host, which rounds weight * value (PilotNet's pixels are -1…1).
    """
    shape = layer.shape
    if row.groups:
        raise InputError("netx-layout", "an input block follows other layers", where=layer.where)
    if not layer.has("neuron"):
        _enter(row, shape)
        return
    weight = layer.whole("weight", HOST_WEIGHT)
    if not layer.has("weight"):
        row.findings.append(
            Finding(
                code="netx-host-weight",
                severity="note",
                where=layer.name,
                message="the file does not say what values are multiplied with before they are rounded; "
                f"as in netx it is {HOST_WEIGHT}: data are -1…1, not whole numbers of the chip",
            )
        )
    _enter(row, shape, IMAGE_BITS, weight)
    _connect(row, layer, Pointwise(shape), np.ones((), np.int64), shape)


def _dense(row: _Row, layer: Layer) -> None:
    if layer.neuron in RESONATORS:
        _complex(row, layer)
        return
    _behind(row, layer, layer.integers("weight"))
    n_out = size(layer.shape)
    if layer.kind == "dense_rec":
        recurrent = layer.integers("weight_rec")
        if recurrent.shape != (n_out, n_out):
            raise layer.misfit("weight_rec", recurrent.shape, f"({n_out}, {n_out})")
        name = row.last.name
        loop = SynapseSource(name, frozen(1, np.int64))
        row.synapses.append(_group(layer, f"{name}-rec", loop, (Dense(n_out, n_out),), recurrent))


def _behind(row: _Row, layer: Layer, weight: Array) -> None:
    """Neurons behind everything that came before, through a matrix."""
    n_out = size(layer.shape)
    weight = weight.reshape(n_out, -1) if weight.size % n_out == 0 else weight
    if weight.ndim != 2 or weight.shape[0] != n_out:
        raise layer.misfit("weight", weight.shape, f"({n_out}, in)")
    if not row.groups:
        _enter(row, (weight.shape[1],))
    if len(row.shape) > 1:
        row.waiting += (Reshape((size(row.shape),)),)
    _connect(row, layer, Dense(*weight.shape), weight, (n_out,))


def _complex(row: _Row, layer: Layer) -> None:
    """Resonators, whose real and imaginary parts hear the same through a matrix each."""
    if layer.has("delay"):
        raise InputError(
            "netx-block",
            "delays in front of resonate-and-fire neurons are not supported",
            where=layer.where,
            hint="netx drops them without a word",
        )
    real, imag = (layer.integers("weight", part) for part in ("real", "imag"))
    if real.shape != imag.shape:
        raise layer.misfit("weight/imag", imag.shape, str(real.shape))
    _behind(row, layer, real)
    (heard,) = (s for s in row.synapses if s.target == layer.name)
    rows = imag.reshape(heard.mantissa.shape)
    row.synapses.append(
        _group(layer, f"{layer.name}-imag", heard.sources[0], heard.ops, rows, "imag")
    )


def _conv(row: _Row, layer: Layer) -> None:
    weight = layer.integers("weight")
    if weight.ndim == 5 and weight.shape[-1] == 1:
        weight = weight[..., 0]
    if weight.ndim != 4:
        raise layer.misfit("weight", weight.shape, "(out, in, height, width)")
    groups = layer.whole("groups", 1)
    padding = layer.pair("padding", 0)
    op = Conv(
        weight.shape[0],
        weight.shape[1] * groups,
        weight.shape[2:],
        layer.pair("stride", 1),
        ((padding[0], padding[0]), (padding[1], padding[1])),
        layer.pair("dilation", 1),
        groups,
    )
    if not row.groups:
        raise InputError(
            "netx-layout",
            "a conv block comes first, so nothing says how large its input is",
            where=layer.where,
            hint="put an input block in front of it",
        )
    _connect(row, layer, op, weight, layer.shape)


def _pool(row: _Row, layer: Layer) -> None:
    """A sum over windows, times one weight."""
    weight = layer.integers("weight") if layer.has("weight") else np.ones(1, np.int64)
    if (weight != weight.flat[0]).any() or layer.pair("dilation", 1) != (1, 1):
        raise InputError(
            "netx-block",
            "a pool with several weights, or dilated, is not supported",
            where=layer.where,
            hint="write it as a conv block with one group per channel",
        )
    kernel = layer.pair("kernelSize", weight.shape[2] if weight.ndim > 3 else 1)
    pool = SumPool(kernel, layer.pair("stride", kernel[0]), layer.pair("padding", 0))
    row.waiting += (pool,)
    _connect(row, layer, Pointwise(layer.shape), weight.reshape(-1)[0].reshape(()), layer.shape)


def _flatten(row: _Row, layer: Layer) -> None:
    del layer
    if len(row.shape) > 1:
        row.waiting += (Reshape((size(row.shape),)),)
        row.shape = (size(row.shape),)


def _average(row: _Row, layer: Layer) -> None:
    row.findings.append(
        Finding(
            code="netx-average",
            severity="note",
            where=layer.name,
            message="the average over output neurons is left to the host, as in netx: the program "
            "answers with every neuron",
        )
    )


def _connect(row: _Row, layer: Layer, op: Op, weight: Array, shape: Shape) -> None:
    """Add the block's neurons, and the synapses from the last group into them."""
    source, ops = row.last, (*row.waiting, op)
    try:
        arriving = chain_shapes(ops, source.shape)[-1]
    except InputError as error:
        raise InputError("netx-shape", error.message, where=layer.where) from error
    if arriving != shape:
        raise InputError(
            "netx-shape", f"its weights deliver {arriving}, its shape is {shape}", where=layer.where
        )
    delays = layer.delays(size(shape), size(source.shape))
    group = neurons(layer, shape, row.depth_behind(source))
    row.groups.append(group)
    if delays.ndim == 2:  # one delay per output: a group of synapses for each
        rows = delays.reshape(-1, *(1,) * (weight.ndim - 1))
        for delay in np.unique(delays):
            origin = SynapseSource(source.name, frozen(1 + delay, np.int64))
            name = f"{group.name}-delay{delay}"
            row.synapses.append(_group(layer, name, origin, ops, weight * (rows == delay)))
    else:
        late = delays.reshape(source.shape) if delays.size > 1 else delays.reshape(())
        origin = SynapseSource(source.name, frozen(1 + late, np.int64))
        row.synapses.append(_group(layer, group.name, origin, ops, weight))
    row.shape, row.waiting = shape, ()


def _group(
    layer: Layer,
    name: str,
    source: SynapseSource,
    ops: tuple[Op, ...],
    weight: Array,
    port: Port = "",
) -> SynapseGroup:
    mantissa, exponent, mode, bits = encoded_weight(weight, layer.where)
    return SynapseGroup(
        name=f"{name}-synapses",
        sources=(source,),
        target=layer.name,
        ops=ops,
        mantissa=frozen(mantissa, np.int64),
        exponent=exponent,
        sign_mode=mode,
        weight_bits=bits,
        port=port,
    )


_BLOCKS: Mapping[str, Callable[[_Row, Layer], None]] = {
    "input": _input,
    "dense": _dense,
    "dense_rec": _dense,
    "conv": _conv,
    "pool": _pool,
    "flatten": _flatten,
    "average": _average,
}
