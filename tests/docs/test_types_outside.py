"""A script of a user's, checked as strictly as the package itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = """
from pathlib import Path

import numpy as np

import snndeploy

samples = snndeploy.load_samples(np.zeros((4, 16, 1, 8, 8)), (1, 8, 8), labels=np.zeros(4, int))
network = snndeploy.read_network("digits.nir", "snntorch", reset="zero")
compiled: snndeploy.Compiled = snndeploy.compile(network, target="loihi2", calibration=samples)
for finding in compiled.findings:
    print(finding.severity, finding.where, finding.message)
bundle = snndeploy.bundle_of(compiled, samples)
place: Path = snndeploy.save_bundle("digits.snnb", bundle, force=True)
run = snndeploy.verify_bundle(place, ["float", "integer"], lambda shape: samples)
nanojoules: float = snndeploy.energy(bundle, samples)["loihi2"]["low"]
rows: list[dict[str, object]] = snndeploy.tables_of(compiled)["layers"].records()
page: str = snndeploy.page_of(bundle, [run])
"""


@pytest.mark.slow
def test_a_users_script_is_typed(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", tmp_path / "cache", "script.py"],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
