"""The wheel, with nothing of this checkout, on every Python: it runs the demo.

Interpreters are those of ``SNNDEPLOY_PYTHONS`` (paths), whose environments have what the package needs;
the wheel alone is laid before them. For any other that is found on this machine an empty environment is
made, which takes minutes, most of them for torch.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from snndeploy.simulate.lava.env import interpreters

ROOT = Path(__file__).parents[1]
PYTHONS = ("3.10", "3.11", "3.12", "3.13")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def run(*words: object, folder: Path, site: Path | None = None) -> str:
    """A command in an environment that knows nothing of this one but what lies in ``site``."""
    hidden = ("PYTHONPATH", "VIRTUAL_ENV", "PYTHONHOME")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    if site is not None:
        environment["PYTHONPATH"] = str(site)
    done = subprocess.run(
        [str(word) for word in words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, (words, done.stdout, done.stderr)
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, ROOT, folder=folder)
    (made,) = folder.glob("*.whl")
    return made


def test_the_wheel_holds_targets_recipes_and_the_demo(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for held in ("targets/loihi2.toml", "recipes/default.toml", "demo/digits.nir", "py.typed"):
        assert f"snndeploy/{held}" in names
    assert not any(name.startswith(("tests/", "tools/", "docs/")) for name in names)


@pytest.mark.parametrize("version", PYTHONS)
def test_the_wheel_runs_the_demo(version: str, wheel: Path, tmp_path: Path) -> None:
    site, python = None, prepared(version)
    if python is not None:
        site = tmp_path / "site"
        run(
            python,
            "-m",
            "pip",
            "install",
            "-q",
            "--no-deps",
            "--target",
            site,
            wheel,
            folder=tmp_path,
        )
    else:
        major, minor = map(int, version.split("."))
        base = next(interpreters([(major, minor)]), None)
        if base is None:
            pytest.skip(f"there is no Python {version}")
        run(base[0], "-m", "venv", tmp_path / "env", folder=tmp_path)
        python = tmp_path / "env" / "bin" / "python"
        run(python, "-m", "pip", "install", "-q", wheel, folder=tmp_path)
        run(python, "-m", "pip", "check", folder=tmp_path)
    empty = tmp_path / "empty"
    empty.mkdir()
    where = run(
        python, "-c", "import snndeploy; print(snndeploy.__file__)", folder=empty, site=site
    )
    assert where.startswith(str(tmp_path))

    def command(*words: object) -> str:
        return run(python, "-m", "snndeploy", *words, folder=empty, site=site)

    assert f"snndeploy-{command('--version').split()[-1]}-py3" in wheel.name
    bundle, page = tmp_path / "digits.snnb", tmp_path / "digits.html"
    result = json.loads(command("demo", "-n", "10", "-o", bundle, "--json"))
    assert result["run"]["accuracy"]["integer"] == 1.0
    assert result["equal"] in (True, None)
    command("report", bundle, "--html", page)
    assert "<h1>digits on loihi2 (oheo-gulch)</h1>" in page.read_text(encoding="utf-8")
    assert list(empty.iterdir()) == []


def prepared(version: str) -> Path | None:
    """The interpreter of this version whose environment has what the package needs, if one is named."""
    for named in filter(None, os.environ.get("SNNDEPLOY_PYTHONS", "").split(os.pathsep)):
        asked = "import sys; print('%d.%d' % sys.version_info[:2])"
        if run(named, "-c", asked, folder=Path(named).parent).strip() == version:
            return Path(named)
    return None
