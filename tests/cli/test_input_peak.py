"""Compiled on a few samples, run on larger values: what to do is said, and works."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from snndeploy.export.nir import write_nir
from tests.support.builders import conv_net
from tests.support.commands import check, code_of, run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_nir(tmp_path / "net.nir", conv_net())
    counts = np.random.default_rng(0).integers(0, 3, (6, 12, 2, 8, 8))
    for name, peak in (("few", 2), ("all", 5)):
        counts[0, 0, 0, 0, 0] = peak
        np.savez(tmp_path / f"{name}.npz", x=counts, y=np.zeros(6, np.int64))
    return tmp_path


def test_the_hint_mends_it(folder: Path) -> None:
    model, few, whole = folder / "net.nir", folder / "few.npz", folder / "all.npz"
    narrow, wide = folder / "narrow.snnb", folder / "wide.snnb"
    words = ("-r", "none", "-d", few)
    check(run("compile", model, *words, "-o", narrow), 0)
    refused = run("simulate", narrow, "-d", whole, "--engines", "integer")
    assert (refused.exit_code, code_of(refused)) == (3, "input-beyond")
    assert "next: compile with --input-peak 5 (or more)" in refused.output
    check(run("compile", model, *words, "--input-peak", "5", "-o", wide), 0)
    check(run("simulate", wide, "-d", whole, "--engines", "integer"), 0)
