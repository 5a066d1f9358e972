"""``snndeploy certify``, and what compile, report and the page say of a certificate."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from snndeploy.errors import VerificationFailed
from snndeploy.pipeline import save_certified
from tests.support.commands import FRONTEND, check, code_of, network, printed, run
from tests.support.miscompiled import Files

LINE = (
    "certified: a separate checker found every number, delay, core and golden spike as stated; "
    "head-room is proved for all inputs of 4 of 4 registers"
)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    model = network(tmp_path, 6, 8, 3)
    text = check(run("compile", model, *FRONTEND, "-o", tmp_path / "net.snnb"), 0)
    assert LINE in text
    return tmp_path / "net.snnb"


@pytest.fixture
def wrong(bundle: Path, tmp_path: Path) -> Path:
    files = Files(bundle)
    files.report["cores"]["used"] += 1
    return files.write(tmp_path / "wrong.snnb")


def test_certify_says_what_was_proved(bundle: Path) -> None:
    lines = printed(run("certify", bundle)).splitlines()
    assert lines[0] == "proved: files: all 7 are those of the manifest (SHA-256)"
    assert (
        "proved: placement: every neuron, with its synapses, is on exactly one of 2 cores" in lines
    )
    assert lines[-1] == LINE
    told = json.loads(printed(run("certify", bundle, "--json")))
    assert told["certified"] is True
    assert [f"proved: {line}" for line in told["proved"]] == lines[: len(told["proved"])]


def test_a_contradiction_is_told_with_its_place(wrong: Path) -> None:
    text = check(run("certify", wrong), 6)
    assert f"error[not-certified]: {wrong}/report.json: cores: used: stated 3, found 2" in text
    assert "next: do not run it on a chip" in text
    told = json.loads(printed(run("certify", wrong, "--json"), 6))
    assert told["error"]["code"] == "not-certified"
    expected = {
        "file": "report.json",
        "where": "cores",
        "what": "used",
        "stated": "3",
        "found": "2",
    }
    assert told["contradiction"] == expected


def test_what_is_no_bundle_is_refused(tmp_path: Path) -> None:
    result = run("certify", tmp_path)
    assert f"{tmp_path}: it cannot be read" in check(result, 3)
    assert code_of(result) == "bundle-refused"


def test_report_and_page_show_the_certificate(bundle: Path, wrong: Path, tmp_path: Path) -> None:
    assert LINE in check(run("report", bundle, "--html", tmp_path / "net.html"), 0)
    page = (tmp_path / "net.html").read_text()
    assert '<h2 id="certificate-title">Certificate</h2>' in page
    assert "<h3>Proved</h3>" in page
    assert "<h3>Not checked</h3>" in page
    text = check(run("report", wrong, "--html", tmp_path / "net.html", "--force"), 0)
    assert "not certified: report.json: cores: used: stated 3, found 2" in text
    assert "<h3>Proved</h3>" not in (tmp_path / "net.html").read_text()


def test_saving_a_bundle_certifies_it(bundle: Path, tmp_path: Path) -> None:
    import dataclasses

    from snndeploy.bundle import read_bundle

    right = read_bundle(bundle)
    assert save_certified(tmp_path / "again.snnb", right)["certified"]
    spikes = {name: 1 - x if "spikes" in name else x for name, x in right.golden.items()}
    with pytest.raises(VerificationFailed, match="stated") as caught:
        save_certified(tmp_path / "off.snnb", dataclasses.replace(right, golden=spikes))
    assert caught.value.code == "not-certified"


@pytest.mark.parametrize("command", ["verify", "check"])
def test_verify_and_check_ask_for_the_certificate_too(
    command: str, bundle: Path, wrong: Path
) -> None:
    assert LINE in check(run(command, bundle), 0)
    told = json.loads(printed(run(command, bundle, "--json")))
    assert told["certificate"]["certified"] is True
    text = check(run(command, wrong), {"verify": 6, "check": 5}[command])
    assert "not certified: report.json: cores: used: stated 3, found 2" in text
