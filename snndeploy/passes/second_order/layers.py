"""Layer after layer: measure what arrives, solve, and keep the solution that holds out best.

A block is one projection, or several dense ones into the same population, whose columns then stand
side by side. Blocks come in the order in which spikes pass through them, so in sequential mode a
layer is solved for what its compressed predecessors deliver.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ...calibrate.listen import Remembered
from ...calibrate.moments import Block, Moments, Response, gather, gather_joint, rows
from ...calibrate.stream import prefix
from ...errors import PassRefused
from ...ir.arrays import Array
from ...ir.finding import Finding
from ...ir.network import Network, Projection
from ...ir.ops import Dense
from ...ir.weights import Weight
from ...workers import Workers
from ..base import PassContext, PassResult
from .judge import Judge
from .solve.least_squares import Quadratic, quadratic
from .thresholds import with_threshold

if TYPE_CHECKING:
    from torch import Tensor

_HELD_OUT = 5
"""Every fifth sample is held out where kernels or asymmetries compete."""
_JUDGED = 60
"""So many samples tell settings of a whole network apart; of fewer, several folds are judged."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How layers are measured; see `CalibratedPass` for the options they come from."""

    kernels: tuple[Response, ...]
    asymmetry: tuple[float, ...]
    sequential: bool
    damp: float
    positions: int
    max_memory: int
    thresholds: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Problem:
    """One block under one kernel and asymmetry: a `Quadratic` per group of rows.

    Attributes:
        block: the projections as they were before.
        parts: (rows, quadratic) pairs; together the rows cover the weight.
        alive: ``(rows, d)``, False where a weight was pruned before.
        energy: 1/2 tr W H W^T of the given weights: losses are reported relative to it.
    """

    block: Block
    parts: tuple[tuple[Array, Quadratic], ...]
    alive: Array
    energy: float

    @property
    def columns(self) -> int:
        return int(self.alive.shape[1])

    def losses(self, weights: Array) -> Array:
        """Predicted membrane error of each row of ``weights`` (rows, d)."""
        import torch

        return per_row(
            self,
            lambda of, q: q.loss(
                torch.as_tensor(weights[of], dtype=q.best.dtype, device=q.best.device)
            ),
        )

    def loss(self, weights: Array) -> float:
        """Predicted membrane error of ``weights`` (rows, d)."""
        return float(self.losses(weights).sum())


@dataclass(frozen=True, kw_only=True, eq=False)
class Solution:
    """New weights of a block, one per projection, and the predicted loss."""

    weights: tuple[Weight, ...]
    loss: float


def held_out(
    inputs: Mapping[str, Array], fold: int = 0
) -> tuple[Mapping[str, Array], Mapping[str, Array]]:
    """Four fifths of the samples, and the others; below five samples, all of them twice.

    Five folds hold out others each.
    """
    last = _HELD_OUT - 1 - fold
    held = np.arange(next(iter(inputs.values())).shape[1]) % _HELD_OUT == last
    if next(iter(inputs.values())).shape[1] < _HELD_OUT:
        held[:] = False
    if not held.any():
        return inputs, inputs
    return {n: x[:, ~held] for n, x in inputs.items()}, {n: x[:, held] for n, x in inputs.items()}


