"""Every shipped recipe on many networks: what is left of their answers, and what the guard did.

    python benchmarks/recipes.py [--networks digits c200 ...] [--recipes default ...] [--json out.json]
        [--samples 3 10 30]

Networks are the demo's digits, those of ``networks.py`` (trained when first asked for, minutes), both
published Braille networks and ``cnn_sinabs``, a 49-6-10 trained here, the recurrent network of
``ecg.py``, which answers at every step, and trained ``.nir`` files of ``--trained``. Of each, some
hundred samples without labels calibrate, others are tested on; recipes that train get the labels of the
calibration samples. A row per recipe: accuracy as trained, compressed and in integers; bits stored per
weight; agreement and divergence of answers on samples that no pass saw; and what came of it: ``holds``,
``backed off``, ``gave all back``, ``warns`` or ``refused``. Last come the rows that lose more than
``--allowed`` points on the test samples and warn of nothing: with one of these it exits with 1.
``--samples`` calibrates on so few, drawn at random; that they are few is no warning here. With
``--matrix`` a second table has a line per network: right in integers and bits per weight, and what came
of it.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path

import ecg
import networks as trained_here
import numpy as np
import numpy.typing as npt
from results import Results
from second_order_cases import cnn_sinabs

from snndeploy.data import Samples
from snndeploy.demo import FOLDER, digits
from snndeploy.errors import SnnDeployError
from snndeploy.export.nir import write_nir
from snndeploy.ingest import read_network
from snndeploy.ir.arrays import frozen
from snndeploy.ir.network import Network, Population, Projection, Source
from snndeploy.ir.neurons import Neuron
from snndeploy.ir.ops import Dense
from snndeploy.ir.weights import Weight
from snndeploy.passes.base import PassContext, Training
from snndeploy.passes.metrics import measure
from snndeploy.passes.runner import run_passes
from snndeploy.passes.training.finetune import FineTune
from snndeploy.passes.training.options import TrainingPass
from snndeploy.pipeline import compile, run_compiled
from snndeploy.pipeline.finetuning import trained_steps
from snndeploy.recipe import Recipe, load_recipe, recipe_names

Array = npt.NDArray[np.generic]
CALIBRATION, TEST = 300, 500
RECORDS = 60
"""Records of an ECG to calibrate and to test on: 1,301 steps each, and an answer at each step."""
FAST = ("digits", "c200", "one", "tiny")


@dataclass(frozen=True, eq=False)
class Case:
    """A trained network, samples to calibrate on, and others to test on."""

    network: Network
    calibration: Samples
    test: Samples


@dataclass(frozen=True, kw_only=True)
class Row:
    """One recipe on one network; accuracies in %."""

    network: str
    recipe: str
    trained: float = float("nan")
    compressed: float = float("nan")
    integer: float = float("nan")
    bits: float = float("nan")
    agreement: float = float("nan")
    divergence: float = float("nan")
    outcome: str
    seconds: float

    @property
    def loss(self) -> float:
        """Points of accuracy that are gone, by the engine that loses more."""
        return self.trained - float(np.nanmin([self.compressed, self.integer]))

    def silent(self, allowed: float) -> bool:
        """Whether more is lost than ``allowed`` points, and nobody was told."""
        return self.outcome != "warns" and self.loss > allowed


def split(network: Network, samples: Samples, calibration: int = CALIBRATION) -> Case:
    """The first samples calibrate, the next are tested on."""
    few = min(calibration, len(samples) // 2)
    return Case(network, samples.first(few), samples.part(few, TEST))


def images(name: str, data: Path, shape: tuple[int, ...], steps: int, count: int) -> Samples:
    """Test images of MNIST or Fashion-MNIST as constant input."""
    x, y = trained_here.raw(trained_here.TASKS[name], "test", data, steps)
    x = x[:count].reshape(-1, *shape)
    return Samples(np.repeat(x[np.newaxis], steps, axis=0), y[:count])


def tiny(data: Path, kept: Path) -> Case:
    """A 49-6-10 on MNIST of 7 x 7 pixels, trained here when it is first asked for."""

    def shrunk(split: str, low: int, n: int) -> Samples:
        x, y = trained_here.raw(trained_here.TASKS["mnist-mlp"], split, data, 8)
        small = x[low : low + n].reshape(-1, 7, 4, 7, 4).mean(axis=(2, 4)).reshape(-1, 49)
        return Samples(np.repeat(small[np.newaxis], 8, axis=0), y[low : low + n])

    test = shrunk("test", 0, 1000)
    path = kept / "tiny-0.nir"
    if path.exists():
        return split(read_network(path), test)
    rng = np.random.default_rng(0)
    sizes = (49, 6, 10)
    populations = [Population("input", (49,), None, "input")]
    projections = []
    for i, (n, m) in enumerate(itertools.pairwise(sizes), start=1):
        last = i == len(sizes) - 1
        neuron = Neuron.create((m,), leak=0.5, threshold=1.0)
        weight = Weight(rng.normal(0, 2 / np.sqrt(n), (m, n)).astype(np.float32))
        source = Source(populations[-1].name, frozen(0, np.int64))
        populations.append(Population(f"s{i}", (m,), neuron, "output" if last else "hidden"))
        projections.append(Projection(f"w{i}", (source,), f"s{i}", (Dense(m, n),), weight))
    network = Network(tuple(populations), tuple(projections)).verify()
    train = shrunk("train", 0, 6000)
    labelled = trained_here.Labelled({"input": train.inputs}, train.labels)  # type: ignore[arg-type]
    how = FineTune(epochs=6, batch=32, lr=5e-3, width=2.0, contrast=0.75)
    context = PassContext(training=Training(samples=labelled))
    kept.mkdir(parents=True, exist_ok=True)
    write_nir(path, run_passes(network, [how], context).network)
    return split(read_network(path), test)


def cases(data: Path, kept: Path, trained: Path) -> dict[str, Callable[[], Case]]:
    """Every network by name, made when it is asked for."""

    def demo() -> Case:
        network = read_network(FOLDER / "digits.nir", "snntorch", reset="zero")
        held_out = digits()
        return Case(network, held_out.part(300, None), held_out.first(300))

    def given(name: str, task: str = "", steps: int = 8) -> Case:
        network = read_network(trained / f"{name}.nir")
        shape = network.with_role("input")[0].shape
        if task:
            return split(network, images(task, data, shape, steps, CALIBRATION + TEST))
        file = next(trained.glob(f"{name}*.npz"))
        with np.load(file, allow_pickle=False) as arrays:
            x, y = arrays["x"], arrays["y"].astype(np.int64)
        if x.ndim == len(shape) + 1:
            x = np.repeat(x[:, np.newaxis], 12, axis=1)
        return split(network, Samples(np.ascontiguousarray(x.swapaxes(0, 1)), y))

    def task(name: str) -> Case:
        network = trained_here.load(name, 0, data, kept)
        x, y = trained_here.samples(name, "test", data, count=CALIBRATION + TEST)
        return split(network, Samples(x, y))

    def braille(model: str) -> Case:
        folder = data / "nir_models"
        network = read_network(folder / "paper" / f"braille_noDelay_{model}.nir")
        with np.load(folder / "braille" / "braille_unique.npz", allow_pickle=False) as arrays:
            x, y = arrays["x"], arrays["y"].astype(np.int64)
        order = np.random.default_rng(0).permutation(len(y))
        return split(network, Samples(x[order].swapaxes(0, 1).astype(np.float32), y[order]))

    def sinabs() -> Case:
        found = cnn_sinabs(argparse.Namespace(data=data, calibration=60, test=60))
        return Case(
            found.network, Samples(found.calibration), Samples(found.x, found.y.astype(np.int64))
        )

    def by_steps() -> Case:
        out = kept / "ecg-steps"
        known = (out / "ecg.nir").exists()
        network = read_network(out / "ecg.nir") if known else ecg.learn(data / "qtdb_ecg", out)
        calibration, test = (ecg.load(out, s, network, 5) for s in ("choose", "test"))
        return Case(network, calibration.first(RECORDS), test.first(RECORDS))

    return {
        "digits": demo,
        "ecg-steps": by_steps,
        "cnn-sinabs": sinabs,
        "tiny": lambda: tiny(data, kept),
        "c200": lambda: given("c200"),
        "outlier": lambda: given("outlier"),
        "one": lambda: given("one", "mnist-mlp"),
        "res": lambda: given("res", "fashion-conv"),
        "deep": lambda: given("deep", "mnist-conv"),
        "braille-zero": lambda: braille("bias_zero"),
        "braille-subtract": lambda: braille("noBias_subtract"),
        **{name: (lambda n=name: task(n)) for name in trained_here.TASKS},  # type: ignore[misc]
    }


def row(name: str, case: Case, recipe: Recipe, *, integers: bool = True) -> Row:
    """One recipe on one network."""
    began = time.perf_counter()
    calibration = case.calibration
    every_step = calibration.labels is not None and calibration.labels.ndim > 1
    if not every_step and not any(isinstance(p, TrainingPass) for p in recipe.passes):
        calibration = Samples(calibration.source)  # of steps, labels say that each is answered
    try:
        found = compile(case.network, recipe=recipe, calibration=calibration)
    except SnnDeployError as error:
        seconds = time.perf_counter() - began
        return Row(
            network=name, recipe=recipe.name, outcome=f"refused: {error.code}", seconds=seconds
        )
    seconds = time.perf_counter() - began
    test = case.test
    short = trained_steps(found, test)
    engines = ("compressed", "integer") if integers else ("compressed",)
    accuracy = run_compiled(found, short, engines)["accuracy"]
    trained = run_compiled(found, test, ("float",))["accuracy"]["float"]
    answers = found.log.answers
    codes = {f.code for f in found.log.notes if f.severity == "warning"} - {"compared-on-few"}
    outcome = "holds"
    if codes:
        outcome = "backed off" if codes == {"backed-off"} else "warns"
    if codes and not found.log.steps:
        outcome = "gave all back"
    counts = measure(found.network)
    return Row(
        network=name,
        recipe=recipe.name,
        trained=100 * trained,
        compressed=100 * accuracy["compressed"],
        integer=100 * accuracy.get("integer", float("nan")),
        bits=counts.total("storage_bits") / measure(case.network).total("weights"),
        agreement=float("nan") if answers is None else 100 * answers.agreement,
        divergence=float("nan") if answers is None else answers.divergence,
        outcome=outcome,
        seconds=seconds,
    )


def judged(
    name: str, recipe: str, case: Callable[[], Case], integers: bool
) -> dict[str, str | float]:
    """The row of a shipped recipe, as it is kept."""
    return asdict(row(name, case(), load_recipe(recipe), integers=integers))


def few(case: Callable[[], Case], count: int) -> Case:
    """The case with as many of its calibration samples, drawn at random (0: with all)."""
    whole = case()
    if not count:
        return whole
    drawn = np.random.default_rng(0).permutation(len(whole.calibration))[:count]
    return replace(whole, calibration=whole.calibration.picked(drawn))


MARKS = {"holds": "", "backed off": " ↑", "gave all back": " 0", "warns": " !"}


def matrix(rows: Sequence[Row]) -> str:
    """Markdown: a line per network, a column per recipe; a refusal is its code."""
    recipes = list(dict.fromkeys(r.recipe for r in rows))
    lines = ["| | as trained | " + " | ".join(f"`{r}`" for r in recipes) + " |"]
    lines.append("|---" * (len(recipes) + 2) + "|")
    for name in dict.fromkeys(r.network for r in rows):
        mine = {r.recipe: r for r in rows if r.network == name}
        trained = np.nanmax([r.trained for r in mine.values()])
        cells = [_cell(mine[r]) if r in mine else "" for r in recipes]
        lines.append(f"| {name} | {trained:.1f} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(r: Row) -> str:
    if r.outcome not in MARKS:
        return r.outcome
    right = r.compressed if np.isnan(r.integer) else r.integer
    return f"{right:.1f}, {r.bits:.1f}{MARKS[r.outcome]}"


def main() -> None:
    """Print the table."""
    here = Path(__file__).parents[2] / "shared"
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--networks", nargs="+", default=list(FAST))
    parser.add_argument("--recipes", nargs="+", default=recipe_names(), choices=recipe_names())
    parser.add_argument("--data", type=Path, default=trained_here.data_folder())
    parser.add_argument("--cache", type=Path, default=trained_here.cache_folder())
    parser.add_argument(
        "--trained",
        type=Path,
        default=Path(os.environ.get("SNNDEPLOY_NETWORKS", here / "cases" / "networks")),
    )
    parser.add_argument(
        "--samples", nargs="+", type=int, default=[0], help="that calibrate (0: all)"
    )
    parser.add_argument("--no-integers", action="store_true", help="leave the integer engine out")
    parser.add_argument("--allowed", type=float, default=5.0, help="points lost without a warning")
    parser.add_argument("--matrix", action="store_true", help="a line per network, too")
    parser.add_argument(
        "--json", type=Path, help="also write the rows here, and take those from it that it has"
    )
    options = parser.parse_args()
    integers = not options.no_integers
    makers = cases(options.data, options.cache, options.trained)
    heads = "network recipe trained compressed integers bits/weight alike divergence outcome s"
    print(f"| {' | '.join(heads.split())} |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    kept = Results(options.json)
    for network, count in itertools.product(options.networks, options.samples):
        name = f"{network} ({count})" if count else network
        case = cache(partial(few, makers[network], count))
        for recipe in options.recipes:
            how = partial(judged, name, recipe, case, integers)
            r = Row(**kept.once(f"{name} {recipe}", how))
            figures = (
                *(f"{v:.1f}" for v in (r.trained, r.compressed, r.integer)),
                f"{r.bits:.2f}",
                f"{r.agreement:.1f}",
                f"{r.divergence:.3f}",
            )
            cells = (name, recipe, *figures, r.outcome, f"{r.seconds:.0f}")
            print(f"| {' | '.join(cells)} |", flush=True)
    rows = [Row(**r) for r in kept.values()]
    if options.matrix:
        print(f"\n{matrix(rows)}")
    silent = [f"{r.network} {r.recipe} {r.loss:.1f}" for r in rows if r.silent(options.allowed)]
    print(f"\nmore than {options.allowed:g} points lost in silence: {', '.join(silent) or 'none'}")
    sys.exit(bool(silent))


if __name__ == "__main__":
    main()
