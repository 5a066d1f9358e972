"""How alike two networks answer, and what each layer costs."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from snndeploy.calibrate.fidelity import Reference, compared
from snndeploy.ir.network import Network
from snndeploy.ir.weights import Weight
from snndeploy.passes.guard.costs import layer_costs
from tests.support.builders import chain_net, lif


def three_outputs() -> Network:
    """Each input drives one output: whoever speaks most is the answer."""
    return chain_net([np.eye(3, dtype=np.float32) * 4])


def one_hot(steps: int = 6) -> np.ndarray:
    """Three samples, one input active in each."""
    return np.repeat(np.eye(3, dtype=np.float32)[np.newaxis], steps, axis=0)


def rolled(net: Network) -> Network:
    first = net.projections[0]
    weight = Weight(np.roll(first.weight.data, 1, axis=0))
    return net.replace(projections=[dataclasses.replace(first, weight=weight)])


def test_a_network_answers_like_itself() -> None:
    found = Reference(three_outputs(), {"input": one_hot()}).fidelity(three_outputs())
    assert (found.agreement, found.divergence, found.spread, found.samples) == (1.0, 0.0, 0.0, 3)
    assert str(found).startswith("100.0% of 3 held-out samples answered alike, divergence 0")


def test_other_answers_are_counted_and_weighed() -> None:
    net = three_outputs()
    reference = Reference(net, {"input": one_hot()}, held_out=False)
    found = reference.fidelity(rolled(net))
    assert found.agreement == 0.0
    counts = reference.counts["output"]
    height = counts.max() / (counts.std() / 2)  # softened: exp(height) against 1, twice
    p = np.exp(height) / (np.exp(height) + 2)
    q = 1 / (np.exp(height) + 2)
    assert found.divergence == pytest.approx(p * np.log(p / q) + q * np.log(q / p))
    assert found.spread == pytest.approx(0, abs=1e-12)  # all three samples alike
    assert found.bound == found.divergence + found.spread > found.changed == 1.0
    assert "the ones it was fitted to" in str(found)


def test_close_calls_that_change_beyond_doubt_count_as_much_as_divergence() -> None:
    """Of 16 samples, many of whose answers hang on one spike, some get another one."""
    net = three_outputs()
    x = np.concatenate([one_hot()] * 6, axis=1)[:, :16]
    reference = Reference(net, {"input": x})
    counts = reference.counts["output"]
    counts[:, :] = 100.0 + (np.arange(3) == 0)  # the first output is ahead by one spike
    counts[::3] += 60 * np.arange(3)  # and some samples are clear
    answers = counts.copy()
    answers[1:5, 1] += 2
    found = compared(reference.counts, {"output": answers})
    alike = 1 - (counts.argmax(1) != answers.argmax(1)).mean()
    others = 1 - alike
    assert 0 < others < 0.25
    assert found.agreement == alike
    assert found.changed == pytest.approx(others - np.sqrt(others * alike / 16))
    assert found.divergence + found.spread < found.changed == found.bound


def test_fewer_steps_are_no_fewer_spikes() -> None:
    """A network made for half the steps emits half as much, and answers alike."""
    net = three_outputs()
    half = dataclasses.replace(net, notes={"steps": "3"})
    found = Reference(net, {"input": one_hot(6)}).fidelity(half)
    assert (found.agreement, found.divergence) == (1.0, pytest.approx(0, abs=1e-12))


def test_a_single_output_is_compared_over_samples() -> None:
    net = chain_net([np.full((1, 3), 4.0, np.float32)])
    x = one_hot()
    x[:, 2] = 0
    silent = chain_net([np.zeros((1, 3), np.float32)])
    reference = Reference(net, {"input": x})
    assert reference.fidelity(net).agreement == 1.0
    found = reference.fidelity(silent)
    assert found.agreement == pytest.approx(1 / 3)  # the sample without input
    assert found.divergence > 0
    assert found.changed == 0


def test_layer_costs_are_of_one_layer_alone() -> None:
    rng = np.random.default_rng(0)
    net = chain_net([rng.normal(0, 0.6, (8, 6)).astype(np.float32), np.eye(4, 8, dtype=np.float32)])
    x = (rng.random((10, 12, 6)) < 0.5).astype(np.float32)
    first, second = net.projections
    dead = dataclasses.replace(second, weight=Weight(np.zeros((4, 8), np.float32)))
    same = dataclasses.replace(first, weight=Weight(first.weight.data))
    watch = Reference(net, {"input": x})
    costs = layer_costs(net, net.replace(projections=[same, dead]), watch)
    assert costs[first.name] == 0
    assert costs[second.name] == pytest.approx(watch.divergence(net.replace(projections=[dead])))
    assert costs[second.name] > 0
    shrunk = net.replace([lif("output", (4,), "output")])
    assert layer_costs(net, shrunk, watch) == {}
