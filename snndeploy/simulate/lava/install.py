"""Creating the environment that `lava_env` finds: a Python of the right version, lava-nc, its pins."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from ...errors import BackendMissing, UsageError
from ...progress import silent
from .env import (
    FAILURES,
    LAVA_VERSION,
    PYTHONS,
    STAMP,
    LavaEnv,
    alternatives,
    check_lava,
    complete_stamp,
    created,
    dotted,
    environment,
    facts_of,
    interpreters,
    origin_of,
    private_directory,
    python_of,
    reason_of,
    run_python,
)

# What lava-nc 0.10.0 declares, except for SciPy: its last series on 3.10, so that 3.11 and 3.12
# compute with the same one.
_PINS = (
    "numpy>=1.24.4,<2",
    "scipy>=1.10.1,<1.16",
    "networkx<=2.8.7",
    "asteval>=0.9.31,<0.10",
    "scikit-learn>=1.5,<2",
)
_BUILDING = "building"

_Base = tuple[Path, tuple[int, int]]


def install_lava(
    directory: Path | None = None,
    python: Path | None = None,
    progress: Callable[[str], None] = silent,
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
    directory = (directory or private_directory()).expanduser().absolute()
    base = None if python is None else _base(python.expanduser().absolute())
    if (env := created(directory)) is not None and (base is None or base[1] == env.version):
        progress(f"lava-nc {LAVA_VERSION} is already in {directory}")
        return env
    try:
        _claim(directory)
        version = _create_venv(directory, _bases() if base is None else [base], progress)
        _install_into(python_of(directory), progress)
        _write_stamp(directory, complete_stamp(version))
    except FAILURES as error:
        raise BackendMissing(
            "lava-install-failed",
            f"installing lava-nc {LAVA_VERSION} failed: {reason_of(error)}",
            where=str(directory),
            hint="check the network and pip's settings, then run `snndeploy lava install` again",
        ) from error
    finally:
        if created(directory) is None:
            _discard(directory)
    progress(f"lava-nc {LAVA_VERSION} is ready in {directory}")
    return environment(python_of(directory), version, origin_of(directory))


def _bases() -> Iterator[_Base]:
    """Interpreters that an environment can be built on, best first."""
    return interpreters(PYTHONS)


def _base(python: Path) -> _Base:
    """An interpreter that the caller wants an environment to be built on."""
    try:
        version, _ = facts_of(python)
        reason = "" if version in PYTHONS else f"it is Python {dotted(version)}"
    except FAILURES as error:
        reason = reason_of(error)
    if reason:
        raise BackendMissing(
            "lava-python-unsuitable",
            f"{python} cannot run lava-nc {LAVA_VERSION}: {reason}",
            hint=f"name a Python {_wanted()}",
        )
    return python, version


def _wanted() -> str:
    return alternatives(PYTHONS)


def _create_venv(
    directory: Path, bases: Iterable[_Base], progress: Callable[[str], None]
) -> tuple[int, int]:
    """Create a virtual environment on the first base that can, and return its version.

    Some systems ship Python without what ``venv`` needs, hence the next one is tried.
    """
    failure = ""
    for python, version in bases:
        progress(f"creating an environment on {python} (Python {dotted(version)})")
        try:
            run_python(python, "-m", "venv", str(directory))
        except FAILURES as error:
            failure = f"; {python} cannot create an environment: {reason_of(error)}"
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
    run_python(python, *pip, "--no-deps", "--ignore-requires-python", lava)
    progress("installing numpy, scipy and what else it needs")
    run_python(python, *pip, *_PINS)
    progress("checking that it imports")
    check_lava(python)


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
    stamp = directory / STAMP
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


def _write_stamp(directory: Path, text: str) -> None:
    staged = directory / f"{STAMP}.new"
    staged.write_text(text)
    staged.replace(directory / STAMP)
