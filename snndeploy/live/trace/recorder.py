"""Runs a module and notes what reaches every neuron layer, step by step."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import InputError
from ...ir.arrays import Shape
from ..layers import Framework, Heard, LayerModel, TimeForm, Told
from .code import CodeSpot, spot
from .hooks import ModuleHooks, foreign_folders, weight_names
from .layer_run import FIRES_ON_ANY, LayerRun
from .links import is_positive, link_key, only_counts, picked_by
from .memory import SignalMemory, key
from .operators import WITHOUT_VALUES, lost, signals_of
from .signals import Blocks, Emission, Lost, Signal, SignalPath

if TYPE_CHECKING:
    from torch import Tensor, nn


class SignalRecorder:
    """Follows tensors through a module. One recorder, one run from the initial state.

    Args:
        module: a copy that is ours.
        framework: of its neurons.
        form: how time lies in the calls.
        symbolic: whether operations are followed; else only layers are.
    """

    def __init__(
        self, module: nn.Module, framework: Framework, form: TimeForm, *, symbolic: bool = True
    ) -> None:
        self.module, self.framework, self.form, self.symbolic = module, framework, form, symbolic
        self.memory = SignalMemory()
        self.populations: dict[str, LayerRun] = {}
        self.inputs: dict[str, Shape] = {}
        self.asked: dict[tuple[str, int], CodeSpot] = {}
        """Where the module asks for the value of a signal, as an ``if`` does."""
        self._states: dict[int, tuple[str, int]] = {}
        self._computed: set[int] = set()
        self._alive: list[Any] = []
        self._hooks = ModuleHooks(module, framework, self._note)
        self._either: dict[object, str] = {}
        self._names = weight_names(module)
        self._foreign = foreign_folders(framework)

    # --- what operations ask -----------------------------------------------------------------------

    def knows(self, tensor: Any) -> bool:
        import torch

        return isinstance(tensor, torch.Tensor) and self.memory.knows(tensor)

    def read(self, tensor: Tensor) -> Blocks:
        return self.memory.read(tensor)

    def name_of(self, weight: Tensor) -> str:
        return self._names.get(key(weight), self._hooks.innermost or "weight")

    def is_positive(self, signal: Signal) -> bool:
        return (
            signal.lost is None
            and bool((signal.numbers() >= 0).all())
            and all(self._spikes(p) and all(map(is_positive, p.links)) for p in signal.paths)
        )

    def is_binary(self, signal: Signal) -> bool:
        if signal.lost is not None or signal.numbers().any():
            return False
        heard = np.zeros(signal.size)
        for path in signal.paths:
            picked = picked_by(path, signal.size)
            seen = self.populations.get(path.emission.population)
            if picked is None or seen is None or not (self._spikes(path) and seen.is_binary):
                return False
            heard += picked
        return bool((heard <= 1).all())

    def _spikes(self, path: SignalPath) -> bool:
        seen = self.populations.get(path.emission.population)
        return seen is not None and seen.spikes and path.emission.what == "spikes"

    def either(self, signal: Signal, name: str, shape: Shape) -> Signal | None:
        if signal.lost is not None or signal.numbers().any() or not signal.paths:
            return None
        if not all(self._spikes(p) and all(map(only_counts, p.links)) for p in signal.paths):
            return None
        step = max(p.emission.step for p in signal.paths)
        told = tuple(
            (p.emission.population, step - p.emission.step, tuple(map(link_key, p.links)))
            for p in signal.paths
        )
        which = (name, tuple(self._hooks.running), shape, told)
        if which not in self._either:
            layer = self._hooks.innermost
            free = self._free_name(layer or name)
            model = LayerModel(neuron=FIRES_ON_ANY)
            self.populations[free] = LayerRun(free, shape, model, self._spot(), layer)
            self._either[which] = free
        seen = self.populations[self._either[which]]
        if step == seen.steps:
            seen.given.append(signal)
            seen.emitted.append(_NOTHING)
        return Signal(signal.size, (SignalPath(Emission(seen.name, step)),))

    def _free_name(self, base: str) -> str:
        names = itertools.chain([base], (f"{base}#{i}" for i in itertools.count(2)))
        return next(n for n in names if n not in self.populations and n not in self.inputs)

    def _spot(self) -> CodeSpot:
        return spot(self._hooks.innermost, self._foreign)

    # --- running --------------------------------------------------------------------------------------

    def feed(self, name: str, tensor: Tensor, step: int, steps: int) -> None:
        """Note that ``tensor`` holds the frames of an input from ``step`` on."""
        shape = tuple(tensor.shape[self.form.leading :])
        self.inputs[name] = shape
        width = tensor.numel() // steps
        held = (Signal(width, (SignalPath(Emission(name, step + i)),)) for i in range(steps))
        self.memory.write(tensor, Blocks(tuple(held)))

    def calls(self, calls: Sequence[Sequence[Tensor]]) -> list[Any]:
        """Call the module once with each entry of ``calls``, from the start; return its answers.

        Raises:
            InputError: it raised, or does what has no form.
        """
        try:
            return self._called(calls)
        except InputError:
            raise
        except Exception as error:  # user code of any kind
            raise InputError(
                "live-run",
                f"the module does not run on the sample ({type(error).__name__}: {first_line(error)})",
                where=self.framework.where,
                hint="the sample is what one call of the module takes",
            ) from error

    def _called(self, calls: Sequence[Sequence[Tensor]]) -> list[Any]:
        import torch

        self.framework.start(self.module)
        answers, before = [], None
        with torch.no_grad(), self._hooks.attached(), _following(self):
            for given in calls:
                answer, before = self.framework.call(self.module, given, before)
                answers.append(answer)
        return answers

    def _note(self, name: str, layer: Any, heard: Heard, told: Told) -> None:
        seen = self._population(name, layer, heard, told)
        for given, part in self._single_steps(name, layer, heard.given, told):
            step = seen.steps
            if self.symbolic:
                seen.given.append(self._arriving(seen, given))
                self._write(seen.name, step, part)
            seen.emitted.append(part.emitted)
            if part.membrane is not None:
                seen.membranes.append(part.membrane)
        for state in told.states:
            self._states[key(state)] = (seen.name, step)
        self._computed |= {key(t) for t in (told.emitted, *told.states)}
        self._alive.append((heard, told))

    def _write(self, population: str, step: int, told: Told) -> None:
        """Note where what a layer told of a step lies."""
        emitted = SignalPath(Emission(population, step))
        self.memory.write(told.emitted, Blocks((Signal(told.emitted.numel(), (emitted,)),)))
        beside = {key(s): s for s in (*told.states, told.membrane) if s is not None}
        for state in beside.values():
            if key(state) != key(told.emitted):
                what = "membrane" if state is told.membrane else "state"
                path = SignalPath(Emission(population, step, what))
                self.memory.write(state, Blocks((Signal(state.numel(), (path,)),)))

    def _single_steps(
        self, name: str, layer: Any, given: Tensor, told: Told
    ) -> list[tuple[Tensor, Told]]:
        """What a layer took and told, step by step where it takes several at once.

        Raises:
            InputError: calls are single steps, and the module gave its layer more.
        """
        axis = self.framework.steps_axis(layer)
        if axis is None or (not self.symbolic and self.form.kind == "sequence"):
            return [(given, told)]
        steps = told.emitted.shape[axis]
        if self.form.kind == "sequence" and steps != 1:
            raise self._refused(
                "live-time",
                f"layer {name!r} takes {steps} steps where the module is given one",
                "let the first axis of what the module takes be the steps",
            )
        if steps == 1 or given.shape[axis] != steps:
            return [(given, told)]
        return [(given.narrow(axis, t, 1), _one_step(told, axis, t, steps)) for t in range(steps)]

    def _population(self, name: str, layer: Any, heard: Heard, told: Told) -> LayerRun:
        """The population that this call advances: the one whose states it was given."""
        owners = {self._states[key(s)] for s in heard.states if key(s) in self._states}
        if len(owners) > 1:
            raise self._refused(
                "live-state",
                f"layer {name!r} is given states of different layers or steps",
                "hand each layer the states that it returned in the step before",
            )
        if owners:
            population, step = owners.pop()
            seen = self.populations[population]
            if seen.layer != name or seen.steps != step + 1:
                raise self._refused(
                    "live-state",
                    f"layer {name!r} is given states of {population!r} from its step {step}",
                    "hand each layer the states that it returned in the step before",
                )
            return seen
        if any(key(s) in self._computed for s in heard.states):
            raise self._refused(
                "live-state",
                f"layer {name!r} is given states that forward() computes itself",
                "hand each layer the states that it returned in the step before, as they are",
            )
        if not heard.states and not heard.fresh:
            seen_before = self.populations.get(name)
            if seen_before is not None and seen_before.layer == name:
                return seen_before
        shape = tuple(told.emitted.shape[self.framework.leading(layer, self.form) :])
        free = self._free_name(name)
        model = self.framework.model(name, layer, shape or (1,))
        seen = LayerRun(free, shape or (1,), model, self._spot(), name, start=heard.membrane)
        others = (s for s in heard.states if s is not heard.membrane)
        if any(bool(s.any()) for s in others):
            raise self._refused(
                "live-state",
                f"layer {name!r} starts with a synaptic state or a spike that is not zero",
                "start it from zero",
            )
        self.populations[free] = seen
        return seen

    def _arriving(self, seen: LayerRun, given: Tensor) -> Signal:
        """What arrives in a step, through weights that the layer holds, and from its own spikes."""
        if seen.model.inward is not None:
            given = seen.model.inward(given)
        arriving = self.read(given).joined()
        back = seen.model.back
        if back is not None and (seen.emitted or seen.model.back_starts):
            import torch

            last = seen.emitted[-1] if seen.emitted else None
            if last is None:
                lead = given.dim() - len(seen.shape)
                last = torch.zeros(*given.shape[: max(lead, 0)], *seen.shape)
            arriving = arriving.plus(self.read(back(last)).joined())
        return arriving

    def _refused(self, code: str, message: str, hint: str) -> InputError:
        where = self._spot()
        told = f"{message}, {where}" if where.file else message
        return InputError(code, told, where=self.framework.where, hint=hint)

    # --- operations -----------------------------------------------------------------------------------

    def follow(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Run an operation of aten, and note what its result holds."""
        out = func(*args, **kwargs)
        if self._hooks.paused:
            return out
        with self._hooks.pause():
            self._descend(args, kwargs, out)
            if self.symbolic:
                self._followed(func, args, kwargs, out)
        return out

    def _descend(self, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
        """Note which tensors were computed from what layers gave."""
        import torch
        from torch.utils._pytree import tree_leaves

        given = {key(t) for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)}
        made = {key(t) for t in tree_leaves(out) if isinstance(t, torch.Tensor)}
        if given & self._computed:
            self._computed |= made
        else:
            self._computed -= made - given  # new, where something old had been

    def _followed(
        self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any
    ) -> None:
        import torch
        from torch.utils._pytree import tree_leaves

        name = func._schema.name.partition("::")[2]
        given = [t for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)]
        first = next((t for t in tree_leaves(out) if isinstance(t, torch.Tensor)), None)
        if name == _VALUE and self.memory.knows(given[0]):
            at = self._spot()
            self.asked.setdefault((at.file, at.line), at)
        if first is None or first.numel() == 0 or not any(map(self.memory.knows, given)):
            return
        writes = any(
            a.alias_info is not None and a.alias_info.is_write for a in func._schema.arguments
        )
        shares = {key(t) for t in given}
        turned = torch.Tag.inplace_view in func.tags and not name.startswith("resize")
        if (not writes or turned) and key(first) in shares:
            return  # a view, or the tensor itself with other axes: values stay where they lie
        if name in WITHOUT_VALUES:
            if writes:
                held = Signal(first.numel(), (), np.zeros(first.numel()))
                if name == "fill_":
                    held = Signal(first.numel(), (), np.full(first.numel(), float(args[1])))
                self.memory.write(first, Blocks((held,)))
            return
        if writes and not any(map(self.memory.knows, given[1:])) and not self.memory.knows(first):
            return
        found = signals_of(self, name, args, kwargs, first, func)
        if isinstance(found, str):
            before = [s.lost for t in given if self.memory.knows(t) for s in self.read(t).signals]
            why = next((b for b in before if b is not None), None)
            found = lost(first.numel(), why or Lost(found, self._spot()))
        self.memory.write(first, found)
        for other in tree_leaves(out):
            if isinstance(other, torch.Tensor) and other is not first and key(other) not in shares:
                why = Lost(name, self._spot())
                self.memory.write(other, lost(other.numel(), why))


def _one_step(told: Told, axis: int, step: int, steps: int) -> Told:
    """A step of what was told of several: a membrane that was not kept is known behind the last."""
    emitted = told.emitted.narrow(axis, step, 1)
    membrane = told.membrane
    if membrane is not None and membrane.shape == told.emitted.shape:
        return Told(emitted=emitted, membrane=membrane.narrow(axis, step, 1))
    if step < steps - 1:
        return Told(emitted=emitted)
    return Told(emitted=emitted, membrane=membrane, states=told.states)


def first_line(error: BaseException) -> str:
    """What an error says, in one line."""
    return (str(error) or type(error).__name__).strip().splitlines()[0]


_VALUE = "_local_scalar_dense"
"""What an ``if``, ``item()`` and ``float()`` ask a tensor for."""
_NOTHING: Any = None
"""In the place of what a population emitted that is no layer."""


def _following(recorder: SignalRecorder) -> Any:
    from torch.utils._python_dispatch import TorchDispatchMode

    class Following(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            del types
            return recorder.follow(func, args, kwargs or {})

    return Following()  # type: ignore[no-untyped-call]
