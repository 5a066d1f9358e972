"""Files of what a run emitted and answered."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from snndeploy import read_network
from snndeploy.errors import UsageError
from snndeploy.limits import Limits, using
from snndeploy.pipeline.accounts.spikes import KeptSpikes
from snndeploy.simulate.float.engine import run_float
from snndeploy.simulate.recording import Recording
from tests.support.commands import check, code_of, network, printed, run

SEMANTICS = ("--frontend", "nir", "--dt", "0.001", "-r", "none")
N, STEPS = 5, 12


@pytest.fixture
def place(tmp_path: Path) -> Path:
    network(tmp_path, 6, 5, 4)
    rng = np.random.default_rng(0)
    x = (rng.random((N, STEPS, 6)) < 0.5).astype(np.uint8)
    np.savez(tmp_path / "d.npz", x=x, y=np.arange(N) % 4)
    steps = np.arange(N * STEPS).reshape(N, STEPS) % 5 - 1
    np.savez(tmp_path / "steps.npz", x=x, y=steps)
    return tmp_path


def test_spikes_and_answers(place: Path) -> None:
    spikes, table = place / "s.npz", place / "p.csv"
    files = ("--save-spikes", spikes, "--predictions", table)
    both = ("-e", "float,integer", "-d", place / "d.npz")
    arguments = ("simulate", place / "model.nir", *SEMANTICS, *both)
    report = json.loads(printed(run(*arguments, *files, "--json")))
    with np.load(place / "d.npz", allow_pickle=False) as stored:
        x = stored["x"].swapaxes(0, 1)
    ran = run_float(read_network(place / "model.nir", "nir", dt=1e-3), x)
    with np.load(spikes, allow_pickle=False) as found:
        assert set(found) == {f"{e}.{n}" for e in ("float", "integer") for n in ran.spikes} | {"y"}
        for name, emitted in ran.spikes.items():
            np.testing.assert_array_equal(found[f"float.{name}"], emitted.swapaxes(0, 1))
        np.testing.assert_array_equal(found["y"], np.arange(N) % 4)
    rows = list(csv.reader(table.open()))
    assert rows[0] == ["sample", "label", "float", "integer"]
    answers = zip(report["predictions"]["float"], report["predictions"]["integer"], strict=True)
    assert rows[1:] == [[str(i), str(i % 4), str(a), str(b)] for i, (a, b) in enumerate(answers)]
    assert code_of(run(*arguments, *files)) == "output-exists"
    check(run(*arguments, *files, "--force", "--record", "n3"), 0)
    with np.load(spikes, allow_pickle=False) as found:
        assert set(found) == {"float.n3", "integer.n3", "y"}


def test_answers_of_steps(place: Path) -> None:
    table = place / "p.csv"
    data = ("-d", place / "steps.npz", "--unlabelled", -1)
    arguments = ("simulate", place / "model.nir", *SEMANTICS, *data, "--predictions", table)
    report = json.loads(printed(run(*arguments, "--json")))
    rows = list(csv.reader(table.open()))
    assert rows[0] == ["sample", "step", "label", "integer"]
    assert len(rows) == 1 + N * STEPS
    assert rows[1][:3] == ["0", "0", ""]
    assert rows[3][:3] == ["0", "2", "1"]
    assert rows[STEPS + 2] == [
        "1",
        "1",
        str(13 % 5 - 1),
        str(report["predictions"]["integer"][1][1]),
    ]


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (("--record", "n1"), "record-nowhere"),
        (("--record", "hiden", "--save-spikes", "s.npz"), "record-unknown"),
        (("--save-spikes", "s.txt"), "output-suffix"),
        (("--predictions", "s.npz"), "output-suffix"),
    ],
)
def test_what_cannot_be_written(options: tuple[str, ...], code: str, place: Path) -> None:
    named = [str(place / o) if "." in o else o for o in options]
    result = run("simulate", place / "model.nir", *SEMANTICS, "-d", place / "d.npz", *named)
    assert code_of(result) == code


def test_recordings_are_bounded(place: Path) -> None:
    from snndeploy.data import Samples

    kept = KeptSpikes(("*",))
    train = np.zeros((10, 4, 30), np.uint8)
    with using(Limits(memory=2000)):
        kept.add({"float": Recording(engine="float", spikes={"a": train})}, Samples(train))
        with pytest.raises(UsageError) as caught:
            kept.add({"float": Recording(engine="float", spikes={"a": train})}, Samples(train))
    assert caught.value.code == "record-too-large"
