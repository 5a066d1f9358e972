"""Every error and finding has a code, and a test holds what it gets equal to it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
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
    """Codes of errors and of findings in the library, with the file that makes them."""
    found = {}
    for file in sorted((ROOT / "snndeploy").rglob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        makers = CLASSES | {name for node in ast.walk(tree) for name in takes_a_code(node)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                raised = node.args[:1] if getattr(node.func, "id", "") in makers else []
                told = [k.value for k in node.keywords if k.arg == "code"]
                for code in (*raised, *told):
                    if isinstance(code, ast.Constant) and isinstance(code.value, str):
                        found[code.value] = file.name
    return found


def takes_a_code(node: ast.AST) -> Iterator[str]:
    """The name of a function or data class of which ``code`` is the first argument."""
    first: object = None
    if isinstance(node, ast.FunctionDef) and node.args.args:
        first = node.args.args[0].arg
    elif isinstance(node, ast.ClassDef):
        fields = [field.target for field in node.body if isinstance(field, ast.AnnAssign)]
        first = getattr(fields[0], "id", None) if fields else None
    if first == "code":
        assert isinstance(node, (ast.FunctionDef, ast.ClassDef))
        yield node.name


def compared_codes(source: str) -> set[str]:
    """What a test module holds codes equal to.

    A code counts where it is a whole string in a comparison by ``==`` (alone, or in a tuple, set or
    list), or in a table of a module that compares a ``.code`` or `code_of` by ``==``; and where a
    text that is compared by ``==``, or by ``startswith``, begins with ``code:`` or ``error[code]:``.
    A string inside of a longer one, or on a side of ``in``, does not count.
    """
    tree = ast.parse(source)
    equal = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Compare) and any(isinstance(op, ast.Eq) for op in node.ops)
    ]
    starts = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "startswith"
    ]
    codes = {text for node in equal for text in strings(node)}
    if any(reads_a_code(node) for node in equal):
        kinds = (ast.Tuple, ast.List, ast.Set, ast.Dict)
        tables = [node for node in ast.walk(tree) if isinstance(node, kinds)]
        codes |= {text for table in tables for text in strings(table)}
    texts = [text for node in (*equal, *starts) for text in strings(node)]
    begun = [re.match(r"(?:error\[)?([a-z0-9-]+)\]?: ", text) for text in texts]
    return codes | {found.group(1) for found in begun if found}


def strings(node: ast.AST) -> Iterator[str]:
    for inner in ast.walk(node):
        if isinstance(inner, ast.Constant) and isinstance(inner.value, str):
            yield inner.value


def reads_a_code(node: ast.AST) -> bool:
    return any(
        getattr(inner, "attr", "") == "code" or getattr(inner, "id", "") == "code_of"
        for inner in ast.walk(node)
    )


def test_every_code_is_compared_by_a_test() -> None:
    compared = set()
    for file in (ROOT / "tests").rglob("test_*.py"):
        compared |= compared_codes(file.read_text(encoding="utf-8"))
    assert {code: file for code, file in raised_codes().items() if code not in compared} == {}


@pytest.mark.parametrize(
    ("source", "counts"),
    [
        ("assert error.code == 'a-code'", True),
        ("assert (error.code, error.where) == ('a-code', 'x')", True),
        ("assert {f.code for f in found} == {'a-code'}", True),
        ("CASES = [(1, 'a-code')]\nassert error.code == code", True),
        ("assert text == 'a-code: x: what'", True),
        ("assert text.startswith('error[a-code]: x')", True),
        ("CASES = [(1, 'a-code')]\nassert error.message == 'x'", False),
        ("assert 'a-code' in text", False),
        ("assert text == 'the a-code: x'", False),
        ("Finding(code='a-code')\nassert error.code == 'another'", False),
    ],
)
def test_what_counts_as_comparing_a_code(source: str, counts: bool) -> None:
    assert ("a-code" in compared_codes(source)) == counts


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
