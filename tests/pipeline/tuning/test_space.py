"""Which recipes there are, how layers share a sparsity, and when a trial is given up."""

from __future__ import annotations

import numpy as np
import pytest

from snndeploy.chip import load_target
from snndeploy.passes.adapt import Adapt
from snndeploy.passes.kernels.remove_kernels import RemoveKernels
from snndeploy.passes.prune import Prune
from snndeploy.passes.quantization.prune_quantize import PruneQuantize
from snndeploy.passes.quantization.quantize import Quantize
from snndeploy.pipeline.advise.sensitivity import Point, Sensitivity
from snndeploy.pipeline.tuning.front import unbeaten
from snndeploy.pipeline.tuning.race import Rival, hopeless, rungs
from snndeploy.pipeline.tuning.shares import bits_by_need, shared_out
from snndeploy.pipeline.tuning.space import BITS, RATIOS, SPARSITIES, RecipeSpace, described
from snndeploy.recipe import Recipe
from tests.support.builders import conv_net

LAYERS = ("conv1", "conv2", "fc1", "fc2")


def point(layer: str, kind: str, value: float, distance: float) -> Point:
    return Point(layer=layer, kind=kind, value=value, accuracy=None, distance=distance, saved=0.0)


def measured() -> Sensitivity:
    """Pruning costs conv1 much and fc1 nothing; few bits cost the earlier layers more."""
    costs = {"conv1": 0.8, "conv2": 0.4, "fc1": 0.0, "fc2": 0.4}
    points = [point(n, "sparsity", s, costs[n] * s) for n in LAYERS for s in (0.5, 0.75, 0.9, 0.95)]
    points += [point(n, "bits", 2, 0.9 - 0.1 * i) for i, n in enumerate(LAYERS)]
    return Sensitivity(points=tuple(points), accuracy=None, samples=8, score="l1", fold="none")


def space(found: Sensitivity | None = None, **fields: bool) -> RecipeSpace:
    chip = load_target("loihi2")
    return RecipeSpace(network=conv_net(), target=chip, samples=10, found=found, **fields)


def test_layers_share_a_sparsity_in_three_ways() -> None:
    net = conv_net()
    sizes = {p.name: p.weight.data.size for p in net.projections}
    assert shared_out(net, 0.75, "layer", None) == dict.fromkeys(LAYERS, 0.75)
    for share in ("lamp", "measured"):
        for sparsity in (0.25, 0.5, 0.9):
            given = shared_out(net, sparsity, share, measured())  # type: ignore[arg-type]
            pruned = sum(given[name] * n for name, n in sizes.items()) / sum(sizes.values())
            assert pruned == pytest.approx(sparsity, abs=2e-3), (share, sparsity)
    given = shared_out(net, 0.5, "measured", measured())
    assert given["conv1"] < given["conv2"] < given["fc1"]
    assert given["conv2"] == pytest.approx(given["fc2"], abs=1e-3)
    # at equal cost: 0.8 of conv1 is as much as 0.4 of conv2
    assert given["conv2"] / given["conv1"] == pytest.approx(2, rel=0.02)
    smallest = np.sort(np.concatenate([np.abs(p.weight.data).reshape(-1) for p in net.projections]))
    assert smallest[0] >= 0
    assert shared_out(net, 0.0, "measured", measured()) == dict.fromkeys(LAYERS, 0.0)


def test_layers_that_need_bits_get_one_more() -> None:
    assert bits_by_need(measured(), LAYERS) == {"conv1": 1, "conv2": 0, "fc1": 0, "fc2": -1}


def test_without_measurements_nothing_is_shared_by_them() -> None:
    assert space().dimensions["share"] == ("layer", "lamp")
    assert space().dimensions["widths"] == ("even",)
    full = space(measured()).dimensions
    assert full["share"] == ("layer", "lamp", "measured")
    assert full["bits"] == tuple(reversed(BITS))
    assert full["sparsity"] == SPARSITIES
    assert full["kernels"] == RATIOS
    assert [name for name in full if " " in name] == [
        f"{what} {layer}" for layer in LAYERS for what in ("bits", "density")
    ]
    grid = 2 * len(BITS) * len(SPARSITIES) * 3 * 2 * 2 * len(RATIOS)
    assert space(measured()).uniform == grid
    assert space(measured()).size == grid * (5 * 3) ** 4


