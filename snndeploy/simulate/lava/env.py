"""The interpreter that has lava-nc: find it and check it.

lava-nc 0.10.0 is frozen upstream, declares Python 3.10 only and pins numpy below 2, so it usually
lives in an interpreter of its own. This module says which one, and never imports lava itself;
`lava_install` creates one.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ...errors import BackendMissing

LAVA_VERSION = "0.10.0"
PYTHON_VARIABLE = "SNNDEPLOY_LAVA_PYTHON"
PYTHONS = ((3, 10), (3, 11), (3, 12))
"""Versions that can run lava-nc, best first: 3.10 needs no patch; on 3.13 there is no numpy 1."""

STAMP = "snndeploy-lava.txt"
_WORKER = Path(__file__).parent / "lava_worker"
_FACTS = (
    "import sys; from importlib.metadata import distributions;"
    "print(*sys.version_info[:2], *(found.version for found in distributions(name='lava-nc')))"
)

# How a command for another interpreter can fail: no such file, its exit code, what it answers.
FAILURES = (OSError, subprocess.SubprocessError, ValueError)

Origin = Literal["interpreter", "variable", "checkout", "private", "directory"]


@dataclass(frozen=True, kw_only=True)
class LavaEnv:
    """An interpreter that can run Lava.

    Attributes:
        python: the executable.
        version: its major and minor version.
        lava_version: the version of lava-nc it has.
        patched: whether lava imports only with the patch of ``lava_worker/compat.py``.
        origin: how it was found: the current ``interpreter``, named by the environment
            ``variable``, beside the ``checkout``, the ``private`` environment of this user, or a
            ``directory`` that the caller named.
    """

    python: Path
    version: tuple[int, int]
    lava_version: str
    patched: bool
    origin: Origin


def find_lava() -> LavaEnv | None:
    """Return the interpreter to run Lava with, or None where there is none.

    Looks at the current interpreter, ``$SNNDEPLOY_LAVA_PYTHON``, ``.venv-lava`` in a source
    checkout, and the private environment, in that order.

    Raises:
        BackendMissing: ``$SNNDEPLOY_LAVA_PYTHON`` is set, but Lava cannot run there.
    """
    return _current() or _named() or created(_checkout()) or created(private_directory())


def require_lava() -> LavaEnv:
    """Return what `find_lava` finds.

    Raises:
        BackendMissing: there is none.
    """
    if (env := find_lava()) is not None:
        return env
    raise BackendMissing(
        "lava-missing",
        f"no Python with lava-nc {LAVA_VERSION} was found",
        hint=f"run `snndeploy lava install`, or set {PYTHON_VARIABLE} to a Python that has it; or go "
        "without (--engines float,compressed,integer)",
    )


def check_lava(python: Path) -> None:
    """Import lava with ``python``, in a process of its own.

    Raises:
        BackendMissing: the import fails.
    """
    try:
        run_python(python, str(_WORKER / "compat.py"), timeout=300)
    except FAILURES as error:
        raise BackendMissing(
            "lava-broken",
            f"lava-nc does not import: {reason_of(error)}",
            where=str(python),
            hint="run `snndeploy lava install` to make an environment that works",
        ) from error


def lava_environ() -> dict[str, str]:
    """Return the environment variables to start another Python with: ours, less our own paths."""
    ours = {"PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "__PYVENV_LAUNCHER__"}
    return {name: value for name, value in os.environ.items() if name not in ours}


def _current() -> LavaEnv | None:
    """The running interpreter, if lava-nc is installed in it."""
    from importlib.metadata import PackageNotFoundError, version
    from importlib.util import find_spec

    try:
        found = find_spec("lava") is not None and version("lava-nc") == LAVA_VERSION
    except PackageNotFoundError:
        return None
    return environment(Path(sys.executable), sys.version_info[:2], "interpreter") if found else None


def _named() -> LavaEnv | None:
    """The interpreter that the environment variable names."""
    if not (named := os.environ.get(PYTHON_VARIABLE)):
        return None
    python = Path(named).expanduser().absolute()
    try:
        version, lava = facts_of(python)
        reason = "" if lava == LAVA_VERSION else f"its lava-nc is {lava or 'missing'}"
    except FAILURES as error:
        reason = reason_of(error)
    if reason:
        raise BackendMissing(
            "lava-python-unusable",
            f"{python} cannot run Lava: {reason}",
            where=PYTHON_VARIABLE,
            hint=f"set it to a Python that has lava-nc {LAVA_VERSION}, or unset it",
        )
    return environment(python, version, "variable")


def created(directory: Path) -> LavaEnv | None:
    """The environment in ``directory``, if `install_lava` completed it."""
    try:
        stamp = (directory / STAMP).read_text()
    except OSError:
        return None
    python = python_of(directory)
    version = next((version for version in PYTHONS if stamp == complete_stamp(version)), None)
    # The base interpreter can be removed after the install, which leaves a dangling link.
    if version is None or not python.exists():
        return None
    return environment(python, version, origin_of(directory))


def origin_of(directory: Path) -> Origin:
    """How `find_lava` comes upon an environment in ``directory``."""
    known: dict[Path, Origin] = {_checkout(): "checkout", private_directory(): "private"}
    return known.get(directory, "directory")


def environment(python: Path, version: tuple[int, int], origin: Origin) -> LavaEnv:
    """An interpreter of which the version is known, and that it has lava-nc."""
    return LavaEnv(
        python=python,
        version=version,
        lava_version=LAVA_VERSION,
        patched=version >= (3, 11),
        origin=origin,
    )


def _checkout() -> Path:
    """``.venv-lava`` of a source checkout; for an installed package a path that nobody makes."""
    return Path(__file__).parents[3] / ".venv-lava"


def private_directory() -> Path:
    """Where this user's own environment is, or would be."""
    import platformdirs

    return Path(platformdirs.user_data_dir("snndeploy")) / f"lava-{LAVA_VERSION}"


