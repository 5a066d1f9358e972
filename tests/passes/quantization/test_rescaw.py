"""rescaw: the grid without a zero, its γ, masks, and that everything downstream stays exact."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from snndeploy.chip import arithmetic_models, load_target
from snndeploy.errors import LoweringRefused, PassRefused, RecipeError
from snndeploy.ir.arrays import Array
from snndeploy.ir.network import Network
from snndeploy.ir.ops import Dense, Reshape
from snndeploy.ir.weights import Weight
from snndeploy.lower import InputCoding, infer_coding, lower
from snndeploy.mapping import place_program
from snndeploy.measure.energy import Activity, estimate_arithmetic
from snndeploy.passes.base import PassContext
from snndeploy.passes.metrics import measure
from snndeploy.passes.prune import Prune
from snndeploy.passes.quantization.quantize import Quantize
from snndeploy.passes.quantization.rescaw import ReScaW, gamma, intervals, rescaw_codes, utilisation
from snndeploy.passes.runner import run_passes
from snndeploy.recipe import Recipe
from snndeploy.simulate.float.engine import run_float
from snndeploy.simulate.integer.engine import run_integer
from tests.support.builders import (
    ZOO,
    chain_net,
    conv,
    conv_net,
    inputs,
    lif,
    project,
    residual_net,
)
from tests.support.conformance_programs import pack
from tests.support.exact_networks import FAMILIES, STEPS, exact_inputs, exact_network

CTX = PassContext()
LOIHI2 = load_target("loihi2")
GAUSSIAN = np.random.default_rng(0).normal(0, 1, (64, 288))

finite = st.floats(-100, 100, width=32)
rows = hnp.arrays(np.float64, st.tuples(st.integers(1, 4), st.integers(1, 12)), elements=finite)
bit_widths = st.integers(1, 8)
modes = st.sampled_from(["mean", "percentile", "max", "mse"])


def rounded(values: Array, mode: Any, bits: int, alive: Array | None = None) -> Array:
    """Dequantised weights."""
    g = gamma(values, mode, bits=bits, alive=alive)
    return np.asarray(rescaw_codes(values, g, bits) * (g / intervals(bits))[:, None])


def formula(values: Array, g: Array, bits: int) -> Array:
    """Equations 9 and 10 of the paper as they are printed."""
    s, x = 2**bits - 1, values / g[:, None]
    return np.asarray(g[:, None] * (2 / s * np.round(s / 2 * (np.clip(x, -1, 1) + 1)) - 1))


# --- the grid ---------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", range(1, 9))
def test_levels_are_even_spaced_symmetric_and_none_is_zero(bits: int) -> None:
    ramp = np.linspace(-3, 3, 4001)[None]
    g = np.array([2.0])
    codes = rescaw_codes(ramp, g, bits)
    stored = np.unique(codes)
    assert np.array_equal((stored + intervals(bits)) // 2, np.arange(2**bits))
    levels = np.unique(codes * (g / intervals(bits))[:, None])
    assert levels.size == 2**bits
    assert np.allclose(np.diff(levels), 2 * g / intervals(bits))
    assert np.allclose(levels, -levels[::-1])
    assert np.abs(levels).max() <= 2.0
    assert not (levels == 0).any()


@given(rows, bit_widths, modes)
def test_rounding_is_the_formula_of_the_paper(values: Array, bits: int, mode: str) -> None:
    g = gamma(values, mode, bits=bits)  # type: ignore[arg-type]
    ours = rescaw_codes(values, g, bits) * (g / intervals(bits))[:, None]
    wrong_sign = formula(values, g, bits) * np.sign(values) < 0  # too small to move W/γ + 1
    assert np.allclose(ours[~wrong_sign], formula(values, g, bits)[~wrong_sign], rtol=1e-9)
    assert (np.abs(values / g[:, None])[wrong_sign] < 1e-15).all()


@given(rows, bit_widths, modes)
def test_signs_survive(values: Array, bits: int, mode: str) -> None:
    codes = rescaw_codes(values, gamma(values, mode, bits=bits), bits)  # type: ignore[arg-type]
    assert (np.sign(codes) == np.sign(values))[values != 0].all()


@pytest.mark.parametrize(("bits", "level"), [(1, -1), (2, 1), (3, 1), (4, 1), (5, 1), (8, 1)])
def test_a_zero_takes_the_level_that_rounding_half_to_even_gives(bits: int, level: int) -> None:
    assert rescaw_codes(np.zeros((1, 1)), np.ones(1), bits).tolist() == [[level]]


@pytest.mark.parametrize("mode", ["mean", "percentile"])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_every_level_is_used(mode: Any, bits: int) -> None:
    values = GAUSSIAN.reshape(1, -1)
    assert np.unique(rescaw_codes(values, gamma(values, mode, bits=bits), bits)).size == 2**bits


@pytest.mark.parametrize(("bits", "used", "slack"), [(2, 2, 0), (4, 6, 0), (8, 79, 4)])
def test_without_rescaling_most_levels_are_wasted(bits: int, used: int, slack: int) -> None:
    values = 0.08 * GAUSSIAN.reshape(1, -1)
    assert abs(np.unique(rescaw_codes(values, np.ones(1), bits)).size - used) <= slack


def test_utilisation_is_equation_8() -> None:
    assert utilisation(8, 0.14) == pytest.approx(0.1434, abs=5e-5)
    assert utilisation(8, 0.32) == pytest.approx(0.3226, abs=5e-4)


# --- gamma ------------------------------------------------------------------------------------


@given(rows, bit_widths)
def test_max_clips_nothing_and_is_idempotent(values: Array, bits: int) -> None:
    g = gamma(values, "max", bits=bits)
    once = rescaw_codes(values, g, bits)
    back = once * (g / intervals(bits))[:, None]
    assert (np.abs(back - values) <= (g / intervals(bits))[:, None] * (1 + 1e-9)).all()
    used = values.any(axis=1)
    again = rescaw_codes(back, gamma(back, "max", bits=bits), bits)
    assert np.array_equal(again[used], once[used])


def test_mean_clips_two_fifths_and_is_not_idempotent() -> None:
    g = gamma(GAUSSIAN, "mean", bits=4)
    assert float((np.abs(GAUSSIAN) > g[:, None]).mean()) == pytest.approx(0.425, abs=0.005)
    once = rounded(GAUSSIAN, "mean", 4)
    assert not np.allclose(rounded(once, "mean", 4), once)


@pytest.mark.parametrize(
    ("bits", "mode", "error"),
    [
        (2, "mean", 0.246),
        (2, "percentile", 0.215),
        (2, "max", 0.371),
        (4, "mean", 0.233),
        (4, "percentile", 0.0118),
        (4, "max", 0.0147),
        (8, "mean", 0.232),
        (8, "percentile", 0.0033),
        (8, "max", 0.0001),
    ],
)
def test_relative_errors_of_gaussian_weights(bits: int, mode: Any, error: float) -> None:
    found = np.square(rounded(GAUSSIAN, mode, bits) - GAUSSIAN).sum() / np.square(GAUSSIAN).sum()
    assert found == pytest.approx(error, rel=0.15, abs=5e-5)


@pytest.mark.parametrize(("bits", "ratio"), [(2, 1.86), (4, 3.17), (8, 5.1)])
def test_the_best_gamma_of_gaussian_weights(bits: int, ratio: float) -> None:
    values = np.random.default_rng(1).normal(0, 1, (1, 50_000))
    mean, best = gamma(values, "mean", bits=bits), gamma(values, "mse", bits=bits)
    assert float(best[0] / mean[0]) == pytest.approx(ratio, rel=0.05)


@given(rows, bit_widths)
@settings(max_examples=25)
def test_mse_beats_a_fine_scan(values: Array, bits: int) -> None:
    def error(g: Array) -> Array:
        back = rescaw_codes(values, g, bits) * (g / intervals(bits))[:, None]
        return np.asarray(np.square(back - values).sum(axis=1))

    top = np.abs(values).max(axis=1)
    best = error(gamma(values, "mse", bits=bits))
    for factor in np.linspace(0.05, 1.2, 60):
        g = np.where(top > 0, top * factor, 1.0)
        slack = 1e-3 * np.square(values).sum(axis=1)
        assert (best <= error(g) + slack)[top > 1e-30].all()
    assert (best <= error(np.where(top > 0, top, 1.0)) * (1 + 1e-9) + 1e-30).all()


@given(rows, bit_widths, modes, st.sampled_from([2.0**-7, 0.5, 4.0, 1024.0]))
def test_scaling_the_weights_scales_the_result(
    values: Array, bits: int, mode: Any, factor: float
) -> None:
    values = np.where(np.abs(values) < 1e-30, 0, values)
    used = gamma(values, mode, bits=bits) != 1
    scaled = rounded(values * factor, mode, bits)
    assert np.allclose(scaled[used], factor * rounded(values, mode, bits)[used], rtol=1e-9)


@pytest.mark.parametrize("mode", ["mean", "percentile", "max", "mse"])
@pytest.mark.parametrize("factor", [0.003, 0.7, 11.0])
def test_any_positive_factor_scales_the_result(mode: Any, factor: float) -> None:
    """No power of two, so that weights and levels round; none of these weights is halfway."""
    scaled = rounded(GAUSSIAN * factor, mode, 4)
    assert np.allclose(scaled, factor * rounded(GAUSSIAN, mode, 4), rtol=1e-9)


def test_gamma_is_that_of_the_survivors() -> None:
    alive = np.random.default_rng(2).random(GAUSSIAN.shape) < 0.1
    pruned = np.where(alive, GAUSSIAN, 0)

    def saturated(g: Array) -> float:
        return float((np.abs(GAUSSIAN) > g[:, None])[alive].mean())

    survivors = gamma(pruned, "mean", bits=4, alive=alive)
    assert saturated(survivors) == pytest.approx(0.43, abs=0.02)
    assert saturated(gamma(pruned, "mean", bits=4)) == pytest.approx(0.93, abs=0.02)


# --- the pass ---------------------------------------------------------------------------------


def masked(net: Network, seed: int = 0) -> Network:
    rng = np.random.default_rng(seed)
    return net.map_projections(
        lambda p: dataclasses.replace(
            p, weight=Weight(p.weight.data, mask=rng.random(p.weight.shape) < 0.6)
        )
    )


def weights_of(net: Network) -> dict[str, Weight]:
    return {p.name: p.weight for p in net.projections}


@pytest.mark.parametrize("factory", ZOO)
@pytest.mark.parametrize("per", ["channel", "layer"])
@pytest.mark.parametrize("grid", ["free", "loihi"])
def test_masks_survive(factory: Any, per: Any, grid: Any) -> None:
    net = masked(factory(0))
    after = weights_of(ReScaW(bits=3, per=per, grid=grid).apply(net, CTX).network)
    for name, old in weights_of(net).items():
        new = after[name]
        if not new.quantized:  # wiring
            continue
        assert new.mask is not None
        assert np.array_equal(new.values() == 0, ~new.mask)
        assert (new.mask <= old.mask).all()  # type: ignore[operator]
        assert np.isfinite(new.values()).all()


def test_an_all_zero_channel_is_pruned_and_told() -> None:
    w = np.array([[0.0, 0.0], [1.0, -0.5], [0.0, 0.25]])
    result = ReScaW(bits=2, gamma="max", layers=("fc1",)).apply(
        chain_net([w, np.ones((1, 3))]), CTX
    )
    weight = weights_of(result.network)["fc1"]
    assert weight.mask is not None
    assert weight.mask.tolist() == [[False, False], [True, True], [True, True]]
    assert weight.data.tolist() == [[0, 0], [3, -1], [1, 3]]
    assert weight.scale is not None
    assert np.allclose(weight.scale, [[0.625 / 3], [1 / 3], [0.25 / 3]])
    (finding,) = result.findings
    assert (finding.code, finding.where) == ("zeros-quantized", "fc1")
    assert finding.message.startswith("3 of its weights are exactly zero")


def test_steps_of_the_chips_grid_are_powers_of_two() -> None:
    for mode in ("mean", "percentile", "max", "mse"):
        net = ReScaW(bits=4, gamma=mode, grid="loihi").apply(conv_net(), CTX).network  # type: ignore[arg-type]
        for weight in weights_of(net).values():
            assert weight.scale is not None
            exponents = np.log2(weight.scale)
            assert np.array_equal(exponents, np.rint(exponents))
    w = np.array([[1.01, 0.1]])
    net = ReScaW(bits=2, gamma="max", grid="loihi").apply(chain_net([w, w.T]), CTX).network
    assert float(weights_of(net)["fc1"].scale) == 0.5  # type: ignore[arg-type]  # 1.01 / 3 upwards


def test_exempt_layers_stay_real() -> None:
    net = ReScaW(exempt=("first", "last")).apply(conv_net(), CTX).network
    assert [n for n, w in weights_of(net).items() if w.quantized] == ["conv2", "fc1"]
    net = ReScaW(exempt=("last",), layers=("*", "fc2")).apply(conv_net(), CTX).network
    assert all(w.quantized for w in weights_of(net).values())  # spelled out: taken all the same


def test_order_is_told_and_changes_gamma_only() -> None:
    """Weights pruned up to a level's edge: the same mask before and after quantising."""
    values = GAUSSIAN[:8, :32]
    net = chain_net([values, np.ones((1, 8))])
    quantized = weights_of(ReScaW(bits=2, gamma="mean", per="layer").apply(net, CTX).network)["fc1"]
    inner = np.abs(quantized.data) == 1
    log = run_passes(
        net,
        [
            Prune(sparsity=float(inner.mean()), layers=("fc1",)),
            ReScaW(bits=2, gamma="mean", per="layer"),
        ],
        CTX,
    )
    assert [s.name for s in log.steps] == ["prune", "rescaw"]
    pruned = weights_of(log.network)["fc1"]
    assert np.array_equal(pruned.mask, ~inner)  # type: ignore[arg-type]
    assert quantized.scale is not None
    assert pruned.scale is not None
    assert float(pruned.scale) > 1.2 * float(quantized.scale)
    again = gamma(values.reshape(1, -1), "mean", bits=2, alive=~inner.reshape(1, -1))
    assert float(pruned.scale) * 3 == pytest.approx(float(again[0]))
    with pytest.raises(PassRefused, match="'prune' cannot run on a network that is already quant"):
        Prune(sparsity=0.5).apply(log.network, CTX)


