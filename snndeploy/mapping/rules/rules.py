"""The rules of `check`, each with its code."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ...chip import Target
from ...ir.finding import Finding, Severity
from ...ir.placement import Placement
from ...ir.program import Program
from ..count.memory import Memory
from . import core_rules, program_rules
from .placed import Breach, Subject


@dataclass(frozen=True)
class Rule:
    """A rule with its code and the severity of its breaches."""

    code: str
    run: Callable[[Subject], Iterator[Breach]]
    severity: Severity = "error"

    @property
    def sentence(self) -> str:
        """What must hold."""
        return (inspect.getdoc(self.run) or "").split("\n\n")[0].replace("\n", " ")


RULES: tuple[Rule, ...] = (
    Rule("subtract-reset", program_rules.subtract_reset),
    Rule("many-spikes", program_rules.many_spikes),
    Rule("v-floor", program_rules.v_floor),
    Rule("neuron-program", program_rules.neuron_program),
    Rule("graded-spikes", program_rules.graded_spikes),
    Rule("weight-bits", program_rules.weight_bits),
    Rule("mantissa", program_rules.mantissas),
    Rule("weight-exponent", program_rules.exponents),
    Rule("delay", program_rules.delays),
    Rule("decay", program_rules.decays),
    Rule("threshold", program_rules.thresholds),
    Rule("bias", program_rules.biases),
    Rule("bias-exponent", program_rules.bias_exponents),
    Rule("headroom", program_rules.headroom, "warning"),
    Rule("core-neurons", core_rules.neurons_per_core),
    Rule("core-compartments", core_rules.compartments),
    Rule("core-groups", core_rules.groups_per_core),
    Rule("synapse-memory", core_rules.synapse_memory),
    Rule("axon-words", core_rules.axon_memory),
    Rule("input-axons", core_rules.input_axons),
    Rule("output-axons", core_rules.output_axons),
    Rule("axon-map", core_rules.axon_map),
    Rule("axon-memory", core_rules.axon_routes),
    Rule("core-memory", core_rules.pool),
    Rule("profiles", core_rules.profiles),
    Rule("delay-memory", core_rules.delay_memory),
    Rule("board", core_rules.board),
)


def violations(
    program: Program, placement: Placement, target: Target, chips: int
) -> tuple[Finding, ...]:
    """Run every rule: all violations, errors first and the worst overrun first."""
    subject = Subject(program, placement, target, chips, Memory(program, target))
    found = [_finding(rule, breach) for rule in RULES for breach in rule.run(subject)]

    def order(finding: Finding) -> tuple[bool, bool, float]:
        # What has no number (the chip cannot do it at all) comes before any overrun.
        return finding.severity != "error", finding.used is not None, -finding.ratio

    return tuple(sorted(found, key=order))


def _finding(rule: Rule, b: Breach) -> Finding:
    return Finding(
        code=rule.code,
        severity=rule.severity,
        where=b.where,
        message=b.message,
        resource=b.resource,
        used=b.used,
        limit=b.limit,
        unit=b.unit,
        rule=rule.sentence,
        source=b.source,
        certainty=b.certainty,
    )
