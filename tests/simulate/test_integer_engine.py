"""The integer engine's routes, batches and number ranges against the obvious reference."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest

from snndeploy.errors import UsageError
from snndeploy.ir.arrays import Array, frozen
from snndeploy.ir.ops import Conv, Dense, Op
from snndeploy.ir.program import CompartmentGroup, Program, SynapseGroup, SynapseSource
from snndeploy.ir.step import LOIHI, Arithmetic
from snndeploy.simulate.integer.engine import IntegerEngine, run_integer
from snndeploy.simulate.integer.neurons.packed import fits_int32
from snndeploy.simulate.integer.plan import make_plan
from snndeploy.simulate.integer.routes.dense import float_type
from snndeploy.simulate.integer.routes.forms import dense_cost, event_form
from snndeploy.simulate.jit import has_numba
from snndeploy.simulate.recording import Recording
from tests.support.conformance_programs import DELAYED, INT, UNDELAYED, make, pack, random_inputs
from tests.support.conformance_reference import run_reference

FEATURES = [*UNDELAYED, *DELAYED]
STEPS = 7
WAYS: dict[str, dict[str, Any]] = {
    "events": {"route": "events"},
    "dense": {"route": "dense"},
    "torch": {"device": "cpu"},
    "plain": {"kernels": False},
}
"""Every way to compute: compiled kernels (where numba is installed), torch alone, and without numba."""

Case = tuple[Program, dict[str, Array], Recording]


def neurons(program: Program) -> list[str]:
    return [g.name for g in program.on_chip if g.kind != "constant"]


def run_way(program: Program, inputs: Any, way: str, **options: Any) -> Recording:
    return engine_of(program, way).run(inputs, **options)


def engine_of(program: Program, way: str) -> IntegerEngine:
    options = dict(WAYS.get(way, {}))
    if options.pop("kernels", True):
        return IntegerEngine(program, **options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("snndeploy.simulate.integer.engine.has_numba", lambda: False)
        return IntegerEngine(program)


def assert_equal(a: Recording, b: Recording, names: list[str], states: bool = True) -> None:
    for kind in ("spikes", "u", "v") if states else ("spikes",):
        for name in names:
            np.testing.assert_array_equal(
                getattr(a, kind)[name], getattr(b, kind)[name], f"{kind} of {name}"
            )


def scaled(program: Program, rng: np.random.Generator, bits: int) -> Program:
    """The same program with weights of about ``bits`` bits, far beyond what a chip holds."""
    synapses = tuple(
        dataclasses.replace(
            s,
            mantissa=frozen(s.mantissa.astype(INT) * int(rng.integers(1 << (bits - 8))), INT),
            exponent=int(rng.integers(-12, 3)),
        )
        for s in program.synapses
    )
    return dataclasses.replace(program, synapses=synapses)


@cache
def all_features(wild: bool, samples: int, bits: int = 0) -> Case:
    """All features as one program, its inputs and the reference's answer (slow, hence once)."""
    program = pack([make(feature, 3 + i, wild=wild) for i, feature in enumerate(FEATURES)])
    if bits:
        program = scaled(program, np.random.default_rng(bits), bits)
    inputs = random_inputs(program, STEPS, samples, 2)
    return program, inputs, run_reference(program, inputs)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("wild", [False, True], ids=["tame", "wild"])
def test_every_feature_in_one_batch(way: str, wild: bool) -> None:
    """Every route, in uneven batches."""
    program, inputs, expected = all_features(wild, 4)
    names = neurons(program)
    whole = run_way(program, inputs, way, record_states=names)
    assert_equal(whole, expected, names)
    assert_equal(run_way(program, inputs, way, batch=3), expected, names, states=False)


@pytest.mark.parametrize("way", WAYS)
def test_batches_of_1_7_and_256(way: str) -> None:
    program, inputs, expected = all_features(True, 4)
    engine = engine_of(program, way)
    for samples in (1, 7, 256):
        chosen = np.random.default_rng(samples).integers(0, 4, samples)
        run = engine.run({name: data[:, chosen] for name, data in inputs.items()})
        for name in neurons(program):
            np.testing.assert_array_equal(run.spikes[name], expected.spikes[name][:, chosen], name)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("sum_bits", [32, 18, 40])
