"""What a torch module answers, and how alike two of them do: for choices, and for the guard."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...calibrate.fidelity import Fidelity, compared, one_sided
from ...errors import InputError
from ...ir.arrays import Array
from .hooks import Run, reset

if TYPE_CHECKING:
    from torch import nn

HELD_OUT = 5
"""One call of so many is kept from the solvers; with fewer, all serve for both."""


def held_out(data: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """Calls to fit to, and calls to compare on."""
    test = list(data[HELD_OUT - 1 :: HELD_OUT])
    if not test:
        return list(data), list(data)
    return [x for i, x in enumerate(data) if i % HELD_OUT != HELD_OUT - 1], test


class ModuleReference:
    """What the module as it was trained answers to some calls, computed once."""

    made_up = 0
    """Nobody knows how to make up what a module takes."""

    def __init__(
        self, module: nn.Module, call: Run, data: Sequence[Any], *, held_out: bool
    ) -> None:
        self.call, self.data, self.held_out = call, data, held_out
        self.counts = self._counts(module)

    @property
    def given(self) -> int:
        """How many samples the calls hold."""
        return len(self.counts)

    @property
    def one_sided(self) -> tuple[int, int] | None:
        """As `calibrate.fidelity.one_sided`."""
        return one_sided(self.counts)

    def fidelity(self, module: nn.Module) -> Fidelity:
        """Run ``module`` on the same calls and compare."""
        return compared({"": self.counts}, {"": self._counts(module)}, held_out=self.held_out)

    def _counts(self, module: nn.Module) -> Array:
        """Answers of all calls, ``(samples, classes)``."""
        import torch

        with torch.no_grad():
            found = []
            for x in self.data:
                reset(module)
                found.append(_answer(self.call(module, x)))
        return np.concatenate(found)


def _answer(out: Any) -> Array:
    """What one call answers: summed over the first of three or more axes, which is time."""
    import torch

    while isinstance(out, (tuple, list)) and out:
        out = out[0]
    if not isinstance(out, torch.Tensor) or out.ndim < 2:
        raise InputError(
            "module-answer",
            "a call does not answer with a tensor (samples, classes) or (steps, samples, classes)",
            hint="give run= that returns one, or a recipe without a choice and with guard = 'off'",
        )
    if out.ndim > 2:
        out = out.sum(0).flatten(1)
    return np.asarray(out.double().cpu().numpy())
