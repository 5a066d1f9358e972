"""The formatter lays out all code, and folders stay small enough to take in."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "snndeploy"
CODE = [
    file
    for folder in ("snndeploy", "tests", "tools", "benchmarks", "examples")
    for file in sorted((ROOT / folder).rglob("*.py"))
]
_OFF = re.compile(r"#\s*fmt:\s*(skip|off)")
MOST_FILES = 12


def test_the_formatter_is_never_switched_off() -> None:
    assert [file.name for file in CODE if _OFF.search(file.read_text(encoding="utf-8"))] == []


def test_a_folder_of_many_files_gets_rooms() -> None:
    counts = {
        str(folder.relative_to(ROOT)): len([f for f in folder.glob("*.py") if f.stem[0] != "_"])
        for folder in {file.parent for file in CODE if file.is_relative_to(ROOT / "snndeploy")}
    }
    assert {folder: n for folder, n in counts.items() if n > MOST_FILES} == {}


REGISTERS = {4095, 4096, 131071, 2**23 - 1, 2**23}
"""Numbers of Loihi: decays, thresholds, states."""

MAY_KNOW = {
    "chip/families": "where numbers of chips belong",
    "certify": "derives everything once more, by itself",
    "ir/step": "Lava's arithmetic, which programs name",
    "simulate/lava": "drives Lava's own processes, which hold for Loihi alone",
    "simulate/integer/neurons/kernel.py": "a fast path that is admitted for Lava's arithmetic alone",
    "simulate/integer/native.py": "values of a block of memory; no register",
}


def numbers(file: Path) -> set[int]:
    """Whole numbers that a module spells, products of constants like ``2**23 - 1`` included."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        constant = isinstance(node, ast.Constant) and type(node.value) is int
        spelled = isinstance(node, ast.BinOp) and not any(
            isinstance(part, (ast.Name, ast.Attribute, ast.Call, ast.Subscript, ast.Constant))
            and not (isinstance(part, ast.Constant) and type(part.value) is int)
            for part in ast.walk(node)
        )
        if constant or spelled:
            try:
                value = eval(compile(ast.Expression(node), "", "eval"), {"__builtins__": {}})
            except Exception:  # an operator on something else than numbers
                continue
            if type(value) is int:
                found.add(value)
    return found


def test_numbers_of_a_chip_stand_with_the_chip() -> None:
    strays = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        name = file.relative_to(PACKAGE)
        known = numbers(file) & REGISTERS
        if known and not any(name.is_relative_to(room) for room in MAY_KNOW):
            strays[str(name)] = known
    assert strays == {}


def test_the_look_for_numbers_finds_them(tmp_path: Path) -> None:
    file = tmp_path / "some.py"
    file.write_text("A = 2**23 - 1\nC = [4096]\nd = x * 4095\n")
    assert numbers(file) & REGISTERS == {2**23, 2**23 - 1, 4096, 4095}


def test_no_test_imports_a_test() -> None:
    """What two of them need is in ``tests/support``."""
    of_a_test = re.compile(r"^\s*from (tests\.\S*test_\w+) import", re.MULTILINE)
    tests = [file for file in CODE if file.stem.startswith("test_")]
    found = {f.name: of_a_test.findall(f.read_text(encoding="utf-8")) for f in tests}
    assert {name: modules for name, modules in found.items() if modules} == {}
