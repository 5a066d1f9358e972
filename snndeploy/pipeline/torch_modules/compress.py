"""Compress a live torch module: the solvers of the passes, where NIR has no words for the network.

A spike-driven transformer multiplies spikes with spikes; no file format holds that, but its weights are
linear layers in front of spiking neurons all the same. So the layers are found by running the module:
a hook on every linear and convolutional layer sees what arrives, and what its output is handed to
(through batch norm) says which neuron's membrane it drives.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ...calibrate.fidelity import Fidelity
from ...errors import InputError
from ...ir.arrays import Array
from ...ir.finding import Finding
from ...ir.network import Network
from ...passes.guard.costs import told_by_few
from ...passes.prune import Prune
from ...passes.quantization.quantize import Quantize
from ...passes.second_order.layers import problem
from ...passes.second_order.plan import PrunePlan
from ...passes.second_order.room import refuse_beyond_room, solving_bytes
from ...progress import Progress, silent
from ...recipe import Recipe, load_recipe
from .answers import ModuleReference, held_out
from .arrivals import Arrivals, measured_together, moments_at
from .gains import Membranes, can_scale, divide
from .hooks import ModuleWatch, Run
from .projections import projection_of
from .settings import eased, quickly, steps_of, variants_of

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class ModuleLayer:
    """What was done to one layer: the neuron it drives, and the membrane error of its new weights.

    ``thresholds`` are the factors, ``(channels,)``, that the thresholds behind it should have changed
    by: what reaches them was divided instead. None where they stayed.
    """

    leak: float | None
    syn_leak: float | None
    loss: float
    sparsity: float
    thresholds: Array | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class CompressedModule:
    """The compressed copy, and a record per layer in the order they ran.

    ``answers`` compares it with the module as it was, on held-out calls where there are five or more
    (None with ``guard = "off"``, and where nothing had to be chosen and calls answer no classes);
    ``settings`` are what was chosen of several, ``relief`` the share of the compression that the guard
    gave back.
    """

    module: nn.Module
    layers: Mapping[str, ModuleLayer]
    answers: Fidelity | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    relief: float = 0.0
    findings: tuple[Finding, ...] = ()


def compress_module(
    module: nn.Module,
    samples: Iterable[Any],
    recipe: Recipe | str,
    *,
    layers: Sequence[str] | None = None,
    run: Run | None = None,
    progress: Progress = silent,
) -> CompressedModule:
    """Prune and quantise the linear and convolutional layers of a module by membrane error.

    Neurons are known by the parameters that their frameworks give them: SpikingJelly's ``IFNode``,
    ``LIFNode``, ``ParametricLIFNode``; snnTorch's ``Leaky``, ``Synaptic`` and their kin; Norse's
    ``LIF``, ``LIFBox`` and their cells. A layer whose output goes elsewhere (an attention product, an
    answer) is measured on its current. Every layer is measured in the uncompressed module, as OSBC
    and SBC are published, or, with ``sequential``, on what the layers before it deliver once they are
    compressed: then the module is run once per layer, and with ``asymmetry`` the uncompressed one too.
    Quantised weights are written back as the real values of their codes. With ``thresholds`` what
    reaches a neuron is divided by what its threshold would be multiplied by, in the batch norm behind
    the layer or in the layer, wherever nothing else reaches the neuron.

    Where a recipe leaves settings open (as ``sbc-plus`` does), each is tried on four of five calls, and
    the one whose module answers the fifth most like the uncompressed one is taken. With
    ``guard = "back-off"`` sparsity and bits are given back, in all layers alike, until the answers hold
    ``max_divergence``. An answer is ``(samples, classes)``, or with a time axis before it.

    Args:
        module: is not changed; state that it keeps is reset before each sample where it can be
            (``reset()`` of its parts).
        samples: what the module takes, one call each; gone through once per group of layers, so a
            list rather than a generator.
        recipe: passes ``prune``, ``quantize`` or ``prune-quantize`` with second-order methods.
        layers: names of the layers to compress (default: all that run); the others stay.
        run: how to run the module on a sample, for modules that are called step by step.
        progress: is told (layers done, layers).

    Raises:
        PassRefused: the recipe asks for what has no form here (magnitude, budgets by loss), or a
            layer takes more memory than there is.
        InputError: no layer was found, the module was not called on the samples, or it has to be
            compared and a call does not answer with a tensor of classes.
    """
    recipe = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    prune, quantize = steps_of(recipe)
    call = run or (lambda m, x: m(x))
    data = list(samples)[: recipe.calibration.samples]
    task = _Task(module, call, layers, progress, Arrivals(module, call), Membranes(module, call))
    variants = variants_of(prune, quantize)
    watched = recipe.guard in ("warn", "back-off", "search")
    if len(variants) == 1 and not watched:
        result, records = task.compressed(data, *variants[0][1:])
        return CompressedModule(module=result, layers=records)
    fit, test = held_out(data)
    reference = None
    try:
        reference = ModuleReference(module, call, test, held_out=len(test) < len(data))
    except InputError:
        if len(variants) > 1 or recipe.guard != "warn":
            raise
        fit = data  # nobody compares, so nothing has to be kept aside
    settings, first, second = variants[0]
    if len(variants) > 1:
        assert reference is not None
        errors = [
            reference.fidelity(task.compressed(fit, *quickly(p, q))[0]).divergence
            for _, p, q in variants
        ]
        settings, first, second = variants[int(np.argmin(errors))]
    for level in range(_LEVELS + 1):
        relief = level / _LEVELS
        result, records = copy.deepcopy(module), dict[str, ModuleLayer]()
        if relief < 1:
            result, records = task.compressed(fit, *eased(first, second, relief))
        answers = None if reference is None else reference.fidelity(result)
        held = answers is None or answers.bound <= recipe.max_divergence
        if held or recipe.guard == "warn":
            break
    return CompressedModule(
        module=result,
        layers=records,
        answers=answers,
        settings=settings,
        relief=relief,
        findings=(
            *_told(answers, relief, recipe.max_divergence),
            *(() if reference is None or relief == 1 else told_by_few(reference, "warning")),
        ),
    )


def _told(answers: Fidelity | None, relief: float, limit: float) -> Iterator[Finding]:
    """What became of the answers."""
    if relief:
        yield Finding(
            code="backed-off",
            severity="warning",
            where="answers",
            message=f"{relief:.0%} of the compression was given back in every layer: {answers}",
            rule=f"a divergence of {limit:g} nats at most, its standard error included",
        )
    elif answers is not None and answers.bound > limit:
        yield Finding(
            code="answers-differ",
            severity="warning",
            where="answers",
            message=str(answers),
            rule=f"a divergence of {limit:g} nats at most, its standard error included; less "
            'sparsity, more bits, or guard = "back-off" keep it',
        )


_LEVELS = 8
"""Steps in which the guard gives compression back."""


@dataclass(frozen=True, eq=False)
class _Task:
    """A module that is compressed, perhaps several times."""

    module: nn.Module
    call: Run
    layers: Sequence[str] | None
    progress: Progress
    arrivals: Arrivals
    membranes: Membranes

    def compressed(
        self, data: list[Any], prune: Prune | None, quantize: Quantize | None
    ) -> tuple[nn.Module, dict[str, ModuleLayer]]:
        """A compressed copy, and what was done to each layer."""
        import torch

        step = prune or quantize
        assert step is not None
        kernel = step.settings().kernels[0]
        module, call, progress = self.module, self.call, self.progress
        result = copy.deepcopy(module)
        with torch.no_grad():
            watch = ModuleWatch(module, self.layers)
            watch.run(call, data[:1])
            ran = [seen for seen in watch.layers.values() if seen.calls]
            if not ran:
                raise InputError(
                    "module-no-layers",
                    "no linear or convolutional layer ran",
                    where=type(module).__name__,
                    hint="give samples, and run= if a call needs more than x",
                )
            blocks = [projection_of(seen) for seen in ran]
            compares = step.sequential and any(step.asymmetry)
            refuse_beyond_room(
                (b.projections, solving_bytes(b, b.projections, compares=compares, several=False))
                for b in blocks
            )
            plan = None if prune is None else _plan(prune, blocks)
            records: dict[str, ModuleLayer] = {}
            rows = quantize is None or quantize.per == "channel"
            scaled = [seen for seen in ran if step.thresholds and can_scale(seen, ran, rows)]
            groups = measured_together(blocks, step.max_memory << 20)
            if step.sequential:
                groups = [[i] for i in range(len(ran))]
            for group in groups:
                layers = [ran[i] for i in group]
                aim = None
                if compares and records:
                    aim = self.arrivals.of(data, layers, step.max_memory << 20)
                measured = result if step.sequential else module
                moments = moments_at(measured, call, data, layers, step, kernel, aim)
                for i in group:
                    progress(i, len(ran))
                    asymmetry = step.asymmetry[0] if records and step.asymmetry else 0.0
                    found = problem(
                        (blocks[i].projections[0],), moments[ran[i].name], step.damp, asymmetry
                    )
                    solution = None
                    if plan is not None:
                        solution = plan.solve(i, found, blocks[i])
                    if quantize is not None:
                        mask = None if solution is None else solution.weights[0].mask
                        flat = None if mask is None else mask.reshape(len(mask), -1)
                        solution = quantize.codes(
                            found, blocks[i], step.max_memory << 20, mask=flat
                        )
                    assert solution is not None
                    weight = solution.weights[0]
                    own: Any = result.get_submodule(ran[i].name).weight
                    values = weight.values() / ran[i].gain.reshape(-1, *(1,) * (own.ndim - 1))
                    own.copy_(torch.as_tensor(values).reshape(own.shape))
                    factor = None
                    if ran[i] in scaled:
                        factor = self.membranes.factor(result, data, ran[i], scaled)
                        divide(result, ran[i], factor)
                    records[ran[i].name] = ModuleLayer(
                        leak=ran[i].leak,
                        syn_leak=ran[i].syn_leak,
                        loss=solution.loss,
                        sparsity=1 - weight.alive / weight.data.size,
                        thresholds=factor,
                    )
        return result, records


def _plan(prune: Prune, blocks: list[Network]) -> PrunePlan:
    return PrunePlan.for_layers(prune, [b.projections for b in blocks])
