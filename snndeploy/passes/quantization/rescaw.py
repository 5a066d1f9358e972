"""ReScaW quantisation: rescaled weights on a uniform grid of 2^b levels, none of which is zero.

After Wei et al., QP-SNN (ICLR 2025), eqs. 9 and 10: ``Ŵ = γ · (2/s · round(s/2 · (clamp(W/γ, -1, 1)
+ 1)) - 1)`` with ``s = 2^b - 1``. Level k of 0 … s has the value ``γ · (2k - s) / s``, so it is stored
as the odd integer ``2k - s`` with the scale ``γ / s``: an ordinary `Weight` whose codes are its truth.
γ is stored with them and never derived again: a mean of rounded weights is another mean.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from ...chip.families.loihi import EVEN_MANTISSA_BITS
from ...errors import RecipeError
from ...ir.arrays import Array
from ...ir.finding import Finding
from ...ir.network import Network, Projection
from ...ir.weights import Weight
from ..base import Pass, PassContext, PassResult, PassStage
from ..clipping import eased_bits
from ..patterns import LayerPass, as_if_quantized, to_quantize, unquantizable

Gamma = Literal["mean", "percentile", "max", "mse"]

_CANDIDATES = np.append(np.geomspace(0.002, 1.2, 128), 1.0)
_REFINEMENTS = 4


def intervals(bits: int) -> int:
    """``s``: number of steps between the lowest and the highest of ``2**bits`` levels."""
    return (1 << bits) - 1


def gamma(
    rows: Array, mode: Gamma, *, bits: int, alive: Array | None = None, percentile: float = 99.0
) -> Array:
    """The largest value that the grid of each row represents.

    Args:
        rows: weights, ``(channels, weights per channel)``.
        mode: ``"mean"`` magnitude (clips 42 % of Gaussian weights: a choice for training),
            ``"percentile"`` (the larger magnitude of the two percentiles, from either end), ``"max"``
            (clips nothing), or ``"mse"`` (least squared error, by a search that includes ``"max"``).
        bits: width of the codes; only ``"mse"`` depends on it.
        alive: True where a weight was not pruned; others have no say.
        percentile: of ``mode="percentile"``, 50 … 100.

    Returns:
        ``(channels,)``, positive; 1 for a row in which nothing but zeros is alive.
    """
    found = np.zeros(len(rows))
    for i, row in enumerate(np.asarray(rows, dtype=np.float64)):
        values = row if alive is None else row[alive[i]]
        if values.size:
            found[i] = _gamma(values, mode, bits, percentile)
    return np.where(found > 0, found, 1.0)


def _gamma(values: Array, mode: Gamma, bits: int, percentile: float) -> float:
    if mode == "mean":
        return float(np.abs(values).mean())
    if mode == "max":
        return float(np.abs(values).max())
    if mode == "percentile":
        return float(np.abs(np.percentile(values, (100 - percentile, percentile))).max())
    found, largest = _least_squares(np.abs(values), bits), float(np.abs(values).max())
    # what refines a step rounds: where the largest value is as good, its own codes are exact
    return min((largest, found), key=lambda g: _error(values, g, bits))


def _error(values: Array, gamma: float, bits: int) -> float:
    """Squared error of one row; none of a row of zeros."""
    if gamma == 0:
        return 0.0
    back = rescaw_codes(values[None], np.array([gamma]), bits)[0] * (gamma / intervals(bits))
    return float(np.square(back - values).sum())


def _least_squares(magnitude: Array, bits: int) -> float:
    """γ of nearly the least squared error: a grid of steps q, each refined.

    For the codes c at a step, the best step is a·c / c·c, and so on; no such step raises the error.
    Code 2j + 1 begins at a = 2jq, so with the weights sorted both products are a look-up per level.
    """
    top = float(magnitude.max())
    if top == 0:
        return 0.0
    s = intervals(bits)
    ordered = np.sort(magnitude)
    above = np.append(np.cumsum(ordered[::-1])[::-1], 0.0)
    level = np.arange(1, 1 << (bits - 1))
    steps = top / s * _CANDIDATES
    for _ in range(_REFINEMENTS):
        first = np.searchsorted(ordered, steps[:, None] * (2 * level), side="right")
        dot = above[0] + 2 * above[first].sum(axis=1)
        norm = ordered.size + (ordered.size - first) @ (8 * level)
        best = int(np.argmax(dot * dot / norm))
        steps = dot / norm
    return float(steps[best] * s)


def rescaw_codes(rows: Array, gamma: Array, bits: int) -> Array:
    """Codes of ``rows``: odd integers in ``-s … s``; the weight is ``code * gamma / s``.

    Halves round to even levels, as in the formula; a weight too small to move ``W/γ + 1`` keeps its
    sign all the same, and an exact zero takes the level that the formula gives it.

    Args:
        rows: weights, ``(channels, weights per channel)``.
        gamma: ``(channels,)``, positive.
        bits: width of the codes.
    """
    s = intervals(bits)
    with np.errstate(over="ignore"):  # a subnormal γ: infinity is clipped like any large ratio
        scaled = np.clip(np.asarray(rows, dtype=np.float64) / gamma[:, None], -1, 1)
    codes = (2 * np.rint(s / 2 * (scaled + 1)) - s).astype(np.int32)
    return np.where(codes * np.sign(rows) < 0, -codes, codes)


def utilisation(bits: int, extent: float) -> float:
    """Fraction of the ``2**bits`` levels of γ = 1 that weights within ±``extent`` use (eq. 8)."""
    s = intervals(bits)
    return (s * extent + 1) / (s + 1)


@dataclass(frozen=True, kw_only=True)
class ReScaW(LayerPass):
    """Quantise to 2^bits levels without a zero, rescaled to each channel's range (QP-SNN's ReScaW).

    Masks apply after quantising and γ is that of the weights that survive; a channel that holds
    nothing but zeros is pruned, as no code stands for zero.

    On a chip a b-bit code takes b + 1 bits (a sign, and b bits of an odd magnitude): compare it with the
    symmetric quantiser of that width. Wildcards spare what `quantize` spares.
    """

    name: ClassVar[str] = "rescaw"
    stage: ClassVar[PassStage] = "quantize"

    bits: Annotated[int, Field(ge=1, le=8)] = 4
    """Width b of the codes: 2^b levels."""
    gamma: Gamma = "mse"
    """The largest level of a channel or layer: the ``mean`` weight magnitude (the paper's choice
    while training; one-shot it clips 42 % of Gaussian weights at every width), a ``percentile``,
    the ``max``, or the value of least squared error (``mse``)."""
    percentile: Annotated[float, Field(gt=50, le=100)] = 99.0
    """The percentile of that name, from either end."""
    per: Literal["channel", "layer"] = "channel"
    """Extent of a scale."""
    grid: Literal["free", "loihi"] = "free"
    """``loihi`` makes every step a power of two, up to 7 bits: each code is then exactly an even
    mantissa with an exponent, and nothing is rounded later."""
    exempt: tuple[Literal["first", "last"], ...] = ()
    """Leave out the layers that read an input (``first``) or feed an output (``last``), both of
    which the paper keeps in floating point."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.grid == "loihi" and self.bits > EVEN_MANTISSA_BITS:
            raise RecipeError(
                "rescaw-bits",
                f"{self.bits}-bit codes without a zero do not fit an 8-bit mantissa of mixed sign",
                where=self.key("bits"),
                hint=f"use bits <= {EVEN_MANTISSA_BITS}, or the pass quantize",
            )

    def spares(self, net: Network) -> Mapping[str, str]:
        """Quantised, wiring and exempt layers are not taken by a wildcard."""
        roles = {p.name: p.role for p in net.populations}
        exempt: dict[str, str] = {}
        for p in net.projections:
            if "first" in self.exempt and any(roles[s.population] == "input" for s in p.sources):
                exempt[p.name] = "it is exempt, as it reads an input"
            elif "last" in self.exempt and roles[p.target] == "output":
                exempt[p.name] = "it is exempt, as it feeds an output"
        return {**exempt, **unquantizable(net)}

    @property
    def looks(self) -> bool:
        """It looks at the weights alone."""
        return False

    def expect(self, net: Network) -> Network:
        """The chosen layers have codes."""
        return as_if_quantized(net, self.select(net), self.bits)

    def eased(
        self, before: Network, after: Network, relief: Mapping[str, float]
    ) -> tuple[Pass, ...]:
        """More bits per layer; a layer that gets everything back stays real-valued."""
        del after
        wider: dict[int, list[str]] = {}
        for p in self.select(before):
            share = relief.get(p.name, 0.0)
            if share < 1:
                wider.setdefault(eased_bits(self.bits, EVEN_MANTISSA_BITS, share), []).append(
                    p.name
                )
        return tuple(
            dataclasses.replace(self, bits=bits, layers=tuple(names), ignore=())
            for bits, names in sorted(wider.items())
        )

    def requires(self, net: Network) -> None:
        """Something real-valued must be chosen."""
        to_quantize(self, net)

    def run(self, net: Network, ctx: PassContext) -> PassResult:
        """Choose γ per channel, round, and store the codes."""
        chosen = self.select(net)
        changed = []
        for done, projection in enumerate(chosen):
            ctx.progress("layers", done, len(chosen))
            changed.append(
                dataclasses.replace(projection, weight=self.quantized(projection.weight))
            )
        pairs = list(zip(chosen, changed, strict=True))
        return PassResult(
            network=net.replace(projections=changed),
            modified=True,
            metrics={p.name: _metrics(p.weight, q.weight) for p, q in pairs},
            findings=tuple(_zeros(p) for p in chosen if _zeros_alive(p.weight)),
        )

    def ensures(self, before: Network, after: Network) -> None:
        """Odd codes in range, and no weight brought back to life."""
        new = {p.name: p.weight for p in after.projections}
        for p in self.select(before):
            weight = new[p.name]
            alive = np.ones(weight.shape, bool) if weight.mask is None else weight.mask
            self.promise(
                weight.bits == self.bits
                and bool((np.abs(weight.data) <= intervals(self.bits)).all())
                and np.array_equal(weight.data % 2 == 1, alive),
                f"{p.name} holds odd codes of {self.bits} bits where it is alive",
            )
            self.promise(
                p.weight.mask is None or bool((alive <= p.weight.mask).all()),
                f"{p.name}: what was pruned stays pruned",
            )

    def quantized(self, weight: Weight) -> Weight:
        """Codes, scale and mask of one weight."""
        data = weight.data
        channels = data.shape[0] if self.per == "channel" and data.ndim else 1
        rows = data.reshape(channels, -1).astype(np.float64)
        alive = None if weight.mask is None else weight.mask.reshape(channels, -1)
        used: Array = np.asarray(rows.any(axis=1))
        step = gamma(rows, self.gamma, bits=self.bits, alive=alive, percentile=self.percentile)
        step = step / intervals(self.bits)
        # What a dead channel would be scaled by says nothing; an ordinary value disturbs nothing.
        step = np.where(used, step, step[used].mean() if used.any() else 1.0)
        if self.grid == "loihi":
            exponent = np.log2(step)
            # γ = max promises that nothing is clipped.
            step = 2.0 ** (np.ceil(exponent - 1e-12) if self.gamma == "max" else np.rint(exponent))
        codes = rescaw_codes(rows, step * intervals(self.bits), self.bits).reshape(data.shape)
        mask = weight.mask
        if not used.all():
            live = np.broadcast_to(used[:, None], rows.shape).reshape(data.shape)
            mask = live if mask is None else mask & live
        scale = step[0] if channels == 1 else step.reshape(-1, *(1,) * (data.ndim - 1))
        return Weight(codes, scale=np.asarray(scale), bits=self.bits, mask=mask, levels="odd")


