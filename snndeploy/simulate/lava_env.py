"""The interpreter that has lava-nc: find it, create it, check it.

lava-nc 0.10.0 is frozen upstream, declares Python 3.10 only and pins numpy below 2, so it usually
lives in an interpreter of its own. This module says which one, and never imports lava itself.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..errors import BackendMissing, UsageError

LAVA_VERSION = "0.10.0"
PYTHON_VARIABLE = "SNNDEPLOY_LAVA_PYTHON"
PYTHONS = ((3, 10), (3, 11), (3, 12))
"""Versions that can run lava-nc, best first: 3.10 needs no patch; on 3.13 there is no numpy 1."""

# What lava-nc 0.10.0 declares, except for SciPy: its last series on 3.10, so that 3.11 and 3.12
# compute with the same one.
_PINS = (
    "numpy>=1.24.4,<2",
    "scipy>=1.10.1,<1.16",
    "networkx<=2.8.7",
    "asteval>=0.9.31,<0.10",
    "scikit-learn>=1.5,<2",
)
_STAMP = "snndeploy-lava.txt"
_BUILDING = "building"
_WORKER = Path(__file__).parent / "lava_worker"
_FACTS = (
    "import sys; from importlib.metadata import distributions;"
    "print(*sys.version_info[:2], *(found.version for found in distributions(name='lava-nc')))"
)

# How a command for another interpreter can fail: no such file, its exit code, what it answers.
_FAILURES = (OSError, subprocess.SubprocessError, ValueError)

_Base = tuple[Path, tuple[int, int]]
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
    return _current() or _named() or _created(_checkout()) or _created(_private())


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
        hint=f"run `snndeploy lava install`, or set {PYTHON_VARIABLE} to a Python that has it",
    )


def install_lava(
    directory: Path | None = None,
    python: Path | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> LavaEnv:
    """Create an environment that runs Lava, unless it is already there.

    A failed or interrupted install leaves nothing that `find_lava` would take for an environment:
    only the stamp, written after the self-check, makes a directory count.

    Args:
        directory: where; the private environment of this user if None.
        python: the interpreter to build on; the best one found on this machine if None.
        progress: called with one line per step.

    Raises:
        BackendMissing: no suitable Python, or the installation fails.
        UsageError: ``directory`` holds something else.
    """
    directory = (directory or _private()).expanduser().absolute()
    base = None if python is None else _base(python.expanduser().absolute())
    if (env := _created(directory)) is not None and (base is None or base[1] == env.version):
        progress(f"lava-nc {LAVA_VERSION} is already in {directory}")
        return env
    try:
        _claim(directory)
        version = _create_venv(directory, _bases() if base is None else [base], progress)
        _install_into(_python_of(directory), progress)
        _write_stamp(directory, _complete(version))
    except _FAILURES as error:
        raise BackendMissing(
            "lava-install-failed",
            f"installing lava-nc {LAVA_VERSION} failed: {_reason(error)}",
            where=str(directory),
            hint="check the network and pip's settings, then run `snndeploy lava install` again",
        ) from error
    finally:
        if _created(directory) is None:
            _discard(directory)
    progress(f"lava-nc {LAVA_VERSION} is ready in {directory}")
    return _env(_python_of(directory), version, _origin(directory))


def check_lava(python: Path) -> None:
    """Import lava with ``python``, in a process of its own.

    Raises:
        BackendMissing: the import fails.
    """
    try:
        _run(python, str(_WORKER / "compat.py"), timeout=300)
    except _FAILURES as error:
        raise BackendMissing(
            "lava-broken",
            f"lava-nc does not import: {_reason(error)}",
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
    return _env(Path(sys.executable), sys.version_info[:2], "interpreter") if found else None


def _named() -> LavaEnv | None:
    """The interpreter that the environment variable names."""
    if not (named := os.environ.get(PYTHON_VARIABLE)):
        return None
    python = Path(named).expanduser().absolute()
    try:
        version, lava = _facts(python)
        reason = "" if lava == LAVA_VERSION else f"its lava-nc is {lava or 'missing'}"
    except _FAILURES as error:
        reason = _reason(error)
    if reason:
        raise BackendMissing(
            "lava-python-unusable",
            f"{python} cannot run Lava: {reason}",
            where=PYTHON_VARIABLE,
            hint=f"set it to a Python that has lava-nc {LAVA_VERSION}, or unset it",
        )
    return _env(python, version, "variable")


def _created(directory: Path) -> LavaEnv | None:
    """The environment in ``directory``, if `install_lava` completed it."""
    try:
        stamp = (directory / _STAMP).read_text()
    except OSError:
        return None
    python = _python_of(directory)
    version = next((version for version in PYTHONS if stamp == _complete(version)), None)
    # The base interpreter can be removed after the install, which leaves a dangling link.
    if version is None or not python.exists():
        return None
    return _env(python, version, _origin(directory))


def _origin(directory: Path) -> Origin:
    known: dict[Path, Origin] = {_checkout(): "checkout", _private(): "private"}
    return known.get(directory, "directory")


def _env(python: Path, version: tuple[int, int], origin: Origin) -> LavaEnv:
    return LavaEnv(
        python=python,
        version=version,
        lava_version=LAVA_VERSION,
        patched=version >= (3, 11),
        origin=origin,
    )


def _checkout() -> Path:
    """``.venv-lava`` of a source checkout; for an installed package a path that nobody makes."""
    return Path(__file__).parents[2] / ".venv-lava"


def _private() -> Path:
    import platformdirs

    return Path(platformdirs.user_data_dir("snndeploy")) / f"lava-{LAVA_VERSION}"


def _python_of(directory: Path) -> Path:
    return directory / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _complete(version: tuple[int, int]) -> str:
    """The stamp of an environment that passed its self-check."""
    return f"lava-nc {LAVA_VERSION} on Python {_dotted(version)}\n"


def _write_stamp(directory: Path, text: str) -> None:
    staged = directory / f"{_STAMP}.new"
    staged.write_text(text)
    staged.replace(directory / _STAMP)


def _bases() -> Iterator[_Base]:
    """Interpreters that an environment can be built on, best first."""
    import findpython

    found = [
        (python.executable, (python.major, python.minor))
        for python in findpython.find_all(3, implementation="cpython")
    ]
    found.append((Path(sys.executable), sys.version_info[:2]))
    for wanted in PYTHONS:
        yield from ((python, version) for python, version in found if version == wanted)


def _facts(python: Path) -> tuple[tuple[int, int], str]:
    """The version of an interpreter, and that of its lava-nc, empty where it has none."""
    major, minor, *lava = _run(python, "-c", _FACTS).split()
    return (int(major), int(minor)), "".join(lava[:1])


def _base(python: Path) -> _Base:
    """An interpreter that the caller wants an environment to be built on."""
    try:
        version, _ = _facts(python)
        reason = "" if version in PYTHONS else f"it is Python {_dotted(version)}"
    except _FAILURES as error:
        reason = _reason(error)
    if reason:
        raise BackendMissing(
            "lava-python-unsuitable",
            f"{python} cannot run lava-nc {LAVA_VERSION}: {reason}",
            hint=f"name a Python {_wanted()}",
        )
    return python, version


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


def _wanted() -> str:
    *others, last = map(_dotted, PYTHONS)
    return f"{', '.join(others)} or {last}"


def _create_venv(
    directory: Path, bases: Iterable[_Base], progress: Callable[[str], None]
) -> tuple[int, int]:
    """Create a virtual environment on the first base that can, and return its version.

    Some systems ship Python without what ``venv`` needs, hence the next one is tried.
    """
    failure = ""
    for python, version in bases:
        progress(f"creating an environment on {python} (Python {_dotted(version)})")
        try:
            _run(python, "-m", "venv", str(directory))
        except _FAILURES as error:
            failure = f"; {python} cannot create an environment: {_reason(error)}"
        else:
            return version
    raise BackendMissing(
        "lava-no-python",
        f"lava-nc {LAVA_VERSION} needs Python {_wanted()}, and none that works was found{failure}",
        hint="install Python 3.10, for example with `uv python install 3.10`, and try again",
    )


def _install_into(python: Path, progress: Callable[[str], None]) -> None:
    """Install lava-nc and its pins, and see that it imports."""
    pip = ("-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--prefer-binary")
    lava = f"lava-nc=={LAVA_VERSION}"
    progress(f"installing {lava}")
    # Its metadata refuses 3.11 and 3.12, so its requirements are given by hand, on 3.10 as well.
    _run(python, *pip, "--no-deps", "--ignore-requires-python", lava)
    progress("installing numpy, scipy and what else it needs")
    _run(python, *pip, *_PINS)
    progress("checking that it imports")
    check_lava(python)


def _run(python: Path, *arguments: str, timeout: float | None = None) -> str:
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


def _reason(error: Exception) -> str:
    """The part of a failed command's output that says why."""
    if isinstance(error, ValueError):
        return "it does not answer as a Python would"
    if not isinstance(error, subprocess.CalledProcessError):
        return str(error)
    lines = (error.stderr or error.stdout).strip().splitlines()
    return "\n".join(lines[-8:]) or f"exit code {error.returncode}"


def _claim(directory: Path) -> None:
    """Empty ``directory`` for an environment of ours; refuse one that holds anything else."""
    _discard(directory)
    if directory.exists() and any(directory.iterdir()):
        raise UsageError(
            "lava-directory-occupied",
            "the directory holds something that snndeploy did not put there",
            where=str(directory),
            hint="name another directory, or remove this one",
        )
    directory.mkdir(parents=True, exist_ok=True)
    _write_stamp(directory, _BUILDING)


def _discard(directory: Path) -> None:
    """Remove an environment that `install_lava` made or began, and nothing else."""
    stamp = directory / _STAMP
    if not stamp.is_file():
        return
    # The stamp goes last: an interrupted removal is recognised and taken up again.
    for entry in directory.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry != stamp:
            entry.unlink()
    stamp.unlink()
    directory.rmdir()
