"""A recipe that makes a network fit: changes found on its integers, carried out by the passes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ... import toml
from ...bundle import Bundle
from ...chip import family_class
from ...data import Samples
from ...errors import PassRefused, RecipeError
from ...ir.answers import right
from ...ir.arrays import Array
from ...ir.finding import Finding, Fix
from ...ir.network import Network
from ...ir.program import Program
from ...mapping import check_program, place_program, repair
from ...mapping.fix.plans import Plan, membrane_error, plans
from ...mapping.fix.suggest import carry_out
from ...mapping.rules.rules import shrinking_codes
from ...passes.base import Pass
from ...passes.kernels.coupling import coupling
from ...passes.kernels.remove_kernels import Fold, RemoveKernels
from ...passes.kernels.scores import Criterion
from ...passes.prune import Prune
from ...passes.quantization.quantize import Quantize
from ...progress import StopWatch, silent
from ...recipe import Recipe
from ...report import finding_record
from ..accounts.audit import other_target
from ..compiled import Compiled
from ..opening import open_bundle
from ..run import answers_of

SECONDS = 60.0
"""After so long no more is tried, once something was found that fits."""
_PATIENCE = 4
"""Where nothing was found that fits, the search goes on for so many times as long."""
_JUDGED = 300
"""Samples that what fits is compared on, at most."""
_LEAST_UNSEEN = 100
"""Where so many are there that no pass is fitted to, what fits is compared on these alone."""
_BATCH = 64
_ROUNDS = 5
"""Compilations to look at: trained weights round and prune a little differently from counted ones."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Fixing:
    """What came of looking for a recipe.

    ``recipe`` makes the network fit (None: none was found), ``steps`` tell what it adds, ``left`` are
    the violations that stay without one. ``proof`` says how it was checked, ``cores`` what it takes,
    ``ordered`` by what it was chosen among ``tried`` ones that fit, each with its figure. ``partial``
    says that looking was interrupted.
    """

    recipe: Recipe | None
    steps: tuple[str, ...] = ()
    left: tuple[Finding, ...] = ()
    proof: str = ""
    cores: int = 0
    ordered: str = ""
    tried: tuple[str, ...] = ()
    partial: bool = False


@dataclass(frozen=True)
class _Removal:
    """By what kernels are chosen, and what those that stay take over of the others' work."""

    score: Criterion
    fold: Fold

    def __str__(self) -> str:
        return "" if self.fold == "none" else f", chosen by {self.score}, folded into {self.fold}"


_PLAIN = (_Removal("l1", "none"),)
_FOLDED = tuple(_Removal(score, "weights") for score in ("second-order", "rate", "l1"))
"""Ways to remove kernels where samples tell which answers best: each is better than the others by
several points on some networks."""


@dataclass(frozen=True)
class _Changes:
    """Bits and density by layer, and channels that stay by the layer that feeds them."""

    bits: Mapping[str, int] = field(default_factory=dict)
    density: Mapping[str, float] = field(default_factory=dict)
    keep: Mapping[str, int] = field(default_factory=dict)

    def harsher(self, other: _Changes) -> bool:
        """Whether it changes no less than ``other`` in any respect."""
        return (
            all(self.bits.get(name, 99) <= bits for name, bits in other.bits.items())
            and all(self.density.get(name, 1.0) <= share for name, share in other.density.items())
            and all(self.keep.get(name, 1 << 30) <= kept for name, kept in other.keep.items())
        )

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


def fix_model(
    first: Compiled,
    compile_with: Callable[[Recipe], Compiled],
    samples: Samples | None = None,
    *,
    seconds: float = SECONDS,
    tell: Callable[[str], None] = silent,
) -> Fixing:
    """Look for a recipe with which a compilation that does not fit does.

    Changes of the whole network are estimated first, by bounds that place nothing, and the promising
    ones compiled, the one with the least membrane error first; then changes violation by violation.
    Those that fit are ordered by what they cost in answers where there are samples, else by membrane
    error.

    Args:
        first: the compilation.
        compile_with: compiles the same network the same way, with another recipe.
        samples: what costs are measured on; with them, what stays takes over what removed kernels did.
        seconds: of work, after which no more is tried once one was found that fits. The machine's
            other work does not count: what is found is not to depend on it.
        tell: is told what is being tried, and what came of it.

    Raises:
        KeyboardInterrupt: before anything was found that fits; later, the best until then is returned.
    """
    if first.fits:
        cores = len(first.placement.cores)
        return Fixing(recipe=first.recipe, cores=cores, proof="compiled with it and checked")
    search = _FixSearch(first, compile_with, samples, tell, seconds)
    left: tuple[Finding, ...] = ()
    partial = False
    try:
        search.whole_plans()
        if not search.found or not search.late:
            left = search.step_by_step()
    except KeyboardInterrupt:
        if not search.found:
            raise
        partial = True
    if not search.found:
        return Fixing(recipe=None, steps=search.steps, left=left, ordered=search.ordered)
    best = max(search.found, key=lambda fit: fit.score)
    return Fixing(
        recipe=best.recipe,
        steps=best.steps,
        cores=best.cores,
        proof="compiled with it and checked",
        ordered=search.ordered,
        tried=tuple(f"{'; '.join(fit.steps)}: {fit.figure}" for fit in search.found),
        partial=partial,
    )


