"""Scales that the layers into one population share, as the neurons of a chip have one membrane unit."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from ...errors import PassRefused
from ...ir.finding import Finding
from ...ir.network import Network, Projection
from ...ir.ops import Reshape, weighted_index


def groups_of(chosen: Sequence[Projection], share: str) -> list[tuple[Projection, ...]]:
    """The layers that get one scale together: each for itself, or those of one ``target``."""
    if share == "none":
        return [(p,) for p in chosen]
    targets = dict.fromkeys(p.target for p in chosen)
    return [tuple(p for p in chosen if p.target == t) for t in targets]


def share_partial(net: Network, done: Collection[str]) -> tuple[Finding, ...]:
    """Notes on populations of which some layers, not among ``done``, stay real-valued."""
    targets = dict.fromkeys(p.target for p in net.projections if p.name in done)
    partly = {
        t: [p.name for p in net.incoming(t) if p.name not in done and not p.weight.quantized]
        for t in targets
    }
    return tuple(
        Finding(
            code="share-partial",
            severity="note",
            where=target,
            message=f"real-valued layers stay outside its shared scale: {', '.join(names)}",
            rule="layers that feed one population share a scale",
        )
        for target, names in partly.items()
        if names
    )


def refuse_unshareable(net: Network, chosen: Iterable[Projection], per: str) -> None:
    """Layers into one population can share a scale, or a scale per channel.

    Raises:
        PassRefused: one of them has a scale already, or their channels do not correspond.
    """
    targets: dict[str, list[Projection]] = {}
    for p in chosen:
        targets.setdefault(p.target, []).append(p)
    for target, group in targets.items():
        fixed = [p.name for p in net.incoming(target) if p.weight.quantized]
        if fixed:
            raise PassRefused(
                "share-impossible",
                f"{', '.join(fixed)} already has a scale of its own",
                where=target,
                hint="quantize all layers of one target in the same pass",
            )
        if per == "layer" or len(group) == 1:
            continue
        channels = {target_channels(p) for p in group}
        if len(channels) > 1 or None in channels:
            raise PassRefused(
                "share-impossible",
                f"the channels of {', '.join(p.name for p in group)} do not correspond",
                where=target,
                hint='use per = "layer", or share = "none"',
            )


def target_channels(projection: Projection) -> int | None:
    """Channels of the target that axis 0 of the weight stands for; None where it is reshaped."""
    after = projection.ops[weighted_index(projection.ops) + 1 :]
    if any(isinstance(op, Reshape) for op in after) or not projection.weight.shape:
        return None
    return projection.weight.shape[0]
