"""What a format under attack is: valid files, ways to break them, and what reads them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nir
import numpy as np

from snndeploy.errors import SnnDeployError
from tests.attack.mutate import Rng
from tests.support.commands import run
from tests.support.nir_graphs import chain, lif, written

DOES_NOT_FIT = 5
"""The exit code of a command that lists every violation before its own error."""


@dataclass(frozen=True)
class Format:
    """One format. ``seed`` fills a folder with valid files, ``broken`` makes one broken copy there.

    ``use`` reads a broken file as a user would, and returns normally or raises one of our errors.
    """

    seed: Callable[[Path], None]
    broken: Callable[[Path, Path, Rng], None]
    use: Callable[[Path], None]


def command(*arguments: object) -> None:
    """Run a command in this process; its error is raised as ours, anything else as it is."""
    result = run(*arguments)
    text = result.output
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert "error[bug]" not in text, text
    assert "Traceback" not in text, text
    assert "\x1b" not in text, "a terminal escape"
    if result.exit_code:
        told = "error[does-not-fit]" if result.exit_code == DOES_NOT_FIT else "error["
        assert text.count(told) == 1, text
        raise Refused(text.partition("error[")[2].partition("]")[0], result.exit_code)


class Refused(SnnDeployError):
    """An error that a command has printed."""

    def __init__(self, code: str, exit_code: int) -> None:
        super().__init__(code, "printed by a command")
        self.exit_code = exit_code  # type: ignore[misc]


def small_model(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    net = chain(
        6, nir.Linear(rng.normal(size=(5, 6))), lif(5), nir.Linear(rng.normal(size=(3, 5))), lif(3)
    )
    return written(folder, net)
