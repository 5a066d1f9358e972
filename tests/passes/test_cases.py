"""Passes on small networks, as text: one file per case in ``cases``, to be read in review.

A file says what it shows, then the passes as a recipe, where a pass asks for one the chip, the network,
where a pass looks at samples the spikes (a line per step, a column per input neuron, ``/`` between
samples), and what the network becomes, or the text with which it is refused. Numbers are compared to
five digits.

``UPDATE_CASES=1 pytest tests/passes/test_cases.py`` writes what comes out into the files; read the
difference before you keep it.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from snndeploy.chip import load_target
from snndeploy.errors import SnnDeployError
from snndeploy.ir.arrays import Array
from snndeploy.ir.network import Network
from snndeploy.ir.text import full_text, read_network
from snndeploy.passes.base import ORDER, PassContext, out_of_order, stage_of
from snndeploy.passes.registry import BUILT_IN, pass_class
from snndeploy.passes.runner import run_passes
from snndeploy.passes.training.options import DistilOptions, TrainingPass
from snndeploy.recipe import Recipe
from tests.support.calibrated import Samples

FOLDER = Path(__file__).parent / "cases"
FILES = sorted(FOLDER.glob("*.txt"))
UPDATE = "UPDATE_CASES" in os.environ
DIGITS = 5
_SECTION = re.compile(r"^--- (passes|target|network|samples|becomes|refused)$", re.MULTILINE)


@dataclass
class Case:
    title: str
    sections: dict[str, str]

    @classmethod
    def read(cls, file: Path) -> Case:
        title, *rest = _SECTION.split(file.read_text(encoding="utf-8"))
        return cls(title, dict(zip(rest[::2], rest[1::2], strict=True)))

    @property
    def names(self) -> tuple[str, ...]:
        """Of its passes."""
        return tuple(re.findall(r'^name = "(.+)"$', self.sections["passes"], re.MULTILINE))

    def run(self) -> tuple[str, str]:
        """The kind of the last section, and what it should hold."""
        net = read_network(self.sections["network"])
        try:
            recipe = Recipe.from_toml(self.sections["passes"])
            after = run_passes(net, recipe.passes, self._context(net)).network
        except SnnDeployError as error:
            return "refused", f"{error.code}: {error}"
        return "becomes", full_text(after, DIGITS).strip()

    def _context(self, net: Network) -> PassContext:
        text, chip = (self.sections.get(what, "").strip() for what in ("samples", "target"))
        target = load_target(chip) if chip else None
        if not text:
            return PassContext(source=net, target=target)
        steps = [[[float(v) for v in s.split()] for s in t.split("/")] for t in text.splitlines()]
        spikes: Array = np.array(steps, dtype=np.float32)
        given = Samples({net.populations[0].name: spikes})
        return PassContext(source=net, target=target, calibration=given)

    def write(self, file: Path, kind: str, outcome: str) -> None:
        inputs = {k: v for k, v in self.sections.items() if k not in ("becomes", "refused")}
        text = "".join(f"--- {k}{v}" for k, v in inputs.items())
        file.write_text(f"{self.title}{text}--- {kind}\n{outcome}\n", encoding="utf-8")


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.stem)
def test_case(file: Path) -> None:
    case = Case.read(file)
    kind, outcome = case.run()
    if UPDATE:
        assert "CI" not in os.environ, "cases are written by people"
        case.write(file, kind, outcome)
        return
    assert case.title.strip()
    assert {kind: outcome} == {
        k: v.strip() for k, v in case.sections.items() if k in ("becomes", "refused")
    }


CASES = [Case.read(file) for file in FILES]


def test_every_pass_that_does_not_train_has_a_case() -> None:
    """What training gives differs from machine to machine, beyond any number of digits."""
    shown = {name for case in CASES if "becomes" in case.sections for name in case.names}
    trained = (TrainingPass, DistilOptions)
    exact = {n for n in BUILT_IN if not issubclass(pass_class(n), trained)}
    assert exact <= shown


def test_every_refusal_of_the_order_law_has_a_case() -> None:
    """As a recipe, and as a network that has been through the later stage."""
    pairs = {(a, b) for a in ORDER for b in ORDER if out_of_order(a, b)}
    refused = [c for c in CASES if c.sections.get("refused", "").startswith("\norder-law:")]
    assert {c.names for c in refused if len(c.names) == 2} == pairs
    reached = {(stage_of(read_network(c.sections["network"])), *c.names) for c in refused}
    assert {c for c in reached if len(c) == 2} == {(a, b) for a, b in pairs if a != "any"}
