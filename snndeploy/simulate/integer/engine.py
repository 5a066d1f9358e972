"""The integer engine: a `Program` in integers, equal to Lava's fixed-point processes bit for bit.

It runs in *sample time* (see `snndeploy.ir.program`), where a group's depth is already taken out, so
there is nothing to align and nothing carries over from one sample to the next. How it computes is chosen
per projection and changes no bit: events where little spikes, products in the float type that provably
holds every sum, int64 where neither does (see `snndeploy.simulate.integer`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Literal

import numpy as np

from ...errors import InputError, UsageError, did_you_mean
from ...ir.arrays import Array, size
from ...ir.program import CompartmentGroup, Program
from ..jit import has_numba
from ..recording import Recording, units_of
from .neurons.step import State, emitted_type, step_group
from .neurons.watch import Watch
from .plan import Route, make_plan
from .train import States, Train

__all__ = ["IntegerEngine", "State", "program_inputs", "run_integer", "step_group"]

Inputs = Array | Mapping[str, Array]
Record = Literal["all", "outputs"]

_SUM_BITS = 32
"""Width of the sums that compiled kernels add up; a chip with another takes the portable engine."""
_SCRATCH_BYTES = 1 << 28
"""Memory that trains which are not recorded may take, when the caller sets no batch."""


class IntegerEngine:
    """A program prepared once, for as many runs as one likes.

    Args:
        program: what to run.
        device: torch device to run on (``"cuda"``); None for this machine's cores, with compiled
            kernels where numba is installed (the ``fast`` extra), or torch where the chip's sums are
            not of 32 bits. Chips that take spike after spike in turn are run on this machine's cores.
        route: how projections are computed: ``"auto"`` by cost, or ``"events"`` and ``"dense"`` wherever
            they can be. No route changes a result.

    Raises:
        UsageError: an unknown route, or a device that torch does not have.
    """

    def __init__(
        self, program: Program, *, device: str | None = None, route: Route = "auto"
    ) -> None:
        if route not in ("auto", "events", "dense"):
            raise UsageError(
                "integer-route",
                f"there is no route {route!r}",
                where="integer engine",
                hint=did_you_mean(str(route), ("auto", "events", "dense")),
            )
        self.program = program
        plan = make_plan(program)
        self._engine: Any
        if program.arithmetic.arrival == "in-turn":
            from .in_turn.engine import TurnEngine

            if device is not None:
                _checked_device(device)
            self._engine = TurnEngine(plan)
        elif device is None and program.arithmetic.sum_bits == _SUM_BITS:
            from .native import NativeEngine

            self._engine = NativeEngine(plan, route, kernels=has_numba())
        else:
            from .portable import PortableEngine

            self._engine = PortableEngine(plan, _checked_device(device or "cpu"))

    def run(
        self,
        inputs: Inputs,
        *,
        record: Record = "all",
        record_states: Collection[str] = (),
        batch: int | None = None,
        progress: Callable[[int, int], None] | None = None,
        watch: bool = False,
    ) -> Recording:
        """Run the program; see `run_integer`."""
        data = _checked_inputs(self.program, inputs)
        steps, samples = next(iter(data.values())).shape[:2]
        kept = {
            g.name: np.empty((steps, samples, *g.shape), emitted_type(g))
            for g in self.program.groups
            if g.kind != "input" and (record == "all" or g.role == "output")
        }
        u, v = (
            {
                name: np.empty((steps, samples, size(self.program.group(name).shape)), np.int64)
                for name in record_states
            }
            for _ in range(2)
        )
        states = States(u, v, Watch(self.program.arithmetic) if watch else None)
        batch = batch or self._default_batch(steps, kept)
        scratch: dict[str, Array] = {}
        for low in range(0, samples, batch):
            count = min(batch, samples - low)
            trains = {
                g.name: self._train(g, data, kept, scratch, low, count) for g in self.program.groups
            }
            self._engine.run(trains, count, states)
            if progress:
                progress(low + count, samples)
        order = [g.name for g in self.program.groups if g.name in kept or record == "all"]
        return Recording(
            engine="integer",
            spikes={name: kept[name] if name in kept else data[name] for name in order},
            u={n: u.reshape(steps, samples, *self._shape(n)) for n, u in states.u.items()},
            v={n: v.reshape(steps, samples, *self._shape(n)) for n, v in states.v.items()},
            registers={} if states.watch is None else states.watch.use,
            units=units_of(self.program),
        )

    def _shape(self, name: str) -> tuple[int, ...]:
        return self.program.group(name).shape

    def _default_batch(self, steps: int, kept: Mapping[str, Array]) -> int:
        per_sample = sum(
            steps * size(g.shape) * emitted_type(g)().itemsize
            for g in self.program.groups
            if g.name not in kept
        )
        return min(max(1, _SCRATCH_BYTES // max(1, per_sample)), int(self._engine.batch))

    def _train(
        self,
        group: CompartmentGroup,
        data: Mapping[str, Array],
        kept: Mapping[str, Array],
        scratch: dict[str, Array],
        low: int,
        count: int,
    ) -> Train:
        """The part of a group's train that belongs to one batch; inputs and constants are filled in."""
        if group.kind == "input":
            return _input_train(group, data[group.name], low, count)
        if group.name in kept:
            whole = kept[group.name]
            train = Train(whole.reshape(*whole.shape[:2], -1), low)
        else:
            steps = next(iter(data.values())).shape[0]
            shape = (steps, count, size(group.shape))
            if group.name not in scratch or scratch[group.name].shape != shape:
                scratch[group.name] = np.empty(shape, emitted_type(group))
            train = Train(scratch[group.name])
        if group.kind == "constant":
            train.values[:, train.base : train.base + count] = 1
        return train


