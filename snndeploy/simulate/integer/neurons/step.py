"""A group of compartments for `snndeploy.ir.step.step_integer`: its registers, its state, a step."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from ....ir.arrays import Array
from ....ir.graded.delta import BITS, DeltaParameters, DeltaRule, DeltaState, step_delta
from ....ir.graded.resonator import ResonatorRule, ResonatorState, step_resonator
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
    """The states of ``group`` at rest: a `State`, a `DeltaState` or a `ResonatorState`."""
    shape = (samples, *group.shape)
    kept: type[State | DeltaState | ResonatorState]
    match group.dynamics:
        case None:
            kept = State
        case DeltaRule():
            kept = DeltaState
        case ResonatorRule():
            kept = ResonatorState
    return kept(*(xp.zeros(shape, dtype=xp.int64, **where) for _ in fields(kept)))


def delta_registers(group: CompartmentGroup, convert: Any = np.asarray) -> DeltaParameters:
    """Read those of a ``delta`` group; they wrap as Lava's variables do."""
    exponent = group.dynamics.exponent if isinstance(group.dynamics, DeltaRule) else 0
    return DeltaParameters(
        threshold=convert(np.asarray(wrapped(group.vth.astype(np.int64) << exponent, BITS))),
        bias=convert(np.asarray(wrapped(group.bias_mant.astype(np.int64) << exponent, BITS))),
    )


def registers_of(group: CompartmentGroup, arithmetic: Arithmetic, convert: Any = np.asarray) -> Any:
    """What `step_group` takes of any group: `IntegerParameters`, `DeltaParameters` or a threshold."""
    match group.dynamics:
        case None:
            return registers(group, arithmetic, convert)
        case DeltaRule():
            return delta_registers(group, convert)
        case ResonatorRule():
            return convert(group.vth.astype(np.int64))


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

    Where a group has several ports, ``a`` is what arrives at each, along its first axis.
    ``state`` is of `rested`, ``parameters`` are the `registers_of` ``group`` for the array library
    ``xp`` (default: NumPy); ``watch`` is told what the states would hold if they were wide enough.
    """
    p = registers_of(group, arithmetic) if parameters is None else parameters
    match group.dynamics:
        case None:
            see = None if watch is None else watch.of(group.name)
            return step_integer(group.rule, arithmetic, p, state, a, xp, see)
        case DeltaRule():
            see = None if watch is None else watch.of_deltas(group.name)
            return step_delta(group.dynamics, p, state, a, xp, see)
        case ResonatorRule():
            see = None if watch is None else watch.of_resonators(group.name)
            return step_resonator(group.dynamics, p, state, a[0], a[1], xp, see)


def emitted_type(group: CompartmentGroup) -> type[np.integer[Any]]:
    """The smallest type that holds what ``group`` emits: uint8 for single spikes, else int32."""
    rule = group.rule
    spikes = group.kind in ("constant", "resonator")
    single = spikes or (rule is not None and rule.spikes_per_step == "one")
    return np.uint8 if single else np.int32


def padded(values: Array, shape: tuple[int, ...]) -> Array:
    """``values`` for every neuron, flat and contiguous."""
    return np.ascontiguousarray(np.broadcast_to(values, shape)).reshape(-1)