@dataclass(frozen=True, kw_only=True)
class _Fit:
    """A recipe that makes it fit; more ``score`` is better."""

    recipe: Recipe
    changes: _Changes
    steps: tuple[str, ...]
    cores: int
    score: float
    figure: str


class _FixSearch:
    """What was tried to make a compilation fit."""

    def __init__(
        self,
        first: Compiled,
        compile_with: Callable[[Recipe], Compiled],
        samples: Samples | None,
        tell: Callable[[str], None],
        seconds: float,
    ) -> None:
        self._first, self._compile_with = first, compile_with
        fitted = first.recipe.calibration.samples
        self._unseen = samples is not None and len(samples) >= fitted + _LEAST_UNSEEN
        begin = fitted if self._unseen else 0
        self._samples = None if samples is None else samples.part(begin, _JUDGED)
        self._tell, self._seconds, self._watch = tell, seconds, StopWatch()
        self._chips = first.target.chips(first.board)
        self._removable = frozenset(
            name
            for group in coupling(first.network)
            if not group.fixed and len(group.populations) == 1
            for name in group.populations
        )
        self._bits = {p.name: p.weight.bits for p in first.network.projections if p.weight.bits}
        self._answers = None if self._samples is None else _answers(first.source, self._samples)
        self.found: list[_Fit] = []
        self.steps: tuple[str, ...] = ()

    @property
    def ordered(self) -> str:
        """By what those that fit are ordered."""
        if self._samples is None:
            return "estimated membrane error; there are no samples (--data) to count answers on"
        before, _ = self._judged(self._first, 0.0)
        seen = (
            "that no pass is fitted to" if self._unseen else "(passes are fitted to some of them)"
        )
        what = f"{self._what} ({before:.1%} before any of this)"
        return f"answers on {len(self._samples)} samples {seen}: {what}"

    @property
    def _what(self) -> str:
        labelled = self._samples is not None and self._samples.labels is not None
        return "right" if labelled else "those of the trained network"

    @property
    def late(self) -> bool:
        """Whether time is up, of which there is more as long as nothing fits."""
        return self._watch.seconds > self._seconds * (1 if self.found else _PATIENCE)

    def whole_plans(self) -> None:
        """Changes of the whole network, the least membrane error first."""
        first = self._first
        mendable = {*shrinking_codes(family_class(first.target.family)), "weight-bits"}
        if any(f.severity == "error" and f.code not in mendable for f in first.findings):
            return
        self._tell("estimating which changes may fit")
        candidates = plans(
            first.program,
            first.target,
            self._chips,
            removable=self._removable,
            stop=lambda: self._watch.seconds > self._seconds / 2,
        )
        done: list[Plan] = []
        for plan in candidates:
            if self.late:
                self._tell("time is up")
                return
            if any(other.gentler(plan) for other in done):
                continue
            changes = _Changes().after(plan.fixes, first.program)
            steps = tuple(fix.text for fix in plan.fixes)
            compiled = self._try(changes, steps, plan.error)
            if compiled is not None and compiled.fits:
                done.append(plan)
                if self._samples is None:
                    return  # the others have more membrane error

    def step_by_step(self) -> tuple[Finding, ...]:
        """Changes violation by violation; what stays violated."""
        compiled, changes, steps = self._first, _Changes(), list[str]()
        errors: tuple[Finding, ...] = ()
        for round_left in reversed(range(_ROUNDS)):
            errors = tuple(f for f in compiled.findings if f.severity == "error")
            if not errors or not round_left:
                break
            self._tell("changing what is violated, one by one")
            target = self._first.target
            found = repair(compiled.program, target, self._chips, removable=self._removable)
            if found.left or not found.fixes:
                return found.left or errors
            changes = changes.after(found.fixes, compiled.program)
            steps += [fix.text for fix in found.fixes]
            self.steps = tuple(steps)
            if any(changes.harsher(fit.changes) for fit in self.found):
                self._tell(f"{'; '.join(steps)}: harsher than what fits already")
                break
            error = membrane_error(self._first.program, found.fixes)
            fitting = self._try(changes, self.steps, error)
            if fitting is None:
                break
            compiled = fitting
        return errors

    def _try(self, changes: _Changes, steps: tuple[str, ...], error: float) -> Compiled | None:
        """Compile with some changes and keep them if they fit; None where a pass refuses."""
        first, told = self._first, "; ".join(steps)
        compiled: Compiled | None = None
        for way in _FOLDED if self._samples is not None and changes.keep else _PLAIN:
            if compiled is not None and self.late:
                break
            recipe = _with(first.recipe, changes, self._bits, first.target.name, steps, way)
            try:
                compiled = self._compile_with(recipe)
            except (PassRefused, RecipeError):
                return compiled
            if not compiled.fits:
                self._tell(f"{told}: does not fit yet")
                return compiled
            score, figure = self._judged(compiled, error)
            self._tell(f"{told}{way}: fits, {figure}")
            self.found.append(
                _Fit(
                    recipe=recipe,
                    changes=changes,
                    steps=(*steps, *([str(way).removeprefix(", ")] if str(way) else [])),
                    cores=len(compiled.placement.cores),
                    score=score,
                    figure=figure,
                )
            )
        return compiled

    def _judged(self, compiled: Compiled, error: float) -> tuple[float, str]:
        if self._samples is None or self._answers is None:
            return -error, f"estimated membrane error {error:.3g}"
        labels = self._samples.labels
        answers = _answers(compiled.network, self._samples)
        hits, of = right(answers, self._answers if labels is None else labels)
        share = hits / max(1, of)
        return share, f"{share:.1%} of {of} answers are {self._what}"


