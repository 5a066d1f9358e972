"""Make the two environments that development needs: ``.venv`` and ``.venv-lava``.

Standard library only. A second run starts at once; an interrupted one is taken up again.
"""

import sys

if sys.version_info < (3, 10):  # noqa: UP036 - whoever starts this with an older one is told so
    sys.exit("snndeploy needs Python 3.10 or newer; this is " + sys.version.split()[0])

import argparse
import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
VENV_PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
STAMP = VENV / "bootstrap.sha256"

PYTHONS = ("3.11", "3.12", "3.10", "3.13")
"""What ``.venv`` can be built on, best first."""

# Installed before the rest, so that no other requirement chooses another build of it.
TORCH = "torch==2.13.0"

INSTALL_LAVA = """
import sys
from pathlib import Path
from snndeploy.errors import SnnDeployError
from snndeploy.simulate.lava.install import install_lava
try:
    install_lava(Path(sys.argv[1]), progress=lambda line: print("bootstrap:", line, flush=True))
except SnnDeployError as error:
    sys.exit(str(error))
"""


def main() -> None:
    """Bring both environments up to date."""
    parser = argparse.ArgumentParser(description="Make .venv and .venv-lava, or update them.")
    parser.add_argument("--without-lava", action="store_true", help="leave out .venv-lava")
    options = parser.parse_args()
    started = time.monotonic()
    try:
        if not is_current():
            make_venv()
            say(f".venv is ready after {time.monotonic() - started:.0f} s")
    except subprocess.CalledProcessError as error:
        command = " ".join(map(str, error.cmd))
        sys.exit(f"{error.stderr.decode()}\nbootstrap: this failed: {command}")
    if not options.without_lava and not make_lava_venv():
        say("NO LAVA: all but the Lava engine works; the next run tries again")


def is_current() -> bool:
    """Whether ``.venv`` was completed for this very ``pyproject.toml``."""
    return VENV_PYTHON.exists() and STAMP.is_file() and STAMP.read_text() == digest()


def digest() -> str:
    """Return one hash over what the contents of ``.venv`` depend on."""
    return hashlib.sha256((ROOT / "pyproject.toml").read_bytes() + TORCH.encode()).hexdigest()


def make_venv() -> None:
    """Create ``.venv``, or take up the one that an earlier run left, and install into it."""
    if not can_import("pip", VENV_PYTHON):
        base = find_python()
        say(f"creating .venv on {base}")
        run(base, "-m", "venv", "--clear", VENV)
    pip = (VENV_PYTHON, "-m", "pip", "install", "--no-input", "--disable-pip-version-check")
    say(f"installing {TORCH}")
    run(*pip, TORCH)
    say("installing snndeploy and its development tools")
    run(*pip, "--editable", f"{ROOT}[dev]")
    STAMP.write_text(digest())


def make_lava_venv() -> bool:
    """Create ``.venv-lava`` unless it is there; return whether there is one."""
    try:
        run(VENV_PYTHON, "-c", INSTALL_LAVA, ROOT / ".venv-lava", quiet=False)
    except subprocess.CalledProcessError:
        return False
    return True


def find_python() -> Path:
    """Return the best Python on this machine that can create environments."""
    for version in PYTHONS:
        for python in candidates(version):
            if can_import("ensurepip", python):
                return python
    sys.exit(f"snndeploy needs one of Python {', '.join(PYTHONS)} with venv, and found none")


def candidates(version: str) -> Iterator[Path]:
    """Yield where a Python of this version may be: this one, on PATH, from pyenv, from uv."""
    if sys.version.startswith(f"{version}."):
        yield Path(sys.executable)
    found = shutil.which(f"python{version}")
    if found:
        yield Path(found)
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from sorted(pyenv.glob(f"versions/{version}.*/bin/python"))
    uv = Path(os.environ.get("UV_PYTHON_INSTALL_DIR") or Path.home() / ".local/share/uv/python")
    yield from sorted(uv.glob(f"cpython-{version}*/bin/python{version}"))


def can_import(module: str, python: Path) -> bool:
    """Whether ``python`` runs, is of a version that snndeploy supports, and has ``module``."""
    check = f"import sys, {module}; sys.exit(not (3, 10) <= sys.version_info < (3, 14))"
    try:
        run(python, "-c", check)
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


def run(*command: str | Path, quiet: bool = True) -> None:
    """Run a command; what it says is kept for the error, or else goes to the terminal."""
    subprocess.run(command, cwd=ROOT, check=True, capture_output=quiet)


def say(line: str) -> None:
    """Tell the progress, at once even into a pipe."""
    print(f"bootstrap: {line}", flush=True)


if __name__ == "__main__":
    main()
