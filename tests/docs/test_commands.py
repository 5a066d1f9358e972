"""Every command in the docs runs as it is printed, on files of the names that it is printed with."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from snndeploy import read_network, toml
from snndeploy.cli import main
from snndeploy.demo import FOLDER, digits
from snndeploy.export import write_nir
from snndeploy.ir.network import Network
from snndeploy.ir.ops import Dense
from snndeploy.simulate.float.engine import run_float
from snndeploy.simulate.lava.env import find_lava
from tests.support.builders import chain_net, conv_net, inputs, lif, project, weights

ROOT = Path(__file__).parents[2]
PAGES = {
    str(path.relative_to(ROOT)): path
    for path in (
        ROOT / "README.md",
        *sorted((ROOT / "docs").glob("*.md")),
        *sorted((ROOT / "docs" / "how-to").glob("*.md")),
        *sorted((ROOT / "docs" / "explanation").glob("*.md")),
        *sorted((ROOT / "docs" / "reference").glob("*.md")),
        *sorted((ROOT / "examples").glob("*/README.md")),
    )
    if path.name != "commands.md"  # made of the examples of tests/cli/test_help
}
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
NOT_RUN = {
    "tonic:": "fetches a public data set",
    "--cluster tcp://": "needs a scheduler that runs; tests/workers has one",
    "--cluster scheduler.json": "the same",
    "lava install": "installs Lava; tests/simulate does",
    "cnn_sinabs.nir": "runs in tests/examples and benchmarks, on data that is not in the project",
    "nmnist.snnb": "the same",
    "braille": "runs in tests/examples",
    "out/digits": "needs the network that train.py makes",
}
"""Commands that are not run here, by what they hold, and why."""
MAY_LEAVE = {
    "digits.nir -t tiny": {0, 5},
    "--target tiny": {5},
    "-t loihi1 --html": {0, 5},
    "--max-drop": {0, 6},
    "--aware xylo-a2": {0, 5},
    "lava status": {0, 7},
}
"""Exit codes of commands whose point is not that all is well."""
SLOW = (
    "README.md",
    "docs/how-to/choose-a-recipe.md",
    "docs/tutorial.md",
    "docs/how-to/board.md",
    "docs/how-to/cluster.md",
    "docs/how-to/finetune.md",
    "docs/how-to/make-it-fit.md",
    "docs/how-to/tune.md",
    "docs/how-to/verify.md",
    "examples/make_it_fit/README.md",
)


def commands(text: str) -> list[str]:
    """The commands of a page, each on one line without its comment."""
    found = []
    for language, block in BLOCK.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            shown = line.removeprefix("$ ")
            if language in ("sh", "console", "") and shown.startswith("snndeploy "):
                found.append(re.sub(r"\s+#.*| \|\| exit", "", shown))
    return found


def not_run(line: str) -> bool:
    return any(part in line for part in NOT_RUN)


RUN = {name: commands(path.read_text(encoding="utf-8")) for name, path in PAGES.items()}


def test_no_reason_is_left_over() -> None:
    lines = [line for page in RUN.values() for line in page]
    assert len(lines) > 70
    assert all(any(part in line for line in lines) for part in (*NOT_RUN, *MAY_LEAVE))
    assert set(SLOW) < set(RUN)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that commands name: one network under many names, and samples of it."""
    folder = tmp_path_factory.mktemp("desk")
    network = conv_net()
    for name in ("model", "net", "small"):
        write_nir(folder / f"{name}.nir", network)
    rng = np.random.default_rng(0)
    for name in ("val", "test", "train", "calib", "some", "samples"):
        x = (rng.random((8, 40, 2, 8, 8)) < 0.5).astype(np.float32)
        np.savez(folder / f"{name}.npz", x=x.swapaxes(0, 1), y=answers(network, x))
    np.savez(folder / "mnist.npz", x=rng.random((4, 2, 8, 8)), y=np.arange(4))
    (folder / "names.toml").write_text('"a" = "conv1"\n')
    (folder / "recipe.toml").write_text(
        'name = "r"\n[[pass]]\nname = "remove-kernels"\nratio = 0.3\n'
    )
    shutil.copy(FOLDER / "digits.nir", folder / "digits.nir")
    for name in ("net", "model", "a", "b", "before", "after"):
        done = CliRunner().invoke(
            main, ["compile", str(folder / "model.nir"), "-o", str(folder / f"{name}.snnb")]
        )
        assert done.exit_code == 0, done.output
    return folder


def answers(network: Network, x: np.ndarray) -> np.ndarray:
    """What the network says: labels under which it is always right."""
    output = network.with_role("output")[0].name
    return run_float(network, x).spikes[output].sum(axis=0).argmax(axis=1)


