"""A recipe that makes a network fit: changes found on its integers, carried out by the passes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ... import toml
from ...bundle import Bundle
from ...errors import PassRefused, RecipeError
from ...ir.finding import Finding, Fix
from ...ir.program import Program
from ...mapping import check_program, place_program, repair
from ...passes.base import Pass
from ...passes.kernels.coupling import coupling
from ...passes.kernels.remove_kernels import RemoveKernels
from ...passes.prune import Prune
from ...passes.quantization.quantize import Quantize
from ...recipe import Recipe
from ...report import finding_record
from ..audit import other_target
from ..compiled import Compiled
from ..opening import open_bundle

_ROUNDS = 5
"""Compilations to look at: trained weights round and prune a little differently from counted ones."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Fixing:
    """What came of looking for a recipe.

    ``recipe`` makes the network fit (None: none was found), ``steps`` tell what it adds, ``left`` are
    the violations that stay without one. ``proof`` says how it was checked, ``cores`` what it takes.
    """

    recipe: Recipe | None
    steps: tuple[str, ...] = ()
    left: tuple[Finding, ...] = ()
    proof: str = ""
    cores: int = 0


@dataclass(frozen=True)
class _Changes:
    """Bits and density by layer, and channels that stay by the layer that feeds them."""

    bits: Mapping[str, int] = field(default_factory=dict)
    density: Mapping[str, float] = field(default_factory=dict)
    keep: Mapping[str, int] = field(default_factory=dict)

    def after(self, fixes: Sequence[Fix], program: Program) -> _Changes:
        """These changes and some more, found on ``program``; the stronger one counts."""
        bits, density, keep = dict(self.bits), dict(self.density), dict(self.keep)
        shapes = {g.name: g.shape[0] for g in program.groups}
        for fix in fixes:
            options = dict(fix.options)
            names = [n for n in str(options["layers"]).split(",") if n in layers_of(program)]
            for name in names:
                if fix.action == "quantize":
                    bits[name] = min(bits.get(name, 99), int(options["bits"]))
                elif fix.action == "prune":
                    density[name] = min(density.get(name, 1.0), float(options["density"]))
            if fix.action == "remove-kernels":
                group = str(options["layers"])
                shapes[group] -= int(options["count"])
                feeding = [s.name for s in program.incoming(group) if s.name in layers_of(program)]
                keep[feeding[0]] = shapes[group]
        return _Changes(bits, density, keep)


def layers_of(program: Program) -> frozenset[str]:
    """Synapse groups that are layers of the network (not the biases that compartments carry)."""
    constant = {g.name for g in program.groups if g.kind == "constant"}
    return frozenset(
        s.name for s in program.synapses if not constant & {o.group for o in s.sources}
    )


def fix_model(first: Compiled, compile_with: Callable[[Recipe], Compiled]) -> Fixing:
    """Look for a recipe with which a compilation that does not fit does.

    Args:
        first: the compilation.
        compile_with: compiles the same network the same way, with another recipe.
    """
    compiled, recipe, changes = first, first.recipe, _Changes()
    target, chips = first.target, first.target.chips(first.board)
    removable = frozenset(
        name
        for group in coupling(first.network)
        if not group.fixed and len(group.populations) == 1
        for name in group.populations
    )
    steps: list[str] = []
    for round_left in reversed(range(_ROUNDS)):
        errors = tuple(f for f in compiled.findings if f.severity == "error")
        if not errors:
            return Fixing(
                recipe=recipe,
                steps=tuple(steps),
                cores=len(compiled.placement.cores),
                proof="compiled with it and checked",
            )
        if not round_left:
            break
        found = repair(compiled.program, target, chips, removable=removable)
        if found.left or not found.fixes:
            return Fixing(recipe=None, steps=tuple(steps), left=found.left or errors)
        changes = changes.after(found.fixes, compiled.program)
        steps += [fix.text for fix in found.fixes]
        bits = {p.name: p.weight.bits for p in first.network.projections if p.weight.bits}
        recipe = _with(first.recipe, changes, bits, target.name, steps)
        try:
            compiled = compile_with(recipe)
        except (PassRefused, RecipeError):
            break
    return Fixing(recipe=None, steps=tuple(steps), left=errors)


