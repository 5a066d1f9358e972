"""``snndeploy verify`` and the page it writes, as a user meets them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

import snndeploy
from snndeploy.bundle import read_bundle, write_bundle
from snndeploy.cli import main
from snndeploy.demo import FOLDER, digits
from snndeploy.ir.arrays import frozen
from snndeploy.pipeline import bundles as golden
from snndeploy.pipeline import run as running
from snndeploy.pipeline import verify_bundle
from snndeploy.report import html_page
from snndeploy.simulate.float.engine import run_float
from tests.support.builders import conv_net, spikes
from tests.support.commands import code_of
from tests.support.page import ParsedPage

SAMPLES = 24


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


@pytest.fixture(scope="module")
def compiled() -> snndeploy.Compiled:
    return snndeploy.compile(conv_net(seed=7), recipe="default")


@pytest.fixture
def bundle(compiled: snndeploy.Compiled, tmp_path: Path) -> Path:
    return snndeploy.save_bundle(tmp_path / "net.snnb", snndeploy.bundle_of(compiled))


@pytest.fixture
def data(compiled: snndeploy.Compiled, tmp_path: Path) -> Path:
    """Samples whose labels are what the trained network answers: it is right in all of them."""
    x = spikes(conv_net(), steps=16, samples=SAMPLES)
    y = run_float(compiled.source, x).predictions("output")
    np.savez(tmp_path / "data.npz", x=np.swapaxes(x, 0, 1).astype(np.uint8), y=y)
    return tmp_path / "data.npz"


def spoilt(bundle: Path) -> None:
    """Give the program another threshold in one layer, as a faulty lowering would."""
    content = read_bundle(bundle)
    groups = tuple(
        dataclasses.replace(g, vth=frozen(g.vth * 4)) if g.name == "s2" else g
        for g in content.program.groups
    )
    changed = dataclasses.replace(content.program, groups=groups)
    report = {**content.report, "program": {**content.report["program"], "digest": changed.digest}}
    other = dataclasses.replace(content, program=changed, report=report)
    write_bundle(bundle, other, version="0", force=True)


def test_every_stage_of_a_bundle_on_samples(bundle: Path, data: Path) -> None:
    result = run("verify", bundle, "-d", data, "--engines", "float,compressed,integer", "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert list(report["accuracy"]) == ["float", "compressed", "integer"]
    assert report["accuracy"]["float"] == 1
    found = report["verification"]
    assert [p["stages"] for p in found["pairs"]] == [
        ["float", "compressed"],
        ["compressed", "integer"],
    ]
    for pair in found["pairs"]:
        assert list(pair["layers"]) == ["s1", "s2", "s3", "output"]
        for layer in pair["layers"].values():
            assert 0 <= layer["match"] <= 1
            assert 0 <= layer["relative_distance"] <= 1
    for name, use in found["registers"].items():
        assert 0 < use["v_share"] < 1, name
        assert (use["wraps"], use["clips"]) == (0, 0)
    drop = 100 * (report["accuracy"]["float"] - report["accuracy"]["integer"])
    assert found["verdict"]["drop"] == pytest.approx(drop)
    assert set(report["neurobench"]) == {"float", "compressed"}
    assert report["neurobench"]["float"]["membrane_updates"] > 0


@pytest.mark.lava
def test_the_default_is_every_stage_and_lava(bundle: Path, data: Path, lava: Any) -> None:
    result = run("verify", bundle, "-d", data, "-n", 4)
    assert result.exit_code == 0, result.output
    for stage in ("float → compressed", "compressed → integer", "integer → lava"):
        assert stage in result.output
    assert "verified: every spike is the same" in result.output


def test_accuracy_that_falls_too_far_exits_6(bundle: Path, data: Path) -> None:
    stages = ("--engines", "compressed,integer")
    text = run("verify", bundle, "-d", data, *stages, "--max-drop", 30).output
    assert "verified: nothing had to agree in every spike" in text
    spoilt(bundle)
    result = run("verify", bundle, "-d", data, *stages, "--max-drop", 30)
    assert result.exit_code == 6
    assert code_of(result) == "accuracy-dropped"
    assert "points from compressed to integer, allowed are 30" in result.stderr
    assert "layer s2 in its integer form alone loses" in result.stdout
    as_json = run("verify", bundle, "-d", data, *stages, "--max-drop", 30, "--json")
    assert as_json.exit_code == 6
    report = json.loads(as_json.stdout)  # one document: the report with the error in it
    assert report["error"]["code"] == "accuracy-dropped"
    assert report["verification"]["verdict"]["layer"] == "s2"
    assert run("verify", bundle, "-d", data, *stages, "--max-drop", 100).exit_code == 0


def test_the_page_of_a_failed_verification_says_so_at_its_top(
    bundle: Path, data: Path, tmp_path: Path
) -> None:
    stages = ("-d", data, "--engines", "compressed,integer", "--max-drop", 30)
    page = tmp_path / "page.html"
    assert run("verify", bundle, *stages, "--html", page).exit_code == 0
    good = page.read_text(encoding="utf-8")
    assert '<b class="ok">fits</b>' in good
    assert "Verification failed" not in good
    assert f"integer: {SAMPLES} samples of {data.name}, 16 steps; compressed" in good
    spoilt(bundle)
    assert run("verify", bundle, *stages, "--html", page, "--force").exit_code == 6
    failed = page.read_text(encoding="utf-8")
    assert '<b class="ok">' not in failed
    assert '<b class="error">fits, verification failed</b>' in failed
    top = failed.index("<main>") + len("<main>")
    assert failed[top:].startswith(
        '<div class="verdict error" role="alert"><b>Verification failed.</b> accuracy-dropped: '
        "accuracy falls by "
    )


def test_spikes_that_differ_come_before_accuracy(bundle: Path) -> None:
    spoilt(bundle)
    result = run("verify", bundle, "--engines", "integer", "--json")
    assert result.exit_code == 6
    report = json.loads(result.stdout)
    assert report["error"]["code"] == "spikes-differ"
    (comparison,) = report["comparisons"]
    assert comparison["engines"] == ["golden", "integer"]
    assert set(comparison["first"]) >= {"s2"}


@pytest.mark.parametrize(
    "arguments",
    [("--max-drop", "1"), ("--max-drop", "1", "--engines", "integer", "-d", "data.npz")],
)
def test_a_drop_that_cannot_be_known(
    bundle: Path, data: Path, arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(data.parent)
    result = run("verify", bundle, *arguments)
    assert result.exit_code == 2
    assert result.stderr == (
        "error[drop-unknown]: --max-drop: there are no two accuracies to compare\n"
        "  next: give --data with labels, and at least two --engines\n"
    )


def test_options_that_make_no_sense(bundle: Path) -> None:
    assert run("verify", bundle, "--engines", "integer,integer").exit_code == 2
    assert run("verify", bundle, "--engines", ",").exit_code == 2
    assert run("verify", bundle, "--tau", "0").exit_code == 2
    assert run("verify", bundle, "--max-drop", "-1").exit_code == 2


def interrupted(monkeypatch: pytest.MonkeyPatch, place: Any, name: str, after: int) -> None:
    original: Callable[..., Any] = getattr(place, name)
    done = 0

    def limited(*args: Any, **options: Any) -> Any:
        nonlocal done
        if done == after:
            raise KeyboardInterrupt
        done += 1
        return original(*args, **options)

    monkeypatch.setattr(place, name, limited)


def test_ctrl_c_leaves_the_stages_that_are_done(
    bundle: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within the first batch, behind it, and on the golden inputs."""
    interrupted(monkeypatch, running, "run_engine", 2)
    stages = ("--engines", "float,compressed,integer")
    result = run("verify", bundle, "-d", data, *stages, "--json")
    assert result.exit_code == 130
    report = json.loads(result.stdout)
    assert (report["partial"], report["samples"]) == (True, SAMPLES)
    assert list(report["accuracy"]) == ["float", "compressed"]
    monkeypatch.undo()
    monkeypatch.setattr(running, "_batch", lambda *_: 10)
    interrupted(monkeypatch, running, "run_engine", 7)
    result = run("verify", bundle, "-d", data, *stages, "--json")
    assert result.exit_code == 130
    report = json.loads(result.stdout)
    assert (report["partial"], report["samples"]) == (True, 20)
    assert list(report["accuracy"]) == ["float", "compressed", "integer"]
    assert report["verification"]["pairs"]
    monkeypatch.undo()
    interrupted(monkeypatch, golden, "run_program", 1)
    result = run("verify", bundle, "--engines", "integer,lava", "--json")
    assert result.exit_code == 130
    report = json.loads(result.stdout)
    assert list(report["predictions"]) == ["golden", "integer"]
    interrupted(monkeypatch, golden, "run_program", 0)
    assert run("verify", bundle, "--engines", "integer,lava").exit_code == 130


