"""The interpreter that has xylosim: where it is, and how one is made.

The vendor publishes wheels for Python 3.9 and 3.10; later versions build it from source, which takes a
C++ compiler and some minutes. Only an interpreter with the version that was checked counts.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ...errors import BackendMissing, UsageError
from ...progress import silent
from ..lava.env import (
    FAILURES,
    alternatives,
    dotted,
    facts_of,
    interpreters,
    python_of,
    reason_of,
    run_python,
)
from ..lava.place import BasePython, EnvironmentPlace

XYLOSIM_VERSION = "0.1.3"
PYTHON_VARIABLE = "SNNDEPLOY_XYLO_PYTHON"
PYTHONS = ((3, 10), (3, 9), (3, 11), (3, 12), (3, 13))
"""Versions that xylosim was seen on, best first: those that have a wheel."""

STAMP = "snndeploy-xylo.txt"
_PINS = (f"xylosim=={XYLOSIM_VERSION}", "numpy<3")
_FACTS = (
    "import sys, numpy, xylosim.v2; from importlib.metadata import version;"
    "print(*sys.version_info[:2], version('xylosim'))"
)
_LONG_S = 60.0

XyloOrigin = Literal["variable", "private", "directory"]


@dataclass(frozen=True, kw_only=True)
class XyloEnv:
    """An interpreter that can run xylosim.

    Attributes:
        python: the executable.
        version: its major and minor version.
        xylosim: the version of xylosim.
        origin: how it was found: named by the environment ``variable``, the ``private`` environment of
            this user, or a ``directory`` that the caller named.
    """

    python: Path
    version: tuple[int, int]
    xylosim: str
    origin: XyloOrigin


def find_xylosim() -> XyloEnv | None:
    """The interpreter to run xylosim with: that of ``$SNNDEPLOY_XYLO_PYTHON``, or the private one.

    Raises:
        BackendMissing: the variable is set, but xylosim cannot run there.
    """
    if named := os.environ.get(PYTHON_VARIABLE):
        python = Path(named).expanduser().absolute()
        try:
            return _checked(python, "variable")
        except FAILURES as error:
            raise BackendMissing(
                "xylosim-python-unusable",
                f"{python} cannot run xylosim {XYLOSIM_VERSION}: {reason_of(error)}",
                where=PYTHON_VARIABLE,
                hint=f"set it to a Python that has xylosim {XYLOSIM_VERSION}, or unset it",
            ) from error
    return _made(private_place(), "private")


def require_xylosim() -> XyloEnv:
    """What `find_xylosim` finds.

    Raises:
        BackendMissing: there is none.
    """
    if (env := find_xylosim()) is not None:
        return env
    raise BackendMissing(
        "xylosim-missing",
        f"no Python with xylosim {XYLOSIM_VERSION} was found",
        hint=f"run `snndeploy xylo install`, or set {PYTHON_VARIABLE} to a Python that has it "
        "(xylosim states no licence: whether you may use it is between you and its vendor)",
    )


def install_xylosim(
    directory: Path | None = None,
    python: Path | None = None,
    progress: Callable[[str], None] = silent,
) -> XyloEnv:
    """Create an environment with xylosim, unless it is already there.

    Args:
        directory: where; the private environment of this user if None.
        python: the interpreter to build on; the best one found on this machine if None.
        progress: called with one line per step.

    Raises:
        BackendMissing: no suitable Python, or the installation fails.
        UsageError: ``directory`` holds something else.
    """
    origin: XyloOrigin = "private" if directory is None else "directory"
    directory = (directory or private_place()).expanduser().absolute()
    if (env := _made(directory, origin)) is not None:
        progress(f"xylosim {XYLOSIM_VERSION} is already in {directory}")
        return env
    place = EnvironmentPlace(directory, STAMP)
    try:
        if not place.claim():
            raise UsageError(
                "xylosim-directory-occupied",
                "the directory holds something that snndeploy did not put there",
                where=str(directory),
                hint="name another directory, or remove this one",
            )
        version, failure = place.made_on(_bases() if python is None else [_base(python)], progress)
        if version is None:
            raise BackendMissing(
                "xylosim-no-python",
                f"xylosim {XYLOSIM_VERSION} needs Python {_wanted()}, and none that works was "
                f"found{failure}",
                hint="install Python 3.10, for example with `uv python install 3.10`, and try again",
            )
        pip = ("-m", "pip", "install", "--disable-pip-version-check", "--no-input")
        progress(f"installing xylosim {XYLOSIM_VERSION}")
        run_python(python_of(directory), *pip, *_PINS)
        progress("checking that it imports")
        env = _checked(python_of(directory), origin)
        place.sign(f"{env.xylosim} on Python {dotted(env.version)}\n")
    except FAILURES as error:
        raise BackendMissing(
            "xylosim-install-failed",
            f"installing xylosim {XYLOSIM_VERSION} failed: {reason_of(error)}",
            where=str(directory),
            hint="check the network and pip's settings; later Pythons than 3.10 need a C++ compiler",
        ) from error
    finally:
        if not place.complete:
            place.discard()
    progress(f"xylosim {XYLOSIM_VERSION} is ready in {directory}")
    return env


def private_place() -> Path:
    """Where this user's own environment is, or would be."""
    import platformdirs

    return Path(platformdirs.user_data_dir("snndeploy")) / f"xylosim-{XYLOSIM_VERSION}"


def _made(directory: Path, origin: XyloOrigin) -> XyloEnv | None:
    """The environment in ``directory``, if `install_xylosim` completed it and it still works."""
    if not EnvironmentPlace(directory, STAMP).complete:
        return None
    try:
        return _checked(python_of(directory), origin)
    except FAILURES:  # its base interpreter was removed
        return None


def _checked(python: Path, origin: XyloOrigin) -> XyloEnv:
    """What ``python`` says of itself; a ValueError where its xylosim is another."""
    major, minor, found = run_python(python, "-c", _FACTS, timeout=_LONG_S).split()
    if found != XYLOSIM_VERSION:
        raise ValueError(found)
    return XyloEnv(python=python, version=(int(major), int(minor)), xylosim=found, origin=origin)


def _bases() -> Iterable[BasePython]:
    """Interpreters that an environment can be built on, best first."""
    return interpreters(PYTHONS)


def _base(python: Path) -> BasePython:
    """An interpreter that the caller wants an environment to be built on."""
    return python, facts_of(python)[0]


def _wanted() -> str:
    return alternatives(sorted(PYTHONS))
