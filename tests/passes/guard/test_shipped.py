"""Shipped recipes: no answers lost beyond the limit, and every grid of theirs trains on as it is."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from snndeploy.data import Samples
from snndeploy.demo import FOLDER, digits
from snndeploy.errors import PassRefused
from snndeploy.ingest import read_network
from snndeploy.ir.network import Network
from snndeploy.ir.weights import Weight
from snndeploy.passes.base import PassContext, PassEvent
from snndeploy.passes.kernels.remove_kernels import RemoveKernels
from snndeploy.passes.prune import Prune
from snndeploy.passes.quantization.prune_quantize import PruneQuantize
from snndeploy.passes.quantization.quantize import Quantize
from snndeploy.passes.runner import check_requirements, run_passes
from snndeploy.passes.second_order.budgets import budget
from snndeploy.passes.training.finetune import FineTune
from snndeploy.passes.training.torch_network.module import TrainableNetwork
from snndeploy.pipeline import compress
from snndeploy.recipe import Recipe, load_recipe, recipe_names
from tests.support.builders import chain_net
from tests.support.labelled import context, digits_mlp, flat

ONE_SHOT = [n for n in recipe_names() if n not in ("admm", "qp-snn", "retrain", "spatio-temporal")]


def calibrated() -> PassContext:
    """Some digits to look at, and to train on."""
    return dataclasses.replace(context(flat=True), calibration=flat(0, 60))


def quick(name: str) -> Recipe:
    """A shipped recipe whose second-order passes take their short ways."""
    recipe = load_recipe(name)
    return recipe.model_copy(update={"passes": tuple(p.quick() for p in recipe.passes)})


def trained() -> Network:
    return read_network(FOLDER / "digits.nir", "snntorch", reset="zero")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n in ("auto", "best"))) for n in ONE_SHOT]
)
def test_no_recipe_ships_other_answers_and_its_codes_train_on_as_they_are(name: str) -> None:
    samples = Samples(digits().part(300, 120).inputs)
    log = compress(trained(), recipe=quick(name), calibration=samples)
    assert log.answers is None or log.answers.bound <= load_recipe(name).max_divergence
    assert {f.code for f in log.notes} <= {"backed-off", "amounts-found"}
    assert TrainableNetwork(log.network).to_network().digest == log.network.digest
    asked = compress(trained(), recipe=quick(name).guarded("warn", None), calibration=samples)
    assert asked.passes == quick(name).passes
    assert TrainableNetwork(asked.network).to_network().digest == asked.network.digest
    for p in asked.network.projections:
        assert not p.weight.quantized or (p.weight.levels is not None and not p.weight.off_grid())


@pytest.mark.parametrize("name", recipe_names())
@pytest.mark.parametrize("layers", [1, 2])
def test_every_recipe_takes_a_network_of_few_dense_layers(name: str, layers: int) -> None:
    """One layer has no hidden neurons to remove, and two have no kernels."""
    net = chain_net([np.eye(4, dtype=np.float32)] * layers)
    check_requirements(net, load_recipe(name).passes)


def test_codes_of_twos_complement_come_through_training() -> None:
    """-8 is a code of 4 bits, and no sign of a grid without a zero."""
    net = chain_net([np.eye(3, dtype=np.float32)])
    codes = Weight(np.array([[-8, 0, 2], [1, 7, -3], [0, 0, 5]], np.int32), np.ones(()), 4)
    net = net.replace(projections=[dataclasses.replace(net.projections[0], weight=codes)])
    again = TrainableNetwork(net).to_network().projections[0].weight
    assert np.array_equal(again.data, codes.data)
    assert again.grid_levels == "complement"


@pytest.mark.parametrize("name", ["c200", "one", "n1"])
def test_given_networks_keep_their_answers(shared_data: Path, name: str) -> None:
    file = shared_data.parent / "cases" / "networks" / f"{name}.nir"
    if not file.exists():
        pytest.skip(f"no network at {file}")
    net = read_network(file)
    rng = np.random.default_rng(0)
    shape = net.with_role("input")[0].shape
    samples = Samples((rng.random((12, 120, *shape)) < 0.3).astype(np.float32))
    for recipe in ("digits", "osbc"):
        log = compress(net, recipe=quick(recipe), calibration=samples)
        assert log.answers is None or log.answers.bound <= 0.05
        assert all(p.weight.alive for p in log.network.projections)


def test_one_synapse_is_never_pruned_away() -> None:
    assert [budget(0.99, n) for n in (0, 1, 2, 3, 100)] == [0, 0, 1, 2, 99]
    net = chain_net([np.full((1, 1), 2.0, np.float32)])
    assert Prune(sparsity=0.9).apply(net, PassContext()).network.projections[0].weight.alive == 1
    log = compress(net, recipe="sbc-plus", calibration=Samples(np.ones((6, 8, 1), np.float32)))
    assert log.network.projections[0].weight.alive == 1


# --- amounts of single layers ---------------------------------------------------------------------


@pytest.mark.parametrize("method", ["magnitude", "sbc"])
@pytest.mark.parametrize("scope", ["layer", "lamp", "global"])
def test_layers_have_a_sparsity_of_their_own(method: str, scope: str) -> None:
    net = digits_mlp()
    first, last = net.projections
    how = Prune(
        sparsity=0.5,
        method=method,  # type: ignore[arg-type]
        scope=scope,  # type: ignore[arg-type]
        search="rounds",
        layer_sparsity={first.name: 0.8},
    )
    after = how.apply(net, calibrated()).network
    dead = [p.weight.data.size - p.weight.alive for p in after.projections]
    assert dead == [budget(0.8, first.weight.data.size), budget(0.5, last.weight.data.size)]


def test_layers_have_a_width_of_their_own() -> None:
    net = digits_mlp()
    first, last = (p.name for p in net.projections)
    for how in (
        Quantize(bits=4, layer_bits={last: 7}),
        Quantize(bits=4, method="sbc", layer_bits={last: 7}),
        PruneQuantize(sparsity=0.3, bits=4, search="rounds", layer_bits={last: 7}),
    ):
        after = how.apply(net, calibrated()).network
        assert {p.name: p.weight.bits for p in after.projections} == {first: 4, last: 7}


def test_the_scope_of_the_closest_answers_is_taken() -> None:
    net, ctx = digits_mlp(), calibrated()
    how = Prune(sparsity=0.7, scope="measured")
    result = how.apply(net, ctx)
    (note,) = [f for f in result.findings if f.code == "settings-chosen"]
    single = {
        scope: Prune(sparsity=0.7, scope=scope).apply(net, ctx).network.digest  # type: ignore[arg-type]
        for scope in ("lamp", "global", "layer")
    }
    chosen = next(s for s in single if f"scope {s}:" in note.message)
    assert result.network.digest == single[chosen]
    blind = how.apply(net, PassContext()).network  # nothing to measure on: LAMP
    assert blind.digest == single["lamp"]


# --- every pass is asked before the first one runs ------------------------------------------------


def test_what_cannot_follow_training_is_refused_before_it() -> None:
    told: list[PassEvent] = []
    ctx = dataclasses.replace(context(flat=True), observer=told.append)
    steps = (FineTune(epochs=1), RemoveKernels(kinds=("conv",), ratio=0.5))
    with pytest.raises(Exception, match="matches no layer") as error:
        run_passes(digits_mlp(), steps, ctx)
    assert error.value.where.startswith("pass 2 of 2 (remove-kernels)")  # type: ignore[attr-defined]
    assert told == []
    twice = (FineTune(epochs=1, bits=4), Quantize(layers=("fc1",)))
    with pytest.raises(PassRefused, match="which are its only truth") as refused:
        run_passes(digits_mlp(), twice, ctx)
    assert refused.value.code == "already-quantized"
    assert told == []


def test_later_passes_are_asked_about_what_is_left() -> None:
    """Counts that exist before kernels go, and not after it."""
    net = trained()
    name = net.projections[0].name
    steps = (RemoveKernels(ratio=0.5), RemoveKernels(keep={name: 12}))
    with pytest.raises(PassRefused) as error:
        run_passes(net, steps, PassContext())
    assert error.value.code == "keep-too-many"
    assert error.value.message == "it has 8 kernels, 12 are to stay"


def test_recipes_for_convolutions_pass_over_networks_without_any() -> None:
    net, ctx = digits_mlp(), calibrated()
    log = run_passes(net, load_recipe("digits").passes, ctx)
    assert [s.modified for s in log.steps] == [False, True, True]
    assert [f.code for f in log.steps[0].findings] == ["kernels-absent"]
    few = tuple(
        dataclasses.replace(p, epochs=1) if isinstance(p, FineTune) else p
        for p in load_recipe("qp-snn").passes
    )
    assert run_passes(net, few, ctx).network.projections[0].weight.bits == 8
    with pytest.raises(Exception, match="matches no layer"):
        run_passes(net, (RemoveKernels(ratio=0.5),), ctx)
