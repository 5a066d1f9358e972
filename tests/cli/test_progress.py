"""How far long work is: a line after two seconds, then every ten, with what is left; or none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from snndeploy.cli import main
from snndeploy.cli.finetune import training_progress
from snndeploy.cli.show import progress
from snndeploy.passes.base import PassEvent
from snndeploy.progress import silent
from tests.support.commands import FRONTEND, check, network, run

Clock = list[float]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    yield now
    monkeypatch.undo()


def test_a_pass_tells_how_much_is_left(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    told = progress.pass_progress()
    told(PassEvent(kind="start", name="prune", index=1, total=1))
    began = clock[0]
    for seconds, done in ((1, 1), (4, 2), (6, 3), (13.9, 5), (14, 7)):
        clock[0] = began + seconds
        told(PassEvent(kind="progress", name="prune", what="layers", done=done, of=8))
    assert capsys.readouterr().err.splitlines() == [
        "pass 1/1  prune",
        "  2/8 layers, about 12 s left",
        "  7/8 layers, about 2 s left",
    ]


def test_a_run_tells_how_much_is_left(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with progress.progress_bar("integer") as bar:
        for seconds, done in ((0, 0), (3, 0), (5, 9), (13, 26), (14, 40)):
            clock[0] = 100.0 + seconds
            bar.progress(done, 100)
            bar.scores({"integer": 0.5} if done else {})
    assert capsys.readouterr().err.splitlines() == [
        "integer  0/100  samples",
        "integer  26/100  2 samples/s, integer 50.0%  about 37 s left",
    ]


@pytest.mark.parametrize("words", [(), ("-q",), ("--json",)])
def test_progress_is_told_to_people_who_wait(words: tuple[str, ...], tmp_path: Path) -> None:
    model = network(tmp_path, 6, 5, 3)
    first, last = (words, ()) if words == ("-q",) else ((), words)
    result = run(
        *first, "compress", model, "-r", "default", "-o", tmp_path / "o.nir", *FRONTEND, *last
    )
    check(result, 0)
    assert ("pass 1/1  quantize" in result.stderr) == (not words)


@pytest.mark.parametrize("params", [{"quiet": True}, {"as_json": True}])
def test_nobody_listens_with_quiet_and_json(params: dict[str, bool]) -> None:
    root = click.Context(main)
    command = click.Context(main.commands["compile"], parent=root)
    (root if "quiet" in params else command).params.update(params)
    with command.scope():
        assert progress.pass_progress() is silent
        with progress.progress_bar("x") as bar, training_progress() as observer:
            assert (*bar, observer) == (silent, silent, silent)