def folds(inputs: Mapping[str, Array]) -> int:
    """How many folds it takes to hold out enough samples, or as many as there are."""
    count = next(iter(inputs.values())).shape[1]
    return min(_HELD_OUT, math.ceil(_JUDGED / (count // _HELD_OUT))) if count >= _HELD_OUT else 1


def blocks_of(net: Network, chosen: Sequence[Projection]) -> list[Block]:
    """The chosen projections as blocks, in the order in which spikes reach them."""
    rank = {name: i for i, name in enumerate(net.order)}
    ordered = sorted(chosen, key=lambda p: rank[p.target])
    blocks: list[Block] = []
    for p in ordered:
        last = blocks[-1] if blocks else None
        if last is not None and last[0].target == p.target and _side_by_side(last[0], p):
            blocks[-1] = (*last, p)
        else:
            blocks.append((p,))
    return blocks


def _side_by_side(a: Projection, b: Projection) -> bool:
    """Whether rows of both weights drive the same neurons, one each."""
    return all(isinstance(p.op, Dense) and isinstance(p.ops[-1], Dense) for p in (a, b))


def refuse_one_to_one(chosen: Iterable[Projection], method: str) -> None:
    """Rows of one weight have nothing to compensate with.

    Raises:
        PassRefused: one of the layers is one-to-one.
    """
    for p in chosen:
        if p.op.one_to_one:
            raise PassRefused(
                "one-to-one-layer",
                f"{method!r} makes up for a weight with others of its row, "
                "and a one-to-one layer has none",
                where=p.name,
                hint='use "magnitude" or "rtn" for this layer, in a pass of its own',
            )


def stacked(block: Block) -> Array:
    """Weights of a block, ``(rows, d)`` float64."""
    return np.concatenate([rows(p, p.weight.values()) for p in block], axis=1).astype(np.float64)


def unstacked(block: Block, values: Array) -> list[Array]:
    """``values`` (rows, d) as one array per projection, each shaped like its weight."""
    widths = [rows(p, p.weight.data).shape[1] for p in block]
    parts = np.split(values, np.cumsum(widths)[:-1], axis=1)
    return [part.reshape(p.weight.shape) for part, p in zip(parts, block, strict=True)]


def alive_of(block: Block) -> Array:
    """Which weights of a block were not pruned, ``(rows, d)``."""
    masks = [
        np.ones(p.weight.shape, bool) if p.weight.mask is None else p.weight.mask for p in block
    ]
    return np.concatenate([rows(p, m) for p, m in zip(block, masks, strict=True)], axis=1)


def moments_of(
    net: Network,
    block: Block,
    inputs: Mapping[str, Array],
    kernel: Response,
    settings: Settings,
    reference: Network | None,
    workers: Workers,
) -> Moments:
    """Moments of one block."""
    positions = settings.positions or None
    names = [p.name for p in block]
    if len(block) > 1:
        return gather_joint(
            net,
            inputs,
            names,
            kernel=kernel,
            reference=reference,
            positions=positions,
            max_memory=settings.max_memory,
            workers=workers,
        )
    return gather(
        net,
        inputs,
        names,
        kernel=kernel,
        reference=reference,
        positions=positions,
        max_memory=settings.max_memory,
        workers=workers,
    )[names[0]]


def problem(block: Block, moments: Moments, damp: float, asymmetry: float = 0.0) -> Problem:
    """The quadratic problem of a block."""
    weights = stacked(block)
    parts = []
    energy = 0.0
    for group in range(len(moments.hessian)):
        of = np.flatnonzero(moments.group == group)
        cross = None if moments.cross is None else moments.cross[group]
        h, w = moments.hessian[group], weights[of]
        parts.append((of, quadratic(h, w, damp=damp, cross=cross, asymmetry=asymmetry)))
        energy += float(((w @ h) * w).sum()) / 2
    return Problem(block=block, parts=tuple(parts), alive=alive_of(block), energy=energy)


def per_row(p: Problem, solve: Callable[[Array, Quadratic], Tensor]) -> Array:
    """Apply ``solve`` to every group of rows and put the rows together, ``(rows, …)``."""
    parts = [solve(of, q).cpu().numpy() for of, q in p.parts]
    out = np.zeros((len(p.alive), *parts[0].shape[1:]), dtype=parts[0].dtype)
    for (of, _), part in zip(p.parts, parts, strict=True):
        out[of] = part
    return out


class Solve(Protocol):
    """Gives the weights of a block; ``net`` has the blocks before it compressed."""

    def __call__(self, index: int, p: Problem, /, net: Network) -> Solution:
        """The weights of block ``index``."""


def run_layers(
    net: Network,
    chosen: Sequence[Projection],
    ctx: PassContext,
    settings: Settings,
    solve: Solve,
    name: str,
) -> PassResult:
    """Compress the chosen projections block by block.

    ``solve(i, problem, net=network)`` gives the weights of block i; the network has
    the blocks before it compressed. Where several kernels or asymmetries are
    allowed, each is solved on four fifths of the samples, and the one whose neurons then come
    closest to the reference's on the other fifth (squared distance of spike trains filtered by the
    neuron's own membrane) is solved again with the moments of all samples.
    """
    samples = ctx.samples(f"the method of {name!r}")
    share = settings.max_memory // 4
    inputs = Remembered(samples, share)
    current = net
    metrics: dict[str, dict[str, float]] = {}
    findings: list[Finding] = []
    blocks = blocks_of(net, chosen)
    train, test = (Remembered(part, share) for part in held_out(samples))
    for done, block in enumerate(blocks):
        ctx.progress("layers", done, len(blocks))
        deliver = current if settings.sequential else net
        upstream = {s.population for p in block for s in p.sources}
        changed = any(p.name in metrics for p in prefix(current, upstream).projections)
        # Where nothing before the block has changed, both networks deliver the same.
        asymmetries = settings.asymmetry if settings.sequential and changed else (0.0,)
        compare = net if any(asymmetries) else None
        best: tuple[float, Response, float, Solution] | None = None
        judge = None
        if len(settings.kernels) * len(asymmetries) > 1:
            judge = Judge(net, current, block, test, settings.max_memory)
        seen = inputs if judge is None else train
        solving = partial(solve, done, net=current)
        measuring = partial(
            moments_of, deliver, block, settings=settings, reference=compare, workers=ctx.workers
        )
        for kernel in settings.kernels:
            measured = partial(measuring, seen, kernel)
            for asymmetry, solution in _solved(
                measured, block, asymmetries, settings.damp, solving
            ):
                error = 0.0 if judge is None else judge.error(solution.weights)
                if best is None or error < best[0]:
                    best = (error, kernel, asymmetry, solution)
        if best is None:
            raise ValueError("no kernel is allowed")
        error, kernel, asymmetry, solution = best
        if seen is not inputs:  # all samples count in the end
            measured = partial(measuring, inputs, kernel)
            ((_, solution),) = _solved(measured, block, (asymmetry,), settings.damp, solving)
        for p, weight in zip(block, solution.weights, strict=True):
            metrics[p.name] = {
                "loss": solution.loss,
                "asymmetry": asymmetry,
                **({} if judge is None else {"held_out_error": error}),
            }
            current = current.replace(projections=[dataclasses.replace(p, weight=weight)])
        if judge is not None:
            findings.append(_chosen(block, kernel, asymmetry, error))
        target = block[0].target
        if settings.thresholds and all(b[0].target != target for b in blocks[done + 1 :]):
            current, _ = with_threshold(
                current, net, target, inputs, max_memory=settings.max_memory
            )
    return PassResult(network=current, modified=True, metrics=metrics, findings=tuple(findings))


def _solved(
    measured: Callable[[], Moments],
    block: Block,
    asymmetries: Sequence[float],
    damp: float,
    solve: Callable[[Problem], Solution],
) -> Iterator[tuple[float, Solution]]:
    """The solution under each asymmetry; the moments are let go of before the last one is solved."""
    moments = [measured()]
    for left, asymmetry in zip(range(len(asymmetries))[::-1], asymmetries, strict=True):
        posed = [problem(block, moments[0] if left else moments.pop(), damp, asymmetry)]
        yield asymmetry, solve(posed.pop())


def _chosen(block: Block, kernel: str, asymmetry: float, error: float) -> Finding:
    return Finding(
        code="layer-objective",
        severity="note",
        where=", ".join(p.name for p in block),
        message=f"kernel {kernel}, asymmetry {asymmetry:g}: relative spike train error {error:.3g} "
        "on held-out calibration samples",
        rule="of several objectives, the one that holds out best",
    )
