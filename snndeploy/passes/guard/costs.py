"""What each layer's compression costs in answers, and what it would help to give back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from ...calibrate.fidelity import TELLING, Fidelity, Reference
from ...ir.finding import Finding, Fix, Severity
from ...ir.network import Network, Projection
from ..metrics import NetworkMetrics, measure
from ..runner import PassLog, PassStep

RULE = "a compressed network answers like the one that was trained"


def changed_layers(source: Network, after: Network) -> list[Projection]:
    """Projections of ``after`` that are not as in ``source``, where their shapes are."""
    old = {p.name: p.weight for p in source.projections}
    return [
        p
        for p in after.projections
        if p.weight is not old[p.name] and p.weight.shape == old[p.name].shape
    ]


def layer_costs(source: Network, after: Network, watch: Reference) -> dict[str, float]:
    """Divergence of each layer's compressed weights alone, in the network as it was trained.

    Layers that lost kernels fit no other network, so they are not among them.
    """
    return {
        p.name: watch.divergence(source.replace(projections=[p]))
        for p in changed_layers(source, after)
    }


def without(source: Network, after: Network, name: str) -> Network:
    """``after`` with one layer's trained weights."""
    return after.replace(projections=[p for p in source.projections if p.name == name])


def answers_differ(source: Network, log: PassLog, watch: Reference, limit: float) -> Finding:
    """The finding of a network that no longer answers like the trained one."""
    answers = log.answers
    assert answers is not None
    costs = layer_costs(source, log.network, watch)
    where, told = _pass_that_costs_most(log), ""
    fixes: tuple[Fix, ...] = ()
    if costs:
        where = max(costs, key=costs.__getitem__)
        told = f"; {where} costs most, {costs[where]:.3g} nats alone"
        restored = watch.fidelity(without(source, log.network, where))
        fixes = (
            Fix(
                action="ignore-layer",
                text=f"leave {where} as it was trained (ignore, or less of it)",
                options=(("layer", where),),
                effect=f"divergence {restored.divergence:.3g}, {restored.agreement:.1%} alike",
            ),
        )
    return Finding(
        code="answers-differ",
        severity="warning",
        where=where,
        message=f"{answers}, where {limit:g} are allowed{told}",
        resource="divergence",
        used=answers.bound,
        limit=limit,
        unit="nats",
        rule=RULE,
        fixes=fixes,
    )


def needed_differs(step: PassStep, limit: float) -> Finding:
    """The finding of a network whose answers what the chip needs changes already."""
    answers = step.answers
    assert answers is not None
    return Finding(
        code="answers-differ",
        severity="warning",
        where=step.name,
        message=f"{answers}, with what the chip needs alone, where {limit:g} are allowed; no guard can "
        "give that back: train with these neurons in the loop (snndeploy finetune)",
        resource="divergence",
        used=answers.bound,
        limit=limit,
        unit="nats",
        rule=RULE,
    )


def _pass_that_costs_most(log: PassLog) -> str:
    before, costs = 0.0, {}
    for step in log.steps:
        if step.answers is not None:
            costs[step.name] = step.answers.divergence - before
            before = step.answers.divergence
    return max(costs, key=costs.__getitem__)


def not_measured(log: PassLog) -> tuple[Finding, ...]:
    """What is said where there are no samples; a warning where much could have been lost."""
    if not any(step.modified for step in log.steps):
        return ()
    told = (
        "there are no samples, so nobody knows whether the compressed network still answers like the "
        "trained one; give some (labels are not needed): --data"
    )
    severity: Severity = "warning" if took_much(log) else "note"
    return (_unknown("answers-not-measured", severity, told),)


class Witness(Protocol):
    """What answers are compared with: see `Reference`."""

    held_out: bool
    made_up: int

    @property
    def given(self) -> int: ...

    @property
    def one_sided(self) -> tuple[int, int] | None: ...


def told_by_few(watch: Witness, severity: Severity) -> tuple[Finding, ...]:
    """What is said where samples are too few, or too much alike, to speak for others."""
    on = f"{watch.given} sample{'s' * (watch.given != 1)}"
    if watch.given < TELLING:
        who = "" if watch.held_out else " (the ones that passes were fitted to)"
        made_up = f", and on {watch.made_up} made up of them" if watch.made_up else ""
        told = (
            f"answers were compared on {on}{who}{made_up}, which tells little about others; give a "
            "hundred (labels are not needed)"
        )
        return (_unknown("compared-on-few", severity, told),)
    if watch.one_sided is not None:
        got, all_of_them = watch.one_sided
        told = (
            f"the trained network gives {got} of its {all_of_them} answers on the {on} that were "
            "compared, so nobody knows whether the others stay; shuffle the samples, or give some of "
            "all kinds (labels are not needed)"
        )
        return (_unknown("compared-one-sided", severity, told),)
    return ()


