"""`Program`: what the chip runs. Integers only.

In Loihi's arithmetic (a program says which is its own) the semantics are those of lava-nc 0.10.0's
fixed-point processes, step by step and bit by bit (``lava/proc/{lif,dense,sparse}/models.py``). With
``decay(x, d) = sign(x) * (|x| * (4096 - d) >> 12)`` (rounding toward zero), one step of a group is::

    a = sum over incoming synapses, sources and delays of  shift(sum of mantissa * s, exponent)
    u = wrap(decay(u, du + 1) + (a << 6))           24 bit, one wrap
    v = clip(decay(v, dv) + u + bias)               to +-(2**23 - 1)
    spike where v > vth << 6;  then v = 0

``shift`` is ``<<`` for positive and floor ``>>`` for negative exponents, applied after the sum; graded
messages are summed in int32, which wraps before the shift.

Time: every synapse takes ``latency >= 1`` chip steps. A group's ``depth`` is the chip step at which
the first step of a sample reaches it, so its step t of the sample is chip step ``t + depth``, and a
synapse delays by ``latency - (depth of target - depth of source) >= 0`` steps of the sample.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np

from ..brief import brief, brief_html
from .arrays import Array, Shape, frozen
from .digest.content import NOT_CONTENT, content_digest
from .fields import LEVEL, beyond, held_fields
from .finding import Finding
from .graded.delta import DeltaRule
from .graded.resonator import ResonatorRule
from .network import Role
from .neurons import FOUNDING
from .ops import Op, Weighted, weighted_op
from .step import (
    LOIHI,
    Arithmetic,
    Compare,
    IntegerParameters,
    NeuronRule,
    Reset,
    ResetTiming,
    SpikesPerStep,
)

Kind = Literal["input", "constant", "lif", "custom", "readout", "delta", "resonator"]
Port = Literal["", "imag"]
"""Where synapses enter a neuron: at its only entry (of a resonator, the real part), or the imaginary."""
DYNAMICS: dict[Kind, type] = {"delta": DeltaRule, "resonator": ResonatorRule}
"""Kinds whose neurons do what their ``dynamics`` say."""
SignMode = Literal["mixed", "excitatory", "inhibitory"]


def _zero() -> Array:
    return frozen(0, np.int64)


@dataclass(frozen=True, kw_only=True, eq=False)
class CompartmentGroup:
    """A population as compartments.

    ``kind``: ``input`` replays data, ``constant`` spikes at every step (a bias that must pass the
    synaptic filter), ``lif`` is the native compartment above, ``readout`` never spikes and answers
    with v, ``custom`` is a neuron program that differs from ``lif`` in the fields below the line.
    ``delta`` sends numbers and does what ``dynamics`` says (`snndeploy.ir.graded.delta`); its input is
    not shifted, and the exponent of thresholds and biases is that of ``dynamics``. ``resonator``
    likewise (`snndeploy.ir.graded.resonator`): it has two ports, spikes, and its thresholds are in the
    units of its state.

    Integer arrays broadcast to ``shape``. ``scale`` converts back: v units per unit of the network
    (for inputs: integer message per unit of data). ``message_bits`` is 0 for binary spikes, else the
    width of the graded ones; ``message_peak`` is the size up to which an input takes them, for which
    bounds are proved (None: whatever the field holds).
    """

    name: str
    shape: Shape
    role: Role
    kind: Kind
    depth: int
    scale: Array = field(default_factory=lambda: frozen(1.0))
    message_bits: int = 0
    message_peak: int | None = None
    du: Array = field(default_factory=lambda: frozen(LOIHI.decay_one - 1, np.int64))
    dv: Array = field(default_factory=_zero)
    vth: Array = field(default_factory=_zero)
    bias_mant: Array = field(default_factory=_zero)
    bias_exp: int = 0
    # custom neuron programs only
    compare: Compare = ">"
    reset: Reset = "zero"
    reset_timing: ResetTiming = "immediate"
    spikes_per_step: SpikesPerStep = "one"
    max_spikes: int | None = None
    v_floor: Array | None = field(default=None, metadata=LEVEL)
    dynamics: DeltaRule | ResonatorRule | None = None
    route: str = field(default="", metadata=NOT_CONTENT)

    __repr__ = brief
    _repr_html_ = brief_html

    @property
    def rule(self) -> NeuronRule | None:
        """When it spikes and what follows, as `snndeploy.ir.step` takes it; None: it never does."""
        match self.kind:
            case "custom":
                return NeuronRule.of(self)
            case "lif":
                return NeuronRule()
            case "readout" | "input" | "constant" | "delta" | "resonator":
                return None

    @property
    def ports(self) -> tuple[Port, ...]:
        """Where synapses enter its neurons."""
        return ("", "imag") if self.kind == "resonator" else ("",)

    @property
    def largest(self) -> int:
        """The size of the largest message that an input takes."""
        field = (1 << (self.message_bits - 1)) - 1 if self.message_bits else 1
        return field if self.message_peak is None else min(field, self.message_peak)

    @property
    def bias(self) -> Array:
        """Bias added to v at every step, in v units."""
        if isinstance(self.dynamics, DeltaRule):
            return self.bias_mant << self.dynamics.exponent
        if self.bias_exp >= 0:
            return self.bias_mant << self.bias_exp
        return self.bias_mant >> -self.bias_exp

    def registers(self, arithmetic: Arithmetic, convert: Any = np.asarray) -> IntegerParameters:
        """What `snndeploy.ir.step` takes; ``convert`` makes it what an engine computes with."""
        own = self.kind == "custom"  # only neuron programs have more than the native compartment
        held = {name: getattr(self, name) if own else None for name in held_fields(type(self))}
        return IntegerParameters(
            du=convert(self.du.astype(np.int64) + arithmetic.u_decay_offset),
            dv=convert(self.dv.astype(np.int64)),
            threshold=convert(self.vth.astype(np.int64) << arithmetic.state_shift),
            bias=convert(np.asarray(self.bias, np.int64)),
            **{n: None if x is None else convert(x.astype(np.int64)) for n, x in held.items()},
        )

    def beyond(self, *taught: str) -> tuple[str, ...]:
        """What its neurons do that the caller does not know, as `Neuron.beyond` tells of a neuron."""
        rule = {f.name for f in dataclasses.fields(NeuronRule)}
        rest = {f.name for f in dataclasses.fields(self) if "held" not in f.metadata}
        return beyond(self, (rest - rule) | FOUNDING.union(taught))


@dataclass(frozen=True, eq=False)
class SynapseSource:
    """A source group and the chip steps until its spikes arrive (one, or one per neuron)."""

    group: str
    latency: Array

    __repr__ = brief
    _repr_html_ = brief_html


@dataclass(frozen=True, kw_only=True, eq=False)
class SynapseGroup:
    """A projection as synapses: integer ``mantissa`` (in the operator's weight shape) x 2**exponent.

    ``alive`` marks the stored synapses that were not pruned (None: all). ``port`` says where they enter
    the target's neurons.
    """

    name: str
    sources: tuple[SynapseSource, ...]
    target: str
    ops: tuple[Op, ...]
    mantissa: Array
    exponent: int
    sign_mode: SignMode
    weight_bits: int
    alive: Array | None = None
    port: Port = ""

    __repr__ = brief
    _repr_html_ = brief_html

    @property
    def op(self) -> Weighted:
        return weighted_op(self.ops)


@dataclass(frozen=True, kw_only=True)
class Headroom:
    """How far a group's accumulators are from their limits, in the worst case over all spike trains.

    ``u_peak`` and ``v_peak`` bound |u| and |v| before the reset (v units); ``clip_steps`` is the number
    of worst-case steps after which v may clip at ``limit`` (None: it never can). A wrap of u changes
    its sign and is never acceptable; a clip of v only forgets how far inhibition went.
    """

    u_peak: int
    v_peak: int
    limit: int
    clip_steps: int | None

    @property
    def wraps(self) -> bool:
        return self.u_peak > self.limit


@dataclass(frozen=True, kw_only=True)
class Rounding:
    """What integers cost a population: largest errors against the network it was lowered from.

    ``leak`` and ``syn_leak`` are absolute errors per step, ``threshold`` and ``bias`` relative to the
    threshold, ``weight`` relative to the largest weight of the projection. ``truncation`` bounds how far
    dropped fractions of decays move v within a sample, relative to the threshold (or, without one, to
    the largest v). ``reasons`` tells in words what else keeps the engines from being equal.
    """

    leak: float
    syn_leak: float
    threshold: float
    bias: float
    weight: float
    truncation: float = 0.0
    reasons: tuple[str, ...] = ()

    @property
    def exact(self) -> bool:
        """Whether real numbers (float64) and integers give the same spikes, whatever arrives.

        Answers of a readout are the same but for what float64 itself rounds of its sums.
        """
        return not any(getattr(self, f.name) for f in dataclasses.fields(self))


@dataclass(frozen=True, kw_only=True, eq=False)
class Program:
    """Groups of compartments and synapses, with head-room, rounding and findings of the lowering.

    ``differing`` is the share of spikes that rounding changes, per group, where data were given.

    ``arithmetic`` is that of the chip it was lowered for; whoever computes with the program asks it.
    """

    target: str
    arithmetic: Arithmetic
    groups: tuple[CompartmentGroup, ...]
    synapses: tuple[SynapseGroup, ...]
    headroom: Mapping[str, Headroom] = field(default_factory=dict, metadata=NOT_CONTENT)
    rounding: Mapping[str, Rounding] = field(default_factory=dict, metadata=NOT_CONTENT)
    findings: tuple[Finding, ...] = field(default=(), metadata=NOT_CONTENT)
    differing: Mapping[str, float] = field(default_factory=dict, metadata=NOT_CONTENT)

    __repr__ = brief
    _repr_html_ = brief_html

    @cached_property
    def _by_name(self) -> dict[str, CompartmentGroup]:
        return {g.name: g for g in self.groups}

    def group(self, name: str) -> CompartmentGroup:
        return self._by_name[name]

    @cached_property
    def _into(self) -> dict[str, tuple[SynapseGroup, ...]]:
        found: dict[str, list[SynapseGroup]] = {}
        for s in self.synapses:
            found.setdefault(s.target, []).append(s)
        return {name: tuple(synapses) for name, synapses in found.items()}

    @cached_property
    def _out_of(self) -> dict[str, tuple[SynapseGroup, ...]]:
        found: dict[str, list[SynapseGroup]] = {}
        for s in self.synapses:
            for name in dict.fromkeys(o.group for o in s.sources):
                found.setdefault(name, []).append(s)
        return {name: tuple(synapses) for name, synapses in found.items()}

    def incoming(self, name: str) -> tuple[SynapseGroup, ...]:
        return self._into.get(name, ())

    def outgoing(self, name: str) -> tuple[SynapseGroup, ...]:
        return self._out_of.get(name, ())

    def source_shape(self, synapses: SynapseGroup) -> Shape:
        return self.group(synapses.sources[0].group).shape

    def delay(self, synapses: SynapseGroup, source: SynapseSource) -> Array:
        """Delay in steps of the sample (0: within the same step of the trained network)."""
        depth = self.group(synapses.target).depth - self.group(source.group).depth
        return source.latency.astype(np.int64) - depth

    @property
    def depth(self) -> int:
        """Extra chip steps until the last group has seen the whole sample."""
        return max(g.depth for g in self.groups)

    @property
    def on_chip(self) -> tuple[CompartmentGroup, ...]:
        """The groups that occupy compartments (all but the inputs)."""
        return tuple(g for g in self.groups if g.kind != "input")

    @cached_property
    def digest(self) -> str:
        """SHA-256 of everything the chip runs, names included: a program is an artefact."""
        return content_digest(self)

    def verify(self) -> Program:
        """Check what makes a program well formed; a failure here is a bug of the lowering."""
        for g in self.groups:
            for name in ("du", "dv", "vth", "bias_mant", *held_fields(CompartmentGroup)):
                value = getattr(g, name)
                if value is not None and not np.issubdtype(value.dtype, np.integer):
                    raise TypeError(f"{g.name}.{name} is {value.dtype}, a program holds integers")
            if type(g.dynamics) is not DYNAMICS.get(g.kind, type(None)):
                raise ValueError(f"{g.name} is {g.kind}, its dynamics are {g.dynamics}")
        for s in self.synapses:
            if not np.issubdtype(s.mantissa.dtype, np.integer):
                raise TypeError(f"{s.name}.mantissa is {s.mantissa.dtype}")
            if s.port not in self.group(s.target).ports:
                raise ValueError(f"{s.name}: {s.target} has no port {s.port!r}")
            if s.mantissa.shape != s.op.weight_shape:
                raise ValueError(f"{s.name}: mantissa {s.mantissa.shape} for {s.op}")
            for source in s.sources:
                if not np.issubdtype(source.latency.dtype, np.integer):
                    raise TypeError(f"{s.name}.latency is {source.latency.dtype}")
                if source.latency.min() < 1 or self.delay(s, source).min() < 0:
                    raise ValueError(
                        f"{s.name}: latency {source.latency.min()} from {source.group}"
                    )
        return self
