"""Delta, sigma-delta and sigma neurons: one step, against a neuron in Python's own numbers."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from snndeploy.ir.graded.delta import BITS, DeltaParameters, DeltaRule, DeltaState, step_delta
from snndeploy.ir.step import wrapped
from tests.support.scalar_delta import ScalarDelta

EXTREMES = [-(2**31), 2**31 - 1, -(2**30), 2**30, 0]
FORMS = [
    (form, activation, cumulates)
    for form, activation, cumulates in itertools.product(
        ("delta", "sigma-delta", "sigma"), ("relu", "unit"), (False, True)
    )
]


def at_rest(n: int) -> DeltaState:
    return DeltaState(*(np.zeros(n, np.int64) for _ in range(4)))


@pytest.mark.parametrize(("form", "activation", "cumulates"), FORMS)
@pytest.mark.parametrize("exponents", [(0, 0), (6, 6), (4, 0), (0, 8), (8, 8)])
def test_every_form_equals_a_neuron_in_pythons_numbers(
    form: str, activation: str, cumulates: bool, exponents: tuple[int, int]
) -> None:
    rng = np.random.default_rng(sum(exponents) + 7 * FORMS.index((form, activation, cumulates)))
    rule = DeltaRule(
        form=form,  # type: ignore[arg-type]
        spike_exp=exponents[0],
        state_exp=exponents[1],
        activation=activation,  # type: ignore[arg-type]
        cumulates=cumulates,
    )
    n, steps = 60, 25
    vth, bias = rng.integers(0, 30, n), rng.integers(-50, 50, n)
    vth[:4] = [0, 1, 2**20, 2**31 - 1]
    scalars = [
        ScalarDelta(
            form, int(t), int(b), *exponents, relu=activation == "relu", cumulates=cumulates
        )
        for t, b in zip(vth, bias, strict=True)
    ]
    p = DeltaParameters(
        threshold=wrapped(vth << rule.exponent, BITS), bias=wrapped(bias << rule.exponent, BITS)
    )
    state, sent_any = at_rest(n), 0
    for _ in range(steps):
        size = 1 << int(rng.integers(0, 30))
        a = rng.integers(-size, size + 1, n)
        a[5:10] = EXTREMES
        got = step_delta(rule, p, state, a)
        assert got.tolist() == [s.step(int(x)) for s, x in zip(scalars, a, strict=True)]
        sent_any += int(np.count_nonzero(got))
        assert state.u.tolist() == [s.sigma for s in scalars]
        assert state.residue.tolist() == [s.residue for s in scalars]
        if form != "sigma":
            assert state.v.tolist() == [s.act for s in scalars]
    assert sent_any


def test_torch_computes_the_same() -> None:
    import torch

    rng = np.random.default_rng(3)
    rule = DeltaRule(form="sigma-delta", spike_exp=4, state_exp=3, cumulates=True)
    plain = at_rest(20)
    other = DeltaState(*(torch.zeros(20, dtype=torch.int64) for _ in range(4)))
    p = DeltaParameters(threshold=np.asarray(5 << 7), bias=rng.integers(-9, 9, 20) << 7)
    q = DeltaParameters(threshold=torch.tensor(5 << 7), bias=torch.tensor(p.bias))
    for _ in range(10):
        a = rng.integers(-(2**12), 2**12, 20)
        sent = step_delta(rule, q, other, torch.tensor(a), torch)
        assert sent.tolist() == step_delta(rule, p, plain, a).tolist()


@pytest.mark.parametrize(("state_exp", "expected"), [(0, 0.0), (1, 0.25), (6, 0.4921875)])
def test_drift_is_what_messages_lack(state_exp: int, expected: float) -> None:
    """The mean over all values of the bits that are dropped."""
    rule = DeltaRule(form="sigma-delta", spike_exp=0, state_exp=state_exp, activation="unit")
    values = np.arange(1 << 10)
    p = DeltaParameters(threshold=np.asarray(0), bias=np.zeros((), np.int64))
    sent = step_delta(rule, p, at_rest(values.size), values)
    lacking = values / 2**state_exp - sent
    assert rule.drift_per_message == expected == lacking.mean()
    for form in ("delta", "sigma"):
        assert DeltaRule(form=form, state_exp=state_exp).drift_per_message == 0.0  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("field", "value"),
    [("form", "gamma"), ("activation", "tanh"), ("spike_exp", -1), ("state_exp", 16)],
)
def test_what_no_neuron_is(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=field):
        DeltaRule(**{"form": "delta", field: value})  # type: ignore[arg-type]
