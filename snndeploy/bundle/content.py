"""What a program, a placement and a golden run have to be before anything computes with them.

The types of all fields have been checked by then (`snndeploy.ir.decoding`); here it is whether names
lead somewhere, shapes fit each other, and numbers are of a size that hardware has.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

import numpy as np

from ..ir.arrays import Array, Shape, size
from ..ir.ops import Op, chain_shapes
from ..ir.placement import Placement
from ..ir.program import CompartmentGroup, Program, SynapseGroup

_NEURONS = 1 << 31
"""Compartments of one group."""
_STEPS = 1 << 20
"""Chip steps of a latency or a depth."""
_SHIFT = 63


def check_program(program: Program) -> None:
    """Check that a program is well formed.

    Raises:
        ValueError: it is not; which group or synapses, and why.
    """
    _unique("groups", [g.name for g in program.groups])
    _unique("synapses", [s.name for s in program.synapses])
    for role in ("input", "output"):
        if not any(g.role == role for g in program.groups):
            raise ValueError(f"it has no {role}")
    for group in program.groups:
        _check_group(group)
    groups = {g.name: g for g in program.groups}
    for synapses in program.synapses:
        _check_synapses(synapses, groups)
    for name, table in (("headroom", program.headroom), ("rounding", program.rounding)):
        for key in table.keys() - groups.keys():
            raise ValueError(f"{name} of {key!r}, which it does not have")
    program.verify()


def check_placement(placement: Placement, program: Program) -> None:
    """Check that slices are boxes of groups on cores; whether they are all of them is for `verify`.

    Raises:
        ValueError: one is not.
    """
    groups = {g.name: g for g in program.on_chip}
    if placement.cores_per_chip < 1:
        raise ValueError(f"it has {placement.cores_per_chip} cores per chip")
    for part in placement.slices:
        if part.group not in groups:
            raise ValueError(f"a slice of {part.group!r}, which is not on the chip")
        shape = groups[part.group].shape
        inside = len(part.bounds) == len(shape) and all(
            0 <= low < high <= n for (low, high), n in zip(part.bounds, shape, strict=True)
        )
        if not inside or not 0 <= part.core < _NEURONS:
            raise ValueError(f"a slice {part.bounds} of {part.group} {shape} on core {part.core}")


def check_golden(golden: Mapping[str, Array], program: Program) -> None:
    """Check that a golden run has the inputs and the spikes of a program.

    Raises:
        ValueError: arrays are missing, or of other shapes or types.
    """
    inputs = {f"input.{g.name}": g for g in program.groups if g.kind == "input"}
    wanted = inputs | {f"spikes.{g.name}": g for g in program.on_chip}
    if golden.keys() != wanted.keys():
        first = sorted(golden.keys() ^ wanted.keys())[0]
        raise ValueError(f"the golden run and the program differ in {first!r}")
    leads = {array.shape[:2] for array in golden.values()}
    for name, group in wanted.items():
        array = golden[name]
        if array.dtype.kind not in "biu" or array.shape[2:] != group.shape or len(leads) > 1:
            raise ValueError(f"{name} is {array.dtype} {array.shape}, for {group.shape}")
    if 0 in next(iter(leads)):
        raise ValueError("the golden run is empty")


def check_worst(worst: Mapping[str, Array], program: Program) -> None:
    """Check that worst inputs are such, and that what they reach is said of registers.

    Raises:
        ValueError: arrays are missing, or of other shapes or types.
    """
    if not worst:
        return
    inputs = {f"input.{g.name}": g for g in program.groups if g.kind == "input"}
    places = {f"{register}.{g.name}" for register in "uv" for g in program.on_chip}
    if not inputs.keys() <= worst.keys() <= inputs.keys() | places:
        raise ValueError(f"the worst inputs and the program differ in {sorted(worst)[:3]}")
    leads = {worst[name].shape[:2] for name in inputs}
    for name, array in worst.items():
        shape = (*next(iter(leads)), *inputs[name].shape) if name in inputs else (3,)
        if array.dtype.kind not in "iu" or array.shape != shape or len(leads) > 1:
            raise ValueError(f"{name} is {array.dtype} {array.shape}, not integers {shape}")


def _unique(what: str, names: list[str]) -> None:
    if len(set(names)) < len(names):
        raise ValueError(f"two {what} have the same name")


def _within(value: int, low: int, high: int, what: str) -> None:
    if not low <= value <= high:
        raise ValueError(f"{what} is {value}, not {low} to {high}")


def _check_shape(shape: Shape, where: str) -> None:
    if not 1 <= len(shape) <= 8 or min(shape) < 1 or size(shape) > _NEURONS:
        raise ValueError(f"{where} has the shape {shape}")


def _check_group(group: CompartmentGroup) -> None:
    where = f"group {group.name}"
    _check_shape(group.shape, where)
    _within(group.depth, 0, _STEPS, f"{where}: depth")
    _within(group.message_bits, 0, _SHIFT, f"{where}: message_bits")
    if group.message_peak is not None:
        _within(group.message_peak, 1, 1 << _SHIFT, f"{where}: message_peak")
    _within(group.bias_exp, -_SHIFT, _SHIFT, f"{where}: bias_exp")
    for f in dataclasses.fields(group):
        value = getattr(group, f.name)
        if isinstance(value, np.ndarray):
            _check_fits(value, group.shape, f"{where}: {f.name}")
    if not (np.isfinite(group.scale).all() and (group.scale > 0).all()):
        raise ValueError(f"{where}: scale is not above 0")


def _check_fits(value: Array, shape: Shape, where: str) -> None:
    """Whether ``value`` broadcasts to exactly ``shape``."""
    if value.ndim > len(shape) or np.broadcast_shapes(value.shape, shape) != shape:
        raise ValueError(f"{where} has the shape {value.shape}, for {shape}")


def _check_synapses(synapses: SynapseGroup, groups: Mapping[str, CompartmentGroup]) -> None:
    where = f"synapses {synapses.name}"
    names = [synapses.target, *(s.group for s in synapses.sources)]
    for name in names:
        if name not in groups:
            raise ValueError(f"{where}: there is no group {name!r}")
    shapes = {groups[s.group].shape for s in synapses.sources}
    if len(shapes) != 1:
        raise ValueError(f"{where}: their sources have the shapes {sorted(shapes)}")
    (shape,) = shapes
    _check_ops(synapses.ops, where)
    through = chain_shapes(synapses.ops, shape)
    for between in through:
        _check_shape(between, where)
    if through[-1] != groups[synapses.target].shape:
        raise ValueError(f"{where}: they deliver {through[-1]} to {synapses.target}")
    _within(synapses.exponent, -_SHIFT, _SHIFT, f"{where}: exponent")
    _within(synapses.weight_bits, 1, _SHIFT, f"{where}: weight_bits")
    if synapses.mantissa.dtype.kind not in "iu":
        raise ValueError(f"{where}: mantissa is {synapses.mantissa.dtype}")
    alive = synapses.alive
    if alive is not None and (alive.dtype != bool or alive.shape != synapses.mantissa.shape):
        raise ValueError(f"{where}: alive is {alive.dtype} {alive.shape}")
    for source in synapses.sources:
        latency = source.latency
        _check_fits(latency, shape, f"{where}: latency")
        if latency.dtype.kind not in "iu" or latency.max() > _STEPS:
            raise ValueError(f"{where}: latency is {latency.dtype} up to {latency.max()}")


def _check_ops(ops: Iterable[Op], where: str) -> None:
    """Whole numbers of operators count something: at least one, but for paddings and free shapes."""
    for op in ops:
        for field in dataclasses.fields(op):
            least = 0 if field.name in ("padding", "weight_shape") else 1
            for number in _numbers(getattr(op, field.name)):
                _within(number, least, _NEURONS, f"{where}: {field.name}")


def _numbers(value: object) -> Iterable[int]:
    if isinstance(value, int):
        yield value
    elif isinstance(value, tuple):
        for part in value:
            yield from _numbers(part)
