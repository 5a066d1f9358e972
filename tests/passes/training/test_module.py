"""The torch module of a network: the float engine's spikes, and gradients that are right."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from snndeploy.chip import load_target
from snndeploy.errors import PassRefused
from snndeploy.ingest import read_network
from snndeploy.ir.arrays import Array
from snndeploy.ir.network import Network
from snndeploy.ir.weights import Weight, levels_of
from snndeploy.lower import InputCoding, lower
from snndeploy.lower.registers import held_neuron
from snndeploy.passes.base import PassContext
from snndeploy.passes.quantization.quantize import Quantize
from snndeploy.passes.registry import pass_class
from snndeploy.passes.training.loop.data import Batches
from snndeploy.passes.training.torch_network.grid import WeightGrid
from snndeploy.passes.training.torch_network.module import TrainableNetwork
from snndeploy.passes.training.torch_network.surrogate import SpikeGradient, derivative, step
from snndeploy.passes.training.torch_network.unroll import Unrolling
from snndeploy.simulate.float.engine import run_float
from snndeploy.simulate.integer.engine import run_integer
from tests.support.builders import chain_net, conv_net, lif, recurrent_net, residual_net
from tests.support.framework_cases import CASES
from tests.support.structures import NETWORKS

KINDS = ("arctan", "triangular", "fast-sigmoid")


def spikes(network: Network, x: Array, **options: Any) -> dict[str, Array]:
    """What the module's populations emit."""
    module = TrainableNetwork(network, **options)
    name = network.with_role("input")[0].name
    with torch.no_grad():
        run = module({name: torch.tensor(x.astype(np.float32))}, record=True)
    return {name: train.numpy() for name, train in run.trains.items()}


def assert_equal_spikes(network: Network, x: Array, **options: Any) -> None:
    engine, module = run_float(network, x).spikes, spikes(network, x, **options)
    differing = {name: int((engine[name] != module[name]).sum()) for name in engine}
    assert set(differing.values()) == {0}, differing


@pytest.mark.parametrize("case", CASES)
def test_spikes_of_every_framework(case: str, shared_data: Path) -> None:
    frontend, overrides = CASES[case]
    folder = shared_data / "nir_exports"
    network = read_network(folder / f"{case}.nir", frontend, **overrides)
    with np.load(folder / f"{case}.npz", allow_pickle=False) as recorded:
        x = recorded["input"]
    assert_equal_spikes(network, x)
    assert_equal_spikes(network, x, unrolling=Unrolling(window=7, truncate=True))
    assert TrainableNetwork(network).to_network().digest == network.digest


@pytest.mark.parametrize("window", [0, 1, 4])
@pytest.mark.parametrize("name", NETWORKS)
def test_spikes_of_every_structure(name: str, window: int) -> None:
    network = NETWORKS[name]()
    shape = network.with_role("input")[0].shape
    x = (np.random.default_rng(0).random((13, 3, *shape)) < 0.5).astype(np.float32)
    assert any(run_float(network, x).spikes[p.name].any() for p in network.with_role("output"))
    assert_equal_spikes(network, x, unrolling=Unrolling(window=window))


def test_input_that_is_constant_in_time_costs_one_step_and_changes_nothing() -> None:
    network = conv_net()
    image = np.random.default_rng(1).random((1, 4, 2, 8, 8)).astype(np.float32)
    module = TrainableNetwork(network)
    repeated = np.repeat(image, 9, axis=0)
    samples = SimpleNamespace(inputs={"input": repeated}, labels=np.zeros(4), window=1)
    x, _ = Batches(samples).take(np.arange(4))
    assert x["input"].stride(0) == 0
    with torch.no_grad():
        run = module(x)
    expected = run_float(network, repeated).spikes["output"]
    assert np.array_equal(run.outputs["output"].numpy(), expected)
    assert torch.equal(run.spikes["output"], run.outputs["output"].sum((0, 1)))


# --- gradients ------------------------------------------------------------------------------------


