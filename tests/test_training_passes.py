"""Training passes: constraints that hold, ADMM that converges, runs that can be interrupted."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from snndeploy.demo import FOLDER, digits
from snndeploy.errors import InputError, PassRefused, RecipeError
from snndeploy.ingest import read_network
from snndeploy.ir.arrays import Array
from snndeploy.ir.network import Network
from snndeploy.ir.weights import Weight
from snndeploy.lower import lower
from snndeploy.passes.base import PassContext, PassEvent, PassResult, Training
from snndeploy.passes.prune import Prune, budget
from snndeploy.passes.quantize import Quantize
from snndeploy.passes.training.admm import Admm
from snndeploy.passes.training.figures import figures, noise_curve
from snndeploy.passes.training.finetune import FineTune
from snndeploy.passes.training.grid import odd_levels, power_levels, symmetric_levels
from snndeploy.passes.training.module import TrainableNetwork
from snndeploy.passes.training.penalties import Activity, fan_outs
from snndeploy.passes.training.penalties import Admm as Pull
from snndeploy.passes.training.projections import alternate, largest, nearest, on_levels
from snndeploy.passes.training.train_steps import TrainSteps
from snndeploy.simulate.float_engine import run_float
from snndeploy.simulate.metrics import neurobench
from snndeploy.target import load_target
from tests.builders import chain_net, conv_net, residual_net


@dataclass(frozen=True, eq=False)
class Labelled:
    """Samples with classes."""

    inputs: dict[str, Array]
    labels: Array | None


@functools.cache
def digit_samples(low: int, high: int) -> Labelled:
    samples = digits()
    assert samples.labels is not None
    return Labelled({"input": samples.inputs[:, low:high]}, samples.labels[low:high])


@functools.cache
def digits_net() -> Network:
    return read_network(FOLDER / "digits.nir", "snntorch", reset="zero")


@functools.cache
def digits_mlp() -> Network:
    """A 64-32-10 network trained on the first digits, by the trainer itself, from random weights."""
    rng = np.random.default_rng(0)
    layers = [rng.normal(0, s, shape).astype(np.float32)
              for s, shape in ((0.3, (32, 64)), (0.5, (10, 32)))]  # fmt: skip
    how = FineTune(epochs=30, lr=1e-2, batch=32)
    return how.apply(chain_net(layers), context(flat=True)).network


def context(*, flat: bool = False, **fields: Any) -> PassContext:
    """350 digits to learn from and 100 to judge by."""
    parts = digit_samples(0, 350), digit_samples(350, 450)
    if flat:
        parts = tuple(  # type: ignore[assignment]
            Labelled({"input": p.inputs["input"].reshape(16, -1, 64)}, p.labels) for p in parts
        )
    training = Training(samples=parts[0], validation=parts[1], **fields)
    return PassContext(training=training, scope="pass")


def accuracy(network: Network, samples: Labelled) -> float:
    run = run_float(network, samples.inputs["input"])
    return float((run.predictions(network.with_role("output")[0].name) == samples.labels).mean())


# --- projections (acceptance checks 14 and 18) ----------------------------------------------------

VALUES = arrays(np.float64, st.integers(1, 40), elements=st.floats(-4, 4, width=16))


@given(VALUES, st.floats(0, 0.99), st.integers(0, 2**31))
def test_largest_keeps_exactly_k_and_is_the_nearest(
    values: Array, sparsity: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    everything = np.ones(values.shape, bool)
    (mask,) = largest([values], sparsity, [everything])
    kept = values.size - budget(sparsity, values.size)
    assert mask.sum() == kept  # ties do not keep more
    assert np.array_equal(largest([values * mask], sparsity, [mask])[0], mask)
    other = np.zeros(values.size)
    chosen = rng.permutation(values.size)[:kept]
    other[chosen] = rng.choice([0.5, 1.0], kept) * values[chosen]
    assert np.linalg.norm(values - values * mask) <= np.linalg.norm(values - other) + 1e-12


@given(VALUES, st.sampled_from([symmetric_levels(2), symmetric_levels(4), power_levels(3),
                                odd_levels(2)]), st.floats(0.05, 3))  # fmt: skip
def test_alternation_never_raises_the_error(values: Array, levels: Array, start: float) -> None:
    rows, alive = values[None], np.ones((1, values.size), bool)
    scale, before = np.array([start]), np.inf
    for _ in range(6):
        codes = nearest(rows, levels, scale[:, None])
        error = float(np.square(rows - codes * scale).sum())
        assert error <= before * (1 + 1e-12) + 1e-12
        _, scale = alternate(rows, alive, levels, scale)
        before = error


@given(VALUES)
def test_one_bit_has_the_mean_magnitude_as_scale(values: Array) -> None:
    if not values.any():
        return
    codes, scale = on_levels(values[None], np.ones((1, values.size), bool), symmetric_levels(1))
    assert scale[0] == pytest.approx(np.abs(values).mean())
    assert np.array_equal(codes[0] > 0, values > 0)


@settings(max_examples=30)
@given(
    arrays(np.float64, st.integers(2, 60), elements=st.floats(-4, 4, width=16)),
    st.sampled_from([symmetric_levels(2), symmetric_levels(4), power_levels(3), odd_levels(2)]),
)
def test_on_levels_is_hardly_worse_than_the_best_of_many_scales(
    values: Array, levels: Array
) -> None:
    if not values.any():
        return
    codes, scale = on_levels(values[None], np.ones((1, values.size), bool), levels)
    assert np.array_equal(codes, nearest(values[None], levels, scale[:, None]))
    tried = np.abs(values).max() / levels[-1] * np.geomspace(0.01, 1.5, 3000)[:, None]
    errors = np.square(values - nearest(values, levels, tried) * tried).sum(axis=1)
    assert np.square(values - codes[0] * scale[0]).sum() <= 1.1 * errors.min() + 1e-9


@pytest.mark.parametrize(
    ("levels", "expected"),
    [(symmetric_levels(1), 1 - 2 / np.pi), (symmetric_levels(2), 0.190), (power_levels(3), 0.048),
     (symmetric_levels(4), 0.013)],
)  # fmt: skip
def test_error_on_gaussian_weights(levels: Array, expected: float) -> None:
    values = np.random.default_rng(0).standard_normal((1, 20_000))
    codes, scale = on_levels(values, np.ones(values.shape, bool), levels)
    error = np.square(values - codes * scale).sum() / np.square(values).sum()
    assert error == pytest.approx(expected, abs=0.012)


def test_projections_leave_pruned_weights_dead() -> None:
    rows = np.array([[3.0, -2.0, 1.0, 0.5]])
    alive = np.array([[True, False, True, True]])
    codes, _ = on_levels(rows, alive, symmetric_levels(1))
    assert codes.tolist() == [[1, 0, 1, 1]]
    assert largest([rows], 0.5, [alive])[0].tolist() == [[True, False, True, False]]


# --- ADMM (acceptance checks 15 to 17) ------------------------------------------------------------


class Toy:
    """One weight, as `Pull` sees a module."""

    def __init__(self, w: Array) -> None:
        self.w = torch.tensor(w)

    def latent(self, name: str) -> torch.Tensor:
        del name
        return self.w


def keep(values: Array, k: int) -> Array:
    return largest([values], 1 - k / values.size, [np.ones(values.shape, bool)])[0]


def top(k: int) -> Any:
    def project(values: dict[str, Array]) -> dict[str, Array]:
        return {name: v * keep(v, k) for name, v in values.items()}

    return project


def quadratic(rho: float, rounds: int = 300) -> tuple[float, Array, Array]:
    """ADMM on 1/2 |W - A|^2 with 5 non-zeros: residual, result, A."""
    a = np.random.default_rng(0).standard_normal(40)
    toy = Toy(a)
    pull = Pull(toy, ["w"], top(5), rho=rho, growth=1.0)  # type: ignore[arg-type]
    for _ in range(rounds):
        toy.w = (torch.tensor(a) + rho * (pull.z["w"] - pull.u["w"])) / (1 + rho)
        pull.after_epoch(toy)  # type: ignore[arg-type]
    return pull.residual(toy), pull.z["w"].numpy(), a  # type: ignore[arg-type]


@pytest.mark.parametrize("rho", [1.0, 2.0, 10.0])
def test_admm_settles_where_rho_exceeds_the_curvature(rho: float) -> None:
    residual, z, a = quadratic(rho)
    assert residual < 1e-12
    assert np.array_equal(z != 0, keep(a, 5))


def test_admm_does_not_settle_where_rho_is_too_small() -> None:
    assert quadratic(0.1)[0] > 0.5


@pytest.mark.parametrize("seed", [1, 2])
def test_admm_finds_a_better_support_than_magnitude(seed: int) -> None:
    """Correlated least squares: what magnitude pruning keeps is not what matters."""
    rng = np.random.default_rng(seed)
    n, k, samples = 200, 20, 210
    covariance = 0.9 ** np.abs(np.subtract.outer(np.arange(n), np.arange(n)))
    x = rng.standard_normal((samples, n)) @ np.linalg.cholesky(covariance).T
    truth = np.zeros(n)
    truth[rng.permutation(n)[:k]] = rng.choice([-1, 1], k) * rng.uniform(0.5, 1.5, k)
    y = x @ truth + 0.5 * rng.standard_normal(samples)
    gram, moment = x.T @ x / samples, x.T @ y / samples

    def debiased(w: Array) -> float:
        kept = x[:, keep(w, k)]
        return float(np.square(kept @ np.linalg.lstsq(kept, y, rcond=None)[0] - y).mean())

    dense = np.linalg.lstsq(x, y, rcond=None)[0]
    toy = Toy(dense)
    pull = Pull(toy, ["w"], top(k), rho=0.1, growth=1.03)  # type: ignore[arg-type]
    for _ in range(200):
        wanted = moment + pull.rho * (pull.z["w"] - pull.u["w"]).numpy()
        toy.w = torch.tensor(np.linalg.solve(gram + pull.rho * np.eye(n), wanted))
        pull.after_epoch(toy)  # type: ignore[arg-type]
    assert debiased(toy.w.numpy()) < 0.5 * debiased(dense)
    assert debiased(toy.w.numpy()) < 0.25  # the noise itself


def test_the_pull_is_a_proximal_step() -> None:
    """W ends where lr rho (W - Z + U) and the distance moved balance, for any rho."""
    for rho in (0.5, 1e6):
        toy = Toy(np.array([3.0, -1.0, 0.5, 2.0]))
        pull = Pull(toy, ["w"], top(2), rho=rho, growth=1.0)  # type: ignore[arg-type]
        pull.u["w"] = torch.tensor([0.1, 0.2, -0.1, 0.0], dtype=torch.float64)
        before, goal = toy.w.clone(), pull.z["w"] - pull.u["w"]
        pull.after_step(toy, 0.01)  # type: ignore[arg-type]
        assert torch.allclose(toy.w - before, -0.01 * rho * (toy.w - goal))


def test_growing_rho_makes_the_residual_fall_and_exactly_k_weights_stay() -> None:
    told: list[PassEvent] = []
    ctx = dataclasses.replace(context(flat=True), observer=told.append)
    network = digits_mlp()
    how = Admm(sparsity=0.9, epochs=1, epochs_per_iteration=2, lr=5e-3, batch=16)
    result = how.apply(network, ctx)
    notes = [e.status for e in told if "prune" in e.what and "residual" in e.status]
    residuals = [float(n.split("residual ")[1].split()[0]) for n in notes][1::2]
    assert len(residuals) == 5
    assert residuals == sorted(residuals, reverse=True)
    assert result.metrics["training"]["pruning_residual"] < 0.05
    for p in result.network.projections:
        assert (
            p.weight.nonzero
            == p.weight.alive
            == p.weight.data.size - budget(0.9, p.weight.data.size)
        )


def test_layers_compete_where_admm_is_asked_to_prune_globally() -> None:
    how = Admm(sparsity=0.8, scope="global", iterations=1, epochs=1)
    after = how.apply(digits_mlp(), context(flat=True)).network
    alive = [p.weight.alive / p.weight.data.size for p in after.projections]
    total = sum(p.weight.data.size for p in after.projections)
    assert sum(p.weight.alive for p in after.projections) == total - budget(0.8, total)
    assert abs(alive[0] - alive[1]) > 0.05


def test_lamp_shares_sparsity_out_as_it_does_for_prune() -> None:
    network = digits_mlp()
    how = Admm(sparsity=0.8, scope="lamp", iterations=1, epochs=1, lr=1e-9)
    after = how.apply(network, context(flat=True)).network
    one_shot = Prune(sparsity=0.8, scope="lamp").apply(network, PassContext()).network
    for p, q in zip(after.projections, one_shot.projections, strict=True):
        assert np.array_equal(p.weight.mask, q.weight.mask)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("levels", "bits"), [("uniform", 2), ("uniform", 1), ("odd", 2), ("power-of-two", 3)]
)
def test_admm_quantises_what_survives_of_pruning(levels: Any, bits: int) -> None:
    network = digits_mlp()
    how = Admm(sparsity=0.5, bits=bits, levels=levels, per="channel", iterations=2, epochs=1)
    after = how.apply(network, context(flat=True)).network
    sets = {"uniform": symmetric_levels, "odd": odd_levels, "power-of-two": power_levels}
    allowed = sets[levels](bits)
    for p in after.projections:
        assert p.weight.mask is not None
        assert p.weight.alive == p.weight.data.size - budget(0.5, p.weight.data.size)
        assert set(np.unique(p.weight.data[p.weight.mask])) <= set(allowed.tolist())
        assert p.weight.scale is not None
        assert p.weight.scale.shape == (p.weight.shape[0], 1)
    assert accuracy(after, flat(350, 450)) > 0.5
    assert lower(after, load_target("loihi2")).rounding["h1"].weight == 0
    aware = dataclasses.replace(how, aware="loihi2").apply(network, context(flat=True)).network
    assert [p.weight.bits for p in aware.projections] == [p.weight.bits for p in after.projections]


def flat(low: int, high: int) -> Labelled:
    samples = digit_samples(low, high)
    return Labelled({"input": samples.inputs["input"].reshape(16, -1, 64)}, samples.labels)


# --- fine-tuning ----------------------------------------------------------------------------------


def test_training_from_random_weights_learns() -> None:
    assert accuracy(digits_mlp(), flat(350, 450)) > 0.85


@pytest.mark.parametrize("loss", ["count", "mean", "membrane"])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_every_loss_and_optimizer_lowers_the_loss(loss: Any, optimizer: Any) -> None:
    rng = np.random.default_rng(1)
    network = chain_net([rng.normal(0, 0.3, (10, 64)).astype(np.float32)])
    contrast = {"count": 1.0, "mean": 16.0, "membrane": 5.0}[loss]
    how = FineTune(epochs=4, loss=loss, optimizer=optimizer, contrast=contrast, batch=32,
                   lr=1e-2 if optimizer == "adamw" else 3e-2)  # fmt: skip
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
    how = FineTune(bits=4, grid="loihi", aware="loihi2", epochs=1,
                   learn=("weights", "biases", "leaks", "thresholds"))  # fmt: skip
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


def test_restart_draws_weights_of_the_same_spread() -> None:
    network = digits_mlp()
    how = FineTune(epochs=1, restart=True, lr=1e-12)
    first = how.apply(network, context(flat=True)).network
    for old, new in zip(network.projections, first.projections, strict=True):
        assert new.weight.data.std() == pytest.approx(old.weight.data.std(), rel=0.2)
        assert abs(np.corrcoef(old.weight.data.flat, new.weight.data.flat)[0, 1]) < 0.2


# --- the run itself -------------------------------------------------------------------------------


def same(a: PassResult, b: PassResult) -> bool:
    return a.network.digest == b.network.digest and a.metrics == b.metrics


@pytest.mark.parametrize("how", [
    FineTune(epochs=3, bits=3, optimizer="sgd", learn=("weights", "leaks", "thresholds")),
    Admm(sparsity=0.8, bits=2, iterations=2, epochs=2),
    TrainSteps(steps=(8, 4), epochs=2),
    FineTune(epochs=3, distill=0.5, activity=3.0, synops_ratio=0.8),
], ids=("finetune", "admm", "train-steps", "teacher-and-budget"))  # fmt: skip
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


# --- time, activity and figures (acceptance checks 19 and 20) -------------------------------------


def test_fewer_steps_stand_in_the_notes_and_a_drop_ends_it() -> None:
    network = digits_mlp()
    result = TrainSteps(steps=(8, 4), epochs=4, lr=5e-3, batch=32).apply(
        network, context(flat=True)
    )
    assert result.network.notes["steps"] == "4"
    short = Labelled({"input": flat(350, 450).inputs["input"][:4]}, flat(350, 450).labels)
    assert accuracy(result.network, short) == result.metrics["steps=4"]["accuracy"]
    learnt = Labelled({"input": flat(0, 350).inputs["input"][:4]}, flat(0, 350).labels)
    assert accuracy(result.network, learnt) > accuracy(network, learnt) + 0.02
    halved = TrainSteps(halvings=2, epochs=4, lr=5e-3, batch=32).apply(network, context(flat=True))
    assert halved.network.digest == result.network.digest
    again = TrainSteps(halvings=1, epochs=1).apply(halved.network, context(flat=True))
    assert again.network.notes["steps"] == "2"
    assert "steps=4 (before)" in again.metrics
    strict = TrainSteps(steps=(8, 1), epochs=1, max_drop=0.1).apply(network, context(flat=True))
    assert strict.network.notes["steps"] == "8"
    assert [f.code for f in strict.findings] == ["steps-reduced"]


def test_activity_costs_what_its_price_says() -> None:
    network, found = digits_mlp(), []
    for price in (0.0, 0.1, 1.0, 3.0):
        how = FineTune(epochs=12, activity=price, lr=1e-2)
        after = how.apply(network, context(flat=True)).network
        run = run_float(after, flat(0, 350).inputs["input"])
        found.append((float(run.spikes["h1"].mean()), accuracy(after, flat(0, 350))))
    rates = [rate for rate, _ in found]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < 0.75 * rates[0]
    assert all(right > found[0][1] - 0.015 for _, right in found)


def test_a_budget_of_synops_is_kept() -> None:
    network = digits_mlp()
    samples = flat(0, 350)
    of_inputs = float(samples.inputs["input"].sum()) * 32 / 350
    budget = of_inputs + (figures(network, samples).synops - of_inputs) / 2
    how = FineTune(epochs=10, lr=1e-2, activity=30.0, synops=budget)
    after = figures(how.apply(network, context(flat=True)).network, samples)
    assert after.synops < 1.02 * budget
    assert after.accuracy > 0.9


def test_target_rate_is_free() -> None:
    network = digits_mlp()
    module = TrainableNetwork(network)
    name = network.with_role("input")[0].name
    run = module({name: torch.tensor(flat(0, 20).inputs["input"], dtype=torch.float32)})
    rate = float(run.spikes["h1"].detach().sum()) / (32 * 16 * 20)

    def price(target: float) -> float:
        activity = Activity(module, weight=2.0, target_rate=target, synops=0.0)
        return float(activity.loss(module, run).detach())

    assert price(0.0) == pytest.approx(2 * rate, rel=1e-5)
    assert price(rate / 2) == pytest.approx(rate, rel=1e-5)
    assert price(1.1 * rate) == 0


def test_synops_are_those_of_neurobench_and_nothing_without_spikes() -> None:
    network = conv_net()
    rng = np.random.default_rng(0)
    x = (rng.random((7, 5, 2, 8, 8)) < 0.4).astype(np.float32)
    found = figures(network, Labelled({"input": x}, np.zeros(5, np.int64)))
    run = run_float(network, x)
    by_hand = 0.0
    fan_out = fan_outs(TrainableNetwork(network))
    for name, spikes in run.spikes.items():
        if name in fan_out:
            by_hand += float((spikes.sum((0, 1)) * fan_out[name].numpy()).sum())
    assert found.synops == pytest.approx(by_hand / 5)
    # without pools in front, an operation of NeuroBench is one weight met by one spike
    dense = digits_mlp()
    samples = flat(0, 20)
    bench = neurobench(dense, run_float(dense, samples.inputs["input"]))
    assert figures(dense, samples).synops == pytest.approx(bench.effective_acs)
    silent = Labelled({"input": np.zeros((5, 2, 64), np.float32)}, np.zeros(2, np.int64))
    assert figures(dense, silent).synops == 0


def test_pruning_takes_its_share_of_synops() -> None:
    """With spikes that know nothing of the weights, SynOps fall as the density does."""
    rng = np.random.default_rng(0)
    dense = chain_net([rng.standard_normal((50, 400)).astype(np.float32)])
    mask = rng.random((50, 400)) < 0.3
    (p,) = dense.projections
    sparse = dense.replace(
        projections=[dataclasses.replace(p, weight=Weight(p.weight.data, mask=mask))]
    )
    x = (rng.random((20, 20, 400)) < 0.2).astype(np.float32)
    samples = Labelled({"input": x}, np.zeros(20, np.int64))
    a, b = figures(sparse, samples), figures(dense, samples)
    assert b.synops == pytest.approx(x.sum() * 50 / 20)
    assert a.r_ops(b) == pytest.approx(mask.mean(), abs=0.005)
    assert a.density == mask.mean()
    assert a.r_mem(b) == pytest.approx(mask.mean())
    assert a.synops_per_step == pytest.approx(a.synops / 20)


def test_sizes_by_hand() -> None:
    rng = np.random.default_rng(0)
    network = chain_net([rng.standard_normal((10, 100)).astype(np.float32)])
    network = Prune(sparsity=0.95).apply(network, PassContext()).network
    network = Quantize(bits=4).apply(network, PassContext()).network
    x = Labelled({"input": np.zeros((2, 1, 100), np.float32)}, np.zeros(1, np.int64))
    found = figures(network, x)
    assert found.size_bits == 50 * 4
    assert found.index_bits == 50 * 10  # an address of 10 bits each: less than a bit for all 1000
    assert found.bits == 4


def test_noise_costs_accuracy_and_none_costs_nothing() -> None:
    samples = flat(350, 450)
    images = samples.inputs["input"].mean(axis=0)

    def encode(values: Array) -> Array:
        from snndeploy.simulate.encode import rate

        return rate(values, 16)

    assert samples.labels is not None
    curve = noise_curve(
        digits_mlp(), images, samples.labels, encode, (0.0, 0.2, 2.0), np.random.default_rng(0)
    )
    assert curve[0.0] == pytest.approx(accuracy(digits_mlp(), samples), abs=0.05)
    assert curve[0.0] >= curve[0.2] > curve[2.0]


# --- what is refused ------------------------------------------------------------------------------


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
