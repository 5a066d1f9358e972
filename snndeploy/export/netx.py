"""Write a program as lava-dl's netx layout (``.net``): layers in a row with integer weights.

The format has no exponents, one bias shift, and Lava's own neuron; what needs more is refused.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..ir.arrays import Array
from ..ir.network import Network
from ..ir.neurons import Neuron
from ..ir.ops import Conv, Dense
from ..ir.program import CompartmentGroup, Program, SynapseGroup
from ..ir.step import LOIHI
from .hdf5 import write_tree
from .netx_blocks import in_single_blocks

_BIAS_UNIT = 64
_DENSE_RANGE = (-256, 255)
_LONGEST_DELAY = 62


def write_netx(path: str | Path, program: Program, *, force: bool = False) -> Path:
    """Write ``program`` as a ``.net`` file.

    Raises:
        InputError: the place is taken or not writable, or the layout cannot hold the program.
    """
    layers = {str(i): layer for i, layer in enumerate(netx_layers(program))}
    return write_tree(path, {"layer": layers}, force=force)


def refuse_network(network: Network) -> None:
    """Refuse, before any work, a network whose program no ``.net`` file can hold however it is lowered.

    Raises:
        InputError: all reasons at once, and the population of the first.
    """
    found = list(_obstacles(network))
    if found:
        first, _ = found[0]
        raise _cannot(first, "; ".join(f"{name}: {what}" for name, what in found))


def _obstacles(network: Network) -> Iterator[tuple[str, str]]:
    """Populations and projections, with what of them the layout has no place for."""
    network = in_single_blocks(network)
    row = [network.population(name) for name in network.order]
    for before, population in itertools.pairwise(row):
        if population.role == "input":
            yield population.name, "a .net file has one input"
            continue
        sources = {s.population for p in network.incoming(population.name) for s in p.sources}
        if sources - {before.name, population.name}:
            others = ", ".join(sorted(sources - {before.name, population.name}))
            yield population.name, f"it also hears {others}, and layers follow each other in a row"
        if population.neuron is not None:
            yield from ((population.name, what) for what in _foreign(population.neuron))
    for projection in network.projections:
        ops = [op for op in projection.ops if not op.is_view]
        if len(ops) != 1:
            yield projection.name, "it is more than one dense or convolutional block (a pool, say)"
        looped = any(s.population == projection.target for s in projection.sources)
        if looped and not (len(ops) == 1 and isinstance(ops[0], Dense)):
            yield projection.name, "a loop of a .net file is dense"


def _foreign(neuron: Neuron) -> Iterator[str]:
    """What of a neuron is not Lava's LIF."""
    if unknown := neuron.beyond():
        yield f"Lava's LIF has no {', '.join(unknown)}"
    if not neuron.spiking:
        return
    if neuron.reset != "zero" or neuron.reset_timing != "immediate":
        yield f"its reset is {neuron.reset} ({neuron.reset_timing}), Lava's LIF resets to zero at once"
    if neuron.spikes_per_step != "one":
        yield "it may spike more than once per step"
    if neuron.v_floor is not None:
        yield "its membrane has a floor"
    if neuron.syn_leak is not None and neuron.bias.any():
        yield "its bias passes a synaptic filter, and a .net file adds biases to the membrane"
    for name in ("leak", "syn_leak", "threshold"):
        values = getattr(neuron, name)
        if values is not None and values.size > 1:
            yield f"its {name} differs from neuron to neuron"


def netx_layers(program: Program) -> list[dict[str, Any]]:
    """The layers that `write_netx` writes."""
    if program.arithmetic != LOIHI:
        raise _cannot("the program", "a .net file holds Lava's arithmetic, and its own is another")
    groups = sorted(program.groups, key=lambda g: g.depth)
    if groups[0].kind != "input" or [g.depth for g in groups] != list(range(len(groups))):
        raise _cannot("the program", "its layers do not follow each other in a row")
    layers: list[dict[str, Any]] = []
    for before, group in itertools.pairwise(groups):
        forward, recurrent = _incoming(program, before, group)
        weights = _weights(forward)
        first = not layers
        if first and forward.op.one_to_one and (weights == 1).all():
            scale = int(before.scale)
            layers.append(
                {
                    "type": _text("input"),
                    "shape": np.array(group.shape),
                    "weight": scale,
                    **_neuron(group),
                }
            )
            continue
        if first:
            if before.message_bits or float(before.scale) != 1.0:
                raise _cannot(before.name, "its input is graded; a .net file takes spikes")
            layers.append({"type": _text("input"), "shape": np.array(before.shape)})
        layers += _block(forward, recurrent, weights, group)
    return layers


