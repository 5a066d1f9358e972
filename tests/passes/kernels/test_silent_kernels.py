"""Kernels that never spike can go, and nothing else changes: not one spike, bit for bit."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from snndeploy.calibrate.statistics import observe
from snndeploy.chip import load_target
from snndeploy.errors import InputError
from snndeploy.ingest import read_network
from snndeploy.ir.arrays import Array
from snndeploy.ir.network import Network, Projection
from snndeploy.ir.ops import Pointwise
from snndeploy.ir.weights import Weight
from snndeploy.lower import infer_coding, lower
from snndeploy.passes.kernels.coupling import CouplingGroup, coupling
from snndeploy.passes.kernels.remove_kernels import RemoveKernels
from snndeploy.passes.kernels.slicing import shrink
from snndeploy.simulate.float.engine import run_float
from snndeploy.simulate.integer.engine import run_integer
from tests.support.builders import (
    ZOO,
    conv_net,
    grouped_net,
    linear_response,
    recurrent_net,
    residual_net,
    spikes,
)
from tests.support.removal import context, group_of, lost, silenced

DIGITS = Path(__file__).parents[3] / "snndeploy" / "demo" / "digits.nir"
FACTORIES: tuple[Callable[[int], Network], ...] = ZOO


# --- any structure ----------------------------------------------------------------------------


def structures(draw: st.DrawFn) -> Network:
    """One of the zoo, or a residual, recurrent, grouped or plain network of random widths."""
    seed, width = draw(st.integers(0, 1000)), st.integers(1, 7)
    kind = draw(st.sampled_from(["zoo", "residual", "recurrent", "grouped", "plain"]))
    if kind == "residual":
        return residual_net(seed, draw(width))
    if kind == "recurrent":
        return recurrent_net(seed, draw(width))
    if kind == "grouped":
        return grouped_net(seed, draw(st.integers(2, 4)), draw(st.integers(1, 3)), draw(width))
    if kind == "plain":
        return conv_net(seed, (draw(width), draw(width)), draw(width))
    factory: Callable[[int], Network] = draw(st.sampled_from(ZOO))
    return factory(seed)


@st.composite
def shrinkings(draw: st.DrawFn) -> tuple[Network, list[CouplingGroup]]:
    net = structures(draw)
    groups = []
    for group in coupling(net):
        if not group.fixed:
            keep = draw(st.sets(st.integers(0, group.count - 1), min_size=1))
            groups.append(group.keep(sorted(keep)))
    return net, groups


@given(shrinkings(), st.integers(0, 100))
@settings(max_examples=40, deadline=None)
def test_removing_silent_kernels_changes_no_spike(
    case: tuple[Network, list[CouplingGroup]], seed: int
) -> None:
    net, groups = case
    small = shrink(net, groups).verify()
    data = spikes(net, seed)
    wide = run_float(silenced(net, lost(groups)), data, dtype="float64").spikes
    narrow = run_float(small, data, dtype="float64").spikes
    indices = {name: g.indices(name) for g in groups for name in g.populations}
    for name, train in wide.items():
        kept = train[:, :, indices[name]] if name in indices else train
        assert np.array_equal(kept, narrow[name]), name


def test_the_next_layer_receives_the_same_without_silent_channels() -> None:
    """What arrives at a convolution, step by step, in the precision that frameworks train in."""
    net = conv_net()
    groups = [group_of(net, "s1").keep([1, 3])]
    data = spikes(net, samples=6)
    wide = run_float(silenced(net, lost(groups)), data, record=["s2"])
    narrow = run_float(shrink(net, groups), data, record=["s2"])
    assert wide.spikes["s1"][:, :, [1, 3]].any()
    assert np.allclose(wide.u["s2"], narrow.u["s2"], rtol=0, atol=1e-6)


def muted(net: Network, groups: list[CouplingGroup]) -> Network:
    """The network in which nothing reaches a unit that is not kept; scales of weights stay."""
    units = {name: np.isin(u, g.kept) for g in groups for name, u in g.units.items()}
    lines = {name: np.isin(u, g.kept) for g in groups for name, u in g.rows.items()}

    def shaped(alive: Array, ndim: int) -> Array:
        return alive.reshape(-1, *(1,) * (ndim - 1))

    def quiet(p: Projection) -> Projection:
        if p.name not in lines or isinstance(p.op, Pointwise):
            return p
        data, bias = p.weight.data, p.bias
        if bias is not None:
            shape = net.population(p.target).shape
            bias = np.broadcast_to(bias, shape) * shaped(units[p.target], len(shape))
        weight = Weight(data * shaped(lines[p.name], data.ndim))
        return dataclasses.replace(p, weight=weight, bias=bias)

    populations = []
    for name, alive in units.items():
        population = net.population(name)
        assert population.neuron is not None
        fields = {
            f: getattr(population.neuron, f) * shaped(alive, len(population.shape))
            for f in ("bias", "drive")
        }
        neuron = population.neuron.changed(population.shape, **fields)
        populations.append(dataclasses.replace(population, neuron=neuron))
    return net.map_projections(quiet).replace(populations=populations)


@given(shrinkings(), st.integers(0, 100))
@settings(max_examples=15, deadline=None)
def test_removing_silent_kernels_changes_no_spike_of_the_integers(
    case: tuple[Network, list[CouplingGroup]], seed: int
) -> None:
    """All of these weights are exact on the chip, so wide and narrow have the same integers."""
    net, groups = case
    data = spikes(net, seed)
    quiet = muted(net, groups)
    answers = []
    for network in (quiet, shrink(quiet, groups)):
        program = lower(network, load_target("loihi2"), inputs=infer_coding(data), steps=len(data))
        answers.append(run_integer(program, {"input": data.astype(np.int64)}).spikes["output"])
    assert np.array_equal(*answers)


def test_the_spike_test_is_about_spikes() -> None:
    """The networks above do spike, in every population, so that the property says something."""
    for factory in ZOO:
        net = factory(0)
        for name, train in run_float(net, spikes(net)).spikes.items():
            assert 0.02 < train.mean() < 0.98, (factory.__name__, name)


@given(shrinkings(), st.integers(0, 100))
@settings(max_examples=40, deadline=None)
def test_removing_kernels_with_zero_outputs_changes_no_sum(
    case: tuple[Network, list[CouplingGroup]], seed: int
) -> None:
    """Against plain enumeration of synapses: zero what a removed unit receives, then compare."""
    net, groups = case
    if any(s.max_delay for p in net.projections for s in p.sources):
        return
    gone = {n: ~np.isin(g.rows[n], g.kept) for g in groups for n in g.rows}

    def zeroed(p):  # type: ignore[no-untyped-def]
        if p.name not in gone or not gone[p.name].any() or isinstance(p.op, Pointwise):
            return p
        data = np.array(p.weight.data)
        data[gone[p.name]] = 0
        bias = None if p.bias is None else np.where(gone[p.name].reshape(-1, 1, 1), 0, p.bias)
        return dataclasses.replace(p, weight=Weight(data), bias=bias)

    x = np.random.default_rng(seed).integers(-3, 4, net.with_role("input")[0].shape)
    wide = linear_response(net.map_projections(zeroed), x)
    narrow = linear_response(shrink(net, groups), x)
    output = net.with_role("output")[0].name
    assert np.allclose(wide[output], narrow[output], rtol=0, atol=1e-9)


# --- by score, and on trained networks --------------------------------------------------------


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


def test_removing_silent_units_of_every_example_network(shared_data: Path) -> None:
    """All NIR files that can be read: four frameworks, convolutions, recurrence, residual sums."""
    tried = []
    for file in [DIGITS, *sorted(shared_data.glob("nir_*/**/*.nir"))]:
        try:
            net = read_network(file)
        except InputError:
            continue  # not a file that can be compiled without being told more
        rng = np.random.default_rng(0)
        small: list[CouplingGroup] = []
        gone: dict[str, Array] = {}
        for group in coupling(net):
            if not group.fixed and group.count > 1:
                silent = rng.random(group.count) < 0.3
                silent[:2] = [True, False]
                gone |= {name: silent[units] for name, units in group.units.items()}
                small.append(group.keep(np.flatnonzero(~silent)))
        if not small:
            continue
        quiet = silenced(net, gone)
        data = (rng.random((12, 6, *net.with_role("input")[0].shape)) < 0.3).astype(np.float32)
        wide = run_float(quiet, data, dtype="float64")
        narrow = run_float(shrink(quiet, small), data, dtype="float64")
        output = net.with_role("output")[0].name
        assert np.array_equal(wide.spikes[output], narrow.spikes[output]), file
        tried.append((file, bool(wide.spikes[output].any())))
    assert len(tried) >= 25
    assert sum(spiked for _, spiked in tried) >= 20  # so that the comparison says something