def test_every_feature_in_another_arithmetic(way: str, sum_bits: int) -> None:
    """16 bit that saturate or wrap and decay by shifts; sums of 32 bits, or not."""
    tame, inputs, _ = all_features(False, 3)
    chip = Arithmetic(
        state_bits=16,
        u_overflow="saturate",
        v_overflow="wrap",
        decay="shift",
        decay_bits=4,
        u_decay_offset=0,
        state_shift=3,
        sum_bits=sum_bits,
    )
    groups = tuple(
        dataclasses.replace(g, du=frozen(g.du % 5), dv=frozen(g.dv % 5), vth=frozen(g.vth >> 3))
        for g in tame.groups
    )
    program = dataclasses.replace(tame, arithmetic=chip, groups=groups)
    expected = run_reference(program, inputs)
    names = neurons(program)
    run = run_way(program, inputs, way, record_states=names, watch=way == "plain")
    assert_equal(run, expected, names)
    assert max(np.abs(expected.u[n]).max() for n in names) == chip.state_max
    assert_differs(run, run_integer(tame, inputs, record_states=names), names)
    if way == "plain":
        assert {use.limit for use in run.registers.values()} == {2**15 - 1}
        assert sum(use.wraps for use in run.registers.values()) > 0


def assert_differs(a: Recording, b: Recording, names: list[str]) -> None:
    assert any((a.v[name] != b.v[name]).any() for name in names)


@pytest.mark.parametrize("bits", [20, 34, 44])
@pytest.mark.parametrize("way", WAYS)
def test_sums_beyond_float32_int32_and_float64(way: str, bits: int) -> None:
    """Weights of 20, 34 and 44 bits: sums leave float32's integers, int32, and come near float64's."""
    program, inputs, expected = all_features(False, 2, bits)
    names = neurons(program)
    assert_equal(run_way(program, inputs, way, record_states=names), expected, names)


def one_layer(op: Op, weight: Any, exponent: int = 0, bits: int = 0, **fields: Any) -> Program:
    """An input, one projection, and a group of ``lif`` neurons."""
    shape = {Dense: (weight.shape[1],), Conv: (2, 6, 5)}[type(op)]
    groups = (
        CompartmentGroup(
            name="in", shape=shape, role="input", kind="input", depth=0, message_bits=bits
        ),
        CompartmentGroup(
            name="out",
            shape=op.out_shape(shape),
            role="output",
            depth=1,
            **{"kind": "lif", "vth": frozen(900, INT), **fields},
        ),
    )
    synapses = SynapseGroup(
        name="w",
        sources=(SynapseSource("in", frozen(1, INT)),),
        target="out",
        ops=(op,),
        mantissa=frozen(weight, INT),
        exponent=exponent,
        sign_mode="mixed",
        weight_bits=8,
    )
    return Program(arithmetic=LOIHI, target="test", groups=groups, synapses=(synapses,)).verify()


