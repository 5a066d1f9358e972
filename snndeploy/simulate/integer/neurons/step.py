"""A group of compartments for `snndeploy.ir.step.step_integer`: its registers, its state, a step."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from ....ir.arrays import Array
from ....ir.graded.delta import BITS, DeltaParameters, DeltaState, step_delta
from ....ir.program import CompartmentGroup
from ....ir.step import Arithmetic, IntegerParameters, IntegerState, step_integer, wrapped
from .watch import Watch


@dataclass
class State(IntegerState):
    """Registers of one group for a batch of samples, int64."""

    @classmethod
    def at_rest(cls, shape: tuple[int, ...], xp: Any = np, **where: Any) -> State:
        """All zero; ``where`` is passed on to ``xp.zeros`` (a torch device)."""
        return cls(*(xp.zeros(shape, dtype=xp.int64, **where) for _ in fields(cls)))


def rested(group: CompartmentGroup, samples: int, xp: Any = np, **where: Any) -> Any:
    """The states of ``group`` at rest: a `State`, or a `DeltaState`."""
    shape = (samples, *group.shape)
    if group.dynamics is None:
        return State.at_rest(shape, xp, **where)
    return DeltaState(*(xp.zeros(shape, dtype=xp.int64, **where) for _ in range(4)))


def delta_registers(group: CompartmentGroup, convert: Any = np.asarray) -> DeltaParameters:
    """Read those of a ``delta`` group; they wrap as Lava's variables do."""
    exponent = 0 if group.dynamics is None else group.dynamics.exponent
    return DeltaParameters(
        threshold=convert(np.asarray(wrapped(group.vth.astype(np.int64) << exponent, BITS))),
        bias=convert(np.asarray(wrapped(group.bias_mant.astype(np.int64) << exponent, BITS))),
    )


def registers_of(group: CompartmentGroup, arithmetic: Arithmetic, convert: Any = np.asarray) -> Any:
    """What `step_group` takes of any group: `IntegerParameters` or `DeltaParameters`."""
    if group.dynamics is not None:
        return delta_registers(group, convert)
    return registers(group, arithmetic, convert)


def registers(
    group: CompartmentGroup, arithmetic: Arithmetic, convert: Any = np.asarray
) -> IntegerParameters:
    """Read them off ``group``; ``convert`` makes them what the engine computes with."""
    return group.registers(arithmetic, convert)


def step_group(
    group: CompartmentGroup,
    arithmetic: Arithmetic,
    state: Any,
    a: Any,
    parameters: Any = None,
    xp: Any = np,
    watch: Watch | None = None,
) -> Any:
    """Advance one group by one step with synaptic input ``a``; return what it emits.

    ``state`` is of `rested`, ``parameters`` are the `registers_of` ``group`` for the array library
    ``xp`` (default: NumPy); ``watch`` is told what the states would hold if they were wide enough.
    """
    if group.dynamics is not None:
        held = parameters or delta_registers(group)
        told = None if watch is None else watch.of_deltas(group.name)
        return step_delta(group.dynamics, held, state, a, xp, told)
    p = parameters or registers(group, arithmetic)
    see = None if watch is None else watch.of(group.name)
    return step_integer(group.rule, arithmetic, p, state, a, xp, see)


def emitted_type(group: CompartmentGroup) -> type[np.integer[Any]]:
    """The smallest type that holds what ``group`` emits: uint8 for single spikes, else int32."""
    rule = group.rule
    single = group.kind == "constant" or (rule is not None and rule.spikes_per_step == "one")
    return np.uint8 if single else np.int32


def padded(values: Array, shape: tuple[int, ...]) -> Array:
    """``values`` for every neuron, flat and contiguous."""
    return np.ascontiguousarray(np.broadcast_to(values, shape)).reshape(-1)
