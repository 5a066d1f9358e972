"""What a framework says about its neuron layers: the contract between frameworks and the recorder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ..ingest.normal_form.neurons import DiscreteNeuron, simplest_leak
from ..ir.arrays import Array

if TYPE_CHECKING:
    from torch import Tensor, nn

_FLOAT32 = 2.0**-23


@dataclass(frozen=True, kw_only=True)
class Heard:
    """What a layer was called with.

    Attributes:
        given: its input.
        states: the states that the caller handed over; empty where the layer keeps its own.
        membrane: the one of them that is v.
        fresh: whether the caller asks for the initial state.
    """

    given: Tensor
    states: tuple[Tensor, ...] = ()
    membrane: Tensor | None = None
    fresh: bool = False


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a layer returned.

    Attributes:
        emitted: its spikes, or its membrane where it does not spike.
        membrane: v behind the step, where it is returned beside the spikes.
        states: all states that were returned.
    """

    emitted: Tensor
    membrane: Tensor | None = None
    states: tuple[Tensor, ...] = ()


@dataclass(frozen=True, kw_only=True)
class LayerModel:
    """A layer as a neuron.

    Attributes:
        neuron: its update, with the factor on its input.
        late: steps that its input takes before it acts.
        inward: what its input passes first (weights that the layer holds itself).
        back: what its own spikes pass on their way back, one step later.
        back_starts: whether the bias of ``back`` acts in the first step already.
    """

    neuron: DiscreteNeuron
    late: int = 0
    inward: Callable[[Tensor], Tensor] | None = None
    back: Callable[[Tensor], Tensor] | None = None
    back_starts: bool = True


@dataclass(frozen=True, kw_only=True)
class TimeForm:
    """How time lies in what one call of a module takes.

    Attributes:
        kind: ``steps``: one call is one step; ``sequence``: layers take all steps at once; ``loop``:
            ``forward`` goes through the steps itself.
        time: the axis of the steps; None: there is none.
        batch: the axis of the samples; None: there is none.
        count: steps that one call takes, where the module decides that itself.
    """

    kind: str
    time: int | None = None
    batch: int | None = 0
    count: int | None = None

    @property
    def leading(self) -> int:
        """Axes in front of the shape of one frame."""
        return len({a for a in (self.time, self.batch) if a is not None})

    def arranged(self, frames: Tensor) -> list[Tensor]:
        """What the calls take, of ``frames`` (steps, *frame) of one sample.

        Without an axis for time in a loop, the first frame stands for all steps.
        """
        if self.kind == "steps":
            return [f if self.batch is None else f[None] for f in frames]
        if self.time is None:
            return [frames[0] if self.batch is None else frames[:1]]
        if self.batch is None:
            return [frames]
        return [frames.unsqueeze(self.batch)]


