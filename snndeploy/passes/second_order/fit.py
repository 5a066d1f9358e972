"""The sparsity at which a network fits so many cores, or so many synapse words, of its target."""

from __future__ import annotations

import dataclasses

from ...chip import Target, family_of
from ...errors import PassRefused
from ...ir.network import Network
from ...lower import lower
from ...mapping import place_program
from ..base import PassContext
from .options import PruneOptions

_RESOLUTION = 0.005
_DENSEST = 0.995


def sparsity_that_fits(step: PruneOptions, net: Network, ctx: PassContext) -> float:
    """The least sparsity, from the pass's own on, at which both limits of ``step`` are kept.

    Masks by magnitude stand in for those of the method while searching: how many words a layer takes
    depends on how many weights are left in it far more than on which. Weights that are still real
    count as 8-bit ones.

    Raises:
        PassRefused: no target is known, or even 99.5 % are not enough.
    """
    if ctx.target is None:
        raise PassRefused(
            "target-missing",
            "cores and words are those of a target, and none is given",
            where=step.key("cores"),
            hint="compile for a target, or give sparsity alone",
        )
    target = ctx.target
    plain = dataclasses.replace(
        step,
        method="magnitude",
        scope="layer" if step.scope == "layer" else "lamp",
        count="weights",
        pattern="",
        cores=0,
        words=0,
    )

    def keeps(sparsity: float) -> bool:
        result = dataclasses.replace(plain, sparsity=sparsity).run(net, ctx)
        cores, words = needs(result.network, target)
        return cores <= (step.cores or cores) and words <= (step.words or words)

    if keeps(step.sparsity):
        return step.sparsity
    low, high = step.sparsity, _DENSEST
    if low >= high or not keeps(high):
        cores, words = needs(
            dataclasses.replace(plain, sparsity=high).run(net, ctx).network, target
        )
        raise PassRefused(
            "cannot-fit",
            f"at {high:.1%} sparsity it still takes {cores} cores and {words} words",
            where=step.key("cores" if step.cores else "words"),
            hint="neurons take cores, too: remove kernels first, or allow more",
        )
    while high - low > _RESOLUTION:
        middle = (low + high) / 2
        low, high = (low, middle) if keeps(middle) else (middle, high)
    return high


def needs(net: Network, target: Target) -> tuple[int, int]:
    """Cores and synapse words that a network takes, each slice on a core of its own."""
    placement = place_program(lower(net, target), target, chips=1 << 16)
    words = sum(s.resources.get(family_of(target).synapse_resource, 0) for s in placement.slices)
    return len(placement.cores), words
