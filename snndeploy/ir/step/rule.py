"""When a neuron spikes, and what a spike does to it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal, get_args

Compare = Literal[">", ">="]
Reset = Literal["zero", "subtract", "none"]
ResetTiming = Literal["immediate", "next-step", "snntorch-immediate"]
SpikesPerStep = Literal["one", "many"]


@dataclass(frozen=True, kw_only=True)
class NeuronRule:
    """When a neuron spikes, and what a spike does to it; see `snndeploy.ir.neurons.Neuron`.

    The defaults are those of a leaky integrate-and-fire compartment.
    """

    compare: Compare = ">"
    reset: Reset = "zero"
    reset_timing: ResetTiming = "immediate"
    spikes_per_step: SpikesPerStep = "one"
    max_spikes: int | None = None

    def __post_init__(self) -> None:
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} is {getattr(self, name)!r}, not one of {allowed}")

    @classmethod
    def of(cls, model: object) -> NeuronRule:
        """The rule that the fields of ``model`` (a neuron, a group of compartments) spell."""
        return cls(**{f.name: getattr(model, f.name) for f in dataclasses.fields(cls)})

    @property
    def most(self) -> float:
        """The most spikes of a step."""
        if self.spikes_per_step == "one":
            return 1.0
        return float("inf") if self.max_spikes is None else float(self.max_spikes)

    @property
    def subtracts(self) -> bool:
        """Whether a reset takes the threshold off; snnTorch's immediate one always does."""
        return self.reset == "subtract" or self.reset_timing == "snntorch-immediate"

    @property
    def zeroes(self) -> bool:
        """Whether a reset sets v to zero."""
        return self.reset == "zero" and not self.subtracts


CHOICES: dict[str, tuple[str, ...]] = {
    "compare": get_args(Compare),
    "reset": get_args(Reset),
    "reset_timing": get_args(ResetTiming),
    "spikes_per_step": get_args(SpikesPerStep),
}
"""What the fields of `NeuronRule` that are words may be."""


def above(rule: NeuronRule, v: Any, threshold: Any) -> Any:
    """Where ``v`` spikes."""
    return v > threshold if rule.compare == ">" else v >= threshold
