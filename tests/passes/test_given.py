"""What passes are given: whoever makes samples of their own, the benchmarks do, gives all of it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from snndeploy.passes.given import Calibration

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
ASKED = {n for n in vars(Calibration) if isinstance(vars(Calibration)[n], property)}


def fields(made: ast.ClassDef) -> set[str]:
    """Names that the body of a class gives values or types to."""
    targets = [s.target for s in made.body if isinstance(s, ast.AnnAssign)]
    targets += [t for s in made.body if isinstance(s, ast.Assign) for t in s.targets]
    return {t.id for t in targets if isinstance(t, ast.Name)}


SAMPLES = {
    f"{file.stem}.{made.name}": fields(made)
    for file in sorted(BENCHMARKS.glob("*.py"))
    for made in ast.walk(ast.parse(file.read_text("utf-8")))
    if isinstance(made, ast.ClassDef) and {"inputs", "labels"} <= fields(made)
}


def test_passes_ask_samples_for_this() -> None:
    assert {"inputs", "labels", "window"} == ASKED
    assert {"networks.Labelled", "second_order_cases.Calibration"} <= set(SAMPLES)


@pytest.mark.parametrize("name", SAMPLES)
def test_samples_of_benchmarks_have_all_that_passes_ask_for(name: str) -> None:
    assert SAMPLES[name] >= ASKED