def test_the_bounds_are_those_of_the_weights() -> None:
    weight = np.array([[100, -27], [0, 128]])
    leg = make_plan(one_layer(Dense(2, 2), weight)).legs["out"][0]
    assert float_type(leg, 1) == "float32"
    assert float_type(leg, (2**24 - 1) // 128) == "float32"
    assert float_type(leg, 2**24 // 128) == "float64"
    assert float_type(leg, 2**53 // 128) is None
    # a floor after the sum needs all of its bits; without one, int32 keeps those that count
    huge = np.full((1, 2), 2**30)
    assert event_form(make_plan(one_layer(Dense(1, 2), huge, 3)).legs["out"][0]) is not None
    assert event_form(make_plan(one_layer(Dense(1, 2), huge, -3)).legs["out"][0]) is None


def test_parameters_outside_int32_take_the_plain_way() -> None:
    weight = np.random.default_rng(0).integers(-200, 200, (6, 6))
    for fields in (
        {"dv": frozen(4097, INT)},
        {"du": frozen(-3, INT)},
        {"kind": "custom", "reset": "subtract", "vth": frozen(-(2**20), INT)},
        {"kind": "custom", "reset": "subtract", "v_floor": frozen(-(2**40), INT)},
    ):
        program = one_layer(Dense(6, 6), weight, 3, **fields)
        assert not fits_int32(program.group("out"), LOIHI)
        inputs = random_inputs(program, 12, 4, 0)
        run = run_integer(program, inputs, record_states=["out"])
        assert_equal(run, run_reference(program, inputs), ["out"])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", range(12))
def test_convolutions_of_any_geometry(way: str, case: int) -> None:
    rng = np.random.default_rng(case)
    while True:
        k, s, d = (tuple(int(x) for x in rng.integers(1, 4, 2)) for _ in range(3))
        pad: Any = tuple(tuple(int(x) for x in rng.integers(0, 3, 2)) for _ in range(2))
        op = Conv(4, 2, k, s, pad, d, int(rng.integers(1, 3)))
        extent = [(2, 6, 5)[1 + a] + sum(pad[a]) - d[a] * (k[a] - 1) for a in (0, 1)]
        if min(extent) > 0:
            break
    weight = rng.integers(-127, 128, op.weight_shape) * 2
    bits = int(rng.integers(2)) * 6
    program = one_layer(op, weight, int(rng.integers(-3, 3)), bits)
    inputs = random_inputs(program, STEPS, 5, case)
    run = run_way(program, inputs, way, record_states=["out"])
    assert_equal(run, run_reference(program, inputs), ["out"])


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int8, np.int32, np.int64])
@pytest.mark.parametrize("bits", [0, 8])
def test_inputs_of_any_integer_type(dtype: Any, bits: int) -> None:
    """A plain spike is whatever is not zero; a graded one is its value."""
    program = one_layer(Dense(5, 9), np.random.default_rng(1).integers(-200, 200, (5, 9)), 2, bits)
    x = np.random.default_rng(2).integers(0, 3, (STEPS, 4, 9)).astype(dtype)
    expected = run_reference(program, {"in": x.astype(INT)})
    for data in (x, np.asfortranarray(x), np.repeat(x, 2, axis=2)[..., ::2]):
        assert_equal(run_integer(program, data), expected, ["out"], states=False)


def test_outputs_alone_may_be_recorded() -> None:
    program = make("skip", 1)
    inputs = random_inputs(program, STEPS, 9, 0)
    seen: list[tuple[int, int]] = []
    run = run_integer(
        program, inputs, record="outputs", batch=4, progress=lambda *done: seen.append(done)
    )
    assert list(run.spikes) == ["out"]
    np.testing.assert_array_equal(run.spikes["out"], run_integer(program, inputs).spikes["out"])
    assert seen == [(4, 9), (8, 9), (9, 9)]


def test_refusals() -> None:
    program = make("dense", 0)
    with pytest.raises(UsageError) as route:
        IntegerEngine(program, route="event")  # type: ignore[arg-type]
    assert route.value.code == "integer-route"
    assert str(route.value) == (
        "integer engine: there is no route 'event'\n  next: did you mean 'events'?"
    )
    with pytest.raises(UsageError) as device:
        IntegerEngine(program, device="mps")
    assert device.value.code == "device-missing"
    assert "torch cannot compute exactly on 'mps' here" in str(device.value)


def test_products_wait_for_torch_where_it_is_not_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a few rows, events cost less than loading what multiplies."""
    leg = make_plan(one_layer(Dense(2, 2), np.array([[100, -27], [0, 128]]))).legs["out"][0]
    monkeypatch.setitem(sys.modules, "torch", sys.modules.get("torch", sys))
    known = dense_cost(leg, 10)
    monkeypatch.delitem(sys.modules, "torch")
    assert dense_cost(leg, 10) - known == pytest.approx(1e8)


@pytest.mark.skipif(not has_numba(), reason="numba is not installed: pip install snndeploy[fast]")
def test_kernels_are_compiled_where_numba_is() -> None:
    from snndeploy.simulate.integer.routes.events import add_rows

    assert hasattr(add_rows, "signatures")


def random_packs(programs: int, per_pack: int) -> Iterator[tuple[int, list[tuple[str, int, bool]]]]:
    cases = [
        (FEATURES[i % len(FEATURES)], 10_000 + i, i // len(FEATURES) % 2 > 0)
        for i in range(programs)
    ]
    for start in range(0, programs, per_pack):
        yield start, cases[start : start + per_pack]


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("way", ["auto", *WAYS])
def test_ten_thousand_programs(way: str) -> None:
    """u, v and spikes of 10,000 random programs (2,000 per way), every tenth with huge sums."""
    share = list(WAYS).index(way) + 1 if way in WAYS else 0
    for start, cases in random_packs(10_000, 50):
        if start // 50 % 5 != share:
            continue
        program = pack([make(*case[:2], wild=case[2]) for case in cases])
        rng = np.random.default_rng(start)
        if start // 250 % 10 == 9:
            program = scaled(program, rng, int(rng.choice([18, 26, 34, 42])))
        inputs = random_inputs(program, 6, 2, start)
        run = run_way(program, inputs, way, record_states=neurons(program))
        assert_equal(run, run_reference(program, inputs), neurons(program))