def test_a_choice_is_a_recipe() -> None:
    some = space(measured())
    plain = some.choice(method="magnitude", bits=4, sparsity=0.5, share="layer", scale="layer")
    assert some.recipe(plain).passes == (
        Prune(sparsity=0.5, layer_sparsity=dict.fromkeys(LAYERS, 0.5)),
        Quantize(bits=4),
    )
    own = {**plain, "bits conv1": 2, "density fc1": 0.5, "bits fc2": -1, "kernels": 0.25}
    amounts = some.amounts(own)
    assert amounts == (
        {"conv1": 0.5, "conv2": 0.5, "fc1": 0.75, "fc2": 0.5},
        {"conv1": 6, "conv2": 4, "fc1": 4, "fc2": 3},
    )
    assert some.recipe(own).passes == (
        RemoveKernels(ratio=0.25, kinds=("conv", "dense"), optional=True),
        Prune(sparsity=0.5, layer_sparsity=amounts[0]),
        Quantize(bits=6, layer_bits={"conv2": 4, "fc1": 4, "fc2": 3}),
    )
    assert described(own) == (
        "magnitude, 4 bits, 50.0% pruned by layer, 25.0% of the kernels removed, conv1 +2 widths, "
        "fc1 0.5x as dense, fc2 -1 widths"
    )
    looking = some.recipe({**plain, "method": "second-order"})
    assert [type(p) for p in looking.passes] == [PruneQuantize]
    assert (looking.guard, looking.calibration.samples) == ("off", 10)
    unpruned = some.recipe(some.choice(bits=3, widths="measured"))
    assert [(type(p), p.options()["method"]) for p in unpruned.passes] == [(Quantize, "sbc")]
    assert unpruned.passes[0].options()["layer_bits"] == {"conv2": 3, "fc1": 3, "fc2": 2}
    assert isinstance(space(measured(), adapt=True).recipe(plain).passes[0], Adapt)
    for choice in (plain, own, *some.starts):
        recipe = some.recipe(choice)
        assert Recipe.from_toml(recipe.to_toml()) == recipe


def test_steps_change_one_dimension() -> None:
    some = space(measured())
    choice = some.choice(bits=8, sparsity=0.0)
    steps = some.steps_from(choice)
    assert ("bits", 6) in steps
    assert ("sparsity", 0.25) in steps
    assert {v for name, v in steps if name == "share"} == {"layer", "lamp"}
    assert all(choice[name] != value for name, value in steps)
    assert not {("bits", 5), ("sparsity", 0.5)} & set(steps)


def test_starts_are_choices_and_mild_ones_come_first() -> None:
    for some in (space(), space(measured())):
        assert len({tuple(c.items()) for c in some.starts}) == len(some.starts)
        for choice in some.starts:
            assert choice.keys() == some.dimensions.keys()
            assert all(choice[name] in values for name, values in some.dimensions.items())
        assert (some.starts[0]["bits"], some.starts[0]["sparsity"]) == (8, 0.0)
        for bits in {2, 3, 4, 6, 8} & set(some.widths):  # what one would try by hand is tried
            for sparsity in (0.0, 0.5, 0.75, 0.9, 0.95):
                by_hand = some.choice(bits=bits, sparsity=sparsity, share="layer")
                assert by_hand in some.starts


def test_rungs_double() -> None:
    assert rungs(300) == (37, 75, 150, 300)
    assert rungs(20) == (16, 20)
    assert rungs(5) == (5,)


def right(pattern: str) -> np.ndarray:
    return np.array([c == "1" for c in pattern])


def test_a_trial_is_given_up_where_it_cannot_win() -> None:
    rival = Rival(number=0, cost=10.0, right=np.arange(100) < 90)
    seen = np.arange(40) < 29  # 89 of 100 at most
    assert hopeless(seen, 100, 10.0, [rival], None) == "dominated"
    assert hopeless(seen, 100, 9.9, [rival], None) == ""
    assert hopeless(np.arange(40) < 31, 100, 10.0, [rival], None) == "surely dominated"
    assert hopeless(np.arange(40) < 39, 100, 10.0, [rival], None) == ""
    assert hopeless(seen, 100, 1.0, [], 90.0) == "below"
    assert hopeless(seen, 100, 1.0, [], 89.0) == ""
    assert hopeless(np.arange(40) < 20, 100, 1.0, [], 79.9) == "surely below"
    # none was asked: one that is right everywhere cannot be beaten
    perfect = Rival(number=1, cost=10.0, right=np.ones(100, bool))
    assert hopeless(np.zeros(0, bool), 100, 10.0, [perfect], None) == "dominated"
    assert hopeless(np.zeros(0, bool), 100, 10.0, [rival], 50.0) == ""
    # all were asked: what remains is a comparison
    assert hopeless(np.arange(100) < 90, 100, 10.0, [rival], 90.0) == "dominated"
    assert hopeless(np.arange(100) < 91, 100, 10.0, [rival], 90.0) == ""
    assert hopeless(np.arange(100) < 89, 100, 1.0, [rival], 90.0) == "below"


def test_one_sample_more_is_never_sure() -> None:
    rival = Rival(number=0, cost=1.0, right=np.ones(400, bool))
    for wrong, expected in ((2, ""), (30, "surely dominated")):
        seen = np.arange(200) >= wrong
        # 200 right ones to come would not be enough, so compare with a rival that misses as many there
        late = Rival(number=1, cost=1.0, right=rival.right & ~(np.arange(400) >= 360))
        assert hopeless(seen, 400, 1.0, [late], None) == expected


def test_the_front_is_what_none_beats() -> None:
    points = [(3.0, 9, 0), (2.0, 9, 1), (2.0, 9, 2), (1.0, 5, 3), (1.0, 6, 4), (4.0, 10, 5)]
    assert unbeaten(points) == [4, 1, 5]
    assert unbeaten([]) == []
