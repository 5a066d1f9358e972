"""All combinations of a neuron's literals, and of the parts that it may have."""

from __future__ import annotations

import itertools
from typing import Any, get_args

from snndeploy.ir.step import Compare, NeuronRule, Reset, ResetTiming, SpikesPerStep

RULES: tuple[NeuronRule, ...] = tuple(
    NeuronRule(
        compare=compare, reset=reset, reset_timing=timing, spikes_per_step=many, max_spikes=most
    )
    for compare, reset, timing, many, most in itertools.product(
        get_args(Compare),
        get_args(Reset),
        get_args(ResetTiming),
        get_args(SpikesPerStep),
        (None, 1, 3),
    )
    if reset == "subtract" or timing != "snntorch-immediate"  # what a network may hold
)
"""Every rule that `Neuron.verify` lets pass: 84."""


def rule_name(rule: NeuronRule | None) -> str:
    """Its literals, for the name of a test."""
    return "none" if rule is None else "-".join(str(v) for v in vars(rule).values())


def fields_of(rule: NeuronRule) -> dict[str, Any]:
    """The literals as fields of a neuron or a group."""
    return dict(vars(rule))
