"""Runs batch by batch: the same report as in one go, and what Ctrl-C leaves."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import snndeploy
from snndeploy.cli import main
from snndeploy.data import Samples
from snndeploy.measure.energy import Meter
from snndeploy.pipeline import run as running
from snndeploy.pipeline.run import run_samples
from tests.support.builders import conv_net, spikes

SAMPLES = 11


def samples() -> Samples:
    return Samples(spikes(conv_net(), samples=SAMPLES), np.arange(SAMPLES) % 5)


def run(**options: Any) -> dict[str, Any]:
    compiled = snndeploy.compile(conv_net(), recipe=None)
    return run_samples(
        samples(),
        ("float", "integer"),
        compiled.program,
        compiled.placement,
        compiled.target,
        networks=compiled.networks,
        **options,
    )


def test_batches_add_up() -> None:
    seen: list[tuple[int, int]] = []
    scored: list[tuple[int, dict[str, float]]] = []
    whole = run(batch=SAMPLES)
    parts = run(
        batch=4,
        progress=lambda done, of: seen.append((done, of)),
        scores=lambda accuracy: scored.append((seen[-1][0], accuracy)),
    )
    match = [c.pop("match") for report in (whole, parts) for c in report["comparisons"]]
    assert match[0] == pytest.approx(match[1])
    assert parts == whole
    assert parts["samples"] == SAMPLES
    assert whole["partial"] is False
    assert [done for done, _ in scored] == [8, 16, 22]
    assert scored[-1][1] == whole["accuracy"]
    assert seen[-1] == (22, 22)
    assert [now[0] for now in seen] == sorted(now[0] for now in seen)


def test_the_first_difference_counts_samples_from_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The float engine is made to fire one neuron in a late sample."""
    original = running.run_engine
    batches = 0

    def changed(engine: str, part: Samples, **options: Any) -> Any:
        nonlocal batches
        recording = original("integer", part, **{**options, "network": None})
        if engine == "float":
            batches += 1
            if batches == 3:
                recording.spikes["s1"][2, 1, 0, 0, 0] ^= 1
        return recording

    monkeypatch.setattr(running, "run_engine", changed)
    (comparison,) = run(batch=4)["comparisons"]
    assert comparison["differing"]["s1"] == 1
    assert comparison["first"]["s1"]["sample"] == 9
    assert comparison["first"]["s1"]["step"] == 2


def interrupt_after(monkeypatch: pytest.MonkeyPatch, runs: int) -> None:
    original = running.run_engine
    done = 0

    def limited(*args: Any, **options: Any) -> Any:
        nonlocal done
        if done == runs:
            raise KeyboardInterrupt
        done += 1
        return original(*args, **options)

    monkeypatch.setattr(running, "run_engine", limited)


def test_an_interrupted_run_reports_whole_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt_after(monkeypatch, 5)
    report = run(batch=4)
    assert (report["partial"], report["samples"]) == (True, 8)
    assert len(report["predictions"]["integer"]) == 8
    assert report["activity"]["samples"] == 8
    interrupt_after(monkeypatch, 0)
    with pytest.raises(KeyboardInterrupt):
        run(batch=4)


def test_ctrl_c_while_a_batch_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The batch is counted to its end: answers, samples and events of the same four."""
    original = Meter.measure

    def pressed(*args: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        return original(*args)

    monkeypatch.setattr(Meter, "measure", pressed)
    before = signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # shells' background jobs ignore it
    try:
        report = run(batch=4)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert (report["partial"], report["samples"]) == (True, 4)
    assert [len(answers) for answers in report["predictions"].values()] == [4, 4]
    assert report["activity"]["samples"] == 4


def test_the_command_says_so_and_exits_130(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    compiled = snndeploy.compile(conv_net(), recipe=None)
    snndeploy.pipeline.save_bundle(tmp_path / "net.snnb", snndeploy.pipeline.bundle_of(compiled))
    np.savez(tmp_path / "d.npz", x=np.swapaxes(samples().inputs, 0, 1), y=samples().labels)
    monkeypatch.setattr(running, "_batch", lambda *_: 4)
    interrupt_after(monkeypatch, 2)
    command = ["simulate", str(tmp_path / "net.snnb"), "-d", str(tmp_path / "d.npz"), "--json"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 130
    assert "interrupted after 8 samples" in result.stderr
    report = json.loads(result.stdout)
    assert (report["partial"], report["samples"]) == (True, 8)
