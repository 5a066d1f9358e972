"""What a target file holds: every limit with its source and certainty."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterable
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from ..errors import UsageError, did_you_mean
from ..ir.finding import Certainty


class Strict(BaseModel):
    """Unknown keys are refused; no value is coerced (``bits = true`` is not 1)."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Limit(Strict):
    """One number, where it comes from and how sure that is."""

    limit: int
    unit: str
    source: str
    certainty: Certainty


class Widths(Strict):
    """The legal widths of a bit field, in ascending order."""

    widths: list[int] = Field(min_length=1)
    unit: str
    source: str
    certainty: Certainty

    @property
    def largest(self) -> int:
        return max(self.widths)

    def holding(self, bits: int) -> int:
        """The narrowest legal width of at least ``bits`` (``bits`` itself where there is none)."""
        return min((w for w in self.widths if w >= bits), default=bits)


class Range(Strict):
    """The smallest and the largest legal value."""

    low: int
    high: int
    unit: str
    source: str
    certainty: Certainty


class Energy(Strict):
    """Energy per event in picojoules; ``high`` gives the other end of a range where there is one."""

    pj: float
    high: float | None = None
    source: str
    certainty: Certainty


class Chip(Strict):
    """``mesh`` is routers in x and y, each serving ``cores_per_router`` cores."""

    cores: Limit
    mesh: list[int] = Field(min_length=2, max_length=2)
    cores_per_router: int


class Synapse(Strict):
    """The number formats of weights and delays; a family adds how it stores them.

    ``zero_ops`` is how many synaptic operations a zero in a dense list costs, at least and at most, in
    energy and in time alike. Zeros that are not stored, and those of shared kernels, cost none.
    """

    weight: Widths
    mantissa: Range
    exponent: Range
    delay_max: Limit
    zero_ops: Range = Range(
        low=0, high=1, unit="operations", source="nothing is known", certainty="inferred"
    )


class Axons(Strict):
    """What connections cost; which keys there are is for the family to say."""


class Numeric(Strict):
    """Register widths (bits, sign included for states) and the largest mantissas.

    ``decay_max`` is the largest decay constant, or the longest shift where states decay by shifts.
    """

    decay_max: Limit
    vth_max: Limit
    bias_mant_max: Limit
    bias_exp_max: Limit
    state_bits: Limit


class Neurons(Strict):
    """How each neuron feature is realised: ``native``, ``program`` (a neuron program of its own),
    ``two-compartments``, or ``none`` where the chip cannot do it.
    """

    zero_reset: Literal["native", "program", "none"]
    subtract_reset: Literal["native", "program", "two-compartments", "none"]
    many_spikes: Literal["native", "program", "none"]
    v_floor: Literal["program", "none"]
    graded_spikes: bool
    graded_bits: int = 0
    source: str
    certainty: Certainty

    @property
    def programmable(self) -> bool:
        """Whether the chip runs neuron programs at all."""
        ways = (self.zero_reset, self.subtract_reset, self.many_spikes, self.v_floor)
        return "program" in ways


class EnergyModel(Strict):
    """Energy per event; ``not_counted`` is printed beside every estimate."""

    synaptic_op: Energy
    neuron_update_active: Energy
    neuron_update_idle: Energy
    spike_out: Energy | None = None
    spike_message: Energy
    hop_x: Energy
    hop_y: Energy
    not_counted: list[str]


class Power(Strict):
    """Power in microwatts; ``high`` gives the other end of a range where there is one."""

    uw: float
    high: float | None = None
    source: str
    certainty: Certainty

    @property
    def most(self) -> float:
        return self.uw if self.high is None else self.high


class PowerModel(Strict):
    """Power of a chip that idles, and of one that computes, where no energy per event is published.

    ``not_counted`` is printed beside every estimate; ``slower`` tells how many times slower the chip was
    clocked when this was measured than the time of its steps is told for.
    """

    idle: Power
    active: Power
    slower: float = 1.0
    not_counted: list[str]


class Duration(Strict):
    """Time per event in nanoseconds; ``high`` gives the other end of a range where there is one."""

    ns: float
    high: float | None = None
    source: str
    certainty: Certainty

    @property
    def most(self) -> float:
        return self.ns if self.high is None else self.high


