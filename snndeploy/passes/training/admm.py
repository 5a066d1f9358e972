"""ADMM: pruning and quantisation that the weights are pulled towards while they train."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from ...errors import RecipeError
from ...ir.arrays import Array
from ...ir.network import Network, Projection
from ...ir.weights import Levels, levels_of
from ..base import PassContext, PassResult, PassStage
from ..patterns import as_if_quantized, refuse_quantized, unquantizable
from ..prune import budget
from .finetune import keep_constraints, trained
from .options import TrainingPass

if TYPE_CHECKING:
    from .loop.penalties import Project
    from .loop.session import Session


@dataclass(frozen=True, kw_only=True)
class Admm(TrainingPass):
    """Prune to exactly ``sparsity``, or quantise to ``bits``, or both, by ADMM (Deng et al. 2021).

    For ``iterations`` times ``epochs_per_iteration`` epochs the weights W are trained at a constant
    rate, and after each step of length lr they close ``lr rho / (1 + lr rho)`` of their distance to Z -
    U, the nearest allowed weights Z with the dual U (the pull ``rho / 2 |W - Z + U|²``, decoupled from
    the optimiser as weight decay is in AdamW). After each iteration ``Z =
    project(W + U)``, ``U += W - Z``, and rho grows by ``growth`` (it must come to exceed the curvature
    of the loss, or the iteration never settles). Then W is projected for good, and ``epochs`` of
    retraining follow in which masks stay and codes move on their grid only. With both, pruning goes
    first, and quantisation works on what survives.

    A target of 2 bits is ternary, which papers call 1.58 bits.
    """

    name: ClassVar[str] = "admm"
    stage: ClassVar[PassStage] = "prune"

    sparsity: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """The fraction of weights that is pruned, exactly; 0 does not prune."""
    scope: Literal["layer", "global", "lamp"] = "layer"
    """Whether each ``layer`` has this sparsity, or all chosen layers together, whose weights
    compete by magnitude (``global``) or which share it by LAMP scores (``lamp``), as in
    ``prune``."""
    bits: Annotated[int, Field(ge=0, le=8)] = 0
    """Width b of the codes; 0 does not quantise."""
    levels: Literal["uniform", "odd", "power-of-two"] = "uniform"
    """``uniform``: 2^b - 1 of them, -(2^(b-1) - 1) … 2^(b-1) - 1 (1 bit: the signs); ``odd``: all
    2^b, ±1, ±3, …, without a zero; ``power-of-two``: 0, ±1, ±2, ±4, …, 2^b - 1 of them, for 2 to 4
    bits."""
    per: Literal["layer", "channel"] = "layer"
    """Extent of a scale, which is that of least squared error."""
    iterations: Annotated[int, Field(ge=1)] = 5
    """How often weights are pulled and projected."""
    epochs_per_iteration: Annotated[int, Field(ge=1)] = 1
    """Epochs of training between two projections."""
    projections_per_epoch: Annotated[int, Field(ge=1)] = 1
    """Project so often within each epoch, where there is one to an iteration; the pull then grows by
    that root of ``growth`` each time."""
    rho: Annotated[float, Field(gt=0)] = 1.0
    """Strength of the pull at the start."""
    growth: Annotated[float, Field(ge=1)] = 4.0
    """Factor by which the pull grows after each iteration."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.sparsity and not self.bits:
            raise RecipeError(
                "admm-nothing",
                "neither a sparsity nor a number of bits is given",
                where=self.name,
                hint="e.g. sparsity = 0.9, or bits = 4, or both",
            )
        if self.projections_per_epoch > 1 and self.epochs_per_iteration > 1:
            raise RecipeError(
                "admm-schedule",
                f"it projects {self.projections_per_epoch} times in an epoch, and once in "
                f"{self.epochs_per_iteration} of them",
                where=self.key("projections_per_epoch"),
                hint="say one of both",
            )
        if self.levels == "power-of-two" and self.bits not in (0, 2, 3, 4):
            raise RecipeError(
                "admm-levels",
                f"{self.bits}-bit powers of two do not fit an 8-bit weight",
                where=self.key("bits"),
                hint="use 2, 3 or 4 bits, or levels = 'uniform'",
            )

    @property
    def stages(self) -> tuple[PassStage, ...]:
        """Pruning, quantising, or one after the other."""
        asked: dict[PassStage, float] = {"prune": self.sparsity, "quantize": self.bits}
        return tuple(stage for stage, amount in asked.items() if amount)

    def spares(self, net: Network) -> Mapping[str, str]:
        """Wiring, and layers that are quantised already."""
        return unquantizable(net)

    def requires(self, net: Network) -> None:
        """The chosen layers must be real-valued."""
        hint = "start again from the real-valued network, or use finetune"
        refuse_quantized(self.select(net), hint)

    def expect(self, net: Network) -> Network:
        """The chosen layers have codes, where it quantises."""
        return as_if_quantized(net, self.select(net), self.bits) if self.bits else net

    def run(self, net: Network, ctx: PassContext) -> PassResult:
        """Pull, project, retrain; first to prune and then to quantise."""
        from .loop.session import Session

        session = Session(self, net, ctx)
        chosen = self.select(net)
        residuals = {}
        if self.sparsity:
            residuals["pruning_residual"] = self._prune(session, chosen)
        if self.bits:
            residuals["quantisation_residual"] = self._quantize(session, chosen)
        result = trained(net, session)
        training = {**result.metrics["training"], **residuals}
        return PassResult(
            network=result.network,
            modified=result.modified,
            metrics={**result.metrics, "training": training},
            findings=result.findings,
        )

    def ensures(self, before: Network, after: Network) -> None:
        """Exactly as many pruned as asked; masks and codes of before are kept."""
        keep_constraints(self, before, after)
        new = {p.name: p.weight for p in after.projections}
        chosen = self.select(before)
        for group in [(p,) for p in chosen] if self.scope == "layer" else [chosen]:
            size = sum(p.weight.data.size for p in group)
            already = size - sum(p.weight.alive for p in group)
            dead = max(already, budget(self.sparsity, size))
            self.promise(
                size - sum(new[p.name].alive for p in group) == dead,
                f"{', '.join(p.name for p in group)}: exactly {dead} of {size} are pruned",
            )

    def _prune(self, session: Session, chosen: tuple[Projection, ...]) -> float:
        module = session.module
        alive = {p.name: _alive(p) for p in chosen}

        def masks(values: Mapping[str, Array]) -> dict[str, Array]:
            return self._masks(values, alive)

        def project(values: Mapping[str, Array]) -> dict[str, Array]:
            return {name: values[name] * mask for name, mask in masks(values).items()}

        residual = self._pull(session, "prune", chosen, project)
        for name, mask in masks(_latents(session, chosen)).items():
            module.set_mask(name, mask)
        if not self.bits:
            session.fit("retrain", self.epochs)
        return residual

    def _masks(self, values: Mapping[str, Array], alive: Mapping[str, Array]) -> dict[str, Array]:
        """What stays of each layer, each by itself or all in competition."""
        from .projections import largest, largest_by_lamp

        if self.scope == "lamp":
            kept = largest_by_lamp(list(values.values()), self.sparsity, [alive[n] for n in values])
            return dict(zip(values, kept, strict=True))
        groups = [list(values)] if self.scope == "global" else [[name] for name in values]
        found: dict[str, Array] = {}
        for names in groups:
            kept = largest([values[n] for n in names], self.sparsity, [alive[n] for n in names])
            found |= zip(names, kept, strict=True)
        return found

    def _quantize(self, session: Session, chosen: tuple[Projection, ...]) -> float:
        from .torch_network.grid import WeightGrid

        kinds: dict[str, Levels] = {"odd": "odd", "power-of-two": "powers"}
        kind = kinds.get(self.levels, "symmetric")
        # b bits name 2^b - 1 powers and zero; stored as integers they are 2^(b-1) bits wide.
        width = 1 << (self.bits - 1) if kind == "powers" else self.bits
        levels = levels_of(kind, width)
        alive = {}
        for p in chosen:
            mask = session.module.mask(p.name)
            alive[p.name] = np.ones(p.weight.shape, bool) if mask is None else mask.cpu().numpy()

        def project(values: Mapping[str, Array]) -> dict[str, Array]:
            found = {n: self._on_levels(v, alive[n], levels) for n, v in values.items()}
            return {name: codes * scale for name, (codes, scale) in found.items()}

        residual = self._pull(session, "quantize", chosen, project)
        session.fix(
            {
                name: WeightGrid(
                    kind=kind, scale=self._on_levels(v, alive[name], levels)[1], bits=width
                )
                for name, v in _latents(session, chosen).items()
            }
        )
        session.fit("retrain", self.epochs)
        return residual

    def _on_levels(self, values: Array, alive: Array, levels: Array) -> tuple[Array, Array]:
        """Codes, and scales in a shape that broadcasts against the weight."""
        from .projections import on_levels

        channels = values.shape[0] if self.per == "channel" and values.ndim else 1
        codes, scale = on_levels(values.reshape(channels, -1), alive.reshape(channels, -1), levels)
        shape = (-1, *(1,) * (values.ndim - 1)) if channels > 1 else ()
        return codes.reshape(values.shape), scale.reshape(shape)

    def _pull(
        self, session: Session, stage: str, chosen: tuple[Projection, ...], project: Project
    ) -> float:
        """Train towards the constraint; returns the last relative residual."""
        from .loop.penalties import Pull

        pull = Pull(
            session.module,
            [p.name for p in chosen],
            project,
            rho=self.rho,
            growth=self.growth,
            every=self.epochs_per_iteration,
            within=self.projections_per_epoch,
            steps=math.ceil(len(session.batches(session.data.samples)) / self.batch),
        )
        epochs = self.iterations * self.epochs_per_iteration
        session.fit(stage, epochs, penalties=[pull], best=False, constant=True)
        return pull.residual(session.module)


def _latents(session: Session, chosen: tuple[Projection, ...]) -> dict[str, Array]:
    """The real-valued weights as they are now."""
    return {p.name: session.module.latent(p.name).detach().cpu().double().numpy() for p in chosen}


def _alive(projection: Projection) -> Array:
    mask = projection.weight.mask
    return np.ones(projection.weight.shape, dtype=bool) if mask is None else mask
