"""quantize: exact codes, optimal scales, masks kept."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from snndeploy.errors import PassRefused, RecipeError, SnnDeployError
from snndeploy.ir.arrays import Array
from snndeploy.ir.network import Network
from snndeploy.ir.ops import Dense, Pointwise, Reshape
from snndeploy.ir.weights import Weight
from snndeploy.passes import clipping
from snndeploy.passes.base import PassContext, PassResult
from snndeploy.passes.clipping import code_limit, encode, scale_for
from snndeploy.passes.prune import Prune
from snndeploy.passes.quantization.quantize import Quantize
from tests.support.builders import (
    ZOO,
    chain_net,
    conv_net,
    inputs,
    lif,
    project,
    recurrent_net,
    residual_net,
)

CTX = PassContext()
A = np.array([[7.0, -3.4, 0.4], [1.0, -14.0, 0.0]])

finite = st.floats(-100, 100, width=32)
rows = hnp.arrays(np.float64, st.tuples(st.integers(1, 4), st.integers(1, 12)), elements=finite)
bit_widths = st.integers(1, 16)


def quantized(net: Network, **options: object) -> dict[str, Weight]:
    result = Quantize(**options).apply(net, CTX)  # type: ignore[arg-type]
    return {p.name: p.weight for p in result.network.projections}


def squared_error(values: Array, scale: Array, bits: int) -> Array:
    difference = values - encode(values, scale, bits) * scale[:, None]
    return np.asarray(np.square(difference).sum(axis=1))


# --- codes and scales -------------------------------------------------------------------------


def test_max_per_layer() -> None:
    weight = quantized(chain_net([A, np.ones((1, 2))]), bits=4, clip="max")["fc1"]
    assert weight.scale is not None
    assert float(weight.scale) == 2.0
    assert weight.scale.shape == ()
    # 7 / 2 = 3.5 rounds half to even
    assert weight.data.tolist() == [[4, -2, 0], [0, -7, 0]]
    assert (weight.bits, weight.data.dtype) == (4, np.dtype(np.int32))


def test_max_per_channel() -> None:
    weight = quantized(chain_net([A, np.ones((1, 2))]), bits=4, clip="max", per="channel")["fc1"]
    assert weight.scale is not None
    assert weight.scale.tolist() == [[1.0], [2.0]]
    assert weight.data.tolist() == [[7, -3, 0], [0, -7, 0]]


def test_channel_scales_of_a_convolution_broadcast() -> None:
    weight = quantized(conv_net(), per="channel")["conv1"]
    assert weight.scale is not None
    assert weight.scale.shape == (4, 1, 1, 1)
    assert weight.values().shape == (4, 2, 3, 3)


def test_one_bit_is_the_sign_at_the_mean_magnitude() -> None:
    weight = quantized(chain_net([A, np.ones((1, 2))]), bits=1)["fc1"]
    assert weight.data.tolist() == [[1, -1, 1], [1, -1, 0]]  # a zero has no sign
    assert float(weight.scale) == pytest.approx((7 + 3.4 + 0.4 + 1 + 14) / 5)  # type: ignore[arg-type]


@pytest.mark.parametrize("bits", [1, 2, 8, 16])
@pytest.mark.parametrize("clip", ["max", "mse"])
@pytest.mark.parametrize("per", ["layer", "channel"])
def test_zeros_survive(bits: int, clip: str, per: str) -> None:
    w = np.array([[0.0, 0.0], [1.0, -1.0]])
    for values in (w, np.zeros((2, 2))):
        weight = quantized(chain_net([values, w]), bits=bits, clip=clip, per=per)["fc1"]
        assert np.isfinite(weight.scale).all()  # type: ignore[arg-type]
        assert np.all(weight.scale > 0)  # type: ignore[operator]
        assert np.allclose(weight.values(), values, rtol=1e-9)


def test_a_scale_that_underflows_gives_zeros() -> None:
    tiny = np.full((1, 2), 5e-324)
    assert scale_for(tiny, 8, "max").tolist() == [1.0]
    assert encode(tiny, np.ones(1), 8).tolist() == [[0, 0]]


@pytest.mark.parametrize(("bits", "limit"), [(1, 1), (2, 1), (3, 3), (8, 127), (16, 32767)])
def test_code_limit(bits: int, limit: int) -> None:
    assert code_limit(bits) == limit


@given(rows, bit_widths, st.sampled_from(["max", "mse"]))
@settings(deadline=None)
def test_codes_stay_in_range_and_keep_signs(values: Array, bits: int, clip: str) -> None:
    codes = encode(values, scale_for(values, bits, clip), bits)
    assert np.abs(codes).max() <= code_limit(bits)
    assert (codes * np.sign(values) >= 0).all()
    if bits == 1:
        assert ((codes == 0) == (values == 0)).all()


@given(rows, st.integers(2, 16))
@settings(deadline=None)
def test_max_is_off_by_half_a_step_at_most(values: Array, bits: int) -> None:
    scale = scale_for(values, bits, "max")
    error = np.abs(values - encode(values, scale, bits) * scale[:, None])
    assert (error <= scale[:, None] / 2 * (1 + 1e-9)).all()


@given(rows, bit_widths)
@settings(deadline=None)
def test_quantising_codes_gives_the_same_codes(values: Array, bits: int) -> None:
    scale = scale_for(values, bits, "max")
    once = encode(values, scale, bits)
    again = once * scale[:, None]
    assert np.array_equal(encode(again, scale_for(again, bits, "max"), bits), once)


@given(rows, st.integers(1, 10))
@settings(deadline=None)
def test_codes_times_a_scale_have_no_error_left(values: Array, bits: int) -> None:
    scale = scale_for(values, bits, "mse")
    exact = encode(values, scale, bits) * scale[:, None]
    error = squared_error(exact, scale_for(exact, bits, "mse"), bits)
    assert (error <= 1e-12 * np.square(exact).sum(axis=1)).all()


@given(rows, st.integers(1, 6), st.floats(0.01, 100))
@settings(deadline=None)
def test_scaling_the_weights_scales_the_step(values: Array, bits: int, factor: float) -> None:
    scale, scaled = scale_for(values, bits, "max"), scale_for(values * factor, bits, "max")
    nonzero = values.any(axis=1) & (np.abs(values).max(axis=1) > 1e-30)
    assert np.allclose(scaled[nonzero], scale[nonzero] * factor)


@given(rows, st.integers(1, 5))
@settings(deadline=None, max_examples=60)
def test_mse_beats_brute_force(values: Array, bits: int) -> None:
    """No step size on a fine grid, below or above that of the largest weight, has less error."""
    best = squared_error(values, scale_for(values, bits, "mse"), bits)
    top = np.maximum(np.abs(values).max(axis=1), 1e-3)
    for factor in np.linspace(0.01, 2.5, 1000) / (code_limit(bits) if bits > 1 else 1):
        error = squared_error(values, top * factor, bits)
        assert (best <= error * (1 + 1e-9) + 1e-12).all()


def test_mse_may_choose_a_larger_step_than_max() -> None:
    values = np.array([[1.0] + [0.8] * 20])
    assert scale_for(values, 4, "mse")[0] > scale_for(values, 4, "max")[0] == pytest.approx(1 / 7)


@given(rows, st.integers(2, 6))
@settings(deadline=None)
def test_the_search_for_large_layers_is_never_worse_than_max(values: Array, bits: int) -> None:
    found = np.array([clipping._search(np.abs(r), code_limit(bits)) for r in values])
    found = np.where(found > 0, found, 1.0)
    limit = squared_error(values, scale_for(values, bits, "max"), bits)
    assert (squared_error(values, found, bits) <= limit * (1 + 1e-9) + 1e-12).all()


def test_the_search_is_close_to_the_optimum(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).standard_normal((4, 10_000))
    values[0] *= 0.01
    values[0, 0] = 4.0  # an outlier a hundred times the rest
    for bits in (2, 3, 4, 6):
        monkeypatch.setattr(clipping, "_EXACT_EVENTS", 1 << 30)
        exact = squared_error(values, scale_for(values, bits, "mse"), bits)
        monkeypatch.setattr(clipping, "_EXACT_EVENTS", 0)
        found = squared_error(values, scale_for(values, bits, "mse"), bits)
        assert (exact <= found * (1 + 1e-12)).all()
        assert (found <= exact * 1.001).all()


# --- the pass ---------------------------------------------------------------------------------


@pytest.mark.parametrize("factory", ZOO)
@pytest.mark.parametrize("options", [{}, {"per": "channel"}, {"bits": 1}, {"clip": "max"}])
def test_every_network_quantises(factory, options) -> None:  # type: ignore[no-untyped-def]
    net = factory()
    weights = quantized(net, **options)
    for p in net.projections:
        wiring = isinstance(p.op, Pointwise) and set(np.unique(p.weight.data)) <= {-1, 0, 1}
        assert weights[p.name].quantized != wiring


def test_pruned_weights_stay_pruned_and_have_no_say() -> None:
    net = Prune(sparsity=0.5).apply(chain_net([A, np.ones((1, 2))]), CTX).network
    old = net.projections[0].weight
    weight = quantized(net, bits=2, clip="max")["fc1"]
    assert np.array_equal(weight.mask, old.mask)  # type: ignore[arg-type]
    one_bit = quantized(net, bits=1)["fc1"]
    assert float(one_bit.scale) == pytest.approx(np.abs(old.data).sum() / 3)  # type: ignore[arg-type]
    # rounded to zero and pruned stay distinct
    assert (weight.alive, weight.nonzero) == (3, 2 - 1 + (np.abs(old.data) > 7).sum() - 1)


def test_metrics_tell_the_error() -> None:
    result: PassResult = Quantize(bits=4, clip="max").apply(chain_net([A, np.ones((1, 2))]), CTX)
    metrics = result.metrics["fc1"]
    errors = np.array([1.0, 0.6, 0.4, 1.0, 0.0, 0.0])
    assert metrics["mean_squared_error"] == pytest.approx(np.square(errors).mean())
    expected = np.sqrt(np.square(errors).sum() / np.square(A).sum())
    assert metrics["relative_error"] == pytest.approx(expected)
    assert metrics["rounded_to_zero"] == 2


def test_unit_wiring_is_left_alone_unless_named() -> None:
    assert not quantized(residual_net())["shortcut"].quantized
    named = quantized(residual_net(), layers=("shortcut",))["shortcut"]
    assert named.values() == pytest.approx(1.0)
    assert quantized(recurrent_net())["self"].quantized


def test_shared_scales_are_equal() -> None:
    net = residual_net()
    result = Quantize(share="target", bits=4).apply(net, CTX)
    weights = {p.name: p.weight for p in result.network.projections}
    both = quantized(net, share="target", layers=("conv2", "shortcut"), bits=4, clip="max")
    assert both["conv2"].scale == both["shortcut"].scale == pytest.approx(1 / 7)
    assert weights["conv2"].scale != weights["conv1"].scale
    (finding,) = result.findings
    assert (finding.code, finding.where) == ("share-partial", "b")
    assert finding.message == "real-valued layers stay outside its shared scale: shortcut"


def test_shared_channel_scales_are_equal() -> None:
    weights = quantized(recurrent_net(), share="target", per="channel", bits=5)
    assert weights["loop"].scale is not None
    assert weights["loop"].scale.shape == (8, 1)
    for name in ("fc_in", "self"):
        assert np.array_equal(weights[name].scale.reshape(-1), weights["loop"].scale.reshape(-1))  # type: ignore[union-attr]


def test_a_shared_scale_minimises_the_joint_error() -> None:
    net = recurrent_net()
    weights = quantized(net, share="target", bits=3)
    values = np.concatenate(
        [p.weight.data.reshape(-1) for p in net.projections if p.target == "h"]
    ).astype(np.float64)
    assert float(weights["loop"].scale) == scale_for(values[None], 3, "mse")[0]  # type: ignore[arg-type]


# --- refusals ---------------------------------------------------------------------------------


def refusal(step: Quantize, net: Network) -> SnnDeployError:
    with pytest.raises((PassRefused, RecipeError)) as caught:
        step.apply(net, CTX)
    return caught.value


def test_a_layer_is_quantised_once() -> None:
    net = Quantize(layers=("conv1",)).apply(conv_net(), CTX).network
    rest = Quantize(bits=4).apply(net, CTX).network
    assert [p.weight.bits for p in rest.projections] == [8, 4, 4, 4]
    error = refusal(Quantize(bits=4, layers=("conv1",)), net)
    assert error.code == "already-quantized"
    assert str(error) == (
        "conv1: it has 8-bit codes, which are its only truth\n"
        "  next: quantize each layer once; start again from the real-valued network"
    )
    error = refusal(Quantize(bits=4, layers=("conv1*",)), net)
    assert error.code == "pattern-matches-nothing"
    assert "(conv1: it is quantized already)" in str(error)


def test_ignoring_everything_is_refused() -> None:
    error = refusal(Quantize(ignore=("*",)), conv_net())
    assert error.code == "nothing-to-quantize"
    assert str(error) == "quantize.ignore: every layer that was chosen is also ignored"


def test_sharing_with_a_quantised_layer_is_refused() -> None:
    net = Quantize(layers=("loop",)).apply(recurrent_net(), CTX).network
    error = refusal(Quantize(share="target"), net)
    assert error.code == "share-impossible"
    assert str(error) == (
        "h: loop already has a scale of its own\n"
        "  next: quantize all layers of one target in the same pass"
    )


def test_sharing_channels_that_do_not_correspond_is_refused() -> None:
    rng = np.random.default_rng(0)
    w = rng.standard_normal((4, 6))
    net = Network(
        (inputs((6,)), inputs((4,), "extra"), lif("output", (4,), "output")),
        (
            project("fc", "input", "output", Dense(4, 6), w),
            project("view", "extra", "output", [Pointwise((4,), ()), Reshape((4,))], 0.5),
        ),
    ).verify()
    error = refusal(Quantize(share="target", per="channel"), net)
    assert error.code == "share-impossible"
    assert str(error) == (
        "output: the channels of fc, view do not correspond\n"
        '  next: use per = "layer", or share = "none"'
    )
    assert quantized(net, share="target")["fc"].quantized


@pytest.mark.parametrize("bits", [0, 17, True, "8", 8.0])
def test_widths_out_of_range_are_refused(bits: object) -> None:
    with pytest.raises(RecipeError, match=r"quantize\.bits: input should be"):
        Quantize(bits=bits)  # type: ignore[arg-type]


def test_the_scale_ignores_dead_weights_of_another_kind() -> None:
    """A masked outlier does not enlarge the step."""
    mask = np.array([[False, True, True]])
    net = chain_net([np.array([[100.0, 1.0, -0.5]]), np.ones((1, 1))])
    first = dataclasses.replace(
        net.projections[0], weight=Weight(net.projections[0].weight.data, mask=mask)
    )
    weight = quantized(net.replace(projections=[first]), bits=2, clip="max")["fc1"]
    assert float(weight.scale) == 1.0  # type: ignore[arg-type]


@pytest.mark.parametrize(("widest", "grid"), [(8, "loihi"), (9, "symmetric")])
def test_closer_codes_take_as_much_on_a_grid_that_has_their_bits(widest: int, grid: str) -> None:
    step = Quantize(bits=4, per="channel", share="target", layer_bits={"w1": widest})
    closer = step.closer()
    assert isinstance(closer, Quantize)
    assert (closer.bits, closer.layer_bits, closer.per) == (4, {"w1": widest}, "channel")
    assert (closer.method, closer.clip, closer.share, closer.grid) == (
        "sbc",
        "hessian",
        "none",
        grid,
    )
    assert closer.closer() == closer