def python_of(directory: Path) -> Path:
    """The interpreter of a virtual environment."""
    return directory / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def complete_stamp(version: tuple[int, int]) -> str:
    """The stamp of an environment that passed its self-check."""
    return f"lava-nc {LAVA_VERSION} on Python {dotted(version)}\n"


def facts_of(python: Path) -> tuple[tuple[int, int], str]:
    """The version of an interpreter, and that of its lava-nc, empty where it has none."""
    major, minor, *lava = run_python(python, "-c", _FACTS).split()
    return (int(major), int(minor)), "".join(lava[:1])


def interpreters(versions: Iterable[tuple[int, int]]) -> Iterator[tuple[Path, tuple[int, int]]]:
    """The Pythons of this machine that have one of ``versions``, in their order."""
    import findpython

    found = [
        (python.executable, (python.major, python.minor))
        for python in findpython.find_all(3, implementation="cpython")
    ]
    found.append((Path(sys.executable), sys.version_info[:2]))
    for wanted in versions:
        yield from ((python, version) for python, version in found if version == wanted)


def alternatives(versions: Iterable[tuple[int, int]]) -> str:
    """``3.10, 3.11 or 3.12``."""
    *others, last = map(dotted, versions)
    return f"{', '.join(others)} or {last}"


def dotted(version: tuple[int, int]) -> str:
    """A version as people write it."""
    return f"{version[0]}.{version[1]}"


def run_python(python: Path, *arguments: str, timeout: float | None = None) -> str:
    """Run ``python`` beside the worker, away from the caller's modules; return its output."""
    done = subprocess.run(
        [str(python), *arguments],
        check=True,
        capture_output=True,
        cwd=_WORKER,
        env=lava_environ(),
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=timeout,
    )
    return done.stdout


def reason_of(error: Exception) -> str:
    """The part of a failed command's output that says why."""
    if isinstance(error, ValueError):
        return "it does not answer as a Python would"
    if not isinstance(error, subprocess.CalledProcessError):
        return str(error)
    lines = (error.stderr or error.stdout).strip().splitlines()
    return "\n".join(lines[-8:]) or f"exit code {error.returncode}"