def test_metrics_say_what_is_clipped() -> None:
    result = ReScaW(bits=8, gamma="mean").apply(chain_net([GAUSSIAN, np.ones((1, 64))]), CTX)
    assert result.metrics["fc1"]["clipped"] == pytest.approx(0.425, abs=0.01)
    assert result.metrics["fc1"]["relative_error"] ** 2 == pytest.approx(0.232, rel=0.05)
    assert ReScaW(gamma="max").apply(conv_net(), CTX).metrics["conv1"]["clipped"] == 0


# --- downstream -------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", range(1, 8))
def test_codes_are_stored_without_rounding(bits: int) -> None:
    net = ReScaW(bits=bits, grid="loihi", per="layer").apply(residual_net(), CTX).network
    program = lower(net, LOIHI2)
    assert all(r.weight == 0 for r in program.rounding.values())
    codes = weights_of(net)
    for synapses in program.synapses:
        if not codes[synapses.name].quantized:
            continue
        code = codes[synapses.name].data
        factor = synapses.mantissa.flat[0] / code.flat[0]
        assert np.array_equal(synapses.mantissa, code * factor)
        assert synapses.sign_mode == "mixed"
        assert (synapses.mantissa % 2 == 0).all()
        assert synapses.weight_bits == bits + 1  # a sign, and an odd magnitude


