"""One step of a neuron, and the arithmetic that a chip does it in.

The update stands here once for real numbers (`step_float`) and once for integers (`step_integer`), for
NumPy and for torch. The engines, the test reference and the Lava worker call it; compiled kernels
spell it again for speed and are tested against it. `NeuronRule` says which update it is.

This room imports nothing but the standard library and NumPy: the Lava worker loads it by its path.
"""

from .arithmetic import LOIHI, Arithmetic, Overflow, decayed, held_in, overflows, shifted, wrapped
from .integer import (
    IntegerParameters,
    IntegerState,
    arrived,
    integer_thresholds,
    step_integer,
    step_membrane,
)
from .real import FloatParameters, FloatState, float_thresholds, step_float
from .rule import CHOICES, Compare, NeuronRule, Reset, ResetTiming, SpikesPerStep, above

__all__ = [
    "CHOICES",
    "LOIHI",
    "Arithmetic",
    "Compare",
    "FloatParameters",
    "FloatState",
    "IntegerParameters",
    "IntegerState",
    "NeuronRule",
    "Overflow",
    "Reset",
    "ResetTiming",
    "SpikesPerStep",
    "above",
    "arrived",
    "decayed",
    "float_thresholds",
    "held_in",
    "integer_thresholds",
    "overflows",
    "shifted",
    "step_float",
    "step_integer",
    "step_membrane",
    "wrapped",
]
