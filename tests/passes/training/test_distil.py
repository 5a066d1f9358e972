"""Distillation: what is learnt without labels, what stays, and which epoch is kept."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from snndeploy.calibrate.fidelity import Reference
from snndeploy.ir.network import Network
from snndeploy.passes.base import PassContext
from snndeploy.passes.prune import Prune
from snndeploy.passes.quantization.quantize import Quantize
from snndeploy.passes.training.distil import Distil
from snndeploy.passes.training.loop.distillation import RelativeSteps, divergence
from snndeploy.passes.training.torch_network.module import TrainableNetwork
from snndeploy.simulate.float.engine import run_float
from tests.support.labelled import Labelled, digits_mlp, flat


def unlabelled(low: int, high: int) -> Labelled:
    return Labelled(flat(low, high).inputs, None)


def ctx(*, aside: bool = True) -> PassContext:
    """100 digits to learn from, 50 to stop by."""
    return PassContext(
        calibration=unlabelled(0, 100),
        aside=unlabelled(100, 150) if aside else None,
        source=digits_mlp(),
        scope="distil",
    )


def pruned(sparsity: float = 0.9) -> Network:
    return Prune(sparsity=sparsity, scope="lamp").apply(digits_mlp(), PassContext()).network


def test_a_pruned_network_answers_again_as_the_trained_one() -> None:
    net = pruned()
    result = Distil(epochs=15).apply(net, ctx())
    new = Reference(digits_mlp(), unlabelled(150, 450).inputs)
    assert new.divergence(result.network) < 0.6 * new.divergence(net)
    for p, q in zip(net.projections, result.network.projections, strict=True):
        assert np.array_equal(p.weight.mask, q.weight.mask)  # type: ignore[arg-type]
    told = result.metrics["distillation"]
    aside = Reference(digits_mlp(), unlabelled(100, 150).inputs)
    assert told["aside_before"] == aside.divergence(net)
    assert told["aside"] == aside.divergence(result.network)
    assert [f.code for f in result.findings] == ["distilled"]
    assert f"epoch {told['kept']:.0f} of 15 is kept" in result.findings[0].message


def test_what_does_not_get_better_comes_out_as_it_came() -> None:
    net = pruned(0.5)
    result = Distil(epochs=2, rate=50.0).apply(net, ctx())
    assert result.network is net
    assert "nothing is kept" in result.findings[0].message


def test_without_samples_aside_the_last_epoch_is_kept() -> None:
    net = pruned(0.5)
    result = Distil(epochs=2, rate=50.0).apply(net, ctx(aside=False))
    assert result.modified
    assert "no samples were put aside" in result.findings[0].message


def test_the_same_seed_gives_the_same_network() -> None:
    first, again, other = (
        Distil(epochs=1).apply(pruned(), dataclasses.replace(ctx(aside=False), seed=seed)).network
        for seed in (0, 0, 1)
    )
    assert first.digest == again.digest
    assert first.digest != other.digest


def test_codes_stay_or_move_on_their_grid() -> None:
    net = Quantize(bits=3).apply(pruned(0.8), PassContext()).network
    kept = Distil(epochs=1).apply(net, ctx(aside=False))
    assert [f.code for f in kept.findings] == ["nothing-to-learn"]
    assert kept.network is net
    moved = Distil(epochs=1, rate=1.0, codes=True).apply(net, ctx(aside=False)).network
    for p, q in zip(net.projections, moved.projections, strict=True):
        assert (p.weight.data != q.weight.data).any()
        assert np.array_equal(p.weight.scale, q.weight.scale)  # type: ignore[arg-type]
        assert np.abs(q.weight.data).max() <= 3


def with_biases() -> Network:
    source = digits_mlp()
    return source.replace(
        populations=[
            dataclasses.replace(
                p, neuron=p.neuron.changed(p.shape, bias=np.resize([0.04, 0.06], p.shape))
            )
            for p in source.populations
            if p.neuron is not None
        ]
    )


def test_what_learns_of_the_neurons_is_shaken_and_set_back() -> None:
    module = TrainableNetwork(with_biases(), learn=("weights", "biases"))
    before = {n: p.detach().clone() for n, p in module.named_parameters()}
    steps = RelativeSteps(module)
    with steps.shaken(0.1, np.random.default_rng(0)):
        moved = torch.cat(
            [(p - before[f"neurons.{n}"]).detach() for n, p in module.neurons.items()]
        )
        assert all(torch.equal(p, before[f"weights.{n}"]) for n, p in module.weights.items())
    assert float(moved.std()) == pytest.approx(0.1 * 0.05, rel=0.25)
    assert (moved != 0).all()
    with pytest.raises(ZeroDivisionError), steps.shaken(0.1, np.random.default_rng(0)):
        raise ZeroDivisionError
    with steps.shaken(0.0, np.random.default_rng(0)):
        same = {n: torch.equal(p, before[n]) for n, p in module.named_parameters()}
    assert all(same.values())
    assert all(torch.equal(p, before[n]) for n, p in module.named_parameters())


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_epochs_are_judged_by_shaken_networks_too(noise: float) -> None:
    """What holds only for biases to the last digit is worth less."""
    source = with_biases()
    net = Quantize(bits=2).apply(source, PassContext()).network
    given = dataclasses.replace(ctx(), source=source)
    result = Distil(epochs=1, noise=noise).apply(net, given)
    aside = Reference(source, unlabelled(100, 150).inputs)
    module = TrainableNetwork(net, learn=("biases",), layers=[])
    found, stream = [aside.divergence(net)], given.stream("judged")
    for _ in range(2 if noise else 0):
        with RelativeSteps(module).shaken(noise, stream):
            found.append(aside.divergence(module.to_network()))
    assert result.metrics["distillation"]["aside_before"] == pytest.approx(np.mean(found))
    assert (np.std(found) > 0) == (noise > 0)


def test_where_weights_are_codes_biases_still_learn() -> None:
    biased = with_biases()
    net = Quantize(bits=2).apply(biased, PassContext()).network
    after = Distil(epochs=1).apply(net, dataclasses.replace(ctx(aside=False), source=biased))
    for p, q in zip(net.populations, after.network.populations, strict=True):
        if p.neuron is not None and q.neuron is not None:
            assert (p.neuron.bias != q.neuron.bias).any()
    for a, b in zip(net.projections, after.network.projections, strict=True):
        assert np.array_equal(a.weight.data, b.weight.data)


@pytest.mark.parametrize("source", [None, "itself"])
def test_a_network_that_nothing_was_done_to_has_nothing_to_learn(source: Any) -> None:
    given = dataclasses.replace(ctx(), source=digits_mlp() if source else None)
    result = Distil().apply(digits_mlp(), given)
    assert not result.modified
    assert result.findings == ()


def test_the_loss_is_the_divergence_that_guards_go_by() -> None:
    net, inputs = pruned(0.8), flat(0, 60).inputs
    counts = [
        torch.tensor(run_float(n, inputs).spikes["output"].sum(0), dtype=torch.float32)
        for n in (digits_mlp(), net)
    ]
    loss = divergence(
        {"o": counts[0]}, {"o": counts[1]}, {"o": float(counts[0].std(correction=0)) / 2}
    )
    assert float(loss) == pytest.approx(Reference(digits_mlp(), inputs).divergence(net), rel=1e-5)


def test_an_output_of_one_neuron_is_compared_over_the_samples() -> None:
    wanted = torch.tensor([[1.0], [2.0], [3.0]])
    assert float(divergence({"o": wanted}, {"o": wanted + 7}, {"o": 1.0})) == pytest.approx(0)
    found = divergence({"o": wanted}, {"o": wanted.flip(0)}, {"o": 1.0})
    p = torch.softmax(wanted[:, 0], 0)
    assert float(found) == pytest.approx(float((p * (p / p.flip(0)).log()).sum()))


def test_first_steps_are_a_share_of_each_layers_own_size() -> None:
    net = pruned(0.5)
    coded = Quantize(bits=4, per="channel", layers=("fc2",)).apply(net, PassContext()).network
    module = TrainableNetwork(coded)
    before = {p.name: module.latent(p.name).detach().clone() for p in coded.projections}
    steps = RelativeSteps(module)
    total = torch.stack([module.latent(n).sum() for n in before]).sum()
    steps.take(steps.gradients(total), 0.25)
    moved = {n: before[n] - module.latent(n).detach() for n in before}
    mask = torch.tensor(coded.projections[0].weight.mask)
    rms = before["fc1"][mask].square().mean().sqrt()
    torch.testing.assert_close(moved["fc1"][mask], 0.25 * rms.expand(int(mask.sum())))
    assert not moved["fc1"][~mask].any()
    scale = torch.tensor(coded.projections[1].weight.scale, dtype=torch.float32)
    torch.testing.assert_close(moved["fc2"], (0.25 * scale).expand_as(moved["fc2"]))
