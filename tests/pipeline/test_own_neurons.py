"""Compiling and training for a chip whose neurons are its own."""

from __future__ import annotations

import numpy as np

from snndeploy.chip import family_of, load_target
from snndeploy.data import Samples
from snndeploy.lower import fitted_in_turn
from snndeploy.pipeline import finetune
from snndeploy.recipe import Recipe
from tests.support.xylo_networks import once_per_step

FAMILY = family_of(load_target("xylo-a2"))


def samples() -> Samples:
    x = np.random.default_rng(3).poisson(1.0, (40, 60, 6)).astype(np.uint8)
    return Samples(x, np.arange(60) % 5)


def test_what_is_trained_has_the_chips_neurons() -> None:
    net = once_per_step()
    recipe = Recipe.from_toml('name = "r"\n[[pass]]\nname = "finetune"\nepochs = 1\n')
    trained = finetune(net, samples(), recipe=recipe, target="xylo-a2", aware="xylo-a2")
    own, told = fitted_in_turn(trained.network, FAMILY)
    assert told == ()  # nothing is left to change
    assert own.digest == trained.network.digest
    neuron = trained.network.population("h").neuron
    assert neuron is not None
    assert (neuron.reset, neuron.spikes_per_step, neuron.max_spikes) == ("subtract", "many", 31)
    codes = [f.code for f in trained.findings]
    assert "neuron-adapted" in codes
    elsewhere = finetune(net, samples(), recipe=recipe, target="loihi2", aware="loihi2")
    assert elsewhere.network.population("h").neuron.reset == "zero"  # type: ignore[union-attr]