def fix_bundle(bundle: str | Path | Bundle, target: str | None, board: str | None) -> Fixing:
    """Look for a recipe with which a bundle's network fits a target.

    A bundle holds integers, not the trained network, so the changes are made to these and checked;
    which weights go is for the recipe to find out when the network is compiled with it.
    """
    bundle = open_bundle("check", bundle)
    chip = bundle.target if target is None else other_target(bundle, target)
    chips = chip.chips(board)
    base = Recipe.from_toml(toml.dumps(toml.loads(bundle.lock).get("recipe", {"name": "none"})))
    found = repair(bundle.program, chip, chips)
    if found.left:
        return Fixing(recipe=None, steps=tuple(f.text for f in found.fixes), left=found.left)
    placement = place_program(found.program, chip, chips)
    left = check_program(found.program, placement, chip, chips, fixes_for=0)
    if errors := tuple(f for f in left if f.severity == "error"):
        return Fixing(recipe=None, left=errors)
    steps = [fix.text for fix in found.fixes]
    changes = _Changes().after(found.fixes, bundle.program)
    bits = {s.name: s.weight_bits for s in bundle.program.synapses}
    quantized = any("quantize" in p.stages for p in base.passes)
    recipe = base
    if steps:
        recipe = _with(
            base,
            changes,
            {n: b for n, b in bits.items() if quantized and n in layers_of(bundle.program)},
            chip.name,
            steps,
        )
    return Fixing(
        recipe=recipe,
        steps=tuple(steps),
        cores=len(placement.cores),
        proof="its changes were made to the bundle's integers and checked; the bundle does not hold "
        "the trained network to compile",
    )


def _with(
    base: Recipe, changes: _Changes, bits: Mapping[str, int], target: str, steps: Sequence[str]
) -> Recipe:
    """A recipe with changes added to it; ``bits`` are those that it quantises layers to."""
    passes: list[Pass] = [p for p in base.passes if "quantize" not in p.stages]
    quantizers = [p for p in base.passes if "quantize" in p.stages]
    late = [i for i, p in enumerate(passes) if "prune" in p.stages]
    if changes.keep:
        at = late[0] if late else len(passes)
        passes.insert(
            at,
            RemoveKernels(
                layers=tuple(sorted(changes.keep)),
                keep=dict(sorted(changes.keep.items())),
                kinds=("conv", "dense"),
            ),
        )
    for density in sorted(set(changes.density.values())):
        names = tuple(sorted(n for n, d in changes.density.items() if d == density))
        passes.append(Prune(layers=names, sparsity=round(1 - density, 6)))
    if changes.bits and all(type(p) is Quantize for p in quantizers):
        like = next(iter(quantizers), Quantize())
        assert isinstance(like, Quantize)
        wanted = {**bits, **{n: min(b, bits.get(n, b)) for n, b in changes.bits.items()}}
        quantizers = [
            dataclasses.replace(
                like, bits=b, layers=tuple(sorted(n for n in wanted if wanted[n] == b)), ignore=()
            )
            for b in sorted(set(wanted.values()))
        ]
    elif changes.bits:  # a pass that also does other things quantises all of its layers alike
        least = min(changes.bits.values())
        quantizers = [
            dataclasses.replace(p, bits=least) if "bits" in p.options() else p  # type: ignore[call-arg]
            for p in quantizers
        ]
    return Recipe(
        name=f"{base.name}-for-{target}",
        description=f"{base.name}, and what makes it fit {target}: {'; '.join(steps)}.",
        seed=base.seed,
        calibration=base.calibration,
        passes=(*passes, *quantizers),
    )


def fix_record(fixing: Fixing) -> dict[str, Any]:
    """What came of it, as plain data."""
    return {
        "found": fixing.recipe is not None,
        "steps": list(fixing.steps),
        "cores": fixing.cores,
        "proof": fixing.proof,
        "recipe": None if fixing.recipe is None else fixing.recipe.to_toml(),
        "left": [finding_record(f) for f in fixing.left],
    }
