"""Every error a user can cause has a code, and every code is triggered by a test."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from snndeploy import errors
from snndeploy.errors import InputError, SnnDeployError, did_you_mean

ROOT = Path(__file__).parents[1]
CLASSES = {
    name
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, SnnDeployError)
}


def raised_codes() -> dict[str, str]:
    """Codes in the library, with the file that raises them."""
    found = {}
    for file in sorted((ROOT / "snndeploy").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in CLASSES and node.args:
                code = node.args[0]
                if isinstance(code, ast.Constant) and isinstance(code.value, str):
                    found[code.value] = file.name
    return found


def test_every_code_is_triggered_by_a_test() -> None:
    tests = "\n".join(p.read_text(encoding="utf-8") for p in (ROOT / "tests").rglob("test_*.py"))
    missing = {code: file for code, file in raised_codes().items() if code not in tests}
    assert missing == {}


def test_codes_are_kebab_case() -> None:
    for code in raised_codes():
        assert code == code.lower()
        assert code.replace("-", "").isalnum()


def test_exit_codes_are_the_documented_ones() -> None:
    codes = {name: getattr(errors, name).exit_code for name in CLASSES}
    assert codes == {
        "SnnDeployError": 1,
        "UsageError": 2,
        "InputError": 3,
        "RecipeError": 3,
        "TargetError": 3,
        "PassRefused": 4,
        "LoweringRefused": 4,
        "DoesNotFit": 5,
        "VerificationFailed": 6,
        "BackendMissing": 7,
    }


def test_an_error_reads_as_where_what_next() -> None:
    error = InputError("code", "what", where="file:key", hint="next step")
    assert str(error) == "file:key: what\n  next: next step"
    assert str(InputError("code", "what")) == "what"
    assert isinstance(error, SnnDeployError)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("quantise", "did you mean 'quantize'?"),
        ("xyz", "known: prune, quantize"),
        ("", "there are none"),
    ],
)
def test_did_you_mean(name: str, text: str) -> None:
    assert did_you_mean(name, ["quantize", "prune"] if name else []) == text
