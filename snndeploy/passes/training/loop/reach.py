"""How far gradients go back in time: all the way, while they are numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor

from ....errors import PassRefused
from ....ir.finding import Finding
from ..torch_network.module import TrainableNetwork
from ..torch_network.unroll import Unrolling

R = TypeVar("R")


def with_finite_gradients(
    module: TrainableNetwork, steps: int, attempt: Callable[[], tuple[Tensor, bool, R]]
) -> tuple[Tensor, R]:
    """The loss of a batch, and what else an attempt at it gives, once its gradients are finite.

    In a loop each step multiplies gradients, and those of a thousand steps can be more than a float
    holds. Then the module's gradients end at the start of windows, of half as many steps each time,
    from this batch on.

    Args:
        module: whose gradients they are.
        steps: of the samples.
        attempt: gives the loss, whether all gradients are finite, and whatever else is asked for.

    Raises:
        PassRefused: the loss itself is no number, or gradients of single steps are none.
    """
    while True:
        loss, finite, found = attempt()
        if not bool(torch.isfinite(loss)):
            raise _diverged("the loss is no number any more")
        if finite:
            return loss, found
        now = module.unrolling
        window = now.window or steps
        if now.truncate and window <= 1:
            raise _diverged("gradients are no numbers, even those of single steps")
        if now.truncate or not now.window:  # else they go through windows so far, and end there now
            window = -(-window // 2)
        module.unrolling = replace(now, window=window, truncate=True)


def all_finite(gradients: Iterable[Tensor | None]) -> bool:
    """Whether gradients are numbers, those that there are, and so is the sum of their squares.

    Clipping by the norm, and Adam, square them: of more than a float holds nothing is learnt.
    """
    squares = [g.square().sum() for g in gradients if g is not None]
    return not squares or bool(torch.isfinite(torch.stack(squares).sum()))


def shortened(module: TrainableNetwork, asked: Unrolling) -> tuple[Finding, ...]:
    """Says so where gradients ended earlier than ``asked``."""
    reach = module.unrolling.window
    if module.unrolling == asked:
        return ()
    return (
        Finding(
            code="gradients-shortened",
            severity="note",
            where="training",
            message=f"gradients that went further back were no numbers, so they end every {reach} steps",
            rule="a loop multiplies them at each step",
        ),
    )


def _diverged(what: str) -> PassRefused:
    return PassRefused(
        "training-diverged",
        what,
        hint="train at a lower rate (`lr`, `rate`), or on inputs that are not as large",
    )
