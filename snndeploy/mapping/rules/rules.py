"""The rules of `check`, each with its code."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ...chip import Family, Target, built_in_families
from ...chip.counting import Breach, CoreRule, ProgramRule
from ...ir.finding import Finding, Severity
from ...ir.placement import Placement
from ...ir.program import Program
from ..count.memory import Memory
from . import core_rules, program_rules
from .placed import Subject


@dataclass(frozen=True)
class Rule:
    """A rule with its code, what must hold, and the severity of its breaches."""

    code: str
    run: Callable[[Subject], Iterator[Breach]]
    sentence: str
    severity: Severity = "error"


def _rule(
    code: str, run: Callable[[Subject], Iterator[Breach]], severity: Severity = "error"
) -> Rule:
    """A rule whose docstring says what must hold."""
    sentence = (inspect.getdoc(run) or "").split("\n\n")[0].replace("\n", " ")
    return Rule(code, run, sentence, severity)


def _of_core(rule: CoreRule) -> Rule:
    return Rule(rule.code, functools.partial(core_rules.core_rule, rule=rule), rule.sentence)


def _of_family(rule: ProgramRule) -> Rule:
    return Rule(rule.code, lambda s: rule.run(s.memory.family, s.program), rule.sentence)


PROGRAM_RULES: tuple[Rule, ...] = (
    _rule("arithmetic", program_rules.arithmetic),
    _rule("subtract-reset", program_rules.subtract_reset),
    _rule("many-spikes", program_rules.many_spikes),
    _rule("v-floor", program_rules.v_floor),
    _rule("neuron-program", program_rules.neuron_program),
    _rule("graded-spikes", program_rules.graded_spikes),
    _rule("weight-bits", program_rules.weight_bits),
    _rule("mantissa", program_rules.mantissas),
    _rule("weight-exponent", program_rules.exponents),
    _rule("delay", program_rules.delays),
    _rule("decay", program_rules.decays),
    _rule("threshold", program_rules.thresholds),
    _rule("bias", program_rules.biases),
    _rule("bias-exponent", program_rules.bias_exponents),
    _rule("headroom", program_rules.headroom, "warning"),
)
"""What programs must obey on any chip."""
BOARD_RULE = _rule("board", core_rules.board)


def rules_of(family: type[Family]) -> tuple[Rule, ...]:
    """Every rule for chips of a family: of programs, of its cores, of boards."""
    own = map(_of_family, family.program_rules)
    return (*PROGRAM_RULES, *own, *map(_of_core, family.rules), BOARD_RULE)


def all_core_rules() -> tuple[Rule, ...]:
    """The rules that families add, each code once, and that of boards."""
    families = built_in_families()
    cores = {rule.code: rule for family in families for rule in family.rules}
    programs = {rule.code: rule for family in families for rule in family.program_rules}
    own = map(_of_family, programs.values())
    return (*map(_of_core, cores.values()), *own, BOARD_RULE)


def shrinking_codes(family: type[Family]) -> frozenset[str]:
    """Codes of the rules that a smaller network obeys."""
    rules: tuple[CoreRule | ProgramRule, ...] = (*family.rules, *family.program_rules)
    return frozenset({BOARD_RULE.code, *(rule.code for rule in rules if rule.shrinks)})


def violations(
    program: Program, placement: Placement, target: Target, chips: int
) -> tuple[Finding, ...]:
    """Run every rule: all violations, errors first and the worst overrun first."""
    subject = Subject(program, placement, target, chips, Memory(program, target))
    rules = rules_of(type(subject.memory.family))
    found = [_finding(rule, breach) for rule in rules for breach in rule.run(subject)]

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
