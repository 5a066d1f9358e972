"""Names of a stranger's model, in everything that commands print and write."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import nir
import numpy as np
import pytest

from snndeploy import cli, toml
from snndeploy.cli.show.telling import say
from tests.support.commands import FRONTEND, check, run
from tests.support.nir_graphs import chain, lif, written

NAMES = (
    "p\x1b[2Ja",
    "l\x1b]0;x\x07<b>&\"'",
    "\u202egnp.x\x9b31m",
    '=cmd\x7f\u2028z\n[[pass]]\nname = "prune"',
)
"""Of a projection, a layer, and these again: escapes, markup, a formula, and lines of a recipe."""
OBEYED = re.compile("[^\n\t\x20-\x7e\xa0-\u2027\u202f-\u2065\u2070-\uffff]")
"""What no text of ours holds: all but printable characters."""
WITHIN = ("-d", "data.npz")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("strange")
    rng = np.random.default_rng(0)
    layers = [nir.Linear(rng.normal(size=(5, 6))), lif(5)]
    layers += [nir.Linear(rng.normal(size=(3, 5))), lif(3)]
    written(folder, chain(6, *layers, names=NAMES))
    x = (rng.random((24, 20, 6)) < 0.4).astype(np.uint8)
    np.savez(folder / "data.npz", x=x, y=np.arange(24) % 3)
    return folder


def test_names_are_text_wherever_they_are_shown(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    model = ("model.nir", *FRONTEND)
    drawn = ("--plot", "all.svg") if importlib.util.find_spec("vl_convert") else ()
    told: dict[str, str] = {}
    for options in (
        ("inspect", *model),
        ("compile", *model, *WITHIN, "-o", "net.snnb", "--html", "compiled.html"),
        ("check", *model, "-t", "tiny", "--fix", "fix.toml", "--html", "fix.html"),
        ("compare", *model, "--targets", "loihi1,loihi2"),
        ("simulate", "net.snnb", *WITHIN, "--html", "run.html", "--predictions", "p.csv"),
        ("verify", "net.snnb", "--engines", "integer"),
        ("certify", "net.snnb"),
        ("explain", "net.snnb"),
        ("sensitivity", *model, *WITHIN, "--plot", "kept.svg", "--recipe", "kept.toml"),
        ("report", "net.snnb", "--html", "page.html", "--csv", "tables", *drawn),
        ("report", "diff", "net.snnb", "net.snnb", "--csv", "apart"),
        ("init", *model, "-o", "first.toml"),
        ("compress", *model, "-r", "default", "-o", "small.nir"),
    ):
        told[" ".join(options[:2])] = check(run(*options), 0)
    for file in place.rglob("*"):
        if file.suffix in {".html", ".svg", ".csv", ".toml"}:
            told[str(file.relative_to(place))] = file.read_text(encoding="utf-8")
    assert {"all-network.svg", "tables/layers.csv"} - {*told} == set() or not drawn
    found = {name: OBEYED.search(text) for name, text in told.items()}
    assert {name: repr(hit) for name, hit in found.items() if hit} == {}
    assert r"p\x1b[2Ja" in told["inspect model.nir"]
    assert "&lt;b&gt;" in told["page.html"]
    assert "<b>&" not in told["page.html"]


def test_recipes_for_strange_names_mean_them(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Escaped, they are the same names; and no name becomes a line of a recipe."""
    monkeypatch.chdir(place)
    check(run("init", "model.nir", *FRONTEND, "-o", "mine.toml"), 0)
    recipe = toml.loads(Path("mine.toml").read_text())
    assert [step["name"] for step in recipe["pass"]] == ["prune-quantize"]
    text = toml.dumps({"layers": list(NAMES)})
    assert not OBEYED.search(text)
    assert toml.loads(text) == {"layers": list(NAMES)}


def test_an_error_is_one_line_whatever_it_is_about(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    result = run("inspect", "none\nerror[forged]: x")
    check(result, 3)
    assert result.stderr.startswith("error[file-not-found]: none\\nerror[forged]: x: ")


def test_what_is_said_is_plain(capsys: pytest.CaptureFixture[str]) -> None:
    say("a\x1b[2J\nb", err=True)
    assert capsys.readouterr().err == "a\\x1b[2J\nb\n"


def test_messages_are_said_and_only_data_are_printed_as_they_are() -> None:
    """JSON, CSV and TOML, each escaped by its own rules."""
    found = {
        line.strip()
        for file in Path(cli.__file__).parent.rglob("*.py")
        for line in file.read_text().splitlines()
        if "click.echo(" in line and file.name != "telling.py"
    }
    assert found == {
        'click.echo(json.dumps({"error": error.record()}, indent=2))',
        "click.echo(json.dumps(data, indent=2))",
        "click.echo(front_csv(found.front), nl=False)",
        "click.echo(recipe.to_toml(), nl=False)",
        'click.echo((recipe_folder() / f"{name}.toml").read_text(encoding="utf-8"), nl=False)',
    }
