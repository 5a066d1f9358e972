"""The checker stands by itself: what it imports, how long it is, that it runs alone."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import miscompiled

CHECKER = Path(__file__).parents[2] / "snndeploy" / "certify"
FILES = sorted(CHECKER.rglob("*.py"))
LINES = 1331
"""Code lines of all files together: all that are not blank, comments or docstrings (see `code_lines`).

A statement that takes three lines counts three, an import counts, and so does the table of forms.
"""
RESTS_ON = {
    "files": ("files", 216),
    "numbers and time": ("rounding", 582),
    "placement and registers; memory of Loihi and Loihi 2": ("cores", 642),
    "memory of Xylo": ("turns", 509),
    "golden run": ("runs", 557),
    "head-room": ("headroom", 783),
}
"""What a sentence of the certificate is proved by, and the code lines of that and all it imports.

Besides, `checks` puts all sentences together: 122 lines, the same for each.
"""
ALLOWED = {*sys.stdlib_module_names, "numpy", "tomli", "__future__"}


def test_it_imports_numpy_and_the_standard_library_only() -> None:
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                assert {a.name.partition(".")[0] for a in node.names} <= ALLOWED, file
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                assert str(node.module).partition(".")[0] in ALLOWED, file
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 1, f"{file} imports from outside its folder"


def code_lines(file: Path) -> int:
    """Lines of a file that are neither blank nor comments nor strings that stand alone (docstrings)."""
    text = file.read_text(encoding="utf-8")
    told = {
        line
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    lines = enumerate(text.splitlines(), 1)
    return sum(
        bool(line.strip()) and not line.strip().startswith("#") and i not in told
        for i, line in lines
    )


def test_it_can_be_read_in_one_sitting() -> None:
    texts = [file.read_text(encoding="utf-8") for file in FILES]
    assert sum(map(code_lines, FILES)) <= LINES
    assert max(len(text.splitlines()) for text in texts) < 300
    lines = [line for text in texts for line in text.splitlines()]
    assert len(lines) <= 1746
    assert max(map(len, lines)) <= 105


def imported(name: str) -> set[str]:
    """A file of the checker and all of its files that it imports, by whatever way."""
    found, waiting = {name}, [name]
    for file in waiting:
        tree = ast.parse((CHECKER / f"{file}.py").read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.level and node.module not in found:
                found.add(str(node.module))
                waiting.append(str(node.module))
    return found


@pytest.mark.parametrize("sentence", RESTS_ON)
def test_each_sentence_rests_on_less_than_all(sentence: str) -> None:
    """Whoever doubts one reads these files; a fault in the others cannot make it false."""
    name, lines = RESTS_ON[sentence]
    assert sum(code_lines(CHECKER / f"{file}.py") for file in imported(name)) <= lines
    checks = code_lines(CHECKER / "checks.py")
    assert checks <= 122
    assert lines + checks <= 905


def test_the_files_are_those_of_the_sentences() -> None:
    every = {file for name, _ in RESTS_ON.values() for file in imported(name)}
    assert every | {"checks", "__init__", "__main__"} == {file.stem for file in FILES}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alone")
    return miscompiled.compiled_to(folder, "dense", "loihi2")


@pytest.mark.parametrize("how", [(str(CHECKER),), ("-m", "snndeploy.certify")], ids=str)
def test_it_runs_as_a_script_and_loads_nothing_of_the_compiler(
    how: tuple[str, ...], bundle: Path
) -> None:
    command = [sys.executable, "-X", "importtime", *how, str(bundle)]
    run = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=CHECKER.parents[1]
    )
    assert run.returncode == 0, run.stderr[-500:]
    assert json.loads(run.stdout)["certified"] is True
    loaded = {line.rpartition("|")[2].strip() for line in run.stderr.splitlines()}
    ours = {name for name in loaded if name.startswith("snndeploy.")}
    assert {name for name in ours if not name.startswith("snndeploy.certify")} == set()
    assert loaded & {"torch", "pydantic", "networkx", "click", "nir", "h5py", "scipy"} == set()
    assert any(name.startswith(("certify.", "snndeploy.certify.")) for name in loaded)


def test_exit_codes_of_the_script(bundle: Path, tmp_path: Path) -> None:
    def code(*arguments: object) -> int:
        command = [sys.executable, str(CHECKER), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, check=False).returncode

    assert code(tmp_path) == 3
    assert code() == 2
    files = miscompiled.Files(bundle)
    files.report["cores"]["used"] += 1
    assert code(files.write(tmp_path / "wrong.snnb")) == 6
