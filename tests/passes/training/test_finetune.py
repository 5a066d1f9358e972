"""Fine-tuning: what learns, what stays, how a run goes on, and what is refused."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from snndeploy.chip import load_target
from snndeploy.errors import InputError, PassRefused, RecipeError
from snndeploy.lower import lower
from snndeploy.passes.base import PassContext, PassEvent, PassResult, Training
from snndeploy.passes.prune import Prune
from snndeploy.passes.quantization.quantize import Quantize
from snndeploy.passes.training.admm import Admm
from snndeploy.passes.training.finetune import FineTune
from snndeploy.passes.training.train_steps import TrainSteps
from tests.support.builders import chain_net, residual_net
from tests.support.labelled import Labelled, accuracy, context, digits_mlp, flat


def test_training_from_random_weights_learns() -> None:
    assert accuracy(digits_mlp(), flat(350, 450)) > 0.85


@pytest.mark.parametrize("loss", ["count", "mean", "membrane"])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_every_loss_and_optimizer_lowers_the_loss(loss: Any, optimizer: Any) -> None:
    rng = np.random.default_rng(1)
    network = chain_net([rng.normal(0, 0.3, (10, 64)).astype(np.float32)])
    contrast = {"count": 1.0, "mean": 16.0, "membrane": 5.0}[loss]
    how = FineTune(
        epochs=4,
        loss=loss,
        optimizer=optimizer,
        contrast=contrast,
        batch=32,
        lr=1e-2 if optimizer == "adamw" else 3e-2,
    )
    told: list[PassEvent] = []
    ctx = dataclasses.replace(context(flat=True), observer=told.append)
    after = how.apply(network, ctx).network
    losses = [float(e.status.split()[1]) for e in told]
    assert losses[-1] < 0.8 * losses[0]
    assert accuracy(after, flat(0, 350)) > accuracy(network, flat(0, 350)) + 0.2


def test_masks_and_codes_stay_while_the_rest_learns() -> None:
    network = Prune(sparsity=0.7).apply(digits_mlp(), PassContext()).network
    network = Quantize(bits=4).apply(network, PassContext()).network
    after = FineTune(epochs=4, lr=1e-2).apply(network, context(flat=True)).network
    for old, new in zip(network.projections, after.projections, strict=True):
        assert np.array_equal(old.weight.mask, new.weight.mask)  # type: ignore[arg-type]
        assert np.array_equal(old.weight.scale, new.weight.scale)  # type: ignore[arg-type]
        assert (old.weight.data != new.weight.data).any()
    assert accuracy(after, flat(0, 350)) > accuracy(network, flat(0, 350))


@pytest.mark.parametrize("grid", ["symmetric", "loihi", "rescaw"])
def test_bits_give_codes_or_the_real_weights_behind_them(grid: Any) -> None:
    network = digits_mlp()
    options: dict[str, Any] = {"bits": 3, "grid": grid, "epochs": 1}
    codes = FineTune(**options).apply(network, context(flat=True)).network
    assert all(p.weight.quantized and p.weight.bits == 3 for p in codes.projections)
    real = FineTune(keep="real", **options).apply(network, context(flat=True)).network
    assert not any(p.weight.quantized for p in real.projections)
    exempt = FineTune(exempt=("last",), **options).apply(network, context(flat=True)).network
    assert [p.weight.quantized for p in exempt.projections] == [True, False]


def test_what_is_trained_aware_of_a_chip_lowers_without_loss_of_weights() -> None:
    network = residual_net()
    rng = np.random.default_rng(0)
    x = (rng.random((8, 40, 2, 6, 6)) < 0.5).astype(np.float32)
    data = Labelled({"input": x}, rng.integers(0, 4, 40))
    ctx = PassContext(training=Training(samples=data), scope="t")
    how = FineTune(
        bits=4,
        grid="loihi",
        aware="loihi2",
        epochs=1,
        learn=("weights", "biases", "leaks", "thresholds"),
    )
    result = how.apply(network, ctx)
    assert [f.code for f in result.findings] == []
    program = lower(result.network, load_target("loihi2"))
    assert {r.weight for r in program.rounding.values()} == {0.0}
    assert result.network.population("a").neuron.leak != 0.875  # type: ignore[union-attr]


def test_aware_of_a_chip_real_weights_train_as_lowering_rounds_them() -> None:
    network = digits_mlp()
    after = FineTune(epochs=1, aware="loihi2", ignore=("fc2",)).apply(network, context(flat=True))
    assert [p.weight.bits for p in after.network.projections] == [8, 8]
    program = lower(after.network, load_target("loihi2"))
    assert {r.weight for r in program.rounding.values()} == {0.0}
    assert "weights-rounded" not in {f.code for f in program.findings}
    assert "weights-rounded" in {f.code for f in lower(network, load_target("loihi2")).findings}


def test_a_grid_that_a_population_cannot_share_is_told() -> None:
    rng = np.random.default_rng(0)
    data = Labelled(
        {"input": (rng.random((8, 20, 2, 6, 6)) < 0.5).astype(np.float32)}, rng.integers(0, 4, 20)
    )
    ctx = PassContext(training=Training(samples=data), scope="t")
    result = FineTune(bits=4, layers=("c*", "f*", "shortcut"), aware="loihi2", epochs=1).apply(
        residual_net(), ctx
    )
    assert {f.code for f in result.findings} <= {"aware-inexact"}
    program = lower(result.network, load_target("loihi2"))
    inexact = {name for name, r in program.rounding.items() if r.weight}
    assert {f.where for f in result.findings} == inexact


def test_training_that_would_start_elsewhere_is_refused() -> None:
    """A step that float32 does not hold: every code would be read as zero."""
    network = Quantize(bits=4).apply(digits_mlp(), PassContext()).network
    first = network.projections[0]
    tiny = dataclasses.replace(first.weight, scale=np.float64(1e-60))
    network = network.replace(projections=[dataclasses.replace(first, weight=tiny)])
    with pytest.raises(PassRefused) as error:
        FineTune(epochs=1).apply(network, context(flat=True))
    assert (error.value.code, error.value.where) == ("training-start-differs", first.name)
    assert "would change before the first step of training" in error.value.message


def test_restart_draws_weights_of_the_same_spread() -> None:
    network = digits_mlp()
    how = FineTune(epochs=1, restart=True, lr=1e-12)
    first = how.apply(network, context(flat=True)).network
    for old, new in zip(network.projections, first.projections, strict=True):
        assert new.weight.data.std() == pytest.approx(old.weight.data.std(), rel=0.2)
        assert abs(np.corrcoef(old.weight.data.flat, new.weight.data.flat)[0, 1]) < 0.2


def same(a: PassResult, b: PassResult) -> bool:
    return a.network.digest == b.network.digest and a.metrics == b.metrics


@pytest.mark.parametrize(
    "how",
    [
        FineTune(epochs=3, bits=3, optimizer="sgd", learn=("weights", "leaks", "thresholds")),
        Admm(sparsity=0.8, bits=2, iterations=2, epochs=2),
        TrainSteps(steps=(8, 4), epochs=2),
        FineTune(epochs=3, distill=0.5, activity=3.0, synops_ratio=0.8),
    ],
    ids=("finetune", "admm", "train-steps", "teacher-and-budget"),
)
def test_resumed_equals_uninterrupted_and_runs_repeat(how: Any, tmp_path: Path) -> None:
    network = digits_mlp()
    whole = how.apply(network, context(flat=True))
    assert same(whole, how.apply(network, context(flat=True)))
    epochs = 0

    def stop(at: int) -> Any:
        def observe(event: PassEvent) -> None:
            nonlocal epochs
            epochs += event.kind == "progress"
            if epochs == at:
                raise KeyboardInterrupt

        return observe

    for interruption in (1, 3):
        first = context(flat=True, folder=tmp_path, resume=True)
        epochs = 0
        with contextlib.suppress(KeyboardInterrupt):
            how.apply(network, dataclasses.replace(first, observer=stop(interruption)))
    assert list(tmp_path.glob("*.pt"))
    resumed = how.apply(network, context(flat=True, folder=tmp_path, resume=True))
    assert same(whole, resumed)


def test_another_seed_is_another_run() -> None:
    how, network = FineTune(epochs=1), digits_mlp()
    a = how.apply(network, context(flat=True)).network
    b = how.apply(network, dataclasses.replace(context(flat=True), seed=1)).network
    assert a.digest != b.digest


def test_checkpoints_of_another_run_and_damaged_ones_are_refused(tmp_path: Path) -> None:
    how, network = FineTune(epochs=1), digits_mlp()
    how.apply(network, context(flat=True, folder=tmp_path))
    with pytest.raises(InputError) as other:
        FineTune(epochs=2).apply(network, context(flat=True, folder=tmp_path, resume=True))
    assert other.value.code == "checkpoint-other-run"
    (file,) = tmp_path.glob("*.pt")
    file.write_bytes(file.read_bytes()[:500])
    with pytest.raises(InputError) as damaged:
        how.apply(network, context(flat=True, folder=tmp_path, resume=True))
    assert damaged.value.code == "checkpoint-damaged"
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(InputError) as unwritable:
        how.apply(network, context(flat=True, folder=tmp_path / "taken"))
    assert unwritable.value.code == "checkpoint-unwritable"


def test_a_checkpoint_runs_no_code(tmp_path: Path) -> None:
    """A pickle that would run something is not even opened."""
    how, network = FineTune(epochs=1), digits_mlp()
    how.apply(network, context(flat=True, folder=tmp_path))
    (file,) = tmp_path.glob("*.pt")

    class Trap:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "sprung",))

    torch.save({"schema": 1, "key": Trap()}, file)
    with pytest.raises(InputError):
        how.apply(network, context(flat=True, folder=tmp_path, resume=True))
    assert not (tmp_path / "sprung").exists()


def test_early_stopping_keeps_the_best_epoch() -> None:
    told: list[PassEvent] = []
    ctx = dataclasses.replace(context(flat=True), observer=told.append)
    result = FineTune(epochs=30, patience=2, lr=1e-2).apply(digits_mlp(), ctx)
    judged = [float(e.status.split("validation ")[1].split("%")[0]) / 100 for e in told]
    assert len(judged) < 30
    assert max(judged) == max(judged[:-2])
    assert accuracy(result.network, flat(350, 450)) == pytest.approx(max(judged), abs=1e-4)


def test_progress_says_how_it_goes() -> None:
    told: list[PassEvent] = []
    ctx = dataclasses.replace(context(flat=True), observer=told.append)
    FineTune(epochs=2).apply(digits_mlp(), ctx)
    assert [(e.done, e.of) for e in told] == [(1, 2), (2, 2)]
    for word in ("loss", "accuracy", "validation", "rate", "sparsity"):
        assert word in told[0].status


def test_refusals() -> None:
    network = digits_mlp()
    labelled = flat(0, 50)
    unlabelled = Labelled(labelled.inputs, None)
    wrong = Labelled(labelled.inputs, np.full(50, 10))
    cases = {
        "training-data-missing": PassContext(calibration=unlabelled),
        "training-labels-missing": PassContext(training=Training(samples=unlabelled)),
        "training-labels-range": PassContext(training=Training(samples=wrong)),
        "training-device": PassContext(training=Training(samples=labelled, device="warp")),
    }
    for code, ctx in cases.items():
        with pytest.raises(PassRefused) as caught:
            FineTune(epochs=1).apply(network, ctx)
        assert caught.value.code == code
    codes = Quantize(bits=4).apply(network, PassContext()).network
    for how in (FineTune(bits=4), Admm(sparsity=0.5, layers=("fc1",))):
        with pytest.raises((PassRefused, RecipeError)):
            how.apply(codes, context(flat=True))
    with pytest.raises(RecipeError) as nothing:
        Admm()
    assert nothing.value.code == "admm-nothing"
    with pytest.raises(RecipeError) as levels:
        Admm(bits=8, levels="power-of-two")
    assert levels.value.code == "admm-levels"
    with pytest.raises(RecipeError) as schedule:
        Admm(bits=4, projections_per_epoch=2, epochs_per_iteration=2)
    assert schedule.value.code == "admm-schedule"
    with pytest.raises(RecipeError) as fit:
        FineTune(bits=4, fit="mean")
    assert fit.value.code == "finetune-fit"
    for priced in ({"synops_ratio": 0.5}, {"activity": 1.0, "synops": 9.0, "synops_ratio": 0.5}):
        with pytest.raises(RecipeError) as priceless:
            FineTune(**priced)  # type: ignore[arg-type]
        assert priceless.value.code == "finetune-budget"
    for options in ({"steps": (4, 4)}, {"steps": (32, 16)}, {}, {"steps": (4,), "halvings": 1}):
        with pytest.raises(RecipeError) as schedule:
            TrainSteps(**options).apply(network, context(flat=True))  # type: ignore[arg-type]
        assert schedule.value.code == "steps-schedule"


def test_labelled_calibration_samples_will_do() -> None:
    ctx = PassContext(calibration=flat(0, 50), scope="t")
    assert FineTune(epochs=1).apply(digits_mlp(), ctx).modified
