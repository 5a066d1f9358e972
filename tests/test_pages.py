"""The generated pages of the reference say what the code says."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

import snndeploy
from snndeploy.cli import main
from snndeploy.mapping.rules.rules import PROGRAM_RULES, all_core_rules
from snndeploy.passes.registry import BUILT_IN
from snndeploy.recipe import recipe_names

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("pages", ROOT / "tools" / "pages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_pages_are_written_from_the_code(tool: ModuleType) -> None:
    """If this fails: make pages."""
    for page, text in tool.pages().items():
        assert page.read_text(encoding="utf-8") == text, page.name


def test_the_pages_leave_nothing_out(tool: ModuleType) -> None:
    assert all(
        f"| `{rule.code}` |" in tool.rules_page() for rule in (*PROGRAM_RULES, *all_core_rules())
    )
    assert all(f"\n## `{name}`\n" in tool.passes_page() for name in BUILT_IN)
    assert all(f"| `{name}` |" in tool.recipes_page() for name in recipe_names())


def test_the_pages_are_in_the_menu(tool: ModuleType) -> None:
    menu = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    written = {**tool.pages(), **tool.built_pages()}
    assert all(f"reference/{page.name}\n" in menu for page in written)


def test_every_command_and_every_code_has_its_place(tool: ModuleType) -> None:
    text = tool.commands_page()
    assert all(f"## `snndeploy {name}`\n" in text for name in main.commands)
    assert "## `snndeploy lava install`\n" in text
    assert "`--max-drop POINTS`" in text
    page = tool.errors_page()
    assert "| `picture-unknown` | 2 | there is no picture … of it |" in page
    assert "| `does-not-exist` |" not in page
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    assert len(rows) > 200
    assert len(rows) == len(set(rows))


def test_every_public_name_is_in_the_page_about_python() -> None:
    lines = (ROOT / "docs" / "reference" / "python.md").read_text(encoding="utf-8").splitlines()
    named = {line.rpartition(".")[2] for line in lines if line.startswith(":::")}
    told = {name for name in snndeploy.__all__ if any(name in line for line in lines)}
    assert sorted(set(snndeploy.__all__) - named - told) == []