def test_a_float_stage_on_golden_inputs(bundle: Path) -> None:
    result = run("verify", bundle, "--engines", "integer,compressed", "--json")
    assert result.exit_code == 0, result.output
    pairs = [p["stages"] for p in json.loads(result.stdout)["verification"]["pairs"]]
    assert pairs == [["compressed", "golden"], ["golden", "integer"]]


def test_the_page_shows_what_the_report_says(bundle: Path, data: Path, tmp_path: Path) -> None:
    stages = ("--engines", "float,compressed,integer")
    page = tmp_path / "page.html"
    result = run("verify", bundle, "-d", data, *stages, "--json", "--html", page)
    assert result.exit_code == 0, result.output
    assert f"wrote {page}" in result.stderr
    shown = ParsedPage(page.read_text(encoding="utf-8"))
    assert shown.loads == []
    text = "\n".join(shown.said)
    report = json.loads(result.stdout)
    assert report["verification"]["verdict"]["text"] in text
    for name, e in report["energy"].items():
        assert name in shown.said
        assert f"Not counted: {'; '.join(e['not_counted'])}." in shown.said
        assert all(source in text for source in e["sources"])
    for layer in ("s1", "s2", "s3", "output"):
        rows = page.read_text(encoding="utf-8").count(f">{layer}</th>")
        assert rows == 5  # chip, two pairs, registers, events
    for title in ("Layer by layer", "Registers of the integer run", "Energy, estimated"):
        assert title in shown.said
    saved = tmp_path / "run.json"
    saved.write_text(result.stdout)
    again = tmp_path / "again.html"
    assert run("report", bundle, "--run", saved, "--html", again).exit_code == 0
    assert again.read_text() == page.read_text()
    both = json.loads(run("report", bundle, "--run", saved, "--json").stdout)
    assert both["runs"] == [report]
    simulated = tmp_path / "simulated.html"
    assert run("simulate", bundle, "-d", data, "--html", simulated).exit_code == 0
    assert "Events per sample" in ParsedPage(simulated.read_text()).said


