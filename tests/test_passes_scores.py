"""Scores of kernels, folding, and budgets: what goes, what it costs, and what the chip saves."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snndeploy.calibrate.moments import filtered
from snndeploy.calibrate.statistics import observe
from snndeploy.errors import PassRefused
from snndeploy.ingest import read_network
from snndeploy.ir.arrays import Array
from snndeploy.ir.network import Network
from snndeploy.ir.neurons import Neuron
from snndeploy.ir.ops import Dense
from snndeploy.lower import lower
from snndeploy.mapping import place_program
from snndeploy.mapping.encodings import list_words
from snndeploy.passes.base import PassContext
from snndeploy.passes.compensate import fold
from snndeploy.passes.coupling import CouplingGroup, coupling
from snndeploy.passes.remove_kernels import RemoveKernels, cores_needed
from snndeploy.passes.scores import CRITERIA, SCORES, column_units, gather_evidence
from snndeploy.passes.slicing import shrink
from snndeploy.recipe import Recipe
from snndeploy.simulate.float_engine import run_float
from snndeploy.target import load_target
from tests.builders import (
    ZOO,
    chain_net,
    conv_net,
    grouped_net,
    inputs,
    lif,
    project,
    recurrent_net,
    reshape_net,
    residual_net,
    spikes,
)

LOIHI1, LOIHI2 = load_target("loihi1"), load_target("loihi2")


@dataclass(frozen=True)
class Samples:
    inputs: dict[str, Array]
    labels: Array | None = None


def context(net: Network, samples: int = 8, **fields: Any) -> PassContext:
    data = spikes(net, samples=samples)
    return PassContext(calibration=Samples({net.with_role("input")[0].name: data}), **fields)


def group_of(net: Network, population: str) -> CouplingGroup:
    return next(g for g in coupling(net) if population in g.units)


def score(net: Network, population: str, criterion: Any, **options: Any) -> Array:
    group = group_of(net, population)
    ctx = context(net)
    return SCORES[criterion](group, gather_evidence(net, [group], criterion, ctx, **options))


def silenced(net: Network, gone: dict[str, Array]) -> Network:
    """The network in which the given channels (per population, True = silent) can never spike."""
    changed = []
    for name, silent in gone.items():
        p = net.population(name)
        assert p.neuron is not None
        fields = {f.name: getattr(p.neuron, f.name) for f in dataclasses.fields(p.neuron)}
        high = silent.reshape(-1, *(1,) * (len(p.shape) - 1))
        fields["threshold"] = np.where(high, 1e9, fields["threshold"])
        changed.append(dataclasses.replace(p, neuron=Neuron.create(p.shape, **fields)))
    return net.replace(populations=changed)


# --- scores -----------------------------------------------------------------------------------


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("factory", ZOO)
def test_every_score_ranks_every_group(factory: Any, criterion: Any) -> None:
    net = factory(0)
    groups = [g for g in coupling(net) if not g.fixed]
    evidence = gather_evidence(net, groups, criterion, context(net))
    for group in groups:
        found = SCORES[criterion](group, evidence)
        assert found.shape == (group.count,)
        assert np.isfinite(found).all()
        assert (found >= 0).all()


@pytest.mark.parametrize("criterion", ["svs", "nuclear", "rate"])
def test_silent_channels_score_nothing_and_go_first(criterion: Any) -> None:
    net = silenced(conv_net(), {"s2": np.array([0, 1, 0, 0, 1, 0], bool)})
    found = score(net, "s2", criterion)
    assert found[[1, 4]].tolist() == [0, 0]
    assert (found[[0, 2, 3, 5]] > 0).all()


def test_scores_of_activity_are_its_figures() -> None:
    net = conv_net()
    figures = observe(net, spikes(net, samples=8), ["s1"])["s1"]
    assert np.allclose(score(net, "s1", "rate"), figures.rate)
    assert np.allclose(score(net, "s1", "nuclear"), figures.nuclear)
    assert np.allclose(score(net, "s1", "sca"), figures.magnitude)
    svs = score(net, "s1", "svs")
    assert figures.rank is not None
    assert (svs - figures.rank >= 0).all()
    assert (svs - figures.rank < 1 / 8).all()  # less than two mean ranks of 8 samples can differ


def test_coupled_channels_add_up() -> None:
    net = residual_net()
    figures = observe(net, spikes(net, samples=8), ["a", "b"])
    assert np.allclose(score(net, "a", "rate"), figures["a"].rate + figures["b"].rate)
    net = grouped_net()
    b = observe(net, spikes(net, samples=8), ["a", "b", "c", "d"])
    expected = sum(v.rate.reshape(2, -1).sum(axis=1) for v in b.values())
    assert np.allclose(score(net, "a", "rate"), expected)


def test_random_depends_on_seed_and_layer_only() -> None:
    net, group = conv_net(), group_of(conv_net(), "s2")

    def draw(seed: int) -> Array:
        ctx = PassContext(seed=seed, scope="remove-kernels")
        return SCORES["random"](group, gather_evidence(net, [group], "random", ctx))

    assert np.array_equal(draw(0), draw(0))
    assert not np.array_equal(draw(0), draw(1))


def slow_membrane_error(net: Network, name: str, change: Array) -> float:
    """Mean over samples of the squared membrane that ``change`` of a dense weight makes, by a loop."""
    p = next(q for q in net.projections if q.name == name)
    run = run_float(net, spikes(net, samples=8))
    x = run.spikes[p.sources[0].population].astype(float)
    neuron = net.population(p.target).neuron
    assert neuron is not None
    y = filtered(x, float(neuron.leak), None) @ change.T
    return float(np.square(y).sum() / x.shape[1])


def test_second_order_is_the_membrane_error_behind() -> None:
    rng = np.random.default_rng(0)
    net = chain_net([rng.normal(size=(6, 8)), rng.normal(size=(4, 6))])
    weight = net.projections[1].weight.data
    found = score(net, "h1", "second-order")
    gone = np.zeros(6, bool)
    for unit in np.argsort(found):
        gone[unit] = True
        assert float(found[unit]) == pytest.approx(
            slow_membrane_error(net, "fc2", np.where(gone, weight, 0)), rel=1e-6, abs=1e-12
        )
    first = int(np.argmin(found))
    alone = [slow_membrane_error(net, "fc2", weight * (np.arange(6) == u)) for u in range(6)]
    assert first == int(np.argmin(alone))


def test_second_order_with_folding_is_the_error_that_is_left() -> None:
    rng = np.random.default_rng(1)
    net = chain_net([rng.normal(size=(6, 8)), rng.normal(size=(4, 6))])
    weight = net.projections[1].weight.data
    ctx = context(net)
    found = score(net, "h1", "second-order", folded=True, ridge=1e-9)
    group = group_of(net, "h1")
    order = np.argsort(found)
    for k in (1, 2, 4):
        small = group.keep(np.sort(order[k:]))
        assert ctx.calibration is not None
        after = fold(net, [small], ctx.calibration.inputs, ridge=1e-9).projections[1].weight.data
        assert (after[:, order[:k]] == 0).all()
        left = slow_membrane_error(net, "fc2", after - weight)
        assert float(found[order[k - 1]]) == pytest.approx(left, rel=1e-3, abs=1e-6)
        cut = np.where(np.isin(np.arange(6), order[:k]), weight, 0)
        assert left <= slow_membrane_error(net, "fc2", cut) + 1e-12


def test_a_duplicate_costs_nothing_with_folding() -> None:
    """Two equal neurons: one is free to remove, as the other can carry both weights."""
    rng = np.random.default_rng(2)
    first = rng.normal(size=(5, 8))
    first[3] = first[1]
    net = chain_net([first, rng.normal(size=(4, 5)).astype(np.float64)])
    ctx = context(net, samples=16)
    found = score(net, "h1", "second-order", folded=True, ridge=1e-6)
    assert int(np.argmin(found)) in (1, 3)
    step = RemoveKernels(
        keep={"fc1": 4}, score="second-order", fold="weights", ridge=1e-6, kinds=("dense",)
    )
    small = step.apply(net, ctx).network
    data = spikes(net, seed=5, samples=20)
    assert np.array_equal(
        run_float(net, data).spikes["output"], run_float(small, data).spikes["output"]
    )
    plain = dataclasses.replace(step, fold="none").apply(net, ctx).network
    assert not np.array_equal(
        run_float(net, data).spikes["output"], run_float(plain, data).spikes["output"]
    )


# --- silent kernels ---------------------------------------------------------------------------

FACTORIES: tuple[Callable[[int], Network], ...] = ZOO


@given(st.sampled_from(FACTORIES), st.integers(0, 500), st.integers(0, 50))
@settings(max_examples=30)
def test_removing_silent_units_by_score_changes_no_output_spike(
    factory: Callable[[int], Network], seed: int, data_seed: int
) -> None:
    net = factory(seed)
    rng = np.random.default_rng(seed)
    gone: dict[str, Array] = {}
    keep: dict[str, int] = {}
    for group in coupling(net):
        if not group.fixed and group.count > 1:
            silent = rng.random(group.count) < 0.4
            silent[rng.integers(group.count)] = False
            gone |= {name: silent[units] for name, units in group.units.items()}
            keep |= {name: int((~silent).sum()) for name in group.rows}
    quiet = silenced(net, gone)
    ctx = context(quiet)
    for criterion in ("rate", "svs", "nuclear"):
        step = RemoveKernels(keep=keep, score=criterion, kinds=("conv", "dense"))  # type: ignore[arg-type]
        small = step.apply(quiet, ctx).network
        rates = observe(quiet, ctx.calibration.inputs, gone, ["rate"])  # type: ignore[union-attr]
        if any((rates[n].rate[~silent] == 0).any() for n, silent in gone.items()):
            return  # something else is silent on these samples too: a tie, decided by the index
        data = spikes(net, data_seed)
        wide = run_float(quiet, data, dtype="float64").spikes["output"]
        assert np.array_equal(wide, run_float(small, data, dtype="float64").spikes["output"])


@pytest.mark.parametrize(
    "path", ["demo", "nir_models/braille_noDelay_bias_zero_subgraph.nir",
             "nir_models/paper/cnn_sinabs.nir"],
)  # fmt: skip
def test_removing_silent_units_of_trained_networks(path: str, request: Any) -> None:
    if path == "demo":
        net = read_network(Path(__file__).parents[1] / "snndeploy" / "demo" / "digits.nir")
    else:
        file = request.getfixturevalue("shared_data") / path
        if not file.exists():
            pytest.skip(f"no {path}")
        net = read_network(file)
    rng = np.random.default_rng(0)
    small = []
    gone: dict[str, Array] = {}
    for group in coupling(net):
        if not group.fixed:
            silent = rng.random(group.count) < 0.3
            gone |= {name: silent[units] for name, units in group.units.items()}
            small.append(group.keep(np.flatnonzero(~silent)))
    quiet = silenced(net, gone)
    shape = net.with_role("input")[0].shape
    data = (rng.random((12, 6, *shape)) < 0.3).astype(np.float32)
    wide = run_float(quiet, data, dtype="float64")
    narrow = run_float(shrink(quiet, small), data, dtype="float64")
    output = net.with_role("output")[0].name
    assert wide.spikes[output].any()
    assert np.array_equal(wide.spikes[output], narrow.spikes[output])


# --- what the chip saves ----------------------------------------------------------------------


def resources(net: Network, target: Any) -> dict[str, int]:
    placed = place_program(lower(net, target), target)
    total: dict[str, int] = {}
    for s in placed.slices:
        for name, used in s.resources.items():
            total[name] = total.get(name, 0) + used
    return total


@pytest.mark.parametrize("target", [LOIHI1, LOIHI2], ids=["loihi1", "loihi2"])
def test_dense_layers_save_what_the_lists_say(target: Any) -> None:
    """40 -> 32 -> 20: words, axons and compartments before and after by the list formula."""
    rng = np.random.default_rng(0)

    def weights(
        *shape: int,
    ) -> Array:  # full 8-bit codes in every row, so that widths do not change
        values = rng.integers(1, 64, shape) * rng.choice([-1, 1], shape)
        values[:, :2] = [127, -127]
        return np.asarray(values / 128).astype(np.float32)

    net = chain_net([weights(32, 40), weights(20, 32)])
    small = RemoveKernels(ratio=0.25, kinds=("dense",)).apply(net, PassContext()).network

    def predicted(hidden: int) -> tuple[int, int, int]:
        words = 0
        for axons, neurons in ((40, hidden), (hidden, 20)):
            index = target.synapse.index.holding((neurons - 1).bit_length())
            bits = target.synapse.weight.holding(8)
            two = target.memory_model == "loihi2"
            counts = np.full(axons, neurons)
            words += int(list_words(counts, bits + index * two, target, 0 if two else index).sum())
        return words, 40 + hidden, hidden + 20

    names = {
        "loihi1": ("synapse_words", "in_axons", "compartments"),
        "loihi2": ("synapse_words", "axon_in", "neurons"),
    }[target.name]
    for network, hidden in ((net, 32), (small, 24)):
        used = resources(network, target)
        assert tuple(used[n] for n in names) == predicted(hidden)
    assert all(resources(small, target)[n] < resources(net, target)[n] for n in names)


@pytest.mark.parametrize("target", [LOIHI1, LOIHI2], ids=["loihi1", "loihi2"])
def test_removal_commutes_with_lowering(target: Any) -> None:
    """Removing kernels and lowering costs what slicing the lowered program by hand costs."""
    net = conv_net(channels=(8, 12), hidden=20)
    groups = [group_of(net, "s1").keep([0, 2, 3, 5, 7]), group_of(net, "s2").keep(range(9))]
    program = lower(net, target)
    kept = {"conv1": ([0, 2, 3, 5, 7], None), "conv2": (range(9), [0, 2, 3, 5, 7]),
            "fc1": (None, np.arange(48).reshape(12, 4)[:9].reshape(-1))}  # fmt: skip
    small = lower(shrink(net, groups), target)
    by_name = {s.name: s for s in small.synapses}
    synapses = []
    for s in program.synapses:
        mantissa = s.mantissa
        rows, columns = kept.get(s.name, (None, None))
        mantissa = mantissa if rows is None else mantissa[list(rows)]
        mantissa = mantissa if columns is None else mantissa[:, list(columns)]
        synapses.append(dataclasses.replace(s, mantissa=mantissa, ops=by_name[s.name].ops))
    shapes = {g.name: g.shape for g in small.groups}
    by_hand = [
        dataclasses.replace(
            g, shape=shapes[g.name],
            **{n: v for n, v in vars(small.group(g.name)).items() if n in ("vth", "bias_mant", "scale")},
        )
        for g in program.groups
    ]  # fmt: skip
    sliced = dataclasses.replace(program, groups=tuple(by_hand), synapses=tuple(synapses))
    ours = place_program(small, target)
    theirs = place_program(sliced.verify(), target)
    assert [s.resources for s in ours.slices] == [s.resources for s in theirs.slices]
    before = resources(net, target)
    after = resources(shrink(net, groups), target)
    for name in ("synapse_words", "neurons", "compartments", "axon_in", "in_axons"):
        assert name not in before or after[name] < before[name]


# --- folding ----------------------------------------------------------------------------------


@pytest.mark.parametrize("factory", ZOO)
@pytest.mark.parametrize("how", ["weights", "bias", "threshold"])
def test_folding_keeps_structure(factory: Any, how: Any) -> None:
    net = factory(0)
    step = RemoveKernels(ratio=0.5, fold=how, kinds=("conv", "dense"))
    small = step.apply(net, context(net)).network
    plain = dataclasses.replace(step, fold="none").apply(net, context(net)).network
    assert [p.shape for p in small.populations] == [p.shape for p in plain.populations]
    assert [p.weight.shape for p in small.projections] == [
        p.weight.shape for p in plain.projections
    ]
    assert [p.weight.data.dtype for p in small.projections] == [
        p.weight.data.dtype for p in plain.projections
    ]
    first = net.projections[0].name  # nothing lies before it that could have changed
    assert np.array_equal(small.projections[0].weight.data, plain.projections[0].weight.data), first


def test_folding_nothing_changes_nothing() -> None:
    net = conv_net()
    ctx = context(net)
    assert ctx.calibration is not None
    same = fold(net, [group_of(net, "s1")], ctx.calibration.inputs, ridge=1e-3)
    for old, new in zip(net.projections, same.projections, strict=True):
        assert np.allclose(old.weight.data, new.weight.data, atol=1e-5)


def test_folding_lowers_the_error_behind_on_new_samples() -> None:
    rng = np.random.default_rng(3)
    mixed = rng.normal(size=(12, 4)) @ rng.normal(size=(4, 16))  # 12 neurons that say 4 things
    net = chain_net([mixed, rng.normal(size=(6, 12)) / 2])
    ctx = context(net, samples=64)
    data = spikes(net, seed=9, samples=200)
    dense = run_float(net, data).spikes["output"].sum(axis=0).astype(float)

    def off(how: Any) -> float:
        step = RemoveKernels(ratio=0.5, score="random", kinds=("dense",), fold=how)
        small = step.apply(net, ctx).network
        return float(np.abs(run_float(small, data).spikes["output"].sum(axis=0) - dense).mean())

    plain = off("none")
    for how in ("weights", "bias", "threshold"):
        assert off(how) < 0.8 * plain, how


def test_a_bias_carries_what_is_constant() -> None:
    """A neuron that spikes at every step is a constant: its removal costs a bias and nothing else."""
    rng = np.random.default_rng(0)
    first = np.where(np.arange(5)[:, None] == 2, 9.0, rng.normal(size=(5, 8)))
    net = chain_net([first, rng.normal(size=(4, 5))])
    always = dataclasses.replace(
        net.population("h1"),
        neuron=Neuron.create((5,), leak=0.875, threshold=1.0, drive=np.eye(5)[2] * 4),
    )
    leakless = lif("output", (4,), "output", leak=0.0)
    net = net.replace(populations=[always, leakless])
    ctx = context(net, samples=32)
    assert ctx.calibration is not None
    group = group_of(net, "h1").keep([0, 1, 3, 4])
    data = spikes(net, seed=4, samples=50)
    dense = run_float(net, data).spikes["output"]

    def wrong(**options: Any) -> int:
        small = shrink(fold(net, [group], ctx.calibration.inputs, ridge=10.0, **options), [group])  # type: ignore[union-attr]
        return int((run_float(small, data).spikes["output"] != dense).sum())

    assert wrong(bias=True) == 0
    assert wrong() > 0


# --- how many ---------------------------------------------------------------------------------


def test_widths_by_principal_components() -> None:
    """12 neurons whose inputs span 4 dimensions keep 4."""
    rng = np.random.default_rng(5)
    mixed = rng.normal(size=(12, 4)) @ np.linalg.qr(rng.normal(size=(16, 4)))[0].T
    net = chain_net([mixed, rng.normal(size=(3, 12))])
    ctx = context(net, samples=200)
    step = RemoveKernels(variance=0.9999, score="pca", kinds=("dense",))
    result = step.apply(net, ctx)
    assert result.metrics["fc1"]["kept"] == 4
    kept = result.network.projections[0].weight.data
    assert np.linalg.matrix_rank(kept) == 4
    result = RemoveKernels(variance=0.9999, keep={"fc1": 6}, kinds=("dense",)).apply(net, ctx)
    assert result.metrics["fc1"]["kept"] == 6


def test_a_budget_of_cores_is_met_with_the_least_removed() -> None:
    net = conv_net(channels=(24, 32), hidden=10)
    tiny = LOIHI2.model_copy(
        update={"core": {**LOIHI2.core, "neurons": LOIHI2.core["neurons"].model_copy(
            update={"limit": 200})}}
    )  # fmt: skip
    ctx = PassContext(target=tiny)
    needed = cores_needed(net, ctx)
    step = RemoveKernels(cores=needed - 3)
    small = step.apply(net, ctx).network
    assert cores_needed(small, ctx) <= needed - 3
    assert RemoveKernels(cores=needed).apply(net, ctx).modified is False
    sizes = {p.name: p.shape[0] for p in small.populations}
    ratio = 1 - sizes["s1"] / 24
    looser = RemoveKernels(ratio=max(0.0, ratio - 0.08)).apply(net, ctx).network
    assert cores_needed(looser, ctx) > needed - 3
    with pytest.raises(PassRefused) as caught:
        RemoveKernels(cores=1).apply(net, ctx)
    assert caught.value.code == "cores-unreachable"
    with pytest.raises(PassRefused) as caught:
        RemoveKernels(cores=4).apply(net, PassContext())
    assert caught.value.code == "target-missing"


# --- refusals and form ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"score": "svs"}, "the score 'svs' looks at samples"),
        ({"score": "second-order"}, "the score 'second-order' looks at samples"),
        ({"fold": "weights"}, "fold = 'weights' looks at samples"),
        ({"variance": 0.9}, "variance looks at samples"),
    ],
)
def test_data_driven_options_need_samples(options: dict[str, Any], why: str) -> None:
    with pytest.raises(PassRefused) as caught:
        RemoveKernels(ratio=0.5, **options).apply(conv_net(), PassContext())
    assert caught.value.code == "calibration-missing"
    assert str(caught.value) == (
        f"{why}, and there are none\n"
        "  next: give some (--data or --calib), or use a method or score that needs none"
    )


def test_columns_know_their_units() -> None:
    net = reshape_net()
    group = group_of(net, "a")
    conv = next(p for p in net.projections if p.name == "conv")
    assert column_units(conv, group).tolist() == np.repeat(np.arange(4), 9).tolist()
    net = conv_net()
    group = group_of(net, "s2")
    fc1 = next(p for p in net.projections if p.name == "fc1")
    assert column_units(fc1, group).tolist() == np.repeat(np.arange(6), 4).tolist()
    loop = recurrent_net()
    assert set(group_of(loop, "h").columns) == {"loop", "self", "fc_out"}


def test_options_round_trip_through_toml() -> None:
    recipe = Recipe(
        passes=(RemoveKernels(score="second-order", fold="threshold", cores=3, variance=0.99),)
    )
    assert Recipe.from_toml(recipe.to_toml()) == recipe


def test_a_wire_does_not_consume() -> None:
    """One-to-one shortcuts keep their weights: what they pass on goes with its unit."""
    net = residual_net()
    small = RemoveKernels(ratio=0.5, fold="weights").apply(net, context(net)).network
    shortcut = next(p for p in small.projections if p.name == "shortcut")
    assert shortcut.weight.data == np.float32(1)


def test_two_projections_into_one_population() -> None:
    rng = np.random.default_rng(0)
    net = Network(
        (inputs((6,)), lif("a", (5,)), lif("b", (4,)), lif("output", (3,), "output")),
        (
            project("in_a", "input", "a", Dense(5, 6), rng.normal(size=(5, 6))),
            project("in_b", "input", "b", Dense(4, 6), rng.normal(size=(4, 6))),
            project("a_out", "a", "output", Dense(3, 5), rng.normal(size=(3, 5))),
            project("b_out", "b", "output", Dense(3, 4), rng.normal(size=(3, 4))),
        ),
    ).verify()
    before = {p.name: p.weight.data for p in net.projections}
    step = RemoveKernels(ratio=0.4, layers=("in_a",), fold="weights")
    after = {p.name: p.weight.data for p in step.apply(net, context(net)).network.projections}
    assert after["a_out"].shape == (3, 3)
    assert np.array_equal(after["b_out"], before["b_out"])  # nothing before it changed