class TimeModel(Strict):
    """Time per event; ``not_counted`` is printed beside every estimate.

    ``message`` is a spike that leaves its core, ``link`` a message that crosses from one router to
    the next, ``barrier`` what ends each step on one chip, ``barrier_chips`` on several.
    """

    synaptic_op: Duration
    neuron_update_active: Duration
    neuron_update_idle: Duration
    message: Duration
    link: Duration
    barrier: Duration
    barrier_chips: Duration | None = None
    not_counted: list[str]


class ArithmeticModel(Strict):
    """Energy of arithmetic alone, whatever does it: additions, and multiplications with addition.

    ``not_counted`` is printed beside the estimate of a spiking run, ``ann_not_counted`` beside that of
    the conventional network of its shape.
    """

    name: str
    title: str
    addition: Energy
    multiply_add: Energy
    not_counted: list[str]
    ann_not_counted: list[str]


class Target(Strict):
    """A chip (and its boards, in chips) to compile for.

    ``family`` names the family of chips that counts and computes alike; each has its own subclass with
    the keys that it reads beside these, and the ``resources`` of a core that it counts. ``core`` maps
    these resources to their limits. ``energy_alternatives`` are other published models of the same
    chip, to be printed beside; without ``energy`` it follows from ``power`` and the time of a step,
    where these are known. ``time`` is None where nothing is known about the speed of a step.
    """

    resources: ClassVar[tuple[str, ...]] = ()

    name: str
    title: str
    inherits: str | None = None
    family: str
    boards: dict[str, Limit] = Field(min_length=1)
    default_board: str
    chip: Chip
    core: dict[str, Limit]
    synapse: Synapse
    axons: Axons | None = None
    numeric: Numeric
    neurons: Neurons
    energy: EnergyModel | None = None
    energy_alternatives: dict[str, EnergyModel] = {}
    time: TimeModel | None = None
    power: PowerModel | None = None

    def __repr__(self) -> str:
        return f"Target({self.name!r}, {self.title!r})"

    @field_validator("core")
    @classmethod
    def _every_resource(cls, core: dict[str, Limit], info: ValidationInfo) -> dict[str, Limit]:
        for key in core:
            if key not in cls.resources:
                raise ValueError(
                    f"core.{key} is not a resource; {did_you_mean(key, cls.resources)}"
                )
        missing = [f"core.{key}" for key in cls.resources if key not in core]
        if missing:
            raise ValueError(f"a {info.data['family']} target also needs {', '.join(missing)}")
        return core

    @model_validator(mode="after")
    def _consistent(self) -> Target:
        if self.default_board not in self.boards:
            hint = did_you_mean(self.default_board, self.boards)
            raise ValueError(f"default_board {self.default_board!r} is not in boards; {hint}")
        x, y = self.chip.mesh
        if x * y * self.chip.cores_per_router < self.chip.cores.limit:
            raise ValueError(f"a {x}x{y} mesh does not reach {self.chip.cores.limit} cores")
        return self

    def board(self, board: str | None = None) -> str:
        """What reports call a board (the default one where none is named): its name, or ``3 chips``."""
        name = board or self.default_board
        return f"{name} chip{'s'[: name != '1']}" if name.isdecimal() else name

    def chips(self, board: str | None = None) -> int:
        """Chips of a board (of the default one where none is named), which may be a number of chips.

        Raises:
            UsageError: the target has no such board.
        """
        name = board or self.default_board
        if number := re.fullmatch(r"0*([1-9]\d*)( chips?)?", name):
            return int(number[1])
        if name not in self.boards:
            raise UsageError(
                "board-unknown",
                f"target {self.name} has no board {name!r}",
                hint=did_you_mean(name, self.boards),
            )
        return self.boards[name].limit


STRENGTH: tuple[Certainty, ...] = typing.get_args(Certainty)
"""Certainties from the strongest to the weakest."""


def weakest(certainties: Iterable[Certainty]) -> Certainty:
    """The certainty of a statement that rests on all of these (``"spec"`` on none)."""
    return max(certainties, key=STRENGTH.index, default="spec")