def _answers(network: Network, samples: Samples) -> Array:
    """What the float engine answers."""
    output = network.with_role("output")[0].name
    return answers_of("float", samples, output, network=network, batch=_BATCH)


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
    ways = [] if found.left else [found.fixes]
    if found.fixes or found.left:
        ways += [plan.fixes for plan in plans(bundle.program, chip, chips)]
    ways.sort(key=lambda fixes: membrane_error(bundle.program, fixes))
    left = found.left
    for fixes in ways:
        program = bundle.program
        for fix in fixes:
            program = carry_out(program, fix)
        placement = place_program(program, chip, chips)
        checked = check_program(program, placement, chip, chips, fixes_for=0)
        errors = tuple(f for f in checked if f.severity == "error")
        if not errors:
            break
        left = left or errors
    else:
        return Fixing(recipe=None, steps=tuple(f.text for f in found.fixes), left=left)
    steps = [fix.text for fix in fixes]
    changes = _Changes().after(fixes, bundle.program)
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
        ordered="estimated membrane error; a bundle is checked without samples",
        proof="its changes were made to the bundle's integers and checked; the bundle does not hold "
        "the trained network to compile",
    )


def _with(
    base: Recipe,
    changes: _Changes,
    bits: Mapping[str, int],
    target: str,
    steps: Sequence[str],
    way: _Removal = _PLAIN[0],
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
                score=way.score,
                fold=way.fold,
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
                like,
                bits=b,
                layers=tuple(sorted(n for n in wanted if wanted[n] == b)),
                ignore=(),
                layer_bits={},
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
        guard="off" if base.guard == "off" else "warn",  # what is given back would not fit
        max_divergence=base.max_divergence,
        blind=base.blind,
        calibration=base.calibration,
        passes=(*passes, *quantizers),
    )


def fix_record(fixing: Fixing) -> dict[str, Any]:
    """What came of it, as plain data."""
    return {
        "found": fixing.recipe is not None,
        "steps": list(fixing.steps),
        "cores": fixing.cores,
        "ordered": fixing.ordered,
        "tried": list(fixing.tried),
        "partial": fixing.partial,
        "proof": fixing.proof,
        "recipe": None if fixing.recipe is None else fixing.recipe.to_toml(),
        "left": [finding_record(f) for f in fixing.left],
    }
