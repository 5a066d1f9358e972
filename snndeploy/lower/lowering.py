"""`lower`: from a `Network` to the `Program` that runs it, step for step."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial

import networkx as nx
import numpy as np

from ..chip import Family, Target, family_of
from ..errors import LoweringRefused
from ..ir.finding import Finding
from ..ir.network import Network, Population
from ..ir.program import CompartmentGroup, Program, SynapseGroup
from .coding import InputCoding, input_group
from .decays import to_decay
from .in_turn.adapt import fitted_in_turn
from .in_turn.lowering import lower_in_turn
from .incoming import Incoming, MostSpikes, bias_incoming, incoming_of
from .layout import LayoutName, layout_of
from .neurons import Lowered, lower_population
from .proofs.paced import paced
from .timing import depths

_FEWEST_BITS = 2
_ROUNDS = 24
"""Attempts to find spike rates of a loop that follow from themselves."""


def lower(
    network: Network,
    target: Target,
    *,
    inputs: InputCoding | Mapping[str, InputCoding] | None = None,
    observed: Mapping[str, float] | None = None,
    steps: int = 64,
    layout: LayoutName = "chip",
) -> Program:
    """Turn real numbers into the integers that ``target`` computes with.

    Each population gets the largest scale (v units per unit of the network) for which no accumulator
    can overflow whatever spikes arrive; weights that were quantised stay exact.

    Args:
        network: float or quantised.
        target: number formats and neuron features.
        inputs: how the data enter, for all inputs or by name. Default: graded spikes where the target
            has them and the network uses many spikes per step, else binary spikes.
        observed: largest |u| per population seen on calibration data (network units). Where given, it
            replaces the worst case with 1.25 times what was seen.
        steps: length of a sample, which bounds a leakless readout.
        layout: what is to hold the program: the chip, or a ``.net`` file (``netx``).

    Returns:
        A verified program. Its ``rounding`` and ``headroom`` say what integers cost and prove; its
        ``findings`` tell every deviation from the network.

    Raises:
        LoweringRefused: no declared integer form exists on this target.
    """
    family = family_of(target)
    held_in = layout_of(layout, family)
    if (own := family.own_neuron) is not None:
        network, told = fitted_in_turn(network, family)
        coding = _codings(network, target, inputs)
        for name, c in coding.items():
            if c.kind == "analog":
                raise LoweringRefused(
                    "analog-input",
                    f"{target.name} takes numbers of spikes, the data of {name!r} are analog",
                    hint="encode the data as spikes (rate, latency)",
                )
        program = lower_in_turn(network, family, own, coding=coding, observed=observed, steps=steps)
        return dataclasses.replace(program, findings=(*told, *program.findings))
    bits = family.weights.bits
    network = _with_biases_at_once(network)
    depth = depths(network)
    coding = _codings(network, target, inputs)

    def rounded(population: Population, most: MostSpikes, bits: int) -> Lowered:
        name = population.name
        incoming = [
            incoming_of(network, p, depth, coding, bits, most) for p in network.incoming(name)
        ]
        return lower_population(
            population,
            [*incoming, *bias_incoming(network, population, family.weights.bits)],
            family,
            layout=held_in,
            depth=depth[name],
            steps=steps,
            observed=None if observed is None else observed.get(name),
            coarse=bits < family.weights.bits,
        )

    def one(population: Population, most: MostSpikes) -> Lowered:
        return _with_bits_that_fit(network, population, bits, partial(rounded, population, most))

    lowered = _with_bounds_that_hold(network, one)
    groups: list[CompartmentGroup] = []
    synapses: list[SynapseGroup] = []
    for population in network.populations:
        if population.role == "input":
            groups.append(input_group(population.name, population.shape, coding[population.name]))
            continue
        constant = bias_incoming(network, population, bits)
        if constant:
            groups.append(_constant_group(constant[0], depth[population.name], family))
        result = lowered[population.name]
        groups.append(result.group)
        synapses.extend(result.synapses)
    findings = [f for g in groups if g.name in lowered for f in lowered[g.name].findings]
    program = Program(
        arithmetic=family.arithmetic,
        target=target.name,
        groups=tuple(groups),
        synapses=tuple(synapses),
        headroom={g.name: lowered[g.name].headroom for g in groups if g.name in lowered},
        rounding={g.name: lowered[g.name].rounding for g in groups if g.name in lowered},
        findings=tuple(findings),
    ).verify()
    return _with_pauses(program, lowered)


def _with_pauses(program: Program, lowered: Mapping[str, Lowered]) -> Program:
    """``program`` with the head-room that pauses of neurons leave, and without what that disproves."""
    most = {g.name: np.asarray(g.largest) for g in program.groups}
    most |= {name: found.most for name, found in lowered.items()}
    better = paced(program, most, {name: found.worst for name, found in lowered.items()})
    if not better:
        return program
    mended = {name for name, room in better.items() if not room.wraps}
    return dataclasses.replace(
        program,
        headroom={**program.headroom, **better},
        findings=tuple(
            f
            for f in program.findings
            if f.code != "headroom-unproved" or f.resource != "u" or f.where not in mended
        ),
    )


def _with_bounds_that_hold(
    network: Network, one: Callable[[Population, MostSpikes], Lowered]
) -> dict[str, Lowered]:
    """Lower every population, knowing how often those that it hears spike per step: sources first."""
    rank = {p.name: i for i, p in enumerate(network.populations)}
    condensed = nx.condensation(network.graph)
    most, lowered = MostSpikes(), dict[str, Lowered]()
    for part in nx.topological_sort(condensed):
        names = sorted(condensed.nodes[part]["members"], key=rank.__getitem__)
        together = [p for p in map(network.population, names) if p.role != "input"]
        loops = len(names) > 1 or network.graph.has_edge(names[0], names[0])
        lowered |= _holding(together, one, most, loops=loops)
    return lowered


def _holding(
    together: list[Population],
    one: Callable[[Population, MostSpikes], Lowered],
    most: MostSpikes,
    *,
    loops: bool,
) -> dict[str, Lowered]:
    """Lower a population, or those of a loop, and put how often they spike into ``most``.

    In a loop a bound is assumed and raised until what follows from it is no more, and then sinks to that
    as long as it still holds; where it never does, registers bound the spikes and scales are chosen for
    the usual ones. Within a round nobody knows what came of the others: their order means nothing.
    """
    many = [p for p in together if p.neuron and p.neuron.spikes_per_step == "many"]
    held: dict[str, Lowered] = {}
    for _ in range(_ROUNDS):
        assumed = {p.name: most.expected(p) for p in many}
        lowered = {p.name: one(p, most) for p in together}
        found = {p.name: lowered[p.name].most for p in many}
        holds = not loops or all((found[name] <= bound).all() for name, bound in assumed.items())
        if held and not holds:  # a bound that sank has moved scales
            break
        held = lowered if holds else {}
        raised = {name: np.maximum(bound, found[name]) for name, bound in assumed.items()}
        most.found.update(found if holds else raised)
        if holds and (not loops or all((found[n] == x).all() for n, x in assumed.items())):
            return held
    if held:
        most.found.update({p.name: held[p.name].most for p in many})
        return held
    for p in many:
        del most.found[p.name]
    for _ in range(2):  # scales do not look at what is beyond: the second round has the registers
        lowered = {p.name: one(p, most) for p in together}
        most.beyond.update({p.name: lowered[p.name].held for p in many})
    return lowered


def _with_bits_that_fit(
    network: Network, population: Population, bits: int, rounded: Callable[[int], Lowered]
) -> Lowered:
    """Lower a population with weights of ``bits``, or of fewer where its threshold needs the room.

    A weight's unit is at least one of the states', and so a threshold of many small weights may not
    fit. Weights that are codes already stay as they are.
    """
    real = any(not p.weight.quantized for p in network.incoming(population.name))
    fewer, lowered = bits, None
    while lowered is None:
        try:
            lowered = rounded(fewer)
        except LoweringRefused as refused:
            if refused.code != "states-too-narrow" or fewer <= _FEWEST_BITS or not real:
                raise
            fewer -= 1
    if fewer == bits:
        return lowered
    told = Finding(
        code="weights-coarse",
        severity="warning",
        where=population.name,
        message=f"its weights are rounded to {fewer} bits, as with {bits} its threshold would "
        "exceed the states: compare the answers on your data",
    )
    return dataclasses.replace(lowered, findings=(told, *lowered.findings))


def _codings(
    network: Network, target: Target, inputs: InputCoding | Mapping[str, InputCoding] | None
) -> dict[str, InputCoding]:
    names = [p.name for p in network.with_role("input")]
    if inputs is None:
        many = any(p.neuron and p.neuron.spikes_per_step == "many" for p in network.populations)
        graded = many and target.neurons.graded_spikes
        inputs = InputCoding.named("graded" if graded else "binary")
    codings = dict.fromkeys(names, inputs) if isinstance(inputs, InputCoding) else dict(inputs)
    for name in names:
        if name not in codings:
            raise LoweringRefused("input-coding", f"no coding is given for input {name!r}")
        if codings[name].kind != "binary" and not target.neurons.graded_spikes:
            raise LoweringRefused(
                "graded-input",
                f"{target.name} has binary spikes only, the data of {name!r} are {codings[name].kind}",
                hint="split them by sign: --split-signs (snndeploy.split_signs)"
                if codings[name].only_signs
                else "encode the data as spikes (rate, latency), or compile for loihi2",
            )
    return codings


def _constant_group(incoming: Incoming, depth: int, family: Family) -> CompartmentGroup:
    """One compartment that spikes at every step, one chip step before its target needs it."""
    return CompartmentGroup(
        name=incoming.sources[0].group,
        shape=(1,),
        role="hidden",
        kind="constant",
        depth=depth - 1,
        du=to_decay(
            np.zeros(()),
            family.arithmetic.u_decay_offset,
            family.target.numeric.decay_max.limit,
            family.arithmetic,
        ),
        route="a compartment that spikes at every step carries a bias that synapses filter or delay",
    )


def _with_biases_at_once(network: Network) -> Network:
    """``network`` with the biases of projections without delay among those of their neurons."""
    biased = [
        p
        for p in network.projections
        if p.bias is not None and not any(s.max_delay for s in p.sources)
    ]
    populations = []
    for name in dict.fromkeys(p.target for p in biased):
        population = network.population(name)
        neuron, shape = population.neuron, population.shape
        assert neuron is not None
        total = sum(np.broadcast_to(p.bias, shape) for p in biased if p.target == name)  # type: ignore[arg-type, misc]
        populations.append(
            dataclasses.replace(population, neuron=neuron.changed(shape, bias=neuron.bias + total))
        )
    projections = [dataclasses.replace(p, bias=None) for p in biased]
    return network.replace(populations, projections)
