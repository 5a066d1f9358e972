"""The page: the verdict first, nothing loaded, nothing that a stranger's name could start."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

import snndeploy
from snndeploy.bundle import Bundle
from snndeploy.ir.finding import Certainty
from snndeploy.pipeline import page_of, save_bundle
from snndeploy.report import alike, html_page, judged_on, renamed_record, sight_of
from snndeploy.report.page import document
from snndeploy.report.tables import CERTAINTIES
from tests.support.builders import conv_net
from tests.support.commands import FRONTEND, check, network, run
from tests.support.page import ParsedPage

HOSTILE = "</script><script>alert(1)</script><!--\"'&"


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return snndeploy.bundle_of(snndeploy.compile(conv_net(seed=7), recipe="default"))


@pytest.fixture
def drawing(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A drawing library that is a word, so that pages do not depend on what is installed."""
    library = "const drawn = '<\\/script>';"
    monkeypatch.setattr(document, "vega", lambda: library)
    return library


def renamed(bundle: Bundle, old: str, new: str) -> Bundle:
    """The bundle with another name for one of its groups, wherever it occurs."""
    program = bundle.program
    groups = [dataclasses.replace(g, name=new) if g.name == old else g for g in program.groups]
    synapses = [
        dataclasses.replace(
            s,
            target=new if s.target == old else s.target,
            sources=tuple(
                dataclasses.replace(o, group=new) if o.group == old else o for o in s.sources
            ),
        )
        for s in program.synapses
    ]
    slices = [
        dataclasses.replace(s, group=new) if s.group == old else s for s in bundle.placement.slices
    ]
    layers = [
        {**layer, "name": new} if layer["name"] == old else layer
        for layer in bundle.report["layers"]
    ]
    return dataclasses.replace(
        bundle,
        program=dataclasses.replace(program, groups=tuple(groups), synapses=tuple(synapses)),
        placement=dataclasses.replace(bundle.placement, slices=tuple(slices)),
        golden={
            f"spikes.{new}" if name == f"spikes.{old}" else name: array
            for name, array in bundle.golden.items()
        },
        report={**bundle.report, "layers": layers},
        networks={},
    )


def test_a_page_loads_nothing_and_runs_its_own_scripts_alone(bundle: Bundle, drawing: str) -> None:
    page = ParsedPage(page_of(bundle))
    assert page.loads == []
    assert page.only_its_own_scripts_run()
    assert page.policy.startswith("default-src 'none'; ")
    assert next(text for kind, text in page.scripts if kind == "") == drawing
    assert len(page.ids) == len(set(page.ids))


def test_its_contents_lead_to_every_panel(bundle: Bundle, drawing: str) -> None:
    text = page_of(bundle)
    page = ParsedPage(text)
    panels = [anchor for anchor in page.ids if f'<section id="{anchor}"' in text]
    assert page.leads == [f"#{anchor}" for anchor in panels]
    assert panels[0] == "network"
    assert panels[-1] == "provenance"
    assert "Provenance" in page.said  # the short word for a longer title
    assert ("h2", "Where it comes from") in page.headings


def test_every_picture_has_a_place_words_and_data(bundle: Bundle, drawing: str) -> None:
    text = page_of(bundle)
    page = ParsedPage(text)
    assert set(page.pictures) >= {"network", "mesh", "traffic", "rates", "codes-0", "raster-0"}
    for name, spec in page.pictures.items():
        assert f"picture-{name}" in page.ids
        assert f'data-picture="{name}"' in text
        assert spec["description"].endswith(".")


def test_a_name_cannot_leave_its_place(bundle: Bundle, drawing: str) -> None:
    """A layer may be called anything: in tables, in pictures, and in what pictures are made from."""
    strange = renamed(bundle, "s2", HOSTILE)
    page = ParsedPage(page_of(strange))
    ordinary = ParsedPage(page_of(dataclasses.replace(bundle, networks={})))
    assert [kind for kind, _ in page.scripts] == [kind for kind, _ in ordinary.scripts]
    assert page.only_its_own_scripts_run()
    assert HOSTILE in page.said  # in the table, as text
    boxes = page.pictures["network"]["layer"][3]["data"]["values"]
    assert HOSTILE in [box["name"] for box in boxes]
    assert boxes[0]["link"] == ""
    assert {box["link"] for box in boxes[1:]} <= {f"#{anchor}" for anchor in page.ids}