def ecg(folder: Path) -> None:
    rng = np.random.default_rng(1)
    write_nir(folder / "ecg.nir", chain_net([weights(rng, (6, 4))]))
    x = (rng.random((3, 20, 4)) < 0.5).astype(np.float32)
    np.savez(folder / "ecg.npz", x=x, y=rng.integers(-1, 6, (3, 20)))


def signals(folder: Path) -> None:
    rng = np.random.default_rng(1)
    write_nir(folder / "model.nir", chain_net([weights(rng, (6, 4))]))
    np.savez(folder / "ecg.npz", x=rng.random((3, 20, 4)), y=rng.integers(0, 6, 3))


def sides(folder: Path) -> None:
    rng = np.random.default_rng(1)
    network = Network(
        (inputs((4,), "left"), inputs((4,), "right"), lif("out", (6,), "output")),
        tuple(
            project(f"{side}_out", side, "out", Dense(6, 4), weights(rng, (6, 4)))
            for side in ("left", "right")
        ),
    )
    write_nir(folder / "model.nir", network, force=True)
    x, y = (rng.random((3, 20, 4)) < 0.5).astype(np.float32), rng.integers(0, 6, 3)
    for side in ("left", "right"):
        np.savez(folder / f"{side}.npz", x=x, y=y)
    np.savez(folder / "both.npz", left=x, right=x, y=y)


def events(folder: Path) -> None:
    rng = np.random.default_rng(1)
    columns = "x,y,p,t"
    table = [rng.integers(0, high, 200) for high in (8, 8, 2)]
    table.append(np.sort(rng.integers(0, 40_000, 200)))
    lines = [columns, *(",".join(map(str, row)) for row in np.stack(table).T)]
    write_nir(folder / "model.nir", conv_net(), force=True)
    (folder / "recording.csv").write_text("\n".join(lines))
    for kind in ("a", "b"):
        (folder / "Test" / kind).mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / "recording.csv", folder / "Test" / kind / "one.csv")


def recorded(folder: Path) -> None:
    """The demo's network, and a run of it as it was trained."""
    shutil.copy(FOLDER / "digits.nir", folder / "model.nir")
    network = read_network(folder / "model.nir", "snntorch", reset="zero")
    x = digits().first(1).inputs.astype(np.float32)
    output = network.with_role("output")[0].name
    np.savez(folder / "trace.npz", input=x, output=run_float(network, x).spikes[output])


MADE: dict[str, Callable[[Path], None]] = {
    "--trace": recorded,
    "ecg.nir": ecg,
    "--encode delta": signals,
    "left=": sides,
    "both.npz": sides,
    "Test/": events,
    "recording.csv": events,
}
"""What some commands need beside the desk, by what they hold; they get a folder of their own."""


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW))
        for name, lines in RUN.items()
        if any(not not_run(line) for line in lines)
    ],
)
def test_the_commands_run(
    page: str, desk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the page's order, in one folder, beside the TOML files that the page shows."""
    shutil.copytree(desk, tmp_path, dirs_exist_ok=True)
    for example in (ROOT / "examples").glob("*/*.toml"):
        if example.parent.name in page:
            shutil.copy(example, tmp_path)
    for language, block in BLOCK.findall(PAGES[page].read_text(encoding="utf-8")):
        if language == "toml" and "inherits" in block:
            (tmp_path / f"{toml.loads(block)['name']}.toml").write_text(block)
    monkeypatch.chdir(tmp_path)
    for line in RUN[page]:
        if not not_run(line):
            run(line, tmp_path, monkeypatch)


def run(line: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One command; what it prints goes where the line sends it."""
    for part, make in MADE.items():
        if part in line:
            folder = folder / make.__name__
            folder.mkdir(exist_ok=True)
            make(folder)
    monkeypatch.chdir(folder)
    text = line.replace("$NET", str(FOLDER / "digits.nir"))
    text = text.replace("$DATA", str(FOLDER / "digits_heldout.npz"))
    if find_lava() is None:
        text = text.replace(",lava", "")
    command, _, sent = text.partition(" > ")
    words = shlex.split(command)[1:]
    if "compile" in words and "-o" not in words:
        model = words[words.index("compile") + 1]
        forget(folder / Path(model).with_suffix(".snnb"))
    for word, written in pairwise(words):
        if word in ("-o", "--html"):
            forget(folder / written)  # a page names the same file twice, as its reader would not
    done = CliRunner().invoke(main, words)
    expected = next((codes for part, codes in MAY_LEAVE.items() if part in line), {0})
    assert done.exit_code in expected, (line, done.output, done.exception)
    if sent:
        (folder / sent.strip()).write_text(done.stdout)


def forget(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
