"""Turn neurons into those of a chip that has one kind, with thresholds that keep the answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from ...chip import Target, family_of, load_target
from ...errors import PassRefused
from ...ir.arrays import Array
from ...ir.network import Network
from ...lower import InputCoding, encode_inputs, fitted_in_turn, infer_coding, lower
from ...lower.coding import input_group
from ..base import Pass, PassContext, PassResult, PassStage


@dataclass(frozen=True, kw_only=True)
class AdaptGains(Pass):
    """Make all neurons those of the chip, and scale their thresholds for its answers.

    Some chips have one kind of neuron; a network of others is adapted to it before it is lowered, and
    often spikes more than it did. This does so earlier, and then tries factors on the thresholds of one
    population after the other: the integers run on the calibration samples, and what counts is how
    often their answers differ from those of the network before the first pass, and how far the shares
    of the outputs' spikes are apart. No label is looked at. A factor is a gain on all that arrives.
    """

    name: ClassVar[str] = "adapt-gains"
    stage: ClassVar[PassStage] = "any"

    target: str = ""
    """The chip ("": the one that is compiled for)."""
    optional: bool = False
    """Whether nothing is done, and nothing said, where that chip has neurons of several kinds."""
    span: Annotated[float, Field(ge=1, le=16)] = 2.0
    """Factors are from 1 / span to span."""
    tries: Annotated[int, Field(ge=1, le=99)] = 9
    """Factors that are tried for each population, as many below 1 as above."""
    rounds: Annotated[int, Field(ge=1, le=9)] = 2
    """How often all populations are gone through."""

    def run(self, net: Network, ctx: PassContext) -> PassResult:
        """Adapt, then search population after population.

        Raises:
            PassRefused: the chip has neurons of several kinds.
        """
        chip = load_target(self.target) if self.target else ctx.target
        if chip is None or family_of(chip).own_neuron is None:
            if self.optional:
                return PassResult(network=net, modified=False)
            raise PassRefused(
                "no-own-neuron",
                "there is no chip with one kind of neuron to adapt to",
                hint="compile for one (xylo-a2), or leave this pass out",
            )
        inputs = ctx.samples(repr(self.name))
        found, findings = fitted_in_turn(net, family_of(chip))
        judge = _Judge(chip, ctx.source or net, inputs)
        best = first = judge.loss(found)
        names = [p.name for p in net.populations if p.neuron is not None and p.neuron.spiking]
        chosen = dict.fromkeys(names, 1.0)
        base = found
        for done in range(self.rounds * len(names)):
            ctx.progress("populations", done, self.rounds * len(names))
            name = names[done % len(names)]
            for factor in self._factors():
                tried = {**chosen, name: factor}
                candidate = _scaled(base, tried)
                loss = judge.loss(candidate)
                if loss < best:
                    best, found, chosen = loss, candidate, tried
        figures = {"loss_before": first, "loss": best}
        metrics = {
            p.name: {"threshold_factor": chosen[p.target], **figures}
            for p in net.projections
            if p.target in chosen
        }
        return PassResult(
            network=found, modified=found is not net, metrics=metrics, findings=findings
        )

    def _factors(self) -> Iterator[float]:
        """Evenly spaced on a logarithmic scale."""
        yield from np.exp(np.linspace(-1, 1, self.tries) * np.log(self.span)).tolist()

    def ensures(self, before: Network, after: Network) -> None:
        """Populations and connections stay, and so do the signs of weights."""
        for a, b in zip(before.projections, after.projections, strict=True):
            same = np.array_equal(np.sign(a.weight.data), np.sign(b.weight.data))
            self.promise(same, f"{a.name}: weights keep their signs")


@dataclass(eq=False)
class _Judge:
    """How far a network's integers are from what a network as it was answers."""

    chip: Target
    codings: dict[str, InputCoding]
    messages: dict[str, Array]
    output: str
    answers: Array
    shares: Array
    steps: int

    def __init__(self, chip: Target, source: Network, inputs: Mapping[str, Array]) -> None:
        from ...simulate.float.engine import run_float

        self.chip = chip
        self.codings = {name: infer_coding(x) for name, x in inputs.items()}
        self.messages = {
            name: encode_inputs(x, input_group(name, x.shape[2:], self.codings[name]))
            for name, x in inputs.items()
        }
        self.steps = len(next(iter(inputs.values())))
        self.output = source.with_role("output")[0].name
        run = run_float(source, dict(inputs))
        self.answers, self.shares = run.predictions(self.output), _shares(run.counts(self.output))

    def loss(self, network: Network) -> float:
        """Share of different answers, and half the mean distance of the outputs' shares."""
        from ...simulate.integer.engine import run_integer

        program = lower(network, self.chip, inputs=self.codings, steps=self.steps)
        run = run_integer(program, self.messages, record="outputs")
        differ = float((run.predictions(self.output) != self.answers).mean())
        apart = np.abs(_shares(run.counts(self.output)) - self.shares).sum(axis=1).mean()
        return differ + 0.5 * float(apart)


def _shares(counts: Array) -> Array:
    total = np.abs(counts).sum(axis=1, keepdims=True)
    return np.asarray(counts / np.maximum(total, 1))


def _scaled(network: Network, factors: Mapping[str, float]) -> Network:
    """``network`` with the thresholds of some populations times a factor each."""
    changed = []
    for name, factor in factors.items():
        population = network.population(name)
        neuron = population.neuron
        assert neuron is not None
        assert neuron.threshold is not None
        scaled = neuron.changed(population.shape, threshold=neuron.threshold * factor)
        changed.append(dataclasses.replace(population, neuron=scaled))
    return network.replace(changed)
