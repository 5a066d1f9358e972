"""What random networks brought to light, each shrunk to the least that shows it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snndeploy import compile
from snndeploy.certify import certify
from snndeploy.chip import load_target
from snndeploy.ir.network import Network, Projection
from snndeploy.ir.ops import Conv, Dense, Pointwise
from snndeploy.ir.text import full_text
from snndeploy.ir.text import read_network as read_text
from snndeploy.ir.weights import Weight
from snndeploy.lower import InputCoding, lower
from snndeploy.pipeline import bundle_of, save_bundle
from snndeploy.simulate.integer.engine import run_integer
from tests.support.builders import inputs, project
from tests.support.exact_networks import integrator

LOIHI2 = load_target("loihi2")
BINARY = InputCoding.named("binary")


def one_layer(*projections: Projection, size: int = 3, **fields: Any) -> Network:
    return Network(
        (inputs((size,)), integrator("a", (size,), "output", **fields)), projections
    ).verify()


def test_one_weight_for_all_neurons_that_is_rounded() -> None:
    """Rows of a weight that has none: lowering stopped with an IndexError."""
    net = one_layer(
        project("one", "input", "a", Pointwise((3,)), np.asarray(0.3)),
        project("all", "input", "a", Dense(3, 3), np.full((3, 3), 0.7)),
    )
    program = lower(net, LOIHI2, inputs=BINARY)
    assert run_integer(program, np.ones((2, 1, 3), np.int64)).spikes["a"].all()


@pytest.mark.parametrize("route", ["auto", "dense"])
def test_a_convolution_of_zeros_that_hears_numbers(route: Any) -> None:
    """A convolution without a weight left took no room, which was divided by."""
    op = Conv(2, 1, (3,), (1,), ((1, 1),), (1,))
    net = Network(
        (inputs((1, 4)), integrator("a", (2, 4), "output", bias=0.75)),
        (project("none", "input", "a", op, np.zeros((2, 1, 3))),),
    ).verify()
    program = lower(net, LOIHI2, inputs=InputCoding.named("graded"))
    spikes = run_integer(program, np.full((3, 1, 1, 4), 5), route=route).spikes["a"]
    assert spikes[:, 0, 0, 0].tolist() == [0, 1, 0]


def test_neurons_that_cannot_spike_are_no_contradiction(tmp_path: Path) -> None:
    """Lowering knew that half of them never reach their threshold, and the certificate did not."""
    many = {"spikes_per_step": "many", "reset": "subtract", "leak": 0.5}
    net = Network(
        (inputs((2,)), integrator("a", (2,), **many), integrator("b", (1,), "output", **many)),
        (
            project("in", "input", "a", Pointwise((2,), (2,)), np.array([0.25, 2.0])),
            project("out", "a", "b", Dense(1, 2), np.array([[3.0, 1.0]])),
        ),
    ).verify()
    compiled = compile(net, recipe=None, inputs=BINARY)
    told = certify(save_bundle(tmp_path / "net.snnb", bundle_of(compiled)))
    assert told["certified"]
    ran = run_integer(compiled.program, np.ones((40, 1, 2), np.int64), watch=True)
    assert ran.registers["b"].u_peak <= told["bounds"]["b"]["u"]["bound"]
    assert told["bounds"]["b"]["u"]["bound"] <= compiled.program.headroom["b"].u_peak


def test_the_order_of_projections_rounds_nothing() -> None:
    """Two layers of one size: the first of them set the grid, so order changed spikes."""
    rng = np.random.default_rng(0)
    parts = [
        project(name, "input", "a", Dense(3, 3), rng.normal(size=(3, 3)) * scale)
        for name, scale in (("one", 1.0), ("other", 0.3))
    ]
    programs = [lower(one_layer(*p), LOIHI2, inputs=BINARY) for p in (parts, parts[::-1])]
    scales = [p.group("a").scale.tolist() for p in programs]
    assert scales[0] == scales[1]
    for name in ("one", "other"):
        mantissas = [next(s for s in p.synapses if s.name == name).mantissa for p in programs]
        np.testing.assert_array_equal(*mantissas)


def test_a_layer_without_weights_sets_no_grid() -> None:
    """It is the largest and exact, and cost its neighbour, which is on a grid, its last bit."""
    codes = Weight(np.array([[127, -126, 5]] * 3), np.asarray(0.01), 8)
    quantised = project("codes", "input", "a", Dense(3, 3), codes)
    wide = inputs((30,), "other")
    nothing = project("nothing", "other", "a", Dense(3, 30), np.zeros((3, 30)))
    net = one_layer(quantised)
    both = dataclasses.replace(
        net, populations=(wide, *net.populations), projections=(nothing, quantised)
    ).verify()
    alone, beside = (lower(n, LOIHI2, inputs=BINARY).rounding["a"].weight for n in (net, both))
    assert alone == beside == 0.0


@pytest.mark.parametrize("levels", ["symmetric", "complement", "odd", "powers"])
def test_text_tells_the_levels_of_codes(levels: Any) -> None:
    """They were lost, and with them the digest."""
    for scale in (np.asarray(0.5), np.array([[0.5], [0.25], [0.1]])):
        weight = Weight(np.array([[1, -1, 1]] * 3, np.int32), scale, 3, None, levels)
        net = one_layer(project("in", "input", "a", Dense(3, 3), weight))
        back = read_text(full_text(net))
        assert back.projections[0].weight.levels == levels
        assert back.digest == net.digest