@pytest.mark.parametrize("per", ["channel", "layer"])
def test_free_steps_are_stored_without_rounding_too(per: Any) -> None:
    net = ReScaW(bits=4, per=per).apply(conv_net(), CTX).network
    assert all(r.weight == 0 for r in lower(net, LOIHI2).rounding.values())


def test_eight_bits_have_no_mantissa() -> None:
    net = ReScaW(bits=8).apply(conv_net(), CTX).network
    with pytest.raises(LoweringRefused) as caught:
        lower(net, LOIHI2)
    assert caught.value.code == "weight-bits"
    assert "rescaw" in caught.value.hint


@pytest.mark.parametrize("family", FAMILIES)
def test_float_equals_integer(family: str) -> None:
    for seed in range(3):
        program, x, trained = lowered(family, seed)
        chip = run_integer(program, x)
        for name, train in trained.spikes.items():
            np.testing.assert_array_equal(train, chip.spikes[name], err_msg=f"{family} {name}")


def lowered(family: str, seed: int) -> tuple[Any, Array, Any]:
    # At most 4 bits: one family has codes of its own for its leak's spare bits.
    net = exact_network(family, seed)
    if not any(p.weight.quantized for p in net.projections):
        net = ReScaW(bits=3, grid="loihi", per="layer").apply(net, CTX).network
    x = exact_inputs(net, family, seed)
    program = lower(net, LOIHI2, inputs=infer_coding(x), steps=STEPS)
    assert all(r.exact for r in program.rounding.values()), program.rounding
    return program, x, run_float(net, x, dtype="float64")


