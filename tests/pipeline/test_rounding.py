"""The estimate at compile time predicts what a run on other samples measures."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import snndeploy
from snndeploy import demo
from snndeploy.chip import load_target
from snndeploy.data import Samples
from snndeploy.ingest import read_network
from snndeploy.ir.arrays import Array
from snndeploy.ir.network import Network
from snndeploy.ir.ops import Dense
from snndeploy.ir.weights import Weight
from snndeploy.lower import infer_coding, lower
from snndeploy.passes.prune import Prune
from snndeploy.pipeline import report_of, run_compiled, run_engine
from snndeploy.pipeline.stakes.drawn import RANDOM
from snndeploy.pipeline.stakes.rounding import DATA, answers_that_differ, spikes_that_differ
from snndeploy.recipe import Recipe
from snndeploy.verify.compare import Comparison, compare
from tests.support.builders import conv_net, inputs, lif, project, recurrent_net, spikes
from tests.support.framework_cases import CASES as EXPORTS
from tests.support.labelled import digits_mlp, flat


def slow(leak: float) -> Network:
    rng = np.random.default_rng(0)
    return Network(
        (inputs((10,)), lif("a", (20,), leak=leak), lif("out", (5,), "output", leak=leak)),
        (
            project("w0", "input", "a", Dense(20, 10), rng.normal(size=(20, 10)) / 3),
            project("w1", "a", "out", Dense(5, 20), rng.normal(size=(5, 20)) / 3),
        ),
    ).verify()


def coarse() -> Network:
    """A weight of a pixel that is always 0, so large that 8 bits leave little of the others."""
    first, *others = digits_mlp().projections
    values = np.array(first.weight.data)
    values[0, 0] = 3000
    large = dataclasses.replace(first, weight=Weight(values))
    return digits_mlp().replace(projections=[large, *others])


def flat_digits() -> Array:
    return flat(350, 430).inputs["input"]


CASES = {
    "conv": conv_net,
    "recurrent": recurrent_net,
    "slow": lambda: slow(0.999),
    "usual": lambda: slow(0.9),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_foretold_is_measured(case: str) -> None:
    """Within a factor of two, wherever more than a few spikes differ."""
    network = CASES[case]()
    data = Samples(spikes(network, samples=64, steps=40))
    first, others = next(data.batches(32)), list(data.batches(32))[1]
    compiled = snndeploy.compile(network, recipe=None, calibration=first)
    report = run_compiled(compiled, others, ("compressed", "integer"))
    (pair,) = report["comparisons"]
    layers = {layer["name"]: layer for layer in report_of(compiled)["layers"]}
    for name, share in compiled.program.differing.items():
        measured = 1 - pair["match"][name]
        few = 30 / max(1, pair["spikes"][name])
        assert measured / 2 - few <= share <= 2 * measured + few, name
        assert layers[name]["spikes_differing"] == round(share, 5)
    assert compiled.program.differing.keys() == {
        p.name for p in network.populations if p.neuron and p.neuron.spiking
    }


def test_what_is_felt_is_told_and_on_what() -> None:
    network = slow(0.9)
    data = Samples(spikes(network, samples=8, steps=40))
    compiled = snndeploy.compile(network, recipe=None, calibration=data)
    share = compiled.program.differing["out"]
    assert share > 0.005
    (note,) = [f for f in compiled.findings if f.code == "spikes-rounded"]
    assert f"on {DATA}: " in note.message
    assert f"out {share:.1%}" in note.message
    assert report_of(compiled)["spikes_differing_on"] == DATA


@pytest.mark.parametrize("per_step", [False, True])
def test_answers_that_the_integers_alone_change_are_told(per_step: bool) -> None:
    network = coarse()
    labels = np.zeros((80, 16), np.int64) if per_step else None
    data = Samples(flat_digits(), labels, window=5)
    compiled = snndeploy.compile(network, recipe=None, calibration=data)
    (warning,) = [f for f in compiled.log.notes if f.code == "answers-rounded"]
    assert warning in compiled.findings
    assert warning.severity == "warning"
    found = run_compiled(compiled, data, ("float", "integer"))["predictions"]
    alike = np.mean(np.asarray(found["float"]) == np.asarray(found["integer"]))
    assert f"in integers {alike:.1%} of 80 held-out samples are answered" in warning.message
    assert "where 95% are asked for" in warning.message
    others = 1 - alike
    assert warning.used == pytest.approx(others - (others * alike / 80) ** 0.5)


def test_answers_are_asked_of_integers_where_a_guard_is_on() -> None:
    network = coarse()
    data = Samples(flat_digits())

    def codes(data: Samples | None = data, **how: Any) -> set[str]:
        recipe = Recipe(name="mine", **how)
        return {
            f.code for f in snndeploy.compile(network, recipe=recipe, calibration=data).findings
        }

    told = {"answers-rounded", "answers-differ"}
    assert codes() & told == {"answers-rounded"}
    assert not codes(guard="off") & told
    assert not codes(data=None) & told
    assert not codes(max_divergence=0.9) & told
    # what the passes changed already is told once
    assert codes(passes=(Prune(sparsity=0.9),)) & told == {"answers-differ"}


def test_integers_that_answer_alike_are_no_matter() -> None:
    network = conv_net()
    data = Samples(spikes(network, samples=40))
    compiled = snndeploy.compile(network, recipe=None, calibration=data)
    assert "answers-rounded" not in {f.code for f in compiled.findings}


def test_nothing_is_told_of_values_or_where_one_sample_is_too_much(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network, x = coarse(), flat_digits()
    program = lower(network, load_target("loihi2"), inputs=infer_coding(x), steps=16)
    assert answers_that_differ(network, program, Samples(x), 0.05)
    values = Samples(x, targets=np.zeros((80, 10)))
    assert not answers_that_differ(network, program, values, 0.05)
    monkeypatch.setattr("snndeploy.pipeline.stakes.rounding._VALUES", 100)
    assert not answers_that_differ(network, program, Samples(x), 0.05)


def test_of_several_outputs_the_one_that_differs_most_counts() -> None:
    """The second output reads what the chip holds exactly, the first one what it does not."""
    network = coarse()
    plain = project("plain", "input", "plain", Dense(10, 64), np.eye(10, 64, dtype=np.float32))
    both = Network(
        (lif("plain", (10,), "output"), *network.populations), (*network.projections, plain)
    ).verify()
    x = flat_digits()
    program = lower(both, load_target("loihi2"), inputs=infer_coding(x), steps=16)
    (found,) = answers_that_differ(both, program, Samples(x), 0.05)
    single = lower(network, load_target("loihi2"), inputs=infer_coding(x), steps=16)
    (alone,) = answers_that_differ(network, single, Samples(x), 0.05)
    assert found.used == alone.used


def test_answers_of_a_network_for_fewer_steps_are_compared() -> None:
    """With all steps the integers would answer as the trained network does, in half of them not."""
    network, x = digits_mlp(), flat_digits()
    program = lower(network, load_target("loihi2"), inputs=infer_coding(x), steps=16)
    (short,) = answers_that_differ(network, program, Samples(x), 0.0, steps=2)
    half = run_engine("integer", Samples(x[:2]), program=program).predictions()
    full = run_engine("float", Samples(x), network=network).predictions()
    assert np.mean(half == full) < 0.9
    assert f"{np.mean(half == full):.1%} of 80" in short.message


def test_without_data_random_spikes_foretell_it() -> None:
    network = slow(0.9)
    plain = snndeploy.compile(network, recipe=None)
    (note,) = [f for f in plain.findings if f.code == "spikes-rounded"]
    assert f"on {RANDOM}: " in note.message
    assert report_of(plain)["spikes_differing_on"] == RANDOM
    again = snndeploy.compile(network, recipe=None)
    assert plain.program.differing == again.program.differing
    assert plain.program.digest == lower(network, load_target("loihi2")).digest
    others = np.random.default_rng(5).random((40, 64, 10)) < 0.2
    found = measured(network, plain.program, Samples(others.astype(np.float32)))
    within_a_factor(2, plain.program.differing, found)


def test_nothing_is_foretold_of_what_is_too_large_for_a_moment() -> None:
    rng = np.random.default_rng(0)
    many = 1 << 18  # 1 << 22 updates are 16 steps of it
    network = Network(
        (inputs((1,)), lif("out", (many,), "output", leak=0.9)),
        (project("w", "input", "out", Dense(many, 1), rng.normal(size=(many, 1))),),
    ).verify()
    assert spikes_that_differ(network, lower(network, load_target("loihi2")), None) == {}


def measured(network: Network, program: Any, samples: Samples) -> Comparison:
    """What `simulate` finds of both on samples."""
    return compare(
        run_engine("compressed", samples, network=network),
        run_engine("integer", samples, program=program),
    )


def within_a_factor(factor: float, foretold: Mapping[str, float], found: Comparison) -> None:
    """A handful of spikes more or less are chance."""
    assert foretold
    for name, share in foretold.items():
        measured, few = 1 - found.match[name], 30 / max(1.0, found.spikes[name])
        assert measured / factor - few <= share <= factor * measured + few, (name, share, measured)


def digits(folder: Path) -> tuple[Network, np.ndarray]:
    del folder
    return read_network(demo.FOLDER / "digits.nir", "snntorch", reset="zero"), demo.digits().inputs


def nmnist(folder: Path) -> tuple[Network, np.ndarray]:
    network = read_network(folder / "nir_models/paper/cnn_sinabs.nir", "sinabs")
    z = np.load(folder / "nmnist_small/nmnist_small.npz", allow_pickle=False)
    first = int(z["n_train"])
    x = np.zeros((60, 24, 2, 34, 34), np.float32)
    for k in range(x.shape[1]):
        of = slice(*z["offset"][first + 4 * k :][:2])
        step = z["t_us"][of] // 1000
        at = step < len(x)
        np.add.at(x, (step[at], k, z["p"][of][at], z["y"][of][at], z["x"][of][at]), 1.0)
    return network, x


def braille(folder: Path, name: str, **semantics: Any) -> tuple[Network, np.ndarray]:
    x = np.load(folder / "nir_models/braille/braille_unique.npz", allow_pickle=False)["x"]
    path = folder / f"nir_models/paper/braille_noDelay_{name}.nir"
    return read_network(path, "snntorch", **semantics), np.moveaxis(x[:64], 0, 1).astype(np.float32)


def exported(folder: Path, name: str) -> tuple[Network, np.ndarray]:
    """A framework's export with its one sample, and the same one, its second half first."""
    frontend, semantics = EXPORTS[name]
    x = np.load(folder / f"nir_exports/{name}.npz", allow_pickle=False)["input"]
    both = np.concatenate([x, np.roll(x, len(x) // 2, axis=0)], axis=1)
    return read_network(folder / f"nir_exports/{name}.nir", frontend, **semantics), both


EXAMPLES: dict[str, Any] = {
    "digits": digits,
    "cnn_sinabs": nmnist,
    "braille zero": lambda folder: braille(folder, "bias_zero", reset="zero"),
    "braille subtract": lambda folder: braille(folder, "noBias_subtract"),
    **{name: lambda folder, name=name: exported(folder, name) for name in EXPORTS},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", EXAMPLES)
def test_example_networks_differ_as_foretold(name: str, shared_data: Path) -> None:
    """Within a factor of two of what is measured on samples that the estimate never saw."""
    network, x = EXAMPLES[name](shared_data)
    half = x.shape[1] // 2
    first, others = Samples(x[:, :half]), Samples(x[:, half:])
    program = lower(network, load_target("loihi2"), inputs=infer_coding(x), steps=len(x))
    found = measured(network, program, others)
    within_a_factor(2, spikes_that_differ(network, program, first), found)
    within_a_factor(2, spikes_that_differ(network, program, None), found)
