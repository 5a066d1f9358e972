"""Neurons that a chip does not have, turned into those that it has; each change says what it costs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from pydantic import Field

from ...errors import PassRefused
from ...ir.arrays import Array, Shape, frozen, parameter
from ...ir.finding import Finding
from ...ir.network import Network, Population, Projection, Source
from ...ir.neurons import Neuron
from ...ir.ops import Pointwise
from ...ir.weights import Weight
from ..base import Pass, PassContext, PassResult, PassStage
from ..patterns import matching
from .graph import connected
from .telling import told

if TYPE_CHECKING:
    from ...chip import Family, Target

EVERYWHERE = ("*",)


@dataclass(frozen=True, kw_only=True)
class Adapt(Pass):
    """Give every neuron that the target has no form of the nearest form that it has.

    Rewrites are tried one after the other until the target has a form: a floor of v goes, many spikes
    per step become one, a late reset acts at once, a reset by subtraction sets v to zero, no reset
    becomes one to zero. A membrane that does not start at its reset value gets what it starts with as
    one step of bias. Whatever `layers` are, filters that send their membrane to others become synapses,
    and a loop that crosses more projections than it has steps of delay gets those that it lacks. Each
    population's findings tell what was done, and whether it is exact or has to be measured; with
    samples, the runner measures.
    """

    name: ClassVar[str] = "adapt"
    stage: ClassVar[PassStage] = "any"

    layers: Annotated[tuple[str, ...], Field(min_length=1)] = EVERYWHERE
    """Populations to adapt, by name or pattern."""

    @property
    def looks(self) -> bool:
        """It follows from the network and the target alone."""
        return False

    @property
    def needed(self) -> bool:
        """The target has no form of what it rewrites."""
        return True

    def run(self, net: Network, ctx: PassContext) -> PassResult:
        """Rewrite the populations that the target has no form of."""
        from ...chip import family_of

        if ctx.target is None:
            raise PassRefused(
                "adapt-target",
                "neurons are adapted to a chip, and none is named",
                hint="name one with --target",
            )
        names = [p.name for p in net.populations if p.neuron is not None]
        wanted = {n for pattern in self.layers for n in matching(pattern, names, "adapt.layers")}
        return adapted(net, family_of(ctx.target), wanted)

    def ensures(self, before: Network, after: Network) -> None:
        """Thresholds and leaks stay as they are, and filters become leaks of synapses."""
        for new in after.populations:
            old = before.population(new.name)
            for name in ("leak", "syn_leak", "threshold"):
                had, has = (getattr(p.neuron, name, None) for p in (old, new))
                kept = np.array_equal(np.asarray(had), np.asarray(has))
                filtering = name == "syn_leak" and had is None
                self.promise(kept or filtering, f"{old.name}: its leaks and its threshold stay")


@dataclass(frozen=True)
class _Rewrite:
    """A change of a neuron; ``exact`` tells, for a population, whether no spike can differ."""

    text: str
    applies: Callable[[Neuron], bool]
    change: Callable[[Neuron, tuple[int, ...]], Neuron]
    exact: Callable[[Network, Population], bool]


def _never(network: Network, population: Population) -> bool:
    del network, population
    return False


def _floor_is_never_reached(network: Network, population: Population) -> bool:
    """Whether v cannot fall: nothing that arrives, and no constant, is negative."""
    neuron = population.neuron
    if neuron is None or neuron.v_floor is None or neuron.reset == "subtract":
        return False
    arriving = network.incoming(population.name)
    inputs = {p.name for p in network.with_role("input")}
    return (
        all((p.weight.values() >= 0).all() for p in arriving)
        and all(p.bias is None or (p.bias >= 0).all() for p in arriving)
        and not any(s.population in inputs for p in arriving for s in p.sources)
        and bool((neuron.bias >= 0).all() and (neuron.drive >= 0).all())
        and bool((neuron.v_init >= neuron.v_floor).all() and (neuron.v_floor <= 0).all())
    )


_REWRITES = (
    _Rewrite(
        "the floor of v goes",
        lambda n: n.v_floor is not None,
        lambda n, shape: n.changed(shape, v_floor=None),
        _floor_is_never_reached,
    ),
    _Rewrite(
        "many spikes per step become one",
        lambda n: n.spikes_per_step == "many",
        lambda n, shape: n.changed(shape, spikes_per_step="one", max_spikes=None),
        _never,
    ),
    _Rewrite(
        "the reset of the next step acts at once",
        lambda n: n.reset_timing != "immediate",
        lambda n, shape: n.changed(shape, reset_timing="immediate"),
        lambda network, population: (
            population.neuron is not None
            and population.neuron.syn_leak is None
            and population.neuron.reset == "subtract"
            and population.neuron.reset_timing == "next-step"
            and bool((population.neuron.leak == 1).all())
        ),
    ),
    _Rewrite(
        "reset by subtraction becomes reset to zero",
        lambda n: n.reset == "subtract",
        lambda n, shape: n.changed(shape, reset="zero"),
        _never,
    ),
    _Rewrite(
        "no reset becomes reset to zero",
        lambda n: n.reset == "none",
        lambda n, shape: n.changed(shape, reset="zero"),
        _never,
    ),
)


def adapted(net: Network, family: Family, names: Collection[str] | None = None) -> PassResult:
    """The network with neurons that the family has a form of.

    Args:
        net: any network.
        family: of the chip.
        names: populations to adapt; None for all.
    """
    from ...chip import Form

    before = net
    net, connecting = connected(net)
    findings = list(connecting)
    changed: list[Population] = []
    pulses: list[Projection] = []
    for population in net.populations:
        neuron = population.neuron
        if neuron is None or (names is not None and population.name not in names):
            continue
        neuron, rewritten = _with_a_form(net, population, neuron, family)
        findings += rewritten
        form = family.form(neuron) if neuron.spiking else None
        if isinstance(form, Form) and form.way == "two-compartments" and neuron.compare == ">=":
            # one compare serves both compartments, and it is strict
            neuron = neuron.changed(population.shape, compare=">")
            text = "fires above its threshold, not at it"
            findings.append(told(population.name, text, exact=False))
        if neuron.v_init.any():
            neuron, pulse, finding = _started(net, population, neuron)
            findings.append(finding)
            pulses += [pulse] if pulse is not None else []
        if neuron is not population.neuron:
            changed.append(dataclasses.replace(population, neuron=neuron))
    if not changed and net is before:
        return PassResult(network=net, modified=False)
    made = net.replace(changed)
    made = dataclasses.replace(made, projections=(*made.projections, *pulses))
    return PassResult(network=made, modified=True, findings=tuple(findings))


def _with_a_form(
    net: Network, population: Population, neuron: Neuron, family: Family
) -> tuple[Neuron, list[Finding]]:
    """The first few rewrites behind which the family has a form; all of them where none helps."""
    from ...chip import NoForm

    findings = []
    for rewrite in _needed(neuron, population.shape, family):
        if neuron.spiking and not isinstance(family.form(neuron), NoForm):
            break
        if not rewrite.applies(neuron):
            continue
        exact = rewrite.exact(net, dataclasses.replace(population, neuron=neuron))
        neuron = rewrite.change(neuron, population.shape)
        findings.append(told(population.name, rewrite.text, exact=exact))
    return neuron, findings


def _needed(neuron: Neuron, shape: Shape, family: Family) -> Iterator[_Rewrite]:
    """Those that help on their own first: a rewrite that the form needs not is left out."""
    from ...chip import NoForm

    if not neuron.spiking:
        return
    for rewrite in _REWRITES:
        if rewrite.applies(neuron):
            changed = rewrite.change(neuron, shape)
            if not isinstance(family.form(changed), NoForm):
                yield rewrite
                return
    yield from _REWRITES


def _started(
    net: Network, population: Population, neuron: Neuron
) -> tuple[Neuron, Projection | None, Finding]:
    """v starts at zero, and what it started with arrives as a bias of the first step alone.

    The bias acts from the first step on, and a bias of a projection that is a step late takes it back.
    """
    shape = population.shape
    start = np.asarray(neuron.leak * neuron.v_init)
    plain = neuron.syn_leak is None and neuron.reset_timing == "immediate"
    cleared = neuron.changed(shape, v_init=0.0)
    if not plain or neuron.v_floor is not None:
        return cleared, None, told(population.name, "v starts at zero", exact=False)
    if not start.any():
        return cleared, None, told(population.name, "v starts at zero", exact=True)
    pulsed = cleared.changed(shape, bias=neuron.bias + start)
    back: Array = parameter(np.broadcast_to(-start, shape), shape)
    taken = {p.name for p in net.projections}
    name = f"{population.name}.start"
    while name in taken:
        name += "_"
    pulse = Projection(
        name,
        (Source(population.name, frozen(1, np.int64)),),
        population.name,
        (Pointwise(shape),),
        Weight(np.zeros((), np.float32)),
        back,
    )
    text = "v starts at zero, and what it started with is a bias of the first step"
    return pulsed, pulse, told(population.name, text, exact=True)


def unsupported(net: Network, target: Target) -> tuple[Finding, ...]:
    """All neurons that a target has no form of, and what `Adapt` would do about each."""
    from ...chip import NoForm, family_of

    family = family_of(target)
    would: dict[str, list[str]] = {}
    for finding in adapted(net, family).findings:
        would.setdefault(finding.where, []).append(finding.message)
    found = []
    for population in net.populations:
        neuron = population.neuron
        if neuron is None:
            continue
        reasons = []
        form = family.form(neuron) if neuron.spiking else None
        if isinstance(form, NoForm):
            reasons.append(form.reason)
        if neuron.v_init.any():
            reasons.append("its membrane does not start at the reset value")
        if reasons:
            helps = "; ".join(would.get(population.name, ())) or "nothing that is known"
            found.append(
                Finding(
                    code="neuron-unsupported",
                    severity="error",
                    where=population.name,
                    message=f"{'; '.join(reasons)}. --adapt: {helps}",
                )
            )
    return tuple(found)