@pytest.mark.lava
@pytest.mark.slow
def test_float_equals_lava(lava: object) -> None:
    from snndeploy.simulate.lava.engine import run_lava

    cases = [lowered(family, 0) for family in FAMILIES]
    data = {f"{i}/input": x for i, (_, x, _) in enumerate(cases)}
    on_lava = run_lava(pack([program for program, _, _ in cases]), data)
    for i, (_, _, trained) in enumerate(cases):
        for name, train in trained.spikes.items():
            np.testing.assert_array_equal(train, on_lava.spikes[f"{i}/{name}"], err_msg=name)


def test_fewer_bits_take_fewer_words() -> None:
    wide = conv_net(channels=(16, 32), hidden=64)

    def words(bits: int) -> int:
        program = lower(ReScaW(bits=bits, grid="loihi").apply(wide, CTX).network, LOIHI2)
        return sum(s.resources["synapse_words"] for s in place_program(program, LOIHI2).slices)

    assert words(2) < words(4) < words(7)
    net = ReScaW(bits=3).apply(conv_net(), CTX).network
    assert measure(net).layers["conv1"].storage_bits == 3 * measure(net).layers["conv1"].weights


# --- sizes of the paper -----------------------------------------------------------------------


def resnet20(first: float, second: float) -> Network:
    """The pruned channel counts of ResNet20 for CIFAR-100, as a chain (small maps: weights count)."""

    def kept(width: int, ratio: float) -> int:
        return int(width * (1 - ratio))

    widths = [3, kept(64, 0.1)]
    for width, outer, mids in (
        (128, first, (first, second, second)),
        (256, first, (second,) * 3),
        (512, 0, (second,) * 3),
    ):
        for mid in mids:
            widths += [kept(width, mid), kept(width, outer)]
    return chain_of_convolutions(widths, 100)