def test_names_cannot_break_the_page(bundle: Path) -> None:
    report = dict(read_bundle(bundle).report)
    report["board"] = "<script>alert(1)</script>"
    report["layers"] = [{**layer, "name": "<b>&"} for layer in report["layers"]]
    text = html_page(report)
    assert "<script>alert" not in text
    assert ParsedPage(text).only_its_own_scripts_run()
    assert "<b>&" in ParsedPage(text).said


def test_pages_and_runs_that_cannot_be_used(bundle: Path, tmp_path: Path) -> None:
    result = run("report", bundle, "--html", tmp_path / "no" / "page.html")
    assert result.exit_code == 3
    assert code_of(result) == "output-unwritable"
    assert "choose another place with --html" in result.stderr
    for name, text in (("text", "no json"), ("list", "[1]"), ("other", "{}")):
        (tmp_path / name).write_text(text)
        result = run("report", bundle, "--run", tmp_path / name)
        assert result.exit_code == 3
        assert code_of(result) == "run-unreadable"
        assert "save what simulate or verify prints with --json" in result.stderr


def test_the_digits_from_the_trained_network_to_integers(tmp_path: Path) -> None:
    """Real data through removal, pruning and 4 bits: what is lost, is lost to compression."""
    network = snndeploy.compile(
        FOLDER / "digits.nir", frontend="snntorch", semantics={"reset": "zero"}, recipe="digits"
    )
    path = snndeploy.save_bundle(tmp_path / "digits.snnb", snndeploy.bundle_of(network))

    def verified(*stages: str) -> dict[str, Any]:
        return verify_bundle(path, stages, lambda shape: digits().first(100))

    report = verified("float", "compressed", "integer")
    accuracy, found = report["accuracy"], report["verification"]
    first, second = found["pairs"]
    assert first["lost"] - first["gained"] == round(
        100 * (accuracy["float"] - accuracy["compressed"])
    )
    assert accuracy["float"] > accuracy["compressed"] == accuracy["integer"]
    assert found["verdict"]["stages"] == ("float", "compressed")
    for name, layer in second["layers"].items():
        assert layer["relative_distance"] < 0.01 < first["layers"][name]["relative_distance"], name
        assert layer["rate_correlation"] > 0.999 > first["layers"][name]["rate_correlation"], name
    short = verified("float", "integer")["verification"]["pairs"][0]
    assert short["not_compared"] == ()
    assert short["attributed"] == short["lost"] >= max(short["alone"].values())
