"""Every Python gives the same programs, and makes those of a lock from another one.

The interpreters are those of ``SNNDEPLOY_PYTHONS`` (paths), ``.venv-3.NN`` in the project, and on the
path, as far as the package is installed for them: ``.venv-3.NN/bin/pip install --editable .``
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snndeploy.bundle import read_bundle
from snndeploy.demo import digits
from snndeploy.errors import InputError
from snndeploy.export import write_nir
from tests.support.builders import conv_net, residual_net
from tests.support.commands import check, run
from tests.support.digests import digest
from tests.support.exact_networks import FAMILIES, exact_network
from tests.support.structures import NETWORKS

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "snndeploy/demo"
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
WITH_DATA: dict[str, dict[str, Any]] = {
    "auto": {"recipe": "auto"},
    "default": {"recipe": "default"},
    "sbc": {"recipe": "sbc"},
    "calibrated": {"recipe": "default", "scale": "calibrated"},
    "loihi1": {"recipe": "default", "target": "loihi1"},
    "netx": {"recipe": None, "layout": "netx"},
}
NEEDED = "import click, importlib.metadata, torch; importlib.metadata.version('snndeploy')"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@cache
def python(version: str) -> str:
    """An interpreter that the package is installed for; nothing, if there is none."""
    named = os.environ.get("SNNDEPLOY_PYTHONS", "").split(os.pathsep)
    beside = ROOT / f".venv-{version}/bin/python"
    for found in (*filter(None, named), str(beside), shutil.which(f"python{version}")):
        if found is None or not Path(found).exists():
            continue
        asked = [found, "-c", f"import sys; print('%d.%d' % sys.version_info[:2]); {NEEDED}"]
        said = subprocess.run(asked, capture_output=True, text=True, check=False)
        if (said.returncode, said.stdout.strip()) == (0, version):
            return found
    return ""


def other(version: str) -> str:
    if version == "{}.{}".format(*sys.version_info[:2]):
        pytest.skip("it is this one")
    return python(version) or pytest.skip(f"snndeploy is not installed for a Python {version}")


def digits_data(folder: Path) -> Path:
    """Some of the demo's samples as spikes."""
    samples = digits().first(120)
    np.savez(folder / "digits.npz", x=samples.inputs.swapaxes(0, 1), y=samples.labels)
    return folder / "digits.npz"


def jobs(folder: Path) -> dict[str, tuple[str, dict[str, Any], str | None]]:
    """All example networks, and the demo's with its data in several ways."""
    networks = {name: exact_network(name, 0) for name in FAMILIES}
    networks |= {name: make() for name, make in NETWORKS.items()}
    networks |= {"conv_net": conv_net(), "residual_net": residual_net()}
    found: dict[str, tuple[str, dict[str, Any], str | None]] = {}
    for name, network in networks.items():
        try:
            path = write_nir(folder / f"{name.replace(' ', '-')}.nir", network)
        except InputError:  # NIR has no node for a part of it
            continue
        found[name] = (str(path), {}, None)
        found[f"{name}, loihi1"] = (str(path), {"target": "loihi1", "recipe": None}, None)
    model, data = str(DEMO / "digits.nir"), str(digits_data(folder))
    found["digits"] = (model, {}, None)
    for name, options in WITH_DATA.items():
        found[f"digits, {name}"] = (model, options, data)
    shared = Path(os.environ.get("SNNDEPLOY_DATA", ROOT.parent / "shared" / "data"))
    for path in sorted((shared / "nir_exports").glob("*.nir")):
        found[path.stem] = (str(path), {}, None)
    return found


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Any]]:
    """The jobs, and what they give here."""
    todo = jobs(tmp_path_factory.mktemp("models"))
    return todo, {
        name: digest(path, dict(options), data) for name, (path, options, data) in todo.items()
    }


@pytest.mark.parametrize("version", PYTHONS)
def test_the_same_programs(version: str, expected: tuple[dict[str, Any], dict[str, Any]]) -> None:
    todo, here = expected
    done = subprocess.run(
        [other(version), "-m", "tests.support.digests"],
        input=json.dumps(todo),
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    there = json.loads(done.stdout)
    assert {n: there[n] for n in here if there[n] != here[n]} == {}
    assert sum("program" in found for found in here.values()) > 30


@pytest.mark.parametrize("version", PYTHONS)
def test_a_lock_from_another_python(version: str, tmp_path: Path) -> None:
    """What it locked is made here; and where something is different, that is said."""
    bundle, data = tmp_path / "a.snnb", digits_data(tmp_path)
    made = ("compile", DEMO / "digits.nir", "-r", "auto", "-d", data, "--scale", "calibrated")
    subprocess.run(
        [other(version), "-m", "snndeploy", *map(str, made), "-o", bundle],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
    )
    locked = ("compile", DEMO / "digits.nir", "--locked", bundle / "lock.toml", "-d", data)
    check(run(*locked, "-o", tmp_path / "b.snnb"), 0)
    assert read_bundle(tmp_path / "b.snnb").program.digest == read_bundle(bundle).program.digest
    lock = (bundle / "lock.toml").read_text()
    assert f'python = "{version}.' in lock
    other_program = lock.replace(read_bundle(bundle).program.digest, "0" * 64)
    (tmp_path / "lock.toml").write_text(other_program)
    locked = ("compile", DEMO / "digits.nir", "--locked", tmp_path / "lock.toml", "-d", data)
    text = check(run(*locked, "-o", tmp_path / "c.snnb"), 6)
    assert f"python: locked {version}." in text