def run_integer(
    program: Program,
    inputs: Inputs,
    *,
    record_states: Collection[str] = (),
    progress: Callable[[int, int], None] | None = None,
    record: Record = "all",
    batch: int | None = None,
    device: str | None = None,
    route: Route = "auto",
    watch: bool = False,
) -> Recording:
    """Run ``program`` on integer inputs.

    Args:
        program: what to run.
        inputs: ``(steps, samples, *input shape)`` integers, or one such array per input group.
        record_states: groups whose u and v are recorded at every step (int64, after the reset).
        progress: called with (samples done, samples) after each batch.
        record: the groups whose spikes are kept: ``"all"``, or only those that answer.
        batch: samples that run at once; bounds the memory beyond inputs and what is recorded.
        device: torch device; None for this machine's cores.
        route: how projections are computed (see `IntegerEngine`); changes no result.
        watch: note how full registers get and how often they overflow; neurons are then stepped by
            NumPy, which takes several times as long.

    Returns:
        Spikes (and v of readouts) in sample time, in the smallest type that holds them: uint8 where a
        step has one spike at most, else int32; inputs as they were given.

    Raises:
        InputError: an input is missing, has the wrong shape, or is not integer.
        UsageError: an unknown route, or a device that torch does not have.
    """
    engine = IntegerEngine(program, device=device, route=route)
    return engine.run(
        inputs,
        record=record,
        record_states=record_states,
        batch=batch,
        progress=progress,
        watch=watch,
    )


def _checked_device(device: str) -> str:
    import torch

    kind = device.partition(":")[0]
    if kind == "cpu" or (kind == "cuda" and torch.cuda.is_available()):
        return device
    raise UsageError(
        "device-missing",
        f"torch cannot compute exactly on {device!r} here",
        where="integer engine",
        hint="use cpu, or cuda where torch finds one",
    )


def _input_train(group: CompartmentGroup, data: Array, low: int, count: int) -> Train:
    """Messages of a batch: bytes that are not zero for spikes, int32 for graded ones (mod 2**32)."""
    as_given = (np.int32,) if group.message_bits else (np.uint8, np.bool_)
    if group.max_spikes is not None:
        data = _taken(group, data, group.max_spikes)
    if data.dtype in as_given and data.flags.c_contiguous:
        flat = data.reshape(*data.shape[:2], size(group.shape))
        return Train(flat.view(np.uint8) if data.dtype == np.bool_ else flat, low)
    part = data[:, low : low + count]
    messages = part.astype(np.int32) if group.message_bits else (part != 0).view(np.uint8)
    return Train(np.ascontiguousarray(messages).reshape(*part.shape[:2], size(group.shape)))


def _taken(group: CompartmentGroup, data: Array, most: int) -> Array:
    """What a channel takes of the spikes that the host sends in a step."""
    if data.size and int(data.min()) < 0:
        raise InputError(
            "input-negative",
            f"data hold {int(data.min())}; a channel of this chip takes a number of spikes",
            where=f"input {group.name}",
            hint="send what is negative over channels of its own",
        )
    return np.minimum(data, most)


def program_inputs(program: Program, inputs: Inputs) -> dict[str, Array]:
    """Check inputs and return them as int64 per input group (what the chip's host sends).

    Raises:
        InputError: see `run_integer`.
    """
    checked = _checked_inputs(program, inputs)
    return {name: array.astype(np.int64) for name, array in checked.items()}


def _checked_inputs(program: Program, inputs: Inputs) -> dict[str, Array]:
    groups = [g for g in program.groups if g.kind == "input"]
    if not isinstance(inputs, Mapping):
        if len(groups) != 1:
            names = ", ".join(g.name for g in groups)
            raise InputError(
                "input-missing",
                f"the program has {len(groups)} inputs ({names})",
                hint="pass one array per input, by name",
            )
        inputs = {groups[0].name: inputs}
    checked = {}
    for group in groups:
        if group.name not in inputs:
            raise InputError("input-missing", f"no data for input {group.name!r}")
        array = np.asarray(inputs[group.name])
        if array.ndim < 2 or array.shape[2:] != group.shape:
            raise InputError(
                "input-shape",
                f"data has shape {array.shape}, expected (steps, samples, "
                f"{', '.join(map(str, group.shape))})",
                where=f"input {group.name}",
            )
        if not np.issubdtype(array.dtype, np.integer) and array.dtype != bool:
            raise InputError(
                "input-not-integer",
                f"data is {array.dtype}, the program takes integers",
                where=f"input {group.name}",
                hint="encode it first (encode_inputs)",
            )
        clips = group.max_spikes is not None  # of more spikes than a channel takes the rest is lost
        if group.message_peak is not None and not clips and array.size:
            _refuse_beyond(group, int(array.min()), int(array.max()))
        checked[group.name] = array
    return checked


def _refuse_beyond(group: CompartmentGroup, low: int, high: int) -> None:
    if max(-low, high) > group.largest:
        raise InputError(
            "input-beyond",
            f"the program takes messages up to {group.largest:,} in size, the data hold "
            f"{high if high > group.largest else low:,}: registers might overflow",
            where=f"input {group.name}",
            hint=f"compile with --input-peak {max(-low, high) / float(group.scale):g} (or more), "
            "or with --data that reaches as far",
        )
