"""Creating the environment that `lava_env` finds: a Python of the right version, lava-nc, its pins."""

from __future__ import annotations

from collections.abc import Callable, Iterable
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
from .place import BasePython, EnvironmentPlace

# What lava-nc 0.10.0 declares, except for SciPy: its last series on 3.10, so that 3.11 and 3.12
# compute with the same one.
_PINS = (
    "numpy>=1.24.4,<2",
    "scipy>=1.10.1,<1.16",
    "networkx<=2.8.7",
    "asteval>=0.9.31,<0.10",
    "scikit-learn>=1.5,<2",
)


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
    place = EnvironmentPlace(directory, STAMP)
    try:
        if not place.claim():
            raise UsageError(
                "lava-directory-occupied",
                "the directory holds something that snndeploy did not put there",
                where=str(directory),
                hint="name another directory, or remove this one",
            )
        version, failure = place.made_on(_bases() if base is None else [base], progress)
        if version is None:
            raise BackendMissing(
                "lava-no-python",
                f"lava-nc {LAVA_VERSION} needs Python {_wanted()}, and none that works was "
                f"found{failure}",
                hint="install Python 3.10, for example with `uv python install 3.10`, and try again",
            )
        _install_into(python_of(directory), progress)
        place.sign(complete_stamp(version))
    except FAILURES as error:
        raise BackendMissing(
            "lava-install-failed",
            f"installing lava-nc {LAVA_VERSION} failed: {reason_of(error)}",
            where=str(directory),
            hint="check the network and pip's settings, then run `snndeploy lava install` again",
        ) from error
    finally:
        if created(directory) is None:
            place.discard()
    progress(f"lava-nc {LAVA_VERSION} is ready in {directory}")
    return environment(python_of(directory), version, origin_of(directory))


def _bases() -> Iterable[BasePython]:
    """Interpreters that an environment can be built on, best first."""
    return interpreters(PYTHONS)


def _base(python: Path) -> BasePython:
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
