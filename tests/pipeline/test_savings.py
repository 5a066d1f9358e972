"""What compression bought, which question a verdict answers, what a compiler storing zeros takes."""

from __future__ import annotations

from pathlib import Path

import pytest

import snndeploy
from snndeploy.demo import FOLDER
from snndeploy.pipeline import loaded_report, place_file, report_of
from snndeploy.report import cores_text, html_page

HOW = {"frontend": "snntorch", "semantics": {"reset": "zero"}}


@pytest.fixture(scope="module")
def pair() -> tuple[snndeploy.Compiled, snndeploy.Compiled]:
    model = FOLDER / "digits.nir"
    return (
        snndeploy.compile(model, recipe="digits", **HOW),
        snndeploy.compile(model, recipe=None, **HOW),
    )


def test_what_compression_bought_is_the_uncompressed_compilation_less_this_one(
    pair: tuple[snndeploy.Compiled, snndeploy.Compiled],
) -> None:
    compiled, whole = pair
    report = report_of(compiled)
    found = report["savings"]
    for side, one in (("before", whole), ("after", compiled)):
        words = sum(s.resources["synapse_words"] for s in one.placement.slices)
        time = report_of(one)["time"]
        assert found[side]["words"] == words
        assert found[side]["cores"] == len(one.placement.cores)
        assert found[side]["step_ns"] == pytest.approx((time["low_ns"], time["high_ns"]), abs=1e-3)
    assert found["after"]["step_nj"] < found["before"]["step_nj"]
    assert found["text"].startswith(
        "compression brought synapse memory from 3,787 to 2,122 words, time per step from "
    )
    assert "; it left cores (3) as before (estimates where" in found["text"]
    assert found["after"]["sure"] == "inferred"
    assert found["text"] in cores_text(report)
    page = html_page(report)
    assert (page.count(found["text"][1:]), page.count("Compression brought")) == (1, 1)
    assert report_of(whole)["savings"] is None  # there is nothing to compare with


def test_a_report_says_why_it_does_not_compare(
    pair: tuple[snndeploy.Compiled, snndeploy.Compiled], monkeypatch: pytest.MonkeyPatch
) -> None:
    from snndeploy.pipeline.accounts import savings

    monkeypatch.setattr(savings, "compares", lambda groups, weights: False)
    report = report_of(pair[0])
    told = report["savings"]["text"]
    assert told == (
        "what compression bought is not told, since placing both networks would take too long: "
        f"{len(pair[0].program.groups)} groups, "
        f"{sum(p.weight.data.size for p in pair[0].source.projections):,} weights as trained"
    )
    assert told in cores_text(report)


def test_the_verdict_says_which_question_it_answers() -> None:
    model = FOLDER / "digits.nir"
    speed, cores = (
        snndeploy.compile(model, recipe=None, target="loihi1", objective=o, **HOW)
        for o in ("speed", "cores")
    )
    assert (len(speed.placement.cores), len(cores.placement.cores)) == (3, 2)
    text = [report_of(c)["cores"]["search"]["text"] for c in (speed, cores)]
    assert text[0].startswith(
        "fastest spread, a core each: proved optimal: no cut takes fewer slices"
    )
    assert text[0].endswith("sharing cores, at least 2 (compartments): ask with --objective cores")
    assert text[1] == (
        "fewest cores, slices sharing them: proved optimal: all layers together fill 2 cores "
        "(compartments)"
    )


def test_the_published_compiler_takes_a_core_more(shared_data: Path) -> None:
    """Intel's compiler printed 3 + 1 + 1 cores for this network; without zeros it takes 4."""
    report = loaded_report(place_file(shared_data / "nir_models/lava_dl/mnist_784-128-64-10.net"))
    assert (report["cores"]["used"], report["cores"]["published"]) == (4, 5)
    assert any("which stores zeros in lists, would take 5" in line for line in cores_text(report))