class Framework(ABC):
    """How a framework's neuron layers are called, and what they compute."""

    where: str
    """The function that a user called, for messages."""

    @property
    @abstractmethod
    def known(self) -> tuple[type, ...]:
        """Layers that are one population."""

    @property
    @abstractmethod
    def neurons(self) -> tuple[type, ...]:
        """What all neuron layers of the framework derive from."""

    @abstractmethod
    def forms(self, module: nn.Module, sample: Tensor, steps: int) -> Sequence[TimeForm]:
        """How time may lie in the sample, the likeliest first.

        Args:
            module: what is read.
            sample: what one call takes.
            steps: that each neuron layer took in one call.
        """

    @abstractmethod
    def isolated(self, module: nn.Module) -> AbstractContextManager[object]:
        """While it is open, what code of ``module`` does to all networks happens to it alone."""

    @abstractmethod
    def start(self, module: nn.Module) -> None:
        """Put all layers of ``module`` into their initial state."""

    def call(self, module: nn.Module, inputs: Sequence[Tensor], before: Any) -> tuple[Any, Any]:
        """Call ``module``; return what it answers, and what the next call is to be given."""
        return module(*inputs), before

    def heard(self, layer: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Heard:
        """Sort out what a layer is called with: its input alone, where it keeps its states itself."""
        del layer
        return Heard(given=args[0] if args else next(iter(kwargs.values())))

    @abstractmethod
    def told(self, layer: Any, returned: Any) -> Told:
        """Sort out what a layer returned."""

    @abstractmethod
    def leading(self, layer: Any, form: TimeForm) -> int:
        """Axes in front of the shape of one frame in what a layer takes."""

    def steps_axis(self, layer: Any) -> int | None:
        """The axis of the steps in what a layer takes at once; None: a call of it is one step."""
        del layer
        return None

    @abstractmethod
    def model(self, name: str, layer: Any, shape: tuple[int, ...]) -> LayerModel:
        """What a layer is.

        Raises:
            InputError: an option that has no exact form.
        """


@dataclass(frozen=True, kw_only=True)
class Update:
    """A layer's parameters, as `neuron` puts them together; arrays broadcast to the shape.

    ``v_rest`` is what v leaks to, ``v_back`` what a reset to a value sets it to.
    """

    leak: Any
    syn_leak: Any = None
    gain: Any = 1.0
    threshold: Any = None
    v_rest: Any = 0.0
    v_back: Any = 0.0
    v_init: Any = 0.0
    v_floor: Any = None
    options: Mapping[str, object] = field(default_factory=dict)


def neuron(shape: tuple[int, ...], update: Update) -> DiscreteNeuron:
    """The discrete neuron, with v shifted so that a reset sets it to zero."""
    leak = rounded(values(update.leak, shape))
    syn_leak = None if update.syn_leak is None else rounded(values(update.syn_leak, shape))
    zeroes = update.threshold is not None and update.options.get("reset", "zero") == "zero"
    shift = values(update.v_back, shape) if zeroes else np.zeros(())
    constant = (1.0 - leak) * (values(update.v_rest, shape) - shift)
    fields: dict[str, object] = {"leak": leak, "v_init": values(update.v_init, shape) - shift}
    if syn_leak is not None:
        fields["syn_leak"] = syn_leak
    if update.threshold is not None:
        fields["threshold"] = values(update.threshold, shape) - shift
        fields |= update.options
    if update.v_floor is not None:
        fields["v_floor"] = values(update.v_floor, shape) - shift
    fields["drive" if syn_leak is not None else "bias"] = constant
    return DiscreteNeuron(fields, values(update.gain, shape))


def values(value: Any, shape: tuple[int, ...]) -> Array:
    """A parameter of torch or Python, as one value or one for each neuron."""
    import torch

    array = torch.as_tensor(value).detach().to(torch.float64).numpy()
    if array.size == 1:
        return np.asarray(array.reshape(()))
    lead = array.ndim - len(shape)
    array = array.reshape(array.shape[max(lead, 0) :]) if lead > 0 else array
    return np.broadcast_to(array, shape)


def rounded(leak: Array) -> Array:
    """The roundest leak within a float32's error near 1."""
    return simplest_leak(leak, np.asarray(_FLOAT32 * (0.5 + 2.0 * np.abs(1.0 - leak))))


def refuse(where: str, layer: str, what: str, hint: str) -> InputError:
    """An error about an option of a layer that has no exact form."""
    return InputError("live-option", f"layer {layer!r}: {what}", where=where, hint=hint)


def sequences(sample: Tensor, steps: int, single: TimeForm) -> list[TimeForm]:
    """Forms of a module whose layers take steps at once, the likeliest first.

    ``single`` is the form in which what the module takes is cut into steps: not possible where it makes
    the steps itself, of one frame, or turns axes round.
    """
    made = loops(sample, steps, single) if steps > 1 else []
    lies_there = single.time is not None and sample.shape[single.time] == steps
    return [single, *made] if lies_there or not made else [*made, single]


def loops(sample: Tensor, steps: int, single: TimeForm) -> list[TimeForm]:
    """Forms of a module whose layers ran ``steps`` times in one call, the likeliest first."""
    if steps <= 1:
        return [single]
    found = []
    if sample.dim() > 2 and sample.shape[0] == steps:
        found.append(TimeForm(kind="loop", time=0, batch=1, count=steps))
    if sample.dim() > 2 and sample.shape[1] == steps:
        found.append(TimeForm(kind="loop", time=1, batch=0, count=steps))
    if sample.shape[0] == steps and single.batch is None:
        found.append(TimeForm(kind="loop", time=0, batch=None, count=steps))
    found.append(TimeForm(kind="loop", time=None, batch=0, count=steps))
    return found
