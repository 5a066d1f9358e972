"""From a recorded run to a network."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...errors import InputError
from ...ingest.normal_form.assemble import Draft, assembled, fitting, ordered
from ...ingest.normal_form.linear import LinearStage
from ...ingest.normal_form.neurons import DiscreteNeuron
from ...ingest.normal_form.terms import Term
from ...ir.arrays import Shape
from ...ir.finding import Finding
from ...ir.network import Network
from ...ir.ops import Pointwise
from ..layers import TimeForm, values
from .answers import Returned, answers_of
from .code import CodeSpot
from .layer_run import LayerRun
from .recorder import SignalRecorder
from .signals import Signal
from .terms import ArrivingTerms, arrival, terms_of


@dataclass(frozen=True, eq=False)
class Built:
    """A network, and what of the module each of its populations is.

    ``layers`` gives, for a population of the network, the one that the recorder saw and what of it.
    ``readouts`` gives, for a population that no layer is, the answer that it stands for.
    """

    network: Network
    layers: Mapping[str, tuple[str, str]]
    readouts: Mapping[str, Returned]


@dataclass(eq=False)
class _Builder:
    recorder: SignalRecorder
    steps: int
    static: frozenset[str]
    drafts: dict[str, Draft] = field(default_factory=dict)
    layers: dict[str, tuple[str, str]] = field(default_factory=dict)
    notes: list[Finding] = field(default_factory=list)
    answered: set[tuple[str, str]] = field(default_factory=set)

    @property
    def where(self) -> str:
        return self.recorder.framework.where

    def refused(self, code: str, message: str, hint: str) -> InputError:
        return InputError(code, message, where=self.where, hint=hint)

    @property
    def shapes(self) -> dict[str, Shape]:
        return {**self.recorder.inputs, **{n: d.shape for n, d in self.drafts.items()}}

    def source(self, population: str, what: str) -> str:
        """The population of the network that emits this, made where it is not there yet."""
        if population in self.recorder.inputs:
            self._input(population)
            return population
        seen = self.recorder.populations[population]
        if what == "spikes":
            self._layer(seen)
            return population
        if what == "membrane":
            return self._membrane(seen)
        raise self.refused(
            "live-nonlinear",
            f"a synaptic state of layer {seen.layer!r} is used as a signal, {seen.spot}",
            "connect layers through what they emit: spikes, or the membrane",
        )

    def _input(self, name: str) -> None:
        if name not in self.drafts:
            self.drafts[name] = Draft(name, self.recorder.inputs[name], "input")

    def _layer(self, seen: LayerRun) -> None:
        if seen.name in self.drafts:
            return
        draft = Draft(seen.name, seen.shape, "hidden")
        self.drafts[seen.name] = draft
        self.layers[seen.name] = (seen.name, "spikes")
        self._finish(draft, self._arrival(seen), _started(seen), seen.model.late)

    def refuse_other_counts(self) -> None:
        """Every layer takes one step in each step."""
        runs = self.recorder.populations.values()
        seen = next((s for s in runs if not s.is_pooling and s.steps != self.steps), None)
        if seen is not None:
            raise self.refused(
                "live-reused",
                f"layer {seen.layer!r} ran {seen.steps} times in {self.steps} steps, {seen.spot}",
                "a layer that keeps its own state takes one step at a time: give each use a layer of "
                "its own, or hand states over (init_hidden=False)",
            )

    def _arrival(self, seen: LayerRun) -> ArrivingTerms:
        return arrival(seen.name, seen.given, self.source, self.static, self.refused)

    def _finish(
        self,
        draft: Draft,
        arriving: ArrivingTerms,
        neuron: DiscreteNeuron,
        late: int = 0,
        extra: tuple[Term, ...] = (),
    ) -> None:
        terms, constant = terms_of(
            arriving, self.shapes, draft.shape, late, self.where, self.refused
        )
        fields = dict(neuron.fields)
        bias = np.asarray(fields.get("bias", 0.0), np.float64) + constant * neuron.gain
        draft.terms = (*terms, *extra)
        draft.neuron = fitting(DiscreteNeuron({**fields, "bias": bias}, neuron.gain), draft.shape)

    def _membrane(self, seen: LayerRun) -> str:
        """A population that does not spike, with the same v: resets arrive as what they subtract."""
        own = seen.name not in self.drafts
        name = seen.name if own and not self._emits(seen) else f"{seen.name}.v"
        if name in self.drafts:
            return name
        fields = dict(seen.model.neuron.fields)
        reset, timing = fields.get("reset", "zero"), fields.get("reset_timing", "immediate")
        linear = reset == "none" or (reset == "subtract" and "syn_leak" not in fields)
        if not linear or timing == "snntorch-immediate":
            raise self.refused(
                "live-membrane",
                f"the membrane of layer {seen.layer!r} is used, and its reset is no linear map of "
                f"its spikes (reset {reset}), {seen.spot}",
                "use its spikes, or give the layer reset 'none' or, without a synapse, 'subtract'",
            )
        draft = Draft(name, seen.shape, "hidden")
        self.drafts[name] = draft
        self.layers[name] = (seen.name, "membrane")
        extra: tuple[Term, ...] = ()
        if reset == "subtract":
            self._layer(seen)
            threshold = values(fields["threshold"], seen.shape)
            weight = -np.asarray(threshold / values(seen.model.neuron.gain, seen.shape))
            stage = LinearStage("", Pointwise(seen.shape, weight.shape), seen.shape, weight)
            delay = np.asarray(1 if timing == "next-step" else 0, np.int64)
            extra = (Term((seen.name,), (delay,), (stage,)),)
        kept = {k: v for k, v in _started(seen).fields.items() if k in _WITHOUT_SPIKES}
        neuron = DiscreteNeuron(kept, seen.model.neuron.gain)
        self._finish(draft, self._arrival(seen), neuron, seen.model.late, extra)
        return name

    def _emits(self, seen: LayerRun) -> bool:
        """Whether its spikes are used: by its own reset, by others, or as an answer."""
        if seen.model.neuron.fields.get("reset") != "none":
            return True
        used = {
            (p.emission.population, p.emission.what)
            for other in self.recorder.populations.values()
            for s in other.given[-1:]
            for p in s.paths
        }
        return (seen.name, "spikes") in used | self.answered


_WITHOUT_SPIKES = ("leak", "syn_leak", "v_floor", "v_init", "bias", "drive")


def _started(seen: LayerRun) -> DiscreteNeuron:
    """The neuron with the initial v that the caller handed over."""
    neuron = seen.model.neuron
    if seen.start is None:
        return neuron
    return DiscreteNeuron({**neuron.fields, "v_init": values(seen.start, seen.shape)}, neuron.gain)


def built(recorder: SignalRecorder, returned: Sequence[Any], form: TimeForm, steps: int) -> Built:
    """The network that does what was recorded.

    Args:
        recorder: behind its run.
        returned: what the module answered, for each call.
        form: how time lay in the calls.
        steps: that were run.

    Raises:
        InputError: what has no linear form, differs from step to step, or answers nothing.
    """
    static = frozenset(recorder.inputs if form.kind == "loop" and form.time is None else ())
    make = _Builder(recorder, steps, static)
    make.refuse_other_counts()
    make.notes.extend(_branch(spot, make.where) for spot in recorder.asked.values())
    answers = answers_of(recorder, returned, form, steps, make.refused)
    make.answered = {(a.population, a.what) for a in answers if a.population}
    spiking = {a.population for a in answers if a.what == "spikes"}
    readouts: dict[str, Returned] = {}
    for name in recorder.inputs:
        make._input(name)
    for answer in answers:
        if answer.what == "membrane" and answer.population in spiking:
            make.notes.append(_beside(answer, make.where))
            continue
        if answer.population:
            name = make.source(answer.population, answer.what)
        else:
            name = _readout(make, answer)
            readouts[name] = answer
        if make.drafts[name].role != "input":
            make.drafts[name].role = "output"
    if not any(d.role == "output" for d in make.drafts.values()):
        raise make.refused(
            "live-no-answer",
            "nothing that the module returns depends on a layer of neurons",
            "return what the last layer emits, as tensors",
        )
    made = assembled(make.drafts.values(), lambda name: f"{make.where}: {name}")
    changes = [*made.changes]
    if static:
        changes.append(f"{', '.join(static)}: the same frame in every step")
    notes = {"frontend": make.where.removeprefix("from_"), "why": "read from the live module"}
    if changes:
        notes["normalised"] = "\n".join(changes)
    _refuse_what_hears_nothing(make)
    network = Network(
        tuple(made.populations), tuple(made.projections), notes=notes, findings=tuple(make.notes)
    )
    used = {p.name for p in network.populations}
    layers = {n: told for n, told in make.layers.items() if n in used}
    return Built(ordered(network).verify(), layers, readouts)


def _beside(answer: Returned, where: str) -> Finding:
    return Finding(
        code="live-membrane-beside",
        severity="note",
        where=where,
        message=f"{answer.place} is the membrane of {answer.population!r}, which answers with its "
        "spikes: record its v to see it",
    )


def _refuse_what_hears_nothing(make: _Builder) -> None:
    """Refuse a network none of whose layers hears an input, with the layer that was cut off first."""
    heard = {
        source for draft in make.drafts.values() for term in draft.terms for source in term.sources
    }
    first = next(iter(make.recorder.populations.values()), None)
    if first is not None and not heard & set(make.recorder.inputs):
        raise make.refused(
            "live-cut-off",
            f"no layer hears an input: what arrives in {first.layer!r} is not computed from what the "
            f"module is given, {first.spot}",
            "compute with torch from the tensors that forward() is given: numpy(), item() and "
            "torch.tensor() make numbers of them",
        )


def _branch(spot: CodeSpot, where: str) -> Finding:
    return Finding(
        code="live-branch",
        severity="warning",
        where=where,
        message=f"the module asks for the value of a signal ({spot}), which no network does: what it "
        "decides by it was seen for the sample, and for random input; another input may take another "
        "way. Leave out what depends on values, or let an input say it",
    )


def _readout(make: _Builder, answer: Returned) -> str:
    signals = answer.signals
    shape: Shape = (signals[-1].size,)
    arriving = arrival(
        answer.place, _from_last(signals, make.steps), make.source, make.static, make.refused
    )
    name = "output"
    while name in make.drafts:
        name += "_"
    draft = Draft(name, shape, "output")
    make.drafts[name] = draft
    make._finish(draft, arriving, DiscreteNeuron({"leak": 0.0}, np.ones(())))
    return name


def _from_last(signals: Sequence[Signal], steps: int) -> list[Signal]:
    """The steps of an answer; one that stands for all steps is that of the last."""
    if len(signals) == steps:
        return list(signals)
    only = signals[-1]
    shifted = []
    for t in range(steps):
        paths = tuple(
            dataclasses.replace(
                p, emission=dataclasses.replace(p.emission, step=p.emission.step - (steps - 1) + t)
            )
            for p in only.paths
            if p.emission.step - (steps - 1) + t >= 0
        )
        shifted.append(Signal(only.size, paths, only.constant))
    return shifted