def not_heard(asked: Network, kept: Network, watch: Reference) -> Finding:
    """The finding of a recipe that took next to nothing, since most answers were never heard."""
    got, all_of_them = watch.heard
    return Finding(
        code="backed-off",
        severity="warning",
        where="recipe",
        message=f"{got} of {all_of_them} answers of the trained network occur among {watch.given} "
        f"sample{'s' * (watch.given != 1)}, and nobody can keep the others; given back: "
        f"{given_back(asked, kept)}; give a hundred (labels are not needed), or take it all the same: "
        "--guard warn",
        rule=RULE,
    )


def _unknown(code: str, severity: Severity, message: str) -> Finding:
    return Finding(code=code, severity=severity, where="recipe", message=message, rule=RULE)


def took_much(log: PassLog) -> bool:
    """Whether synapses are gone, or more bits than rounding to 8 takes: then much may be lost."""
    if not log.steps:
        return False
    first, last = log.steps[0].before, log.steps[-1].after
    fewer = last.total("alive") < first.total("alive")
    narrow = any(layer.bits < 8 for layer in last.layers.values())
    return fewer or narrow


def answers_silent(watch: Reference) -> Finding:
    """The trained network itself says nothing, so there are no answers to keep."""
    return Finding(
        code="answers-silent",
        severity="warning",
        where="recipe",
        message=f"the trained network answers nothing on {len(watch)} samples (no output emits), "
        "so nobody knows whether the compressed one answers alike; see whether the data have the "
        "scale and encoding that it was trained with, and how it is read: snndeploy inspect",
        rule=RULE,
    )


def given_back(asked: Network, kept: Network) -> str:
    """What of ``asked`` was undone in ``kept``, layer by layer."""
    before, after = measure(asked), measure(kept)
    parts = [_undone(name, before, after) for name in before.layers]
    shapes = {p.name: p.shape for p in asked.populations}
    parts += [
        f"{p.name} {shapes[p.name][0]} → {p.shape[0]} kernels"
        for p in kept.populations
        if p.shape[0] > shapes[p.name][0]
    ]
    return ", ".join(part for part in parts if part)


def _undone(name: str, before: NetworkMetrics, after: NetworkMetrics) -> str:
    a, b = before.layers[name], after.layers[name]
    parts = []
    if abs(a.sparsity - b.sparsity) >= 0.001:
        parts.append(f"{a.sparsity:.1%} → {b.sparsity:.1%} pruned")
    if a.bits != b.bits:
        parts.append(f"{a.bits} → {b.bits} bits")
    return f"{name} {' and '.join(parts)}" if parts else ""


def amounts_found(log: PassLog) -> Finding:
    """The note of a search that ended within the limit; a warning if it found nothing to give away."""
    if not log.steps:
        return Finding(
            code="amounts-found",
            severity="warning",
            where="recipe",
            message="nothing: the network stays as it was trained, since whatever was tried changes its "
            "answers more than is allowed",
            rule=RULE,
        )
    layers = log.steps[-1].after.layers
    told = ", ".join(f"{n} {m.sparsity:.1%} pruned, {m.bits} bits" for n, m in layers.items())
    return Finding(
        code="amounts-found",
        severity="note",
        where="recipe",
        message=f"{told}: {log.answers}",
        rule=RULE,
    )


def fitted_closer(asked: PassLog, kept: PassLog, limit: float) -> Finding:
    """The note of a recipe whose amounts hold once its codes are fitted on samples."""
    refitted = [q.name for p, q in zip(asked.passes, kept.passes, strict=True) if p != q]
    return Finding(
        code="fitted-closer",
        severity="note",
        where=", ".join(dict.fromkeys(refitted)),
        message=f"as asked, {asked.answers}, where {limit:g} are allowed; codes fitted by membrane "
        f"error take as much, and nothing is given back: {kept.answers}",
        resource="divergence",
        used=kept.answers.bound if kept.answers else None,
        limit=limit,
        unit="nats",
        rule=RULE,
    )


def backed_off(
    asked: PassLog, kept: PassLog, limit: float, costs: Mapping[str, float], trials: int
) -> Finding:
    """The finding of a recipe that gave something back."""
    wanted, got = asked.answers, kept.answers
    assert wanted is not None
    undone = given_back(asked.network, kept.network) or "its settings alone differ"
    worst = max(costs, key=costs.__getitem__, default="recipe")
    result = str(got) if isinstance(got, Fidelity) else "nothing of the recipe is left"
    return Finding(
        code="backed-off",
        severity="warning",
        where=worst,
        message=f"as asked, {wanted}, where {limit:g} are allowed; given back in {trials} trials: "
        f"{undone}; now {result}",
        resource="divergence",
        used=wanted.bound,
        limit=limit,
        unit="nats",
        rule=RULE,
    )
