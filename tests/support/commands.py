"""The command line run in this process, and a model file to run it on."""

from __future__ import annotations

import re
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


def printed(result: Result, code: int = 0) -> str:
    """What a command wrote to standard output alone."""
    check(result, code)
    return result.stdout


def code_of(result: Result) -> str:
    """The code of the error that a command left with; empty without one."""
    found = re.search(r"^error\[([a-z0-9-]+)\]", result.stderr, re.MULTILINE)
    return found.group(1) if found else ""


def network(path: Path, *sizes: int, name: str = "model.nir", **fields: Any) -> Path:
    rng = np.random.default_rng(0)
    nodes: list[Any] = []
    for a, b in pairwise(sizes):
        nodes += [nir.Linear(rng.normal(size=(b, a))), lif(b, **fields)]
    return written(path, chain(sizes[0], *nodes), name)