def _incoming(
    program: Program, before: CompartmentGroup, group: CompartmentGroup
) -> tuple[SynapseGroup, SynapseGroup | None]:
    found: dict[str, SynapseGroup] = {}
    for synapses in program.incoming(group.name):
        names = [s.group for s in synapses.sources]
        if len(names) != 1 or names[0] not in (before.name, group.name) or names[0] in found:
            raise _cannot(
                group.name, f"it receives from {', '.join(names)} through {synapses.name}"
            )
        found[names[0]] = synapses
    if before.name not in found:
        raise _cannot(group.name, f"nothing leads from {before.name} into it")
    return found[before.name], found.get(group.name)


def _block(
    forward: SynapseGroup, recurrent: SynapseGroup | None, weights: Array, group: CompartmentGroup
) -> list[dict[str, Any]]:
    ops = [op for op in forward.ops if not op.is_view]
    flatten: list[dict[str, Any]] = []
    if len(forward.ops) > len(ops):
        flatten = [{"type": _text("flatten"), "shape": np.array([1, 1, weights.shape[-1]])}]
    if len(ops) != 1 or not isinstance(ops[0], (Dense, Conv)):
        raise _cannot(forward.name, "its chain of operators is more than one dense or conv block")
    layer: dict[str, Any] = {"shape": np.array(group.shape), "weight": weights.astype(np.float32)}
    op = ops[0]
    if isinstance(op, Conv):
        if len(op.kernel) != 2 or any(a != b for a, b in op.padding):
            raise _cannot(forward.name, "a .net file holds two-dimensional, symmetric convolutions")
        layer |= {
            "type": _text("conv"),
            "stride": np.array(op.stride),
            "groups": op.groups,
            "padding": np.array([p for p, _ in op.padding]),
            "dilation": np.array(op.dilation),
        }
    else:
        layer["type"] = _text("dense" if recurrent is None else "dense_rec")
        _check_range(forward.name, weights)
    late = forward.sources[0].latency - 1
    if late.any():
        if late.max() > _LONGEST_DELAY or isinstance(op, Conv):
            raise _cannot(forward.name, f"its delays reach {int(late.max())} steps")
        layer["delay"] = late.reshape(-1)
    if recurrent is not None:
        source = recurrent.sources[0]
        if not isinstance(op, Dense) or (source.latency != 1).any():
            raise _cannot(recurrent.name, "a loop of a .net file is dense and takes one step")
        looped = _weights(recurrent)
        _check_range(recurrent.name, looped)
        layer["weight_rec"] = looped.astype(np.float32)
    return [*flatten, {**layer, **_neuron(group)}]


def _weights(synapses: SynapseGroup) -> Array:
    mantissa = synapses.mantissa.astype(np.int64)
    if synapses.exponent >= 0:
        return mantissa << synapses.exponent
    unit = 1 << -synapses.exponent
    if (mantissa % unit).any():
        raise _cannot(
            synapses.name, f"its weights are multiples of 1/{unit}; a .net file has no exponents"
        )
    return mantissa // unit


def _check_range(name: str, weights: Array) -> None:
    low, high = _DENSE_RANGE
    if weights.min() < low or weights.max() > high:
        raise _cannot(
            name,
            f"its weights reach {int(weights.min())}…{int(weights.max())}, outside {low}…{high}",
            "lower it for this layout: export the model it was made of (--to netx MODEL), or compile it "
            "with --for netx",
        )


def _neuron(group: CompartmentGroup) -> dict[str, Any]:
    if (
        group.kind == "readout"
        and (group.dv == 0).all()
        and (group.du == LOIHI.decay_one - 1).all()
    ):
        if group.bias.any():
            raise _cannot(group.name, "an accumulator of a .net file has no bias")
        return {}
    if group.kind not in ("lif", "readout"):
        raise _cannot(group.name, "its neurons differ from Lava's LIF")
    single = {n: np.unique(getattr(group, n)) for n in ("du", "dv", "vth")}
    if any(v.size != 1 for v in single.values()):
        raise _cannot(group.name, "its neurons differ from each other")
    if (group.bias % _BIAS_UNIT).any():
        raise _cannot(group.name, f"its bias is no multiple of {_BIAS_UNIT}")
    fields: dict[str, Any] = {
        "neuron": {
            "type": np.bytes_("CUBA"),
            "iDecay": int(single["du"][0]) + 1,
            "vDecay": int(single["dv"][0]),
            "vThMant": int(single["vth"][0]),
        }
    }
    if group.bias.any():
        bias = np.broadcast_to(group.bias // _BIAS_UNIT, group.shape)
        rows = bias.reshape(bias.shape[0], -1)
        per_channel = (rows == rows[:, :1]).all()
        fields["bias"] = (rows[:, 0] if per_channel else bias).astype(np.float32)
    return fields


def _text(word: str) -> Any:
    return np.array([word], "S10")


def _cannot(where: str, what: str, hint: str = "") -> InputError:
    return InputError(
        "export-netx",
        f"a .net file cannot hold it: {what}",
        where=where,
        hint=hint or "export to nir, or keep the bundle",
    )
