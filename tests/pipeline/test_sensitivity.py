"""What a network can lose: time steps from prefixes, layers one at a time, and the commands for it."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from click.testing import CliRunner, Result

from snndeploy.cli import main
from snndeploy.data import Samples
from snndeploy.errors import InputError, PassRefused
from snndeploy.export import write_nir
from snndeploy.ir.arrays import Array
from snndeploy.ir.network import Network
from snndeploy.ir.neurons import Neuron
from snndeploy.ir.ops import index_map
from snndeploy.passes.base import PassContext
from snndeploy.passes.kernels.remove_kernels import RemoveKernels
from snndeploy.passes.prune import Prune
from snndeploy.passes.quantization.quantize import Quantize
from snndeploy.pipeline.advise.sensitivity import (
    Point,
    Sensitivity,
    sensitivity,
    sensitivity_chart,
    sensitivity_table,
    suggested,
)
from snndeploy.pipeline.advise.timesteps import FACTORS, reduce_timesteps, scaled_thresholds
from snndeploy.recipe import Recipe
from snndeploy.report.chart import Panel, line_chart
from snndeploy.simulate.float.engine import run_float
from tests.support.builders import ZOO, chain_net, conv_net, recurrent_net, residual_net, spikes
from tests.support.commands import code_of


def samples(net: Network, n: int = 12, steps: int = 8) -> Samples:
    """Random spikes, labelled with what the network answers for most of them."""
    x = spikes(net, steps=steps, samples=n)
    labels = run_float(net, x).predictions("output").copy()
    labels[: n // 4] = (labels[: n // 4] + 1) % 3
    return Samples(x, labels)


# --- time steps -------------------------------------------------------------------------------


@pytest.mark.parametrize("factory", [conv_net, residual_net, recurrent_net])
def test_prefixes_are_runs_of_their_length(factory: Any) -> None:
    net = factory(0)
    data = samples(net)
    found = reduce_timesteps(net, data, tolerance=1.0)
    assert [p.steps for p in found.prefixes] == list(range(8, 0, -1))
    whole = run_float(net, data.inputs).predictions("output")
    for p in found.prefixes:
        run = run_float(net, data.inputs[: p.steps])
        answers = run.predictions("output")
        assert p.accuracy == pytest.approx((answers == data.labels).mean())
        assert p.same == pytest.approx((answers == whole).mean())
        assert p.latency == p.steps + max(net.depth.values())
        assert p.synops == pytest.approx(slow_synops(net, run.spikes) / len(data))
    assert found.chosen.steps == 1  # everything is within a tolerance of 1


def slow_synops(net: Network, trains: Any) -> float:
    """Spikes times synapses, synapse by synapse, for chains of pools, reshapes and one operator."""
    total = 0.0
    for p in net.projections:
        shape = net.source_shape(p)
        reach = np.eye(int(np.prod(shape)), dtype=bool)  # (here, source): what a spike arrives at
        for op in p.ops:
            m = index_map(op, shape)
            alive = np.ones(len(m.out_index), bool)
            if m.weight_index is not None:
                alive = p.weight.values().reshape(-1)[m.weight_index] != 0
            after = np.zeros((m.out_size, reach.shape[1]), bool)
            for o, i in zip(m.out_index[alive], m.in_index[alive], strict=True):
                after[o] |= reach[i]
            reach, shape = after, op.out_shape(shape)
        for s in p.sources:
            train = trains[s.population]
            total += float((train != 0).sum(axis=(0, 1)).reshape(-1) @ reach.sum(axis=0))
    return total


def test_the_fewest_steps_within_the_tolerance_are_chosen() -> None:
    net = conv_net()
    data = samples(net, n=40)
    for tolerance in (0.0, 0.05, 0.2):
        found = reduce_timesteps(net, data, tolerance=tolerance)
        quality = {p.steps: p.accuracy for p in found.prefixes}
        fits = [t for t, q in quality.items() if q >= quality[8] - tolerance - 1e-9]  # type: ignore[operator]
        assert found.chosen.steps == min(fits)
        assert found.network is net


def test_without_labels_agreement_decides() -> None:
    net = conv_net()
    data = Samples(samples(net).inputs)
    found = reduce_timesteps(net, data, tolerance=0.0)
    assert all(p.accuracy is None for p in found.prefixes)
    assert found.prefixes[0].same == 1.0
    assert found.chosen.same == 1.0


def test_thresholds_scale_with_their_biases() -> None:
    net = conv_net()
    small = scaled_thresholds(net, 0.5)
    for name in ("s1", "s2", "s3"):
        old, new = net.population(name).neuron, small.population(name).neuron
        assert old is not None
        assert new is not None
        for field in ("threshold", "bias", "drive"):
            assert np.array_equal(getattr(new, field), getattr(old, field) * 0.5)
    assert small.population("output") is net.population("output")


def test_rescaling_saves_steps_where_thresholds_are_late() -> None:
    """A neuron that needs 3 steps to fire needs 2 at 0.6 of its threshold."""
    net = chain_net([np.full((2, 2), 0.4), np.eye(2) * 2])
    slow = dataclasses.replace(
        net.population("h1"), neuron=Neuron.create((2,), leak=1.0, threshold=1.0)
    )
    net = net.replace(populations=[slow])
    x = np.zeros((6, 2, 2), np.float32)
    x[:, 0, 0] = x[:, 1, 1] = 1
    net = net.replace(
        projections=[
            dataclasses.replace(
                net.projections[0], weight=type(net.projections[0].weight)(np.eye(2) * 0.4)
            )
        ]
    )
    data = Samples(x, np.array([0, 1]))
    plain = reduce_timesteps(net, data, tolerance=0.0)
    told: list[tuple[int, int]] = []
    faster = reduce_timesteps(
        net, data, tolerance=0.0, rescale=True, progress=lambda done, of: told.append((done, of))
    )
    assert (plain.chosen.steps, faster.chosen.steps) == (3, 2)
    assert faster.chosen.factor < 1
    assert told[-1] == (2 * len(FACTORS), 2 * len(FACTORS))
    rerun = run_float(faster.network, x[:2]).predictions("output")
    assert rerun.tolist() == [0, 1]


# --- sensitivity ------------------------------------------------------------------------------


def test_points_are_runs_of_the_changed_network() -> None:
    net = conv_net()
    data = samples(net)
    found = sensitivity(net, data, ratios=(0.25, 0.5), bits=(4, 2))
    assert [(p.layer, p.kind, p.value) for p in found.points] == [
        *((n, "ratio", r) for n in ("conv1", "conv2", "fc1") for r in (0.25, 0.5)),
        *((n, "bits", b) for n in ("conv1", "conv2", "fc1", "fc2") for b in (4, 2)),
    ]
    changed = RemoveKernels(layers=("conv2",), ratio=0.5).apply(net, PassContext()).network
    point = next(p for p in found.points if (p.layer, p.value) == ("conv2", 0.5))
    answers = run_float(changed, data.inputs)
    assert point.accuracy == pytest.approx((answers.predictions("output") == data.labels).mean())
    a, b = (run.spikes["output"] for run in (run_float(net, data.inputs), answers))
    assert point.distance == pytest.approx(1 - (a & b).sum() / (a | b).sum())
    changed = Quantize(layers=("fc1",), bits=2, per="channel").apply(net, PassContext()).network
    point = next(p for p in found.points if (p.layer, p.kind, p.value) == ("fc1", "bits", 2))
    answers = run_float(changed, data.inputs)
    assert point.accuracy == pytest.approx((answers.predictions("output") == data.labels).mean())
    pruned = sensitivity(net, data, ratios=(), bits=(), sparsities=(0.5, 0.9))
    assert [(p.layer, p.kind, p.value) for p in pruned.points] == [
        (n, "sparsity", s) for n in ("conv1", "conv2", "fc1", "fc2") for s in (0.5, 0.9)
    ]
    changed = Prune(layers=("conv2",), sparsity=0.9).apply(net, PassContext()).network
    answers = run_float(changed, data.inputs)
    assert pruned.points[3].distance == pytest.approx(
        1
        - (answers.spikes["output"] & run_float(net, data.inputs).spikes["output"]).sum()
        / (answers.spikes["output"] | run_float(net, data.inputs).spikes["output"]).sum()
    )
    total = sum(p.weight.data.size for p in net.projections)
    share = net.projections[2].weight.data.size / total
    assert point.saved == pytest.approx(share * 30 / 32)


@pytest.mark.parametrize("factory", ZOO)
def test_every_structure_has_a_sensitivity(factory: Any) -> None:
    net = factory(0)
    x = Samples(spikes(net, samples=4))
    found = sensitivity(net, x, ratios=(0.0, 0.5), bits=(4,), score="rate")
    assert found.accuracy is None
    assert all(0 <= p.distance <= 1 for p in found.points)
    assert all(p.distance == 0 for p in found.points if p.value == 0)
    assert any(p.distance > 0 for p in found.points)


def _point(layer: str, kind: str, value: float, accuracy: float) -> Point:
    return Point(
        layer=layer, kind=kind, value=value, accuracy=accuracy, distance=1 - accuracy, saved=0.0
    )


def test_the_suggested_recipe_takes_the_most_each_layer_allows() -> None:
    points = (
        _point("conv1", "ratio", 0.25, 0.90),
        _point("conv1", "ratio", 0.5, 0.80),
        _point("conv2", "ratio", 0.25, 0.91),
        _point("conv2", "ratio", 0.5, 0.895),
        _point("fc1", "ratio", 0.25, 0.5),
        _point("conv1", "bits", 8, 0.91),
        _point("conv1", "bits", 4, 0.7),
        _point("conv2", "bits", 8, 0.91),
        _point("conv2", "bits", 4, 0.9),
        _point("fc1", "sparsity", 0.5, 0.91),
        _point("fc1", "sparsity", 0.75, 0.9),
        _point("fc1", "sparsity", 0.9, 0.5),
    )
    found = Sensitivity(points=points, accuracy=0.91, samples=9, score="svs", fold="weights")
    assert suggested(found, 0.02).passes == (
        RemoveKernels(layers=("conv1",), ratio=0.25, score="svs", fold="weights"),
        RemoveKernels(layers=("conv2",), ratio=0.5, score="svs", fold="weights"),
        Prune(layers=("fc1",), sparsity=0.75),
        Quantize(layers=("conv1",), bits=8, per="channel"),
        Quantize(layers=("conv2",), bits=4, per="channel"),
    )
    unlabelled = dataclasses.replace(
        found, accuracy=None, points=tuple(dataclasses.replace(p, accuracy=None) for p in points)
    )
    assert suggested(unlabelled, 0.0).passes == ()
    assert [p.layers for p in suggested(unlabelled, 0.1).passes] == [  # type: ignore[attr-defined]
        ("conv1", "conv2"),
        ("fc1",),
        ("conv1",),
        ("conv2",),
    ]


def test_refusals() -> None:
    net = conv_net()
    quantized = Quantize().apply(net, PassContext()).network
    with pytest.raises(PassRefused) as caught:
        sensitivity(quantized, samples(net))
    assert caught.value.code == "already-quantized"
    good = samples(net)
    output = net.with_role("output")[0].name
    for call, where in ((sensitivity, "sensitivity"), (reduce_timesteps, "timesteps")):
        with pytest.raises(InputError) as error:
            call(net, Samples(np.zeros((4, 0, 2, 8, 8), np.float32)))
        assert error.value.code == "data-empty"
        with pytest.raises(InputError) as error:
            call(net, Samples(good.inputs, np.arange(12) - 2))
        assert error.value.code == "labels-range"
        assert str(error.value) == (
            f"{where}: the labels go from -2 to 9, the output {output!r} has the classes 0 to 4\n"
            "  next: labels count from 0, one output neuron each"
        )


def test_the_chart_draws_every_point_at_its_height() -> None:
    points = (
        _point("conv1", "ratio", 0.25, 1.0),
        _point("conv1", "ratio", 0.5, 0.5),
        _point("a<b", "ratio", 0.25, 0.0),
        _point("conv1", "bits", 8, 0.75),
        _point("conv1", "bits", 2, 0.25),
    )
    found = Sensitivity(points=points, accuracy=0.75, samples=9, score="l1", fold="none")
    drawn = ElementTree.fromstring(sensitivity_chart(found))
    space = {"s": "http://www.w3.org/2000/svg"}
    first, second = drawn.findall("s:g", space)

    def lines(panel: ElementTree.Element) -> list[list[tuple[float, float]]]:
        texts = [str(line.get("points")).split() for line in panel.findall("s:polyline", space)]
        return [[tuple(map(float, p.split(","))) for p in text] for text in texts]  # type: ignore[misc]

    (conv1, other), (widths,) = lines(first), lines(second)
    top, bottom = conv1[0][1], other[0][1]
    assert conv1[1][1] == pytest.approx((top + bottom) / 2)
    assert other[0][0] == conv1[0][0] < conv1[1][0]
    assert [y for _, y in widths] == pytest.approx(
        [bottom + share * (top - bottom) for share in (0.25, 0.75)]
    )
    dotted = [n for n in first.findall("s:line", space) if n.get("stroke-dasharray")]
    assert float(str(dotted[0].get("y1"))) == pytest.approx(bottom + 0.75 * (top - bottom))
    texts = [str(t.text) for t in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert {"conv1", "a<b", "accuracy", "bits per weight", "0.25", "8"} <= set(texts)


def test_a_logarithmic_axis_has_equal_distances_for_equal_ratios() -> None:
    panel = Panel(label="n", lines={"a": [(1, 0.0), (10, 0.5), (100, 1.0)]}, logarithmic=True)
    drawn = ElementTree.fromstring(line_chart([panel], "share"))
    (line,) = drawn.iter("{http://www.w3.org/2000/svg}polyline")
    x = [float(point.split(",")[0]) for point in str(line.get("points")).split()]
    assert x[1] - x[0] == pytest.approx(x[2] - x[1])


def test_a_chart_without_labels_is_of_spikes() -> None:
    net = conv_net()
    found = sensitivity(net, Samples(samples(net).inputs), ratios=(0.5,), bits=())
    text = sensitivity_chart(found)
    assert "equal output spikes" in text
    assert "bits per weight" not in text
    assert "stroke-dasharray" not in text
    # whole numbers of something else than spikes can differ by more than there is of them
    far = dataclasses.replace(found, points=(dataclasses.replace(found.points[0], distance=3.0),))
    assert "-" not in re.findall(r'points="([^"]*)"', sensitivity_chart(far))[0]


# --- the commands -----------------------------------------------------------------------------


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path, Array]:
    net = conv_net()
    data = samples(net)
    write_nir(tmp_path / "net.nir", net)
    np.savez(tmp_path / "x.npz", x=data.inputs.swapaxes(0, 1), y=data.labels)
    return tmp_path / "net.nir", tmp_path / "x.npz", data.inputs


def test_sensitivity_command(files: tuple[Path, Path, Array], tmp_path: Path) -> None:
    model, data, _ = files
    result = run(
        "sensitivity",
        model,
        "--calib",
        data,
        "--ratios",
        "0.5",
        "--bits",
        "4",
        "--recipe",
        tmp_path / "r.toml",
        "--tolerance",
        "1",
        "--plot",
        tmp_path / "p.svg",
    )
    assert result.exit_code == 0, result.output
    assert (tmp_path / "p.svg").read_text().startswith("<svg ")
    assert "accuracy, kernels removed of one layer" in result.output
    assert "as trained: 75.0% of 12 samples" in result.output
    recipe = Recipe.from_toml(tmp_path / "r.toml")
    assert [p.name for p in recipe.passes] == ["remove-kernels", "quantize"]
    assert isinstance(recipe.passes[0], RemoveKernels)
    assert recipe.passes[0].ratio == 0.5
    result = run("sensitivity", model, "-d", data, "--ratios", "0.5", "--bits", "4", "--json")
    report = json.loads(result.stdout)
    assert {p["kind"] for p in report["points"]} == {"ratio", "bits"}
    assert report["accuracy"] == 0.75


def test_an_interrupt_keeps_what_was_tried() -> None:
    net = conv_net()
    tried = 1

    def interrupt(done: int, _of: int) -> None:
        if done >= tried * 12:
            raise KeyboardInterrupt

    how: dict[str, Any] = {"ratios": (0.25, 0.5), "bits": (4,), "progress": interrupt}
    found = sensitivity(net, samples(net), **how)
    assert (len(found.points), found.partial) == (1, True)
    assert [row for _, _, rows in sensitivity_table(found) for row in rows]
    tried = 0
    with pytest.raises(KeyboardInterrupt):
        sensitivity(net, samples(net), **how)


def test_reduce_timesteps_command(files: tuple[Path, Path, Array], tmp_path: Path) -> None:
    model, data, _ = files
    result = run(
        "reduce-timesteps",
        model,
        "--data",
        data,
        "--tolerance",
        "0.5",
        "--rescale",
        "-o",
        tmp_path / "fast.nir",
    )
    assert result.exit_code == 0, result.output
    assert "of 8 steps are enough" in result.output
    assert (tmp_path / "fast.nir").exists()
    report = json.loads(run("reduce-timesteps", model, "-d", data, "--json").stdout)
    assert [p["steps"] for p in report["prefixes"]] == list(range(8, 0, -1))


def test_groups_are_shown(files: tuple[Path, Path, Array]) -> None:
    model, *_ = files
    result = run("inspect", model, "--groups")
    assert result.exit_code == 0, result.output
    assert ": keeps 4 of 4\n" in result.output
    report = json.loads(run("inspect", model, "--groups", "--json").stdout)
    assert [g["units"] for g in report["groups"]] == [2, 4, 6, 10, 5]
    assert report["groups"][0]["fixed"].endswith("is an input of the network")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--score", "svd"), "score-unknown", "there is no score 'svd'"),
        (("--ratios", "1.5"), "", "ratios are at least 0 and below 1"),
        (("--ratios", "a"), "", "'a' is not a list of numbers"),
        (("--bits", "40"), "", "widths are 1 to 16 bits"),
        (("--bits", "", "--ratios", ""), "sensitivity-nothing", "no widths and no sparsities"),
        (("--plot", "x.png"), "output-suffix", "x.png: this file's name has to end in .svg"),
        (("--recipe", "x"), "output-suffix", "next: --recipe x.toml"),
    ],
)
def test_bad_options(
    files: tuple[Path, Path, Array], arguments: tuple[str, ...], code: str, said: str
) -> None:
    model, data, _ = files
    result = run("sensitivity", model, "--calib", data, *arguments)
    assert (result.exit_code, code_of(result)) == (2, code)
    assert said in result.output


def test_places_are_refused_before_anything_runs(
    files: tuple[Path, Path, Array], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, data, _ = files

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("it ran")

    monkeypatch.setattr("snndeploy.pipeline.advise.sensitivity.sensitivity", never)
    monkeypatch.setattr("snndeploy.pipeline.advise.timesteps.reduce_timesteps", never)
    for name, *command in (
        ("there.svg", "sensitivity", "--plot"),
        ("there.toml", "sensitivity", "--recipe"),
        ("there.nir", "reduce-timesteps", "-o", "--rescale"),
    ):
        place = tmp_path / name
        place.write_text("something")
        result = run(command[0], model, "-d", data, *command[2:], command[1], place)
        assert result.exit_code == 3, result.output
        assert code_of(result) == "output-exists"
        assert f"choose another place with {command[1]}" in result.output
        assert place.read_text() == "something"


def test_a_folder_that_is_not_there(files: tuple[Path, Path, Array], tmp_path: Path) -> None:
    model, data, _ = files
    result = run(
        "sensitivity",
        model,
        "-d",
        data,
        "--ratios",
        "0.5",
        "--bits",
        "",
        "--recipe",
        tmp_path / "no" / "r.toml",
    )
    assert result.exit_code == 3
    assert code_of(result) == "output-unwritable"


def test_samples_are_named_once(files: tuple[Path, Path, Array]) -> None:
    model, data, _ = files
    result = run("sensitivity", model, "--calib", data, "--data", data)
    assert result.exit_code == 2
    assert "NAME=FILE" in result.output
    assert code_of(run("sensitivity", model, "-d", data, "--score", "x")) == "score-unknown"
    result = run("sensitivity", model)
    assert result.exit_code == 2
    assert "there is nothing to run" in result.output


def test_what_accuracies_may_differ_by_chance() -> None:
    found = Sensitivity(points=(), accuracy=0.9, samples=100, score="l1", fold="none")
    assert found.noise == pytest.approx(1.96 * (2 * 0.9 * 0.1 / 100) ** 0.5)
    assert dataclasses.replace(found, accuracy=1.0).noise == pytest.approx(0.02)
    assert dataclasses.replace(found, accuracy=1.0, samples=1).noise == 1.0
    assert dataclasses.replace(found, accuracy=None).noise is None
    assert found.record()["noise"] == found.noise


def test_a_file_of_thresholds_needs_thresholds_that_change(tmp_path: Path) -> None:
    arguments = ["reduce-timesteps", "model.nir", "-o", str(tmp_path / "new.nir")]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith("error[rescale-missing]: -o: without --rescale no threshold")
