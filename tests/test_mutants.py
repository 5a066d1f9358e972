"""What `tools/mutate.py` calls a single fault: what it makes, what it leaves alone, what it names."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SOURCE = '''"""Text."""

LIMIT = 3


def first(x, y=1):
    """Not computed."""
    assert x < 10
    if x >= 2 and y:
        raise ValueError(f"{x + 1} is too many")
    return max(x * 2, -1)


class Of:
    size = 4

    def method(self, x: "int" = 5) -> int:
        told = []
        told.append(x.reshape(-1, 2))
        return told[0] if x else 7
'''


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    path = Path(__file__).parents[1] / "tools" / "mutate.py"
    spec = importlib.util.spec_from_file_location("mutate", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["mutate"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "m.py"
    path.write_text(SOURCE, encoding="utf-8")
    return path


def test_what_is_changed_and_what_is_not(tool: ModuleType, file: Path) -> None:
    """No text, no annotation, no default, no assertion, nothing that an error says."""
    found = [(m.function, m.line, m.change) for m in tool.mutants_of(file, "m.py")]
    assert sorted(found) == sorted(
        [
            ("first", 9, "And → Or"),
            ("first", 9, "GtE → Gt"),
            ("first", 9, "2 → 3"),
            ("first", 11, "max → min"),
            ("first", 11, "Mult → FloorDiv"),
            ("first", 11, "2 → 3"),
            ("first", 11, "USub → UAdd"),
            ("first", 11, "1 → 2"),
            ("Of.method", 19, "call → nothing"),
            # not the 1 of reshape(-1): -2 says the same
            ("Of.method", 19, "USub → UAdd"),
            ("Of.method", 19, "2 → 3"),
            ("Of.method", 20, "condition → not"),
            ("Of.method", 20, "0 → 1"),
            ("Of.method", 20, "7 → 8"),
        ]
    )


def test_each_is_one_change_of_what_is_computed(tool: ModuleType, file: Path) -> None:
    def computed(codes: Any, x: int) -> object:
        def first(x: int, y: int = 1) -> object:
            return None

        first.__code__ = codes[6, "first"]
        try:
            return first(x)
        except ValueError as error:
            return str(error)

    numbers = {m.change: m.number for m in tool.mutants_of(file, "m.py") if m.line == 11}
    told = {change: computed(tool.mutated(file, n), 1) for change, n in numbers.items()}
    assert told == {"max → min": -1, "Mult → FloorDiv": 0, "2 → 3": 3, "USub → UAdd": 2, "1 → 2": 2}
    turned = next(m.number for m in tool.mutants_of(file, "m.py") if m.change == "GtE → Gt")
    assert computed(tool.mutated(file, turned), 2) == 4


def test_names_stay_while_a_line_does(tool: ModuleType, file: Path) -> None:
    keys = [m.key for m in tool.mutants_of(file, "m.py")]
    assert len(set(keys)) == len(keys)
    within = {m.key: m.within for m in tool.mutants_of(file, "m.py")}
    file.write_text("\n\n" + SOURCE.replace("return told[0]", "return told[-1]"), encoding="utf-8")
    moved = {m.key: m.within for m in tool.mutants_of(file, "m.py")}
    assert {k for k in keys if "first:" in k} <= moved.keys()
    assert all(moved[k] == within[k] for k in keys if "first:" in k)
    assert all(moved[k] != within[k] for k in moved.keys() & set(keys) if "method:" in k)


def test_what_is_called_equivalent_is_still_there(tool: ModuleType) -> None:
    """A line that changes takes its excuse with it."""
    root = Path(__file__).parents[1]
    told = tomllib.loads((root / "tools/mutants.toml").read_text(encoding="utf-8"))
    patterns = {pattern for room in told["room"].values() for pattern in room["files"]}
    files = {path for pattern in patterns for path in root.glob(pattern) if path.suffix == ".py"}
    there = {m.key for path in files for m in tool.mutants_of(path, str(path.relative_to(root)))}
    excused = [x["mutant"] for x in told["equivalent"]]
    assert [name for name in excused if name not in there] == []
    assert len(set(excused)) == len(excused)
    assert all(x["why"] for x in told["equivalent"])


@pytest.mark.parametrize(
    ("does", "code"),
    [
        ("import time; time.sleep(60)", None),  # waits, and would for ever
        ("import os; r, w = os.pipe(); os.read(r, 1)", None),
        ("import time; time.sleep(0.1); raise SystemExit(3)", 3),
        # computes for longer than it may wait
        ("import time; b = time.process_time()\nwhile time.process_time() < b + 1: pass", 0),
    ],
)
def test_what_waits_is_ended_and_what_computes_is_not(
    tool: ModuleType, does: str, code: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(Path(tool.__file__ or "").parent))
    import mutants

    child = subprocess.Popen([sys.executable, "-S", "-c", does], start_new_session=True)
    assert mutants._awaited(child.pid, 60, idle=0.6) == code
    child.returncode = 0  # it was waited for