def smooth_loss(module: TrainableNetwork, x: torch.Tensor, direction: torch.Tensor) -> torch.Tensor:
    run = module({module.network.with_role("input")[0].name: x})
    return (run.outputs["output"] * direction).sum()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_are_those_of_finite_differences(name: str, kind: Any) -> None:
    """Where spikes are the smooth step itself, the gradient is exact: no path may be missing."""
    network = NETWORKS[name]()
    shape = network.with_role("input")[0].shape
    rng = np.random.default_rng(0)
    x = torch.tensor(rng.random((5, 2, *shape)))
    module = TrainableNetwork(
        network,
        learn=("weights", "biases", "leaks", "thresholds"),
        dtype=torch.float64,
        gradient=SpikeGradient(kind=kind, width=0.7, through_reset=True, smooth=True),
    )
    direction = torch.tensor(rng.standard_normal((5, 2, *network.population("output").shape)))
    loss = smooth_loss(module, x, direction)
    loss.backward()
    largest = max(float(p.grad.abs().max()) for p in module.parameters() if p.grad is not None)
    checked = 0
    for parameter in module.parameters():
        assert parameter.grad is not None
        for flat in rng.choice(parameter.numel(), min(3, parameter.numel()), replace=False):
            values = parameter.data.view(-1)
            kept, sides = float(values[flat]), []
            for side in (kept + 1e-6, kept - 1e-6):
                values[flat] = side
                with torch.no_grad():
                    sides.append(float(smooth_loss(module, x, direction)))
            values[flat] = kept
            estimate = (sides[0] - sides[1]) / 2e-6
            assert float(parameter.grad.view(-1)[flat]) == pytest.approx(
                estimate, rel=1e-4, abs=1e-5 * largest
            )
            checked += 1
    assert checked > 8