def _zeros_alive(weight: Weight) -> int:
    """Weights that are exactly zero but were not pruned."""
    return weight.alive - weight.nonzero


def _zeros(projection: Projection) -> Finding:
    count = _zeros_alive(projection.weight)
    return Finding(
        code="zeros-quantized",
        severity="note",
        where=projection.name,
        message=f"{count} of its weights are exactly zero and not pruned; no code stands for zero, "
        "so they become the level next to it (those of an all-zero channel are pruned)",
        rule="the grid of rescaw has no zero",
    )


def _metrics(old: Weight, new: Weight) -> dict[str, float]:
    alive = np.ones(new.shape, dtype=bool) if new.mask is None else new.mask
    assert new.bits is not None
    top = intervals(new.bits)
    power = float(np.square(old.data, dtype=np.float64).sum())
    error = float(np.square((old.data - new.values())[alive], dtype=np.float64).sum())
    at_end = np.abs(new.data[alive]) == top
    assert new.scale is not None
    ends: Array = np.broadcast_to(new.scale * (top * (1 + 1e-9)), new.shape)
    beyond: Array = np.abs(old.data) > ends
    return {
        "mean_squared_error": error / max(1, int(alive.sum())),
        "relative_error": (error / power) ** 0.5 if power else 0.0,
        "levels": float(np.unique(new.data[alive]).size),
        "at_last_level": float(at_end.mean()) if at_end.size else 0.0,
        "clipped": float(beyond[alive].mean()) if at_end.size else 0.0,
    }