def test_without_the_library_a_page_says_what_is_missing(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(document, "vega", lambda: None)
    page = ParsedPage(page_of(bundle))
    assert page.pictures == {}
    assert any("snndeploy[report]" in text for text in page.said)
    assert ("h2", "On the chip") in page.headings
    assert page.only_its_own_scripts_run()
    assert "unsafe-eval" not in page.policy


def test_the_verdict_comes_first(bundle: Bundle, drawing: str) -> None:
    text = page_of(bundle)
    page = ParsedPage(text)
    main = text.index("<main>") + len("<main>")
    assert text[main:].startswith(
        '<header><p class="badge ok"><b class="ok">fits</b></p><h1>On loihi2'
    )
    assert page.headings[0][0] == "h1"
    for fact in ("what limits it", "time per step", "steps per second", "energy per step", "cores"):
        assert fact in page.said
    first, last = (bundle.report["passes"][i]["bits"] for i in (0, -1))
    assert f"{first / last:.3g} × smaller" in page.said
    assert f"{first:,} bits as trained, {last:,} now" in page.said


def test_the_network_has_a_name(bundle: Bundle, drawing: str, tmp_path: Path) -> None:
    """That of the file, or the one that is given; as text."""
    save_bundle(tmp_path / "mine.snnb", bundle)
    assert ("h1", "mine on loihi2 (oheo-gulch)") in ParsedPage(
        page_of(tmp_path / "mine.snnb")
    ).headings
    page = page_of(bundle, name="<i>x")
    assert "<title>snndeploy: &lt;i&gt;x on loihi2</title>" in page
    assert ("h1", "<i>x on loihi2 (oheo-gulch)") in ParsedPage(page).headings


def test_curves_and_places_have_the_names_that_are_given(bundle: Bundle, drawing: str) -> None:
    point = {"layer": bundle.program.synapses[0].name, "kind": "bits", "value": 4, "accuracy": 0.5}
    curves = {"points": [point], "accuracy": 0.9, "samples": 5}
    page = ParsedPage(page_of(bundle, sensitivity=curves, names={point["layer"]: "mine"}))
    assert [v["layer"] for v in page.pictures["sensitivity-bits"]["data"]["values"]] == ["mine"]
    told = renamed_record({"where": "a + b, c"}, {"a": "one", "c": "three"})
    assert told == {"where": "one + b, three"}


def test_what_is_broken_worst_limits_it(bundle: Bundle, drawing: str) -> None:
    """Beyond a limit, the fullest budget is not what a reader has to know first."""
    findings = [
        {"code": c, "severity": s, "where": c, "message": "9 of 2", "fixes": [], "ratio": r}
        for c, s, r in (("a", "error", 1.5), ("b", "error", 4.5), ("c", "warning", 9.0))
    ]
    said = ParsedPage(html_page({**bundle.report, "fits": False, "findings": findings})).said
    assert said[said.index("what limits it") + 1 :][:2] == ["4.5 × the limit", "b: 9 of 2"]


@pytest.mark.parametrize(
    ("engines", "equal", "verified"),
    [
        (("integer", "lava"), True, True),
        (("integer", "lava"), False, False),
        (("float", "compressed"), True, False),
    ],
)
def test_it_says_verified_where_what_must_agree_does(
    engines: tuple[str, str], equal: bool, verified: bool, bundle: Bundle, drawing: str
) -> None:
    compared = [{"engines": engines, "equal": equal, "differing": {}, "total": {}, "first": {}}]
    verification = {"pairs": [], "registers": {}, "verdict": {"text": "as it was"}, "tau": 10.0}
    run = run_report(comparisons=compared, verification=verification)
    said = ParsedPage(page_of(bundle, [run])).said
    assert ("fits, verified spike for spike" in said) == verified
    assert ("fits" in said) != verified


def test_every_certainty_has_its_meaning(bundle: Bundle, drawing: str) -> None:
    said = ParsedPage(page_of(bundle)).said
    assert tuple(CERTAINTIES) == get_args(Certainty)
    assert set(CERTAINTIES) | set(CERTAINTIES.values()) <= set(said)
    told = CERTAINTIES[bundle.report["certainty"]]
    assert f"Certainty of the verdict: {bundle.report['certainty']}, {told}." in said


def run_report(**changes: Any) -> dict[str, Any]:
    """A run as reports hold it."""
    empty: dict[str, Any] = {
        "samples": 50,
        "steps": 20,
        "output": "output",
        "outputs": ["output"],
        "accuracy": {"float": 0.98, "integer": 0.96},
        "predictions": {"float": [0, 1], "integer": [0, 0]},
        "labels": [0, 1],
        "comparisons": [],
        "activity": None,
        "energy": {},
        "time": None,
        "neurobench": {},
        "verification": None,
        "partial": False,
    }
    return {**empty, **changes}


def test_facts_say_on_what_they_rest(bundle: Bundle, drawing: str) -> None:
    time = {
        "low_ns": 1000.0,
        "high_ns": 4000.0,
        "certainty": "inferred",
        "terms": [{"what": "synaptic operations", "where": "core 3"}],
    }
    energy = {
        "loihi2": {
            "low": 800.0,
            "high": 20_000.0,
            "parts": {"spikes": 800.0},
            "certainty": "inferred",
            "sources": ["a paper"],
            "not_counted": ["leakage"],
            "kind": "the chip",
        }
    }
    said = ParsedPage(page_of(bundle, [run_report(time=time, energy=energy, data="d.npz")])).said
    assert "96.0%" in said
    assert "integer: 50 samples of d.npz, 20 steps; float 98.0%" in said
    assert "1…4 µs" in said
    assert "12,500…50,000" in said  # a second has so many times 20 steps of 4 and of 1 microseconds
    assert "0.8…20 µJ" in said
    assert "estimate (inferred); see what it leaves out" in said
    assert "Not counted: leakage." in said


def test_a_network_that_does_not_fit_gets_a_page(tmp_path: Path) -> None:
    model = network(tmp_path, 700, 6000, 10)
    page = tmp_path / "page.html"
    how = (*FRONTEND, "-t", "tiny", "-r", "none", "--json")
    report = run("check", model, *how, "--html", page)
    assert report.exit_code == 5, report.output
    parsed = ParsedPage(page.read_text(encoding="utf-8"))
    assert "does not fit" in parsed.said
    assert next(text for tag, text in parsed.headings if tag == "h2") == "What does not fit"
    for finding in json.loads(report.stdout)["findings"]:
        assert any(finding["message"] in text for text in parsed.said), finding["code"]
    assert run("check", model, *how, "--html", page).exit_code == 3  # it is there already
    compiled = tmp_path / "compiled.html"
    assert run("compile", model, *how, "-o", tmp_path / "n.snnb", "--html", compiled).exit_code == 5
    assert not (tmp_path / "n.snnb").exists()
    assert ParsedPage(compiled.read_text(encoding="utf-8")).headings == parsed.headings


def test_a_compilation_writes_its_page_with_the_bundle(tmp_path: Path) -> None:
    model = network(tmp_path, 12, 8, 4)
    page, again, place = (tmp_path / name for name in ("a.html", "b.html", "n.snnb"))
    check(run("compile", model, *FRONTEND, "-o", place, "--html", page), 0)
    check(run("report", place, "--html", again), 0)
    assert page.read_text(encoding="utf-8") == again.read_text(encoding="utf-8")


def test_a_bundle_that_is_placed_anew_is_not_drawn_as_it_was(tmp_path: Path) -> None:
    model, place, page = network(tmp_path, 12, 8, 4), tmp_path / "n.snnb", tmp_path / "a.html"
    check(run("compile", model, *FRONTEND, "-o", place), 0)
    check(run("check", place, "--chips", 2, "--html", page), 0)
    parsed = ParsedPage(page.read_text(encoding="utf-8"))
    assert not {"mesh", "network"} & parsed.pictures.keys()
    assert any("2 chips" in text for tag, text in parsed.headings if tag == "h1")


def test_what_was_tried_stands_behind_what_does_not_fit(bundle: Bundle, drawing: str) -> None:
    finding = {
        "code": "core-memory",
        "severity": "error",
        "where": "s2",
        "message": "too much",
        "fixes": [],
        "ratio": 1.5,
    }
    fix = {"found": False, "steps": ["prune to 90 %"], "left": [finding]}
    report = {**bundle.report, "fits": False, "findings": [finding, {**finding, "where": "s3"}]}
    page = ParsedPage(html_page({**report, "fix": fix}))
    titles = [text for tag, text in page.headings if tag == "h2"]
    assert titles[:2] == ["What does not fit", "What was tried"]
    assert " s2, s3: too much (1.5 times its limit)" in page.said
    assert " places" not in page.said
    assert "No recipe was found that makes it fit (tried: prune to 90 %)" in page.said


def test_what_is_the_same_of_many_places_is_said_once() -> None:
    def found(where: str, message: str, **more: float) -> dict[str, object]:
        return {"where": where, "message": message, **more}

    one = [found(f"n{i}", "full") for i in range(10)]
    said = alike([*one, found("a", "full", ratio=2.0), found("b", "half"), found("c", "half")])
    assert [(where, f["message"]) for where, f in said] == [
        ("n0, n1, n2, n3, n4, n5, n6, n7 and 2 more", "full"),
        ("a", "full"),
        ("b, c", "half"),
    ]


def test_a_page_is_small(bundle: Bundle) -> None:
    """With what draws, where it is installed, and everything that is drawn: below 3 MB."""
    sight = sight_of(
        bundle.program, bundle.placement, bundle.target, bundle.networks, bundle.golden
    )
    assert len(html_page(bundle.report, sight=sight).encode()) < 3_000_000


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ("/home/me/d.npz", "d.npz"),
        ("left=/a/b.npz, right=c d/e.npz", "left=b.npz, right=e.npz"),
        ("sets/Test/", "Test/"),
        (r"C:\sets\d.npz", "d.npz"),
        ("tonic:NMNIST", "tonic:NMNIST"),
    ],
)
def test_folders_of_whoever_ran_it_stay_at_home(data: str, told: str) -> None:
    assert judged_on({"data": data, "samples": 1, "steps": 2}) == f"1 sample of {told}, 2 steps"