@pytest.mark.parametrize("kind", KINDS)
def test_surrogate_is_the_slope_of_its_step_with_area_one(kind: Any) -> None:
    x = torch.linspace(-3000, 3000, 600_001, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(step(x, kind, 0.5).sum(), x)
    given = derivative(x.detach(), kind, 0.5)
    assert torch.allclose(slope, given)
    assert float(torch.trapezoid(given, x.detach())) == pytest.approx(1, abs=1e-3)
    assert float(given.argmax()) == 300_000


@pytest.mark.parametrize("kind", KINDS)
def test_one_neuron_backward_by_hand(kind: Any) -> None:
    """dL/dw of one neuron over one step is the surrogate at its distance, in threshold units."""
    network = chain_net([np.full((1, 1), 1.5, np.float32)])
    network = network.replace([lif("output", (1,), "output", threshold=2.0)])
    module = TrainableNetwork(network, gradient=SpikeGradient(kind=kind, width=0.8))
    module({"input": torch.ones(1, 1, 1)}).outputs["output"].sum().backward()
    expected = derivative(torch.tensor((1.5 - 2.0) / 2.0), kind, 0.8) / 2.0
    assert float(module.latent("fc1").grad) == pytest.approx(float(expected))  # type: ignore[arg-type]


def test_many_spikes_have_a_slope_at_every_multiple_of_the_threshold() -> None:
    network = chain_net([np.full((1, 1), 3.0, np.float32)])
    many = lif("output", (1,), "output", threshold=1.0, reset="subtract", spikes_per_step="many")
    module = TrainableNetwork(network.replace([many]), gradient=SpikeGradient(width=0.5))
    run = module({"input": torch.ones(1, 1, 1)})
    run.outputs["output"].sum().backward()
    assert run.outputs["output"].tolist() == [[[3.0]]]
    assert float(module.latent("fc1").grad) == pytest.approx(1.0)  # type: ignore[arg-type]


def test_windows_recompute_the_same_gradients_and_truncation_drops_some() -> None:
    network, rng = recurrent_net(), np.random.default_rng(0)
    x = torch.tensor(rng.random((12, 2, *network.with_role("input")[0].shape)) < 0.5)
    found = {}
    ways = {
        "full": Unrolling(),
        "windows": Unrolling(window=5),
        "recompute": Unrolling(window=5, recompute=True),
        "truncated": Unrolling(window=5, truncate=True),
    }
    for name, unrolling in ways.items():
        module = TrainableNetwork(network, unrolling=unrolling)
        module({"input": x.float()}).outputs["output"].sum().backward()
        found[name] = torch.cat([p.grad.flatten() for p in module.weights.values()])  # type: ignore[union-attr]
    assert torch.allclose(found["full"], found["windows"], rtol=1e-5)
    assert torch.equal(found["windows"], found["recompute"])
    assert not torch.allclose(found["full"], found["truncated"], rtol=1e-2)


def test_leaks_and_thresholds_stay_in_their_range() -> None:
    module = TrainableNetwork(conv_net(), learn=("leaks", "thresholds"))
    with torch.no_grad():
        for parameter in module.neurons.values():
            parameter.fill_(-2.0)
    module.clamp_()
    network = module.to_network().verify()
    for population in network.populations:
        if population.neuron is not None:
            assert (population.neuron.leak == 0).all()
            assert population.neuron.threshold is not None
            assert (population.neuron.threshold > 0).all()


# --- grids and rounding ---------------------------------------------------------------------------


def test_levels() -> None:
    assert levels_of("symmetric", 1).tolist() == [-1, 1]
    assert levels_of("symmetric", 2).tolist() == [-1, 0, 1]
    assert levels_of("symmetric", 3).tolist() == [-3, -2, -1, 0, 1, 2, 3]
    assert levels_of("complement", 3).tolist() == [-4, -3, -2, -1, 0, 1, 2, 3]
    assert levels_of("odd", 2).tolist() == [-3, -1, 1, 3]
    assert levels_of("powers", 2).tolist() == [-1, 0, 1]
    assert levels_of("powers", 4).tolist() == [-4, -2, -1, 0, 1, 2, 4]


@pytest.mark.parametrize(
    "step",
    [
        Quantize(bits=4),
        Quantize(bits=8, per="channel"),
        Quantize(bits=2, share="target"),
        pass_class("rescaw")(bits=2),
        pass_class("rescaw")(bits=4, per="layer"),
    ],
)
def test_a_quantised_network_trains_on_its_own_grid(step: Any) -> None:
    real = residual_net()
    masked = [
        dataclasses.replace(p, weight=Weight(p.weight.data, mask=np.abs(p.weight.data) > 0.1))
        for p in real.projections
        if p.name != "shortcut"
    ]
    network = step.apply(real.replace(projections=masked), PassContext()).network
    module = TrainableNetwork(network)
    assert module.to_network().digest == network.digest
    x = (np.random.default_rng(0).random((8, 2, 2, 6, 6)) < 0.5).astype(np.float32)
    assert_equal_spikes(network, x)
    before = {p.name: module.latent(p.name).detach().clone() for p in network.projections}
    with torch.no_grad():  # any move at all, of unpruned and pruned weights alike
        for p in network.projections:
            module.latent(p.name).add_(torch.randn_like(before[p.name]) * 0.1)
    moved = module.to_network().verify()
    assert moved.digest != network.digest
    assert_equal_spikes(moved, x)
    for old, new in zip(network.projections, moved.projections, strict=True):
        assert (old.weight.mask is None) == (new.weight.mask is None)
        if old.weight.quantized:
            assert new.weight.bits == old.weight.bits
            assert np.array_equal(new.weight.scale, old.weight.scale)  # type: ignore[arg-type]
            assert set(np.unique(new.weight.data)) <= {
                0,
                *WeightGrid.of(old.weight).levels.tolist(),
            }


def codes(*values: int, bits: int, levels: Any = None, mask: Any = None) -> Weight:
    return Weight(np.array([values], np.int32), np.float64(0.25), bits, mask, levels)


@pytest.mark.parametrize(
    ("weight", "grid"),
    [
        (codes(-7, 0, 7, bits=4), "symmetric"),
        (codes(-1, 0, 1, bits=1), "symmetric"),
        (codes(-8, 0, 7, bits=4), "complement"),
        (codes(-8, -2, 2, 6, bits=4), "complement"),
        (codes(-15, -1, 9, bits=4), "odd"),
        (codes(-3, -1, 1, bits=4, levels="odd"), "odd"),
        (codes(-4, -2, 0, 1, 4, bits=4, levels="powers"), "powers"),
        (codes(-8, 0, 0, 7, bits=4, mask=np.array([[True, False, True, True]])), "complement"),
    ],
)
def test_a_round_trip_is_the_identity_on_every_grid(weight: Weight, grid: str) -> None:
    network = chain_net([np.ones(weight.shape, np.float32)])
    coded = dataclasses.replace(network.projections[0], weight=weight)
    network = network.replace(projections=[coded])
    assert WeightGrid.of(weight).kind == grid
    module = TrainableNetwork(network)
    back = module.to_network().projections[0].weight
    assert np.array_equal(back.data, weight.data)
    assert back.levels in (weight.levels, grid)
    acting = module.weight(coded.name).detach().numpy()
    assert np.array_equal(acting, weight.values().astype(np.float32))
    module.restore(module.snapshot())
    assert np.array_equal(module.to_network().projections[0].weight.data, weight.data)


def test_codes_on_no_grid_are_refused() -> None:
    for weight in (codes(-9, 4, bits=4), codes(0, 1, 3, bits=2, levels="odd")):
        network = chain_net([np.ones(weight.shape, np.float32)])
        coded = dataclasses.replace(network.projections[0], weight=weight)
        with pytest.raises(PassRefused, match="training would move them") as error:
            TrainableNetwork(network.replace(projections=[coded]))
        assert (error.value.code, error.value.where) == ("codes-off-grid", coded.name)


def test_straight_through_gradient_is_that_of_the_rounded_weight() -> None:
    network = Quantize(bits=3).apply(chain_net([np.full((1, 1), 0.75, np.float32)]), PassContext())
    module = TrainableNetwork(network.network, gradient=SpikeGradient(width=1.0))
    with torch.no_grad():
        module.latent("fc1").mul_(1.05)  # the same code
    run = module({"input": torch.ones(1, 1, 1)})
    run.outputs["output"].sum().backward()
    expected = derivative(torch.tensor(0.75 - 1), "arctan", 1.0)
    assert float(module.latent("fc1").grad) == pytest.approx(float(expected))  # type: ignore[arg-type]


@pytest.mark.parametrize("overrides", [{}, {"reset": "subtract"}, {"compare": ">="}])
def test_neurons_as_a_chip_holds_them_spike_as_its_integers_do(overrides: dict[str, Any]) -> None:
    """Odd leaks and thresholds, codes on a grid: what the module computes is what the program does.

    Only the decays' truncation towards zero is not in it, so next to nothing may differ.
    """
    rng = np.random.default_rng(5)
    layers = [rng.normal(0, 0.5, s).astype(np.float32) for s in ((20, 12), (6, 20))]
    network = chain_net(layers)
    network = network.replace(
        [
            lif(p.name, p.shape, p.role, leak=0.7321, threshold=0.91, **overrides)
            for p in network.populations
            if p.neuron
        ]
    )
    network = Quantize(bits=4).apply(network, PassContext()).network
    target = load_target("loihi2")
    program = lower(network, target, inputs=InputCoding.named("binary"), steps=40)
    x = (rng.random((40, 50, 12)) < 0.4).astype(np.int64)
    module = TrainableNetwork(network)
    module.set_chip(program, target)
    with torch.no_grad():
        held = module({"input": torch.tensor(x, dtype=torch.float32)}, record=True).trains
    exact = run_integer(program, {"input": x}).spikes
    plain = run_float(network, x).spikes
    for name in ("h1", "output"):
        differing = (held[name].numpy() != exact[name]).mean()
        assert differing <= 5e-4
        assert differing <= (plain[name] != exact[name]).mean()


def test_a_learnt_leak_acts_as_the_chip_will_hold_it_and_still_learns() -> None:
    network = chain_net([np.full((1, 1), 0.5, np.float32)])
    network = network.replace([lif("output", (1,), "output", leak=0.7321)])
    network = Quantize(bits=4).apply(network, PassContext()).network
    target = load_target("loihi2")
    program = lower(network, target, inputs=InputCoding.named("binary"), steps=9)
    module = TrainableNetwork(network, learn=("leaks",))
    module.set_chip(program, target)
    run = module({"input": torch.ones(9, 1, 1)})
    run.membranes["output"].sum().backward()
    (leak,) = module.neurons.values()
    assert leak.grad is not None
    assert leak.grad.abs() > 0
    group = next(g for g in program.groups if g.name == "output")
    neuron = network.population("output").neuron
    assert neuron is not None
    held = held_neuron(neuron, group, target)
    assert float(held.leak) == 1 - round((1 - 0.7321) * 4096) / 4096
    assert float(module._acting("output")[1]["leak"].detach()) == np.float32(held.leak)
