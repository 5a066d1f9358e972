"""What a recipe asks of a live module: pruning, quantisation, and the settings that it leaves open."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

from ...errors import PassRefused
from ...passes.clipping import eased_bits
from ...passes.prune import Prune
from ...passes.quantization.prune_quantize import PruneQuantize
from ...passes.quantization.quantize import Quantize
from ...recipe import Recipe


def steps_of(recipe: Recipe) -> tuple[Prune | None, Quantize | None]:
    """The pruning and the quantisation that a recipe asks for."""
    prune: Prune | None = None
    quantize: Quantize | None = None
    for step in recipe.passes:
        if isinstance(step, PruneQuantize):
            prune, quantize = step.parts()
        elif isinstance(step, Prune):
            prune = step
        elif isinstance(step, Quantize):
            quantize = step
        else:
            raise _refused(f"the pass {step.name!r}")
    for part in (prune, quantize):
        if part is None:
            continue
        if part.method in ("magnitude", "sparsegpt", "rtn"):
            raise _refused(f'method = "{part.method}"')
        part.refuse_unused()
        several = len(part.kernels) > 1 or len(part.asymmetry) > 1
        if several and part.choose == "layer":
            raise _refused('a choice by the layer (choose = "layer")')
    if prune is not None and prune.scope not in ("layer", "lamp", "measured"):
        raise _refused(f'scope = "{prune.scope}"')
    if (prune is not None and prune.layer_sparsity) or (quantize and quantize.layer_bits):
        raise _refused("an amount of single layers")
    if prune is None and quantize is None:
        raise _refused("a recipe without prune or quantize")
    seen = {p.settings().kernels for p in (prune, quantize) if p is not None}
    if len(seen) > 1:  # one run over the samples serves both
        raise _refused("pruning and rounding that look at different kernels")
    return prune, quantize


def variants_of(
    prune: Prune | None, quantize: Quantize | None
) -> list[tuple[dict[str, Any], Prune | None, Quantize | None]]:
    """Every setting that a recipe leaves open, with its passes.

    Codes lie on the grid of ``per``, for a module is no chip.
    """
    step = prune or quantize
    assert step is not None
    kernels: tuple[Any, ...] = step.kernels or ((),)
    asymmetries = step.asymmetry or (0.0,)
    scopes: list[str] = [""] if prune is None else [prune.scope]
    if scopes == ["measured"]:
        scopes = ["lamp", "layer"]
    thresholds = (
        (False, True) if step.thresholds and step.choose == "output" else (step.thresholds,)
    )
    found = []
    for kernel, asymmetry, scope, corrected in itertools.product(
        kernels, asymmetries, scopes, thresholds
    ):
        own: dict[str, Any] = {
            "kernels": (kernel,) if kernel else (),
            "asymmetry": (asymmetry,),
            "choose": "layer",
            "thresholds": corrected,
        }
        p = None if prune is None else dataclasses.replace(prune, **{**own, "scope": scope})
        q = None
        if quantize is not None:
            q = dataclasses.replace(quantize, **own, grid="symmetric")
        told = {"kernel": kernel, "asymmetry": asymmetry, "scope": scope, "thresholds": corrected}
        absent = {"kernel": (), "scope": "", "thresholds": None if step.thresholds else False}
        found.append(({k: v for k, v in told.items() if v != absent.get(k)}, p, q))
    return found


def quickly(prune: Prune | None, quantize: Quantize | None) -> tuple[Prune | None, Quantize | None]:
    """The same passes with what is only polish left out."""
    p = None if prune is None else dataclasses.replace(prune, search="rounds")
    q = None if quantize is None else dataclasses.replace(quantize, refine=0)
    return p, q


def eased(
    prune: Prune | None, quantize: Quantize | None, relief: float
) -> tuple[Prune | None, Quantize | None]:
    """Passes that give back a share of what they take."""
    if prune is not None:
        prune = dataclasses.replace(prune, sparsity=1 - (1 - prune.sparsity) ** (1 - relief))
    if quantize is not None:
        bits = eased_bits(quantize.bits, max(8, quantize.bits), relief)
        quantize = dataclasses.replace(quantize, bits=bits)
    return prune, quantize


def _refused(what: str) -> PassRefused:
    return PassRefused(
        "module-option",
        f"{what} has no form on a live module",
        where="compress_module",
        hint='for example the recipes "sbc" and "osbc"',
    )
