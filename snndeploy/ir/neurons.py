"""The neuron model as the discrete update that really runs, spelled out."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

import numpy as np

from ..brief import brief, brief_html
from ..errors import InputError
from .arrays import LARGEST, Array, Shape, no_numbers, parameter
from .fields import FACTOR, LEVEL, beyond, held_fields
from .step import CHOICES, Compare, NeuronRule, Reset, ResetTiming, SpikesPerStep


@dataclass(frozen=True, kw_only=True, eq=False)
class Neuron:
    """One step of every neuron in a population, with ``x`` the sum over its projections::

        u = syn_leak * u + x + bias          (u = x + bias when syn_leak is None)
        v = leak * v + u + drive
        n = number of spikes: 1 where v > threshold (or >=), or floor(v / threshold) for "many"
        v = 0 where n > 0                    (reset "zero")
        v = v - n * threshold                (reset "subtract")
        v = max(v, v_floor)

    With ``reset_timing="next-step"`` the reset of step t acts inside step t+1, after leak and input:
    ``v = leak * v + u + drive - n(t-1) * threshold`` (subtract), or ``v = 0`` where n(t-1) > 0.
    ``"snntorch-immediate"`` is snnTorch's ``reset_delay=False`` with subtraction: as next-step with
    ``r = v(t-1) > threshold``, then ``v -= (n - r) * threshold`` (snntorch 1.0.0, ``Leaky.forward``).
    snnTorch knows ``>`` only; with ``>=``, r compares likewise: one comparison decides spikes and
    resets, so what moves a threshold and keeps the spikes keeps the resets too.

    A population without ``threshold`` does not spike; it emits its membrane potential ``v``.

    Input gain and reset values are not here: ingest folds gains into the weights and shifts v so that
    a reset to a value is a reset to zero. Parameters are arrays broadcastable to the population's
    shape, dimensionless and per time step; u, v, threshold and biases share one (arbitrary) unit.
    """

    leak: Array = field(metadata=FACTOR)
    syn_leak: Array | None = field(default=None, metadata=FACTOR)
    threshold: Array | None = field(default=None, metadata=LEVEL)
    compare: Compare = ">"
    reset: Reset = "zero"
    reset_timing: ResetTiming = "immediate"
    spikes_per_step: SpikesPerStep = "one"
    max_spikes: int | None = None
    v_floor: Array | None = field(default=None, metadata=LEVEL)
    v_init: Array = field(default_factory=lambda: np.zeros(()), metadata=LEVEL)
    bias: Array = field(default_factory=lambda: np.zeros(()), metadata=LEVEL)
    drive: Array = field(default_factory=lambda: np.zeros(()), metadata=LEVEL)

    __repr__ = brief
    _repr_html_ = brief_html

    @classmethod
    def create(cls, shape: Shape, **fields: object) -> Neuron:
        """Build a neuron with every array parameter in its canonical smallest form for ``shape``."""
        arrays = {
            name: parameter(value, shape)  # type: ignore[arg-type]
            for name, value in fields.items()
            if name in PARAMETERS and value is not None
        }
        return cls(**{**fields, **arrays})  # type: ignore[arg-type]

    def changed(self, shape: Shape, **fields: object) -> Neuron:
        """This neuron with other values for ``fields``, in the canonical form for ``shape``."""
        old = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return Neuron.create(shape, **{**old, **fields})

    @property
    def spiking(self) -> bool:
        return self.threshold is not None

    @property
    def rule(self) -> NeuronRule | None:
        """When it spikes and what follows, as `snndeploy.ir.step` takes it; None: it never does."""
        return NeuronRule.of(self) if self.spiking else None

    def parameters(self) -> dict[str, Array]:
        """The array-valued parameters that are set, by name."""
        values = {name: getattr(self, name) for name in PARAMETERS}
        return {name: value for name, value in values.items() if value is not None}

    def beyond(self, *taught: str) -> tuple[str, ...]:
        """Fields that have another than their default value and that the caller does not know.

        Code that turns a neuron into another form, and would lose what it does not know, asks this
        first and refuses. It knows `FOUNDING`, and what it was ``taught`` since.
        """
        return beyond(self, FOUNDING.union(taught))

    def verify(self, where: str, shape: Shape) -> None:
        """Check values and broadcasting.

        Raises:
            InputError: naming the population and the parameter.
        """
        for name, value in self.parameters().items():
            if no_numbers(value).any():
                raise InputError(
                    "parameter-not-finite",
                    f"{name} holds NaN, infinity or a number beyond {LARGEST:g}",
                    where=where,
                )
            if not broadcasts(value.shape, shape):
                raise InputError(
                    "parameter-shape",
                    f"{name} has shape {value.shape}, neurons {shape}",
                    where=where,
                )
        for name in (name for name, held in held_fields(Neuron).items() if held == "factor"):
            value = getattr(self, name)
            if value is not None and ((value < 0) | (value > 1)).any():
                raise InputError(
                    "leak-out-of-range",
                    f"{name} per step is {float(value.min()):g}…{float(value.max()):g}, "
                    "outside 0…1: the time step is longer than the time constant",
                    where=where,
                    hint="check dt (--dt) and the frontend (--frontend)",
                )
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise InputError(
                    "neuron-option",
                    f"{name} is {getattr(self, name)!r}, not one of {allowed}",
                    where=where,
                )
        if self.spiking and self.reset_timing == "snntorch-immediate" and self.reset != "subtract":
            raise InputError(
                "neuron-option",
                f"reset_timing is 'snntorch-immediate' and reset {self.reset!r}: it subtracts",
                where=where,
            )


def broadcasts(part: Shape, shape: Shape) -> bool:
    """Whether values of shape ``part`` give each place of ``shape`` one."""
    try:
        return np.broadcast_shapes(part, shape) == shape
    except ValueError:
        return False


FOUNDING = frozenset(
    {
        "leak",
        "syn_leak",
        "threshold",
        "compare",
        "reset",
        "reset_timing",
        "spikes_per_step",
        "max_spikes",
        "v_floor",
        "v_init",
        "bias",
        "drive",
    }
)
"""What all code about neurons knows. It does not grow: see `Neuron.beyond`."""

PARAMETERS = tuple(f.name for f in dataclasses.fields(Neuron) if "Array" in str(f.type))
"""Array-valued fields of `Neuron`, in the order of its text form."""
