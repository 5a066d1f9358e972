"""A label for every step: how steps are answered, and that every judge counts them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

from snndeploy import compile, read_network
from snndeploy.calibrate.fidelity import Reference
from snndeploy.data import Feed, Samples, load_samples
from snndeploy.errors import InputError, PassRefused, UsageError
from snndeploy.ir.answers import UNLABELLED, chosen, right, smoothed, step_answers
from snndeploy.ir.arrays import Array
from snndeploy.passes.base import Pass, PassContext, Training
from snndeploy.passes.given import answers_window
from snndeploy.passes.kept import digest_of
from snndeploy.passes.runner import run_passes
from snndeploy.passes.training.finetune import FineTune
from snndeploy.passes.training.train_steps import TrainSteps
from snndeploy.pipeline import run_compiled
from snndeploy.pipeline.advise.sensitivity import sensitivity
from snndeploy.pipeline.advise.timesteps import reduce_timesteps
from snndeploy.pipeline.tuning.search import tune
from snndeploy.simulate.float.engine import run_float
from snndeploy.simulate.recording import Recording
from tests.support.commands import check, code_of, printed, run
from tests.support.nir_graphs import chain, lif, written
from tests.support.sequences import STEPS, N, angles, inputs

WINDOW = 4
SEMANTICS = ("--frontend", "nir", "--dt", "0.001")


def model() -> nir.NIRGraph:
    rng = np.random.default_rng(3)
    return chain(
        5, nir.Linear(rng.normal(size=(8, 5))), lif(8), nir.Linear(rng.normal(size=(3, 8))), lif(3)
    )


@pytest.fixture(scope="module")
def network() -> Any:
    return read_network(model(), "nir", dt=1e-3)


@pytest.fixture(scope="module")
def labels(network: Any) -> Array:
    """What the network answers; every fifth label is another, and every seventh step has none."""
    answers = run_float(network, inputs()).step_predictions("n3", WINDOW)
    flat = answers.reshape(-1).copy()
    flat[::5] = (flat[::5] + 1) % 3
    flat[::7] = UNLABELLED
    return flat.reshape(answers.shape)


@pytest.fixture
def samples(labels: Array) -> Samples:
    return Samples(inputs(), labels, WINDOW)


def share(labels: Array) -> tuple[int, int]:
    """Right and labelled, counted one by one."""
    places = np.arange(labels.size)
    known = places % 7 != 0
    return int((known & (places % 5 != 0)).sum()), int(known.sum())


def test_sums_over_a_window() -> None:
    x = np.arange(1, 6)[:, None]
    assert smoothed(x, 1)[:, 0].tolist() == [1, 2, 3, 4, 5]
    assert smoothed(x, 3)[:, 0].tolist() == [1, 3, 6, 9, 12]
    assert smoothed(x, 9)[:, 0].tolist() == [1, 3, 6, 10, 15]


def test_answers_of_steps() -> None:
    emitted = np.array([[[0, 1]], [[0, 0]], [[2, 0]], [[0, 0]]])
    assert step_answers(emitted).tolist() == [[1, 0, 0, 0]]
    assert step_answers(emitted, 2).tolist() == [[1, 1, 0, 0]]


def test_a_single_neuron_says_yes_or_no() -> None:
    assert chosen(np.array([[0], [3], [-1]])).tolist() == [0, 1, 0]
    emitted = np.array([[[0], [1]], [[1], [-1]]])
    assert step_answers(emitted).tolist() == [[0, 1], [1, 0]]
    run_ = Recording(engine="", spikes={"out": emitted})
    assert run_.predictions("out").tolist() == [1, 0]


def test_steps_without_a_label_do_not_count() -> None:
    labels = np.array([[0, UNLABELLED, 1], [2, 2, UNLABELLED]])
    assert right(np.array([[0, 0, 0], [2, 0, 0]]), labels) == (2, 4)
    assert right(np.array([1, 2]), np.array([1, 1])) == (1, 2)


def test_runs_count_steps(network: Any, samples: Samples, labels: Array) -> None:
    compiled = compile(network, recipe=None)
    report = run_compiled(compiled, samples, ("float", "integer"))
    hits, of = share(labels)
    assert report["labelled_steps"] == of
    assert report["accuracy"]["float"] == hits / of
    answers = run_float(network, inputs()).step_predictions("n3", WINDOW)
    np.testing.assert_array_equal(report["predictions"]["float"], answers)


def test_batches_and_parts_keep_labels_and_window(samples: Samples, labels: Array) -> None:
    part = samples.part(2, 5).cut(7)
    assert part.labels is not None
    assert part.window == WINDOW
    np.testing.assert_array_equal(part.labels, labels[2:7, :7])
    joined = np.concatenate([np.asarray(b.labels) for b in samples.batches(3)])
    np.testing.assert_array_equal(joined, labels)
    assert {b.window for b in samples.batches(3)} == {WINDOW}
    np.testing.assert_array_equal(
        np.asarray(samples.picked(np.array([4, 1])).labels), labels[[4, 1]]
    )


def test_sensitivity_counts_steps(network: Any, samples: Samples, labels: Array) -> None:
    found = sensitivity(network, samples, ratios=(), bits=(8,))
    hits, of = share(labels)
    assert found.accuracy == hits / of


def test_time_steps_with_labels_cannot_be_left_out(network: Any, samples: Samples) -> None:
    with pytest.raises(InputError) as caught:
        reduce_timesteps(network, samples)
    assert caught.value.code == "labels-per-step"


def test_training_for_fewer_steps_is_refused_before_anything_is_trained(
    network: Any, samples: Samples
) -> None:
    seen: list[str] = []
    ctx = PassContext(
        training=Training(samples=Feed(network, samples)), observer=lambda e: seen.append(e.name)
    )
    passes: list[Pass] = [FineTune(epochs=1), TrainSteps(halvings=1, epochs=1)]
    with pytest.raises(PassRefused) as caught:
        run_passes(network, passes, ctx)
    assert str(caught.value) == (
        "pass 2 of 2 (train-steps): every step has a label of its own, and none can be left out\n"
        "  next: leave this pass out of the recipe"
    )
    assert not seen
    with pytest.raises(PassRefused):
        passes[1].apply(network, ctx)


def test_recipes_are_searched_by_an_answer_per_sample(network: Any, samples: Samples) -> None:
    with pytest.raises(InputError) as caught:
        tune(network, samples, trials=1)
    assert caught.value.code == "labels-per-step"
    assert caught.value.message.endswith("and recipes are judged by an answer per sample")


def test_guards_compare_steps(network: Any, samples: Samples) -> None:
    """Two networks that answer alike per sample, and not at every step."""
    feed = Feed(network, samples)
    assert answers_window(feed) == WINDOW
    assert answers_window(Feed(network, Samples(inputs()))) == 0
    reference = Reference(network, feed.inputs, window=WINDOW)
    same = reference.fidelity(network)
    assert (same.agreement, same.divergence, same.samples) == (1.0, 0.0, N)
    last = network.projections[-1]
    other = network.replace(
        projections=[
            last.__class__(
                **{**vars_of(last), "weight": last.weight.__class__(last.weight.data * 0.8)}
            )
        ]
    )
    found = reference.fidelity(other)
    a, b = (run_float(net, inputs()).step_predictions("n3", WINDOW) for net in (network, other))
    assert 0 < (a != b).mean() < 1
    assert found.agreement == pytest.approx(float((a == b).mean()))
    assert found.divergence > 0


def vars_of(thing: Any) -> dict[str, Any]:
    return {name: getattr(thing, name) for name in thing.__dataclass_fields__}


def test_a_checkpoint_is_of_one_window(network: Any, labels: Array) -> None:
    digests = {digest_of(Feed(network, Samples(inputs(), labels, w))) for w in (1, 1, 2)}
    assert len(digests) == 2
    answers = np.zeros(N, np.int64)
    assert len({digest_of(Feed(network, Samples(inputs(), answers, w))) for w in (1, 2)}) == 1


@pytest.fixture
def place(tmp_path: Path, labels: Array) -> Path:
    written(tmp_path, model())
    np.savez(tmp_path / "d.npz", x=inputs().swapaxes(0, 1), y=np.where(labels < 0, 9, labels))
    return tmp_path


def test_files(place: Path, labels: Array) -> None:
    found = load_samples(place / "d.npz", (5,), unlabelled=9, window=3, skip=1, samples=4)
    assert found.labels is not None
    assert found.window == 3
    np.testing.assert_array_equal(found.labels, labels[1:5])


@pytest.mark.parametrize(
    ("y", "options", "message"),
    [
        (np.full((N, STEPS), -1), {}, "steps are labelled from -1 on"),
        (np.full((N, STEPS), 4), {"unlabelled": 4}, "no step has a label"),
        (np.zeros((N, STEPS + 1)), {}, f"({N}, {STEPS + 1}) labels for {N} samples"),
        (np.full((N, STEPS), 0.5), {}, "labels are not whole numbers"),
    ],
)
def test_labels_that_are_none(
    y: Array, options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    np.savez(tmp_path / "d.npz", x=inputs().swapaxes(0, 1), y=y)
    with pytest.raises(InputError) as caught:
        load_samples(tmp_path / "d.npz", (5,), **options)
    assert caught.value.code == "data-labels"
    assert message in str(caught.value)


@pytest.mark.parametrize("options", [{"unlabelled": 2}, {"window": 2}])
def test_options_of_steps_say_nothing_about_samples(
    options: dict[str, Any], tmp_path: Path
) -> None:
    np.savez(tmp_path / "d.npz", x=inputs().swapaxes(0, 1), y=np.zeros(N, int))
    with pytest.raises(UsageError) as caught:
        load_samples(tmp_path / "d.npz", (5,), **options)
    assert caught.value.code == "data-option"


def test_commands(place: Path, labels: Array) -> None:
    data = ("-d", place / "d.npz", "--unlabelled", 9, "--window", WINDOW)
    hits, of = share(labels)
    told = check(
        run("simulate", place / "model.nir", *SEMANTICS, "-r", "none", "-e", "float", *data), 0
    )
    assert f"accuracy of {of} labelled steps" in " ".join(told.split())
    assert f"{hits / of:.1%}" in told
    bundle = place / "a.snnb"
    check(run("compile", place / "model.nir", *SEMANTICS, *data, "-o", bundle), 0)
    result = run("verify", bundle, *data, "--engines", "float,compressed,integer", "--json")
    report = json.loads(printed(result))
    assert report["accuracy"]["float"] == hits / of
    pairs = report["verification"]["pairs"]
    counted = [report["accuracy"][e] for e in ("float", "compressed", "integer")]
    for pair, before, after in zip(pairs, counted, counted[1:], strict=False):
        assert pair["lost"] - pair["gained"] == round((before - after) * of)
    wrong = run("simulate", place / "model.nir", *SEMANTICS, *data[:2])
    assert code_of(wrong) == "labels-range"


def test_training_counts_and_learns_steps(network: Any, samples: Samples, labels: Array) -> None:
    torch = pytest.importorskip("torch")
    from snndeploy.passes.training.finetune import FineTune
    from snndeploy.passes.training.loop.data import Batches
    from snndeploy.passes.training.loop.trainer import accuracy, missed, scores
    from snndeploy.passes.training.torch_network.module import TrainableNetwork

    module = TrainableNetwork(network, learn=("weights",))
    batches = Batches(Feed(network, samples))
    hits, of = share(labels)
    assert accuracy(module, batches, 4) == pytest.approx(hits / of)
    short = Batches(Feed(network, samples), steps=7)
    assert short.labels.shape == (N, 7)
    x, y = batches.take(np.arange(N))
    told = scores(module(x), "n3", "count", WINDOW)
    summed = smoothed(run_float(network, inputs()).spikes["n3"], WINDOW)
    np.testing.assert_allclose(told.detach().numpy().reshape(N, STEPS, 3), summed.swapaxes(0, 1))
    loss = float(missed(told, STEPS, y, None, FineTune()).detach())
    rows = summed.swapaxes(0, 1).reshape(-1, 3)
    known = labels.reshape(-1) != UNLABELLED
    logs = rows - np.log(np.exp(rows).sum(axis=1, keepdims=True))
    wanted = -logs[np.flatnonzero(known), labels.reshape(-1)[known]].mean()
    assert loss == pytest.approx(wanted, rel=1e-5)
    mean = scores(module(x), "n3", "mean", WINDOW).detach().numpy().reshape(N, STEPS, 3)
    np.testing.assert_allclose(mean[:, 0], summed[0])
    np.testing.assert_allclose(mean[:, 9], summed[9] / WINDOW)
    assert torch.isfinite(told).all()


def test_a_single_output_learns_yes_and_no() -> None:
    torch = pytest.importorskip("torch")
    from snndeploy.passes.training.finetune import FineTune
    from snndeploy.passes.training.loop.trainer import missed

    told = torch.tensor([[1.0], [-2.0]])
    loss = missed(told, 1, torch.tensor([1, 0]), None, FineTune())
    assert float(loss) == pytest.approx(np.log1p(np.exp([-1.0, -2.0])).mean())


def test_values_are_judged_by_their_error(tmp_path: Path) -> None:
    graph, targets = angles()
    network = read_network(graph, "nir", dt=1e-3)
    np.savez(tmp_path / "d.npz", x=inputs().swapaxes(0, 1), target=targets)
    samples = load_samples(tmp_path / "d.npz", (5,))
    report = run_compiled(compile(network, recipe=None), samples, ("float", "integer"))
    means = run_float(network, inputs()).spikes["n3"].mean(axis=0)[:, 0]
    wanted = means - targets
    assert report["accuracy"] == {}
    assert report["errors"]["float"]["rmse"] == pytest.approx((wanted**2).mean() ** 0.5, rel=1e-5)
    assert report["errors"]["float"]["mae"] == pytest.approx(abs(wanted).mean(), rel=1e-5)
    assert report["errors"]["integer"]["rmse"] == pytest.approx(
        report["errors"]["float"]["rmse"], rel=0.05
    )


@pytest.mark.parametrize(
    ("target", "code"),
    [
        (np.zeros((N, 2)), "targets-shape"),
        (np.zeros(N - 1), "data-targets"),
        (np.full(N, np.nan), "data-targets"),
    ],
)
def test_values_that_do_not_fit(target: Array, code: str, tmp_path: Path) -> None:
    graph, _ = angles()
    compiled = compile(read_network(graph, "nir", dt=1e-3), recipe=None)
    np.savez(tmp_path / "d.npz", x=inputs().swapaxes(0, 1), target=target)
    with pytest.raises(InputError) as caught:
        run_compiled(compiled, load_samples(tmp_path / "d.npz", (5,)), ("float",))
    assert caught.value.code == code


def test_the_error_is_printed(tmp_path: Path) -> None:
    graph, targets = angles()
    path = written(tmp_path, graph)
    np.savez(tmp_path / "d.npz", x=inputs().swapaxes(0, 1), target=targets)
    told = check(run("simulate", path, *SEMANTICS, "-r", "none", "-d", tmp_path / "d.npz"), 0)
    assert "integer: the output's mean misses the target by" in told
