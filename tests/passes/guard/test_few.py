"""Few samples, or one-sided ones, fool no guard: it compares made-up ones, too, and says so."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import pytest

from snndeploy.calibrate.fidelity import Reference, compared, one_sided
from snndeploy.data import Samples
from snndeploy.demo import FOLDER, digits
from snndeploy.ingest import read_network
from snndeploy.ir.network import Network
from snndeploy.passes.metrics import measure
from snndeploy.passes.prune import Prune
from snndeploy.passes.quantization.quantize import Quantize
from snndeploy.passes.runner import PassLog
from snndeploy.pipeline import compress
from snndeploy.pipeline.calibrating import feed, reference
from snndeploy.recipe import CalibrationOptions, Recipe, load_recipe
from snndeploy.simulate.float.engine import run_float
from tests.support.builders import chain_net


@lru_cache
def network() -> Network:
    return read_network(FOLDER / "digits.nir", "snntorch", reset="zero")


def right(net: Network) -> float:
    """Share of 200 digits that calibrate nothing here."""
    test = digits().first(200)
    (output,) = net.with_role("output")
    (entry,) = net.with_role("input")
    answers = run_float(net, {entry.name: test.inputs}).spikes[output.name].sum(0).argmax(-1)
    return float((answers == test.labels).mean())


def of_few(count: int, *steps: Any, **options: Any) -> PassLog:
    """The recipe of ``steps`` with as many samples of all kinds."""
    samples = Samples(digits().part(200, count).inputs)
    return compress(network(), recipe=Recipe(passes=steps, **options), calibration=samples)


def codes(log: PassLog) -> list[tuple[str, str]]:
    return [(f.code, f.severity) for f in log.notes]


@pytest.mark.parametrize("count", [1, 3, 8, 14])
def test_what_was_fitted_to_a_few_digits_keeps_the_others(count: int) -> None:
    samples = Samples(digits().part(300, count).inputs)
    log = compress(network(), recipe="sbc", calibration=samples)
    assert right(log.network) >= right(network()) - 0.05
    fooled = load_recipe("sbc").model_copy(update={"guard": "off"})
    lost = compress(network(), recipe=fooled, calibration=samples)
    assert right(lost.network) < right(log.network) - 0.05  # there was something to be fooled by


def test_what_was_never_heard_is_not_pruned() -> None:
    """Three digits, two of them alike, say nothing of the other eight; ten say something of most."""
    order = np.random.default_rng(0).permutation(150) + 300
    few, more = (Samples(digits().inputs[:, order[:n]]) for n in (3, 10))
    for name in ("sbc-plus", "auto", "digits"):
        log = compress(network(), recipe=name, calibration=few)
        counts = measure(log.network)
        assert counts.total("alive") == measure(network()).total("alive")
        assert {layer.bits for layer in counts.layers.values()} <= {8, 32}
        told = log.notes[0]
        assert (told.code, told.severity) == ("backed-off", "warning")
        assert "2 of 10 answers of the trained network occur among 3 samples" in told.message
        assert "pruned" in told.message or "kernels" in told.message
    asked = load_recipe("sbc-plus").model_copy(update={"guard": "warn"})
    taken = compress(network(), recipe=asked, calibration=few)
    alive = [measure(n).total("alive") for n in (taken.network, network())]
    assert alive[0] < 0.2 * alive[1]
    assert codes(taken)[-1] == ("compared-on-few", "warning")
    heard = compress(network(), recipe="sbc", calibration=more)
    assert measure(heard.network).total("alive") < measure(network()).total("alive")
    assert codes(compress(network(), recipe="default", calibration=few)) == [
        ("compared-on-few", "note")
    ]


@pytest.mark.parametrize(
    ("step", "severity"),
    [(Prune(sparsity=0.3), "warning"), (Quantize(bits=6), "warning"), (Quantize(bits=8), "note")],
)
def test_who_compares_on_few_says_so(step: Any, severity: str) -> None:
    loose = {"guard": "warn", "max_divergence": 100.0}
    assert codes(of_few(14, step, **loose)) == [("compared-on-few", severity)]
    assert codes(of_few(15, step, **loose)) == []
    assert codes(of_few(3, step, guard="off")) == []
    assert codes(of_few(3, guard="warn")) == []


def test_what_is_said_of_few() -> None:
    fitted = Prune(sparsity=0.5, method="sbc", search="rounds")
    loose: dict[str, Any] = {"guard": "warn", "max_divergence": 100.0}
    (told,) = of_few(1, fitted, **loose).notes
    assert (
        "on 1 sample (the ones that passes were fitted to), and on 49 made up of them"
        in told.message
    )
    (told,) = of_few(30, fitted, **loose).notes
    assert "compared on 10 samples, and on 40 made up of them" in told.message
    log = of_few(30, fitted, **loose)
    assert log.answers is not None
    assert "of 10 held-out samples and 40 made up of them answered alike" in str(log.answers)
    assert (log.answers.samples, log.answers.made_up) == (50, 40)


def test_samples_of_one_kind_are_told_from_those_of_all() -> None:
    found = digits()
    assert found.labels is not None
    step = Prune(sparsity=0.3)
    threes = Samples(found.inputs[:, found.labels == 3][:, :40])
    log = compress(
        network(), recipe=Recipe(passes=(step,), max_divergence=100.0), calibration=threes
    )
    assert [f.code for f in log.notes] == ["compared-one-sided"]
    assert "of its 10 answers on the 40 samples" in log.notes[0].message


def test_of_values_nobody_says_that_they_are_answers() -> None:
    """The same inputs, once as answers and once with values that the outputs should emit."""
    x = digits().part(300, 20).inputs[:, :1].repeat(20, axis=1)
    step = Prune(sparsity=0.3)
    for targets, expected in ((None, True), (np.zeros((20, 10)), False)):
        for count, code in ((20, "compared-one-sided"), (3, "backed-off")):
            recipe = Recipe(passes=(step,), guard="back-off", max_divergence=100.0)
            part = Samples(x, targets=targets).first(count)
            log = compress(network(), recipe=recipe, calibration=part)
            assert (code in {f.code for f in log.notes}) == expected


@pytest.mark.parametrize(
    ("samples", "neurons", "got", "found"),
    [
        (60, 200, 12, (12, 200)),  # 60 at random give 52: a quarter is 12.99
        (60, 200, 13, None),
        (20, 10, 2, (2, 10)),
        (20, 10, 3, None),
        (500, 2, 1, (1, 2)),
        (500, 2, 2, None),
        (500, 1, 1, None),
    ],
)
def test_hardly_any_of_the_answers(samples: int, neurons: int, got: int, found: Any) -> None:
    counts = np.zeros((samples, neurons))
    counts[np.arange(samples), np.arange(samples) % got] = 1
    assert one_sided(counts) == found
    assert one_sided(counts.reshape(samples // 20, 20, neurons)) == found  # answers of steps


def test_made_up_samples_change_no_answers() -> None:
    """Their close calls do not count as changed, what diverges does."""
    wanted = np.eye(4)[np.arange(20) % 4] * 8
    found = wanted.copy()
    found[10:] = np.roll(wanted[10:], 1, axis=1)
    told = compared({"o": wanted}, {"o": found}, made_up=10)
    assert (told.agreement, told.changed) == (0.5, 0.0)
    assert told.divergence > 1
    real = compared({"o": wanted}, {"o": found})
    assert real.changed == pytest.approx(0.5 - (0.25 / 20) ** 0.5)


def test_what_is_compared_is_made_up_otherwise_than_what_is_fitted_to() -> None:
    x = np.random.default_rng(0).integers(0, 2, (16, 10, 6), np.uint8)
    net = chain_net([np.eye(3, 6, dtype=np.float32)])
    alike = CalibrationOptions(
        fill=50, shift=0, warp=0.35
    )  # as what is compared: the stream differs
    recipe = Recipe(passes=(Prune(sparsity=0.5),), calibration=alike)
    watch = reference(net, Samples(x), recipe, held_out=False)
    assert isinstance(watch, Reference)
    (judged,) = watch.inputs.values()
    assert judged.shape == (16, 50, 6)
    assert np.array_equal(judged[:, :10], x)
    assert (watch.given, watch.made_up) == (10, 40)
    seen = feed(net, Samples(x), recipe)
    assert seen is not None
    (fitted,) = seen.inputs.values()
    assert (judged[:, 10:] == fitted[:, 10:]).all(axis=(0, 2)).mean() < 0.1
    again = reference(net, Samples(x), recipe, held_out=False)
    assert again is not None
    assert np.array_equal(next(iter(again.inputs.values())), judged)
