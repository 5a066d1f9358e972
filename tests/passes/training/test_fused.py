"""A population's steps as one operation: states, spikes and gradients of one step after the other."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from snndeploy.ir.arrays import frozen
from snndeploy.ir.network import Network, Population, Projection, Source
from snndeploy.ir.neurons import Neuron
from snndeploy.ir.ops import Dense
from snndeploy.ir.step import NeuronRule
from snndeploy.ir.weights import Weight
from snndeploy.passes.training.torch_network import unroll
from snndeploy.passes.training.torch_network.fused import fusible, run_fused
from snndeploy.passes.training.torch_network.fused_loop import loops_simply
from snndeploy.passes.training.torch_network.module import TrainableNetwork
from snndeploy.passes.training.torch_network.surrogate import SpikeGradient, SurrogateKind
from snndeploy.passes.training.torch_network.unroll import Unrolling
from snndeploy.simulate.float.neuron import NeuronState
from tests.support.rules import RULES, fields_of, rule_name

pytest.importorskip("numba")
SHAPE = (3, 2)
STEPS, SAMPLES = 6, 4


@st.composite
def neurons(draw: st.DrawFn) -> Neuron:
    """Every rule, values per neuron."""
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    reset, timing = draw(
        st.sampled_from(
            [
                ("zero", "immediate"),
                ("subtract", "immediate"),
                ("none", "immediate"),
                ("zero", "next-step"),
                ("subtract", "next-step"),
                ("subtract", "snntorch-immediate"),
            ]
        )
    )
    some: dict[str, Any] = {
        "syn_leak": rng.uniform(0, 1, SHAPE),
        "bias": rng.normal(0, 0.3, SHAPE),
        "drive": rng.normal(0, 0.3, SHAPE),
    }
    if timing != "snntorch-immediate":
        some["v_floor"] = rng.uniform(-1, 0, SHAPE)
        some["spikes_per_step"] = "many"
    chosen = draw(st.sets(st.sampled_from(sorted(some))))
    spiking = draw(st.booleans())
    return Neuron.create(
        SHAPE,
        leak=rng.uniform(0, 1, SHAPE),
        compare=draw(st.sampled_from([">", ">="])),
        threshold=rng.uniform(0.5, 1.5, SHAPE) if spiking else None,
        **({"reset": reset, "reset_timing": timing} if spiking else {}),
        **{k: some[k] for k in chosen if spiking or k != "spikes_per_step"},
    )


def by_steps(
    neuron: Neuron, par: Any, how: SpikeGradient, drive: torch.Tensor, state: Any
) -> tuple[torch.Tensor, torch.Tensor, tuple[torch.Tensor, ...]]:
    """What `run_fused` returns, from `NeuronState.step`."""
    run = NeuronState(
        neuron, SHAPE, SAMPLES, drive.dtype, kernel=False, parameters=par, surrogate=how
    )
    run.u, run.v, run.fired = state
    out, charged = [], []
    for x in drive:
        out.append(run.step(x))
        charged.append(run.charged)
    return torch.stack(out), torch.stack(charged), (run.u, run.v, run.fired)


def agree(neuron: Neuron, kind: Any, dtype: torch.dtype, seed: int) -> None:
    """One operation gives the states and gradients that autograd finds step after step."""
    how = SpikeGradient(kind=kind, width=0.7)
    par = {k: torch.tensor(v, dtype=dtype) for k, v in neuron.parameters().items()}
    assert fusible(neuron, par, how)
    rng = np.random.default_rng(seed)
    values = [
        rng.normal(0, 1.5, (STEPS, SAMPLES, *SHAPE)),
        *rng.normal(0, 0.5, (2, SAMPLES, *SHAPE)),
    ]
    fired = torch.tensor(rng.integers(0, 2, (SAMPLES, *SHAPE)), dtype=dtype)
    flow, single = (STEPS, SAMPLES, *SHAPE), (SAMPLES, *SHAPE)
    weights = [torch.tensor(rng.normal(size=s), dtype=dtype) for s in (flow, flow, single, single)]
    found = []
    for fused in (False, True):
        drive, u, v = (torch.tensor(x, dtype=dtype, requires_grad=True) for x in values)
        state = (u, v, fired)
        leaks = [n for n in ("leak", "syn_leak") if n in par]
        par |= {n: par[n].detach().clone().requires_grad_() for n in leaks}
        if fused:
            out, charged, end = run_fused(neuron, par, how, SHAPE, drive, state, record=True)
        else:
            out, charged, end = by_steps(neuron, par, how, drive, state)
        # the end of a neuron without a synaptic state is the last drive, which no window hands on
        parts = (out, charged, end[1], end[0])[: 4 if neuron.syn_leak is not None else 3]
        loss = sum((w * p).sum() for w, p in zip(weights, parts, strict=False))
        inputs = (drive, u, v, *(par[n] for n in leaks))
        gradients = torch.autograd.grad(loss, inputs, allow_unused=True)
        found.append((out, charged, *end, *gradients))
    close = (
        {"rtol": 1e-4, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 1e-9, "atol": 1e-11}
    )
    for i, (steps, whole) in enumerate(zip(*found, strict=True)):
        if steps is None:
            assert not whole.any()
        elif i < 5:
            assert torch.equal(steps, whole)
        else:
            torch.testing.assert_close(whole, steps, **close)


@given(
    neurons(),
    st.sampled_from(get_args(SurrogateKind)),
    st.sampled_from([torch.float32, torch.float64]),
    st.integers(0, 2**31),
)
def test_one_operation_is_step_after_step(
    neuron: Neuron, kind: Any, dtype: torch.dtype, seed: int
) -> None:
    agree(neuron, kind, dtype, seed)


@pytest.mark.parametrize("rule", [None, *RULES], ids=rule_name)
def test_every_rule_with_every_part(rule: NeuronRule | None) -> None:
    """All literals and all sets of parts; what has no compiled gradient says so."""
    kinds = itertools.cycle(get_args(SurrogateKind))
    names = ("syn_leak", "v_floor", "bias", "drive")
    for seed, has in enumerate(itertools.product((False, True), repeat=len(names))):
        rng = np.random.default_rng(seed)
        values = {
            "syn_leak": rng.uniform(0, 1, SHAPE),
            "v_floor": rng.uniform(-1, 0, SHAPE),
            "bias": rng.normal(0, 0.3, SHAPE),
            "drive": rng.normal(0, 0.3, SHAPE),
        }
        parts = {name: values[name] for name, there in zip(names, has, strict=True) if there}
        neuron = Neuron.create(
            SHAPE,
            leak=rng.uniform(0, 1, SHAPE),
            # low, so that several spikes per step are usual, and more than a rule's most
            threshold=None if rule is None else rng.uniform(0.3, 0.7, SHAPE),
            **parts,
            **({} if rule is None else fields_of(rule)),
        )
        timing = None if rule is None else rule.reset_timing
        if timing == "snntorch-immediate" and "v_floor" in parts:
            par = {k: torch.tensor(v) for k, v in neuron.parameters().items()}
            assert not fusible(neuron, par, SpikeGradient())
        else:
            agree(neuron, next(kinds), torch.float64, seed)


def test_input_that_is_constant_in_time_and_the_initial_state() -> None:
    neuron = Neuron.create(SHAPE, leak=0.5, threshold=1.0, v_init=0.25)
    par = {k: torch.tensor(v, dtype=torch.float32) for k, v in neuron.parameters().items()}
    step = torch.linspace(0, 2, SAMPLES * 6).reshape(1, SAMPLES, *SHAPE).requires_grad_()
    drive = step.expand(STEPS, *step.shape[1:])
    out, charged, _ = run_fused(neuron, par, SpikeGradient(), SHAPE, drive, None, record=False)
    repeated = step.detach().repeat(STEPS, 1, 1, 1).requires_grad_()
    same, _, _ = run_fused(neuron, par, SpikeGradient(), SHAPE, repeated, None, record=False)
    assert torch.equal(out, same)
    assert len(charged) == 0
    assert torch.equal(out[0], (0.25 * 0.5 + step[0] > 1).float())
    (one,) = torch.autograd.grad(out.sum(), step)
    (each,) = torch.autograd.grad(same.sum(), repeated)
    torch.testing.assert_close(one, each.sum(0, keepdim=True))


@pytest.mark.parametrize("how", [SpikeGradient(smooth=True), SpikeGradient(through_reset=True)])
def test_what_needs_steps(how: SpikeGradient) -> None:
    neuron = Neuron.create(SHAPE, leak=0.5, threshold=1.0)
    par = {k: torch.tensor(v) for k, v in neuron.parameters().items()}
    assert fusible(neuron, par, SpikeGradient())
    assert not fusible(neuron, par, how)
    assert fusible(neuron, par | {"leak": par["leak"].requires_grad_()}, SpikeGradient())
    learns = {"threshold": par["threshold"].requires_grad_()}
    assert not fusible(neuron, par | learns, SpikeGradient())


def looped(neuron: Neuron, *, bias: bool, seed: int) -> Network:
    """Two inputs, six neurons that hear each other a step later, three outputs."""
    rng = np.random.default_rng(seed)

    def projection(name: str, source: str, delay: int, n: int, m: int, target: str) -> Projection:
        weight = Weight(rng.normal(0, 0.8, (m, n)).astype(np.float32))
        late = rng.normal(0, 0.2, m) if bias and delay else None
        feed = (Source(source, frozen(delay, np.int64)),)
        return Projection(name, feed, target, (Dense(m, n),), weight, late)

    flat = (6,)
    return Network(
        (
            Population("input", (2,), None, "input"),
            Population("a", flat, neuron, "hidden"),
            Population("out", (3,), Neuron.create((3,), leak=0.6, threshold=0.5), "output"),
        ),
        (
            projection("in", "input", 0, 2, 6, "a"),
            projection("loop", "a", 1, 6, 6, "a"),
            projection("read", "a", 0, 6, 3, "out"),
        ),
    ).verify()


@pytest.mark.parametrize("window", [0, 4])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("reset", ["zero", "subtract"])
@pytest.mark.parametrize("timing", ["immediate", "next-step"])
def test_a_population_that_feeds_itself_is_step_after_step(
    timing: Any, reset: Any, bias: bool, window: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(3)
    neuron = Neuron.create(
        (6,),
        leak=rng.uniform(0.5, 1, 6),
        threshold=0.7,
        syn_leak=0.4,
        bias=rng.normal(0, 0.2, 6),
        reset=reset,
        reset_timing=timing,
    )
    network = looped(neuron, bias=bias, seed=5)
    x = {"input": torch.tensor(rng.integers(0, 2, (11, 4, 2)), dtype=torch.float32)}
    weights = torch.tensor(rng.normal(size=(4, 3)), dtype=torch.float32)
    found = []
    for fused in (False, True):
        if not fused:
            monkeypatch.setattr(unroll, "fusible", lambda *arguments: False)
        module = TrainableNetwork(
            network,
            learn=("weights", "biases", "leaks"),
            gradient=SpikeGradient(width=0.7),
            unrolling=Unrolling(window=window),
        )
        run = module(x, record=True)
        learnt = [p for p in module.parameters() if p.requires_grad]
        gradients = torch.autograd.grad((run.outputs["out"].sum(0) * weights).sum(), learnt)
        found.append((run.trains["a"], run.outputs["out"], run.membranes["out"], *gradients))
        monkeypatch.undo()
    assert found[0][0].any()
    assert len(found[0]) == 3 + 3 + 1 + 3  # three layers, one bias, two leaks and a filter's
    for i, (steps, whole) in enumerate(zip(*found, strict=True)):
        if i < 3:
            assert torch.equal(steps, whole)
        else:
            assert steps.any()
            torch.testing.assert_close(whole, steps, rtol=1e-4, atol=1e-5)


def test_what_is_no_simple_loop_runs_step_by_step() -> None:
    net = looped(Neuron.create((6,), leak=0.5, threshold=0.5), bias=False, seed=1)
    (p,) = (q for q in net.projections if q.name == "loop")
    late = dataclasses.replace(p, sources=(Source("a", frozen(2, np.int64)),))
    assert loops_simply([p])
    assert not loops_simply([])
    assert not loops_simply([p, p])
    assert not loops_simply([late])