def chain_of_convolutions(widths: list[int], classes: int) -> Network:
    """3 x 3 convolutions on maps of one position, and a dense readout."""
    populations = [inputs((3, 1, 1))]
    projections = []
    for i, (cin, cout) in enumerate(itertools.pairwise(widths)):
        populations.append(lif(f"s{i}", (cout, 1, 1)))
        weight = np.random.default_rng(i).normal(size=(cout, cin, 3, 3)).astype(np.float32)
        before = populations[-2].name
        projections.append(project(f"conv{i}", before, f"s{i}", conv(cin, cout), weight))
    populations.append(lif("output", (classes,), "output"))
    chain = [Reshape((widths[-1],)), Dense(classes, widths[-1])]
    weight = np.ones((classes, widths[-1]), np.float32)
    projections.append(project("fc", populations[-2].name, "output", chain, weight))
    return Network(tuple(populations), tuple(projections)).verify()


def vgg16(first: float, then: float) -> Network:
    """VGG-16 for CIFAR-10: 7 convolutions at one ratio, 5 at another, the last one whole."""
    widths = [64, 64, 128, 128, 256, 256, 256, *[512] * 6]
    ratios = [*[first] * 7, *[then] * 5, 0.0]
    kept = [int(w * (1 - r)) for w, r in zip(widths, ratios, strict=True)]
    return chain_of_convolutions([3, *kept], 10)


