"""Delays of networks and of programs, as `inspect` shows them."""

from __future__ import annotations

import json
from pathlib import Path

import nir
import numpy as np
import pytest

from tests.support.commands import check, run
from tests.support.nir_graphs import chain, lif, written


def test_a_networks_delays(tmp_path: Path) -> None:
    delay = nir.Delay(np.array([3e-3, 3e-3, 5e-3]))
    path = written(tmp_path, chain(3, delay, nir.Linear(np.ones((2, 3))), lif(2)))
    arguments = ("inspect", path, "--frontend", "nir", "--dt", "0.001")
    assert "input[t-3…5]" in check(run(*arguments), 0)
    projections = json.loads(check(run(*arguments, "--json"), 0))["projections"]
    assert [p["sources"][0]["delay"] for p in projections] == [[3, 5]]


def test_a_programs_delays(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every synapse of a program takes a step; only more is worth a word."""
    monkeypatch.setenv("COLUMNS", "200")
    told = check(run("inspect", shared_data / "nir_models/lava_dl/ntidigits.net"), 0)
    assert "1…63 steps" in told
    assert "1 steps" not in told.replace("1…63 steps", "")
