"""A group of compartments for `snndeploy.ir.step.step_integer`: its registers, its state, a step."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from ....ir.arrays import Array
from ....ir.program import CompartmentGroup
from ....ir.step import Arithmetic, IntegerParameters, IntegerState, step_integer
from .watch import Watch


@dataclass
class State(IntegerState):
    """Registers of one group for a batch of samples, int64."""

    @classmethod
    def at_rest(cls, shape: tuple[int, ...], xp: Any = np, **where: Any) -> State:
        """All zero; ``where`` is passed on to ``xp.zeros`` (a torch device)."""
        return cls(*(xp.zeros(shape, dtype=xp.int64, **where) for _ in fields(cls)))


def registers(
    group: CompartmentGroup, arithmetic: Arithmetic, convert: Any = np.asarray
) -> IntegerParameters:
    """Read them off ``group``; ``convert`` makes them what the engine computes with."""
    return group.registers(arithmetic, convert)


def step_group(
    group: CompartmentGroup,
    arithmetic: Arithmetic,
    state: State,
    a: Any,
    parameters: IntegerParameters | None = None,
    xp: Any = np,
    watch: Watch | None = None,
) -> Any:
    """Advance one group by one step with synaptic input ``a``; return the spikes (or v) it emits.

    ``parameters`` are the `registers` of ``group`` for the array library ``xp`` (default: NumPy);
    ``watch`` is told what the states would hold if they were wide enough.
    """
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
