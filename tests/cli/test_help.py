"""Help: an example of each command that runs as it is printed, and options where one looks for them."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner

from snndeploy import toml
from snndeploy.cli import main
from snndeploy.cli.show.help import Command
from snndeploy.demo import FOLDER, digits
from snndeploy.export import write_nir
from tests.support.builders import conv_net

ROOT = Path(__file__).parents[2]
EXAMPLES = {
    name: command.example for name, command in main.commands.items() if isinstance(command, Command)
}


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the examples name."""
    folder = tmp_path_factory.mktemp("desk")
    shutil.copy(FOLDER / "digits.nir", folder / "model.nir")
    for first, name in ((0, "val"), (40, "train")):
        samples = digits().part(first, 40)
        x = np.moveaxis(samples.inputs, 1, 0).astype(np.float32)
        np.savez(folder / f"{name}.npz", x=x, y=samples.labels)
    return folder


def run(folder: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    program, *words = text.split()
    assert program == "snndeploy"
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, (text, result.output, result.stderr)


def test_every_command_has_an_example() -> None:
    """But for the groups, whose commands are words of their own."""
    groups = {name for name, c in main.commands.items() if isinstance(c, click.Group)}
    assert set(EXAMPLES) == set(main.commands) - groups
    assert all(text.split()[1] == name for name, text in EXAMPLES.items())


@pytest.mark.parametrize("name", sorted(EXAMPLES, key=lambda name: name != "compile"))
def test_the_example_runs(name: str, desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if name not in ("compile", "init", "inspect") and not (desk / "model.snnb").exists():
        run(desk, EXAMPLES["compile"], monkeypatch)
    run(desk, EXAMPLES[name], monkeypatch)


def test_options_stand_under_headings_and_the_rare_ones_last() -> None:
    text = CliRunner().invoke(main, ["compile", "--help"]).stdout
    headings = [line for line in text.splitlines() if line.endswith(":") and line[0] != " "]
    assert headings == [
        "Example:",
        "Options:",
        "Target:",
        "Answers kept:",
        "Samples:",
        "How the network is read (what a file does not say):",
    ]
    assert text.index("--objective") < text.index("Target:") < text.index("--board")
    assert text.index("How the network") < text.index("--frontend") < text.index("--semantics")
    assert "MODEL\n" not in text.split("Options:")[1]  # an argument is no option


def test_recipes_are_listed_and_shown() -> None:
    listed = CliRunner().invoke(main, ["recipes"]).stdout
    assert "sbc-plus" in listed
    assert "auto" in listed
    shown = CliRunner().invoke(main, ["recipes", "sbc-plus"]).stdout
    assert shown.startswith('name = "sbc-plus"')
    assert "[[pass]]" in shown
    wrong = CliRunner().invoke(main, ["recipes", "sbcplus"])
    assert wrong.exit_code == 3
    assert "did you mean 'sbc-plus'? There are admm, auto, best, default" in wrong.stderr


def test_doctor_names_what_an_installation_may_leave_out() -> None:
    """Every extra of the package but those for people who work on it."""
    text = CliRunner().invoke(main, ["doctor"]).stdout
    named = {line.split()[0] for line in text.splitlines() if line.startswith("[")}
    extras = toml.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert named == {f"[{extra}]" for extra in extras if extra not in ("docs", "dev")}


def leaves(group: click.Group) -> Iterator[click.Command]:
    for command in group.commands.values():
        if isinstance(command, click.Group):
            yield from leaves(command)
        else:
            yield command


def test_every_command_speaks_json_and_has_one_name_for_a_thing() -> None:
    for command in leaves(main):
        words = [option.opts for option in command.params if isinstance(option, click.Option)]
        assert ["--json"] in words, command.name
        both = [names for names in words if {"--data", "--engines"} & set(names)]
        assert all(
            names in (["-d", "--data", "--calib"], ["-e", "--engines", "--engine"])
            for names in both
        ), command.name


def test_the_shell_completes_commands_and_options() -> None:
    """As the docs say: what the console script answers when the shell asks."""
    asked = {
        "_SNNDEPLOY_COMPLETE": "bash_complete",
        "COMP_WORDS": "snndeploy comp",
        "COMP_CWORD": "1",
    }
    done = subprocess.run(
        [sys.executable, "-m", "snndeploy"],
        env={**os.environ, **asked},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["plain,compile", "plain,compare", "plain,compress"]


def test_what_no_name_is_given_for_is_written_beside_the_model(
    desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = desk / "with spaces"
    folder.mkdir()
    shutil.copy(desk / "model.nir", folder / "net one.nir")
    monkeypatch.chdir(desk)
    before = set(desk.iterdir())
    how = ["--frontend", "snntorch", "--accept", "maybe-lost-padding"]
    result = CliRunner().invoke(main, ["init", "with spaces/net one.nir", *how, "--json"])
    told = json.loads(result.stdout)
    assert told["recipe"] == "with spaces/net one.toml"
    assert told["next"][-1]["command"].startswith("snndeploy report 'with spaces/net one.snnb' ")
    result = CliRunner().invoke(main, ["compile", "with spaces/net one.nir", *how, "-r", "none"])
    assert result.exit_code == 0, result.output
    assert {f.name for f in folder.iterdir()} == {"net one.nir", "net one.toml", "net one.snnb"}
    assert set(desk.iterdir()) == before


def test_init_writes_a_recipe_that_compiles(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And says what to run, each line of which runs, with the options that the model needs."""
    monkeypatch.chdir(desk)
    shutil.copy("model.nir", "mine one.nir")
    options = ["--frontend", "snntorch", "--accept", "maybe-lost-padding"]
    result = CliRunner().invoke(main, ["init", "mine one.nir", *options])
    assert result.exit_code == 0, result.output
    text = (desk / "mine one.toml").read_text()
    assert "#   3        4,608 weights" in text
    assert "remove-kernels" in text  # it has convolutions
    commands = [line for line in result.stdout.splitlines() if line.startswith("  snndeploy")]
    assert [line.split()[1] for line in commands] == [
        "check",
        "sensitivity",
        "compile",
        "verify",
        "report",
    ]
    assert "'mine one.nir' --frontend snntorch --accept maybe-lost-padding" in commands[0]
    for line in commands:
        words = shlex.split(line)[1:] + (["-n", "10"] if "val.npz" in line else [])
        done = CliRunner().invoke(main, words)
        assert done.exit_code in (0, 6), (line, done.output)  # 10 samples may lose a point
    again = CliRunner().invoke(main, ["init", "mine one.nir", *options])
    assert again.exit_code == 3
    assert "error[output-exists]" in again.stderr


def test_init_says_how_a_file_is_read(tmp_path: Path) -> None:
    """By its profile, or, where the file holds each neuron as it was read before, so."""
    file, ours = tmp_path / "a.nir", tmp_path / "b.nir"
    shutil.copy(FOLDER / "digits.nir", file)
    write_nir(ours, conv_net())
    how = ["--frontend", "snntorch", "--accept", "maybe-lost-padding"]
    for words, told in (
        (("init", str(file), *how), "dt 0.0001, "),
        (("init", str(ours)), "snndeploy wrote it"),
    ):
        assert f"projections, read as {told}" in CliRunner().invoke(main, words).stdout
