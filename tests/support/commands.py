"""The command line run in this process, and a model file to run it on."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import nir
import numpy as np
from click.testing import CliRunner, Result

from snndeploy.cli import main
from tests.support.nir_graphs import chain, lif, written

FRONTEND = ("--frontend", "nir", "--dt", "0.001")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


def check(result: Result, code: int) -> str:
    assert result.exit_code == code, (result.output, result.exception)
    return result.output


def network(path: Path, *sizes: int, name: str = "model.nir", **fields: Any) -> Path:
    rng = np.random.default_rng(0)
    nodes: list[Any] = []
    for a, b in pairwise(sizes):
        nodes += [nir.Linear(rng.normal(size=(b, a))), lif(b, **fields)]
    return written(path, chain(sizes[0], *nodes), name)