@pytest.mark.parametrize(
    ("ratios", "printed"), [((0.45, 0.51), (4.28, 2.16, 1.10)), ((0.49, 0.80), (1.45, 0.74, 0.39))]
)
def test_sizes_of_the_papers_vgg(ratios: tuple[float, float], printed: tuple[float, ...]) -> None:
    net = vgg16(*ratios)
    for bits, size in zip((8, 4, 2), printed, strict=True):
        step = ReScaW(bits=bits, gamma="max", exempt=("first", "last"))
        found = measure(step.apply(net, CTX).network).total("storage_bits") / 8e6
        assert round(found, 2) == pytest.approx(size, abs=0.0301)


@pytest.mark.parametrize(
    ("ratios", "printed"), [((0.3, 0.6), (6.45, 3.35, 1.79)), ((0.35, 0.75), (4.10, 2.17, 1.20))]
)
def test_sizes_of_qp_snn(ratios: tuple[float, float], printed: tuple[float, ...]) -> None:
    """Published megabytes at 8, 4 and 2 bits, first and last layer in float."""
    net = resnet20(*ratios)
    for bits, size in zip((8, 4, 2), printed, strict=True):
        step = ReScaW(bits=bits, gamma="max", exempt=("first", "last"))
        found = measure(step.apply(net, CTX).network).total("storage_bits") / 8e6
        assert round(found, 2) == pytest.approx(size, abs=0.0301)


@pytest.mark.parametrize(
    ("synops_per_step", "steps", "macs", "millijoule"),
    [(54.60e6, 4, 1.769e6, 0.2047), (11.63e6, 4, 0.885e6, 0.0459), (415.64e6, 2, 1.769e6, 0.7563)],
)
def test_energies_of_qp_snn(
    synops_per_step: float, steps: int, macs: float, millijoule: float
) -> None:
    """Additions of spikes at every step, multiplications of the analog input once."""
    program = lower(conv_net(), LOIHI2, inputs=InputCoding.named("analog"))
    activity = Activity(
        samples=1,
        steps=steps,
        layers={},
        dense_synops={},
        per_sample={},
        synops={"conv1": int(macs), "conv2": int(synops_per_step * steps), "fc1": 0, "fc2": 0},
    )
    (model,) = arithmetic_models()
    found = estimate_arithmetic(program, activity, model)["45nm-cmos"]
    assert found.low * 1e-6 == pytest.approx(millijoule, abs=5e-5)


# --- refusals ---------------------------------------------------------------------------------


def test_eight_bits_on_the_chips_grid_are_refused() -> None:
    with pytest.raises(RecipeError) as caught:
        ReScaW(bits=8, grid="loihi")
    assert caught.value.code == "rescaw-bits"
    assert str(caught.value) == (
        "rescaw.bits: 8-bit codes without a zero do not fit an 8-bit mantissa of mixed sign\n"
        "  next: use bits <= 7, or the pass quantize"
    )


def test_codes_are_not_quantised_again() -> None:
    net = Quantize(layers=("conv1",)).apply(conv_net(), CTX).network
    with pytest.raises(PassRefused, match="conv1: it has 8-bit codes"):
        ReScaW(layers=("conv1",)).apply(net, CTX)
    with pytest.raises(PassRefused) as caught:
        ReScaW(ignore=("*",)).apply(conv_net(), CTX)
    assert caught.value.code == "nothing-to-quantize"
    after = weights_of(ReScaW().apply(net, CTX).network)
    assert after["conv1"] is weights_of(net)["conv1"]


def test_options_round_trip_through_toml() -> None:
    recipe = Recipe(passes=(ReScaW(bits=3, gamma="mean", exempt=("first", "last"), grid="loihi"),))
    assert Recipe.from_toml(recipe.to_toml()) == recipe
