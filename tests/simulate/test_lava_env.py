"""The interpreter that has lava: how it is found, made and refused."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

from snndeploy.errors import BackendMissing, UsageError
from snndeploy.simulate.lava import env as lava_env
from snndeploy.simulate.lava import install as lava_install
from snndeploy.simulate.lava.env import LAVA_VERSION, PYTHON_VARIABLE, LavaEnv, find_lava
from snndeploy.simulate.lava.lava_worker.compat import import_lava
from snndeploy.simulate.lava.place import EnvironmentPlace

HERE = sys.version_info[:2]


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine on which Lava is nowhere, with its checkout and private environment in here."""
    monkeypatch.delenv(PYTHON_VARIABLE, raising=False)
    monkeypatch.setattr(lava_env, "_checkout", lambda: tmp_path / "checkout")
    for module in (lava_env, lava_install):
        monkeypatch.setattr(module, "private_directory", lambda: tmp_path / "private")
    site = [path for path in sys.path if not (Path(path) / "lava").is_dir()]
    monkeypatch.setattr(sys, "path", site)
    return tmp_path


@pytest.fixture(scope="module")
def environments(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Pythons that have some version of lava-nc, or none (``""``), as far as metadata tells."""

    def make(lava: str) -> Path:
        directory = tmp_path_factory.mktemp("environment")
        venv.create(directory)
        if lava:
            purelib = sysconfig.get_path("purelib", "venv", {"base": str(directory)})
            describe(Path(purelib), lava)
        return lava_env.python_of(directory)

    return make


def describe(site: Path, lava: str) -> None:
    """Let ``site`` look as if lava-nc were installed there."""
    (site / "lava").mkdir()
    (site / "lava" / "__init__.py").touch()
    (site / f"lava_nc-{lava}.dist-info").mkdir()
    metadata = f"Metadata-Version: 2.1\nName: lava-nc\nVersion: {lava}\n"
    (site / f"lava_nc-{lava}.dist-info" / "METADATA").write_text(metadata)


def complete(directory: Path, version: tuple[int, int] = (3, 11)) -> Path:
    """Let ``directory`` look as install_lava leaves it."""
    python = lava_env.python_of(directory)
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    EnvironmentPlace(directory, lava_env.STAMP).sign(lava_env.complete_stamp(version))
    return python


@pytest.mark.lava
def test_the_development_environment_has_lava() -> None:
    env = lava_env.require_lava()
    assert env.lava_version == LAVA_VERSION
    assert env.version in lava_env.PYTHONS
    assert env.patched == (env.version > (3, 10))
    lava_env.check_lava(env.python)


def test_the_first_place_that_has_lava_wins(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch, environments: Callable[[str], Path]
) -> None:
    def found() -> tuple[str, Path] | None:
        env = find_lava()
        return None if env is None else (env.origin, env.python)

    assert found() is None
    private = complete(nowhere / "private")
    assert found() == ("private", private)
    checkout = complete(nowhere / "checkout")
    assert found() == ("checkout", checkout)
    named = environments(LAVA_VERSION)
    monkeypatch.setenv(PYTHON_VARIABLE, str(named))
    assert found() == ("variable", named)
    (nowhere / "site").mkdir()
    describe(nowhere / "site", LAVA_VERSION)
    monkeypatch.syspath_prepend(nowhere / "site")
    assert found() == ("interpreter", Path(sys.executable))


def test_another_version_of_lava_in_this_interpreter_does_not_count(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    describe(nowhere, "0.9.0")
    monkeypatch.syspath_prepend(nowhere)
    assert find_lava() is None


@pytest.mark.parametrize(("version", "patched"), [((3, 10), False), ((3, 11), True)])
def test_only_newer_pythons_need_the_patch(
    nowhere: Path, version: tuple[int, int], patched: bool
) -> None:
    python = complete(nowhere / "private", version)
    expected = LavaEnv(
        python=python, version=version, lava_version=LAVA_VERSION, patched=patched, origin="private"
    )
    assert find_lava() == expected


def test_missing(nowhere: Path) -> None:
    with pytest.raises(BackendMissing) as caught:
        lava_env.require_lava()
    assert caught.value.code == "lava-missing"
    assert str(caught.value) == (
        "no Python with lava-nc 0.10.0 was found\n"
        "  next: run `snndeploy lava install`, or set SNNDEPLOY_LAVA_PYTHON to a Python "
        "that has it; or go without (--engines float,compressed,integer)"
    )


@pytest.mark.parametrize(
    ("lava", "reason"), [("", "its lava-nc is missing"), ("0.9.0", "its lava-nc is 0.9.0")]
)
def test_a_named_python_without_lava_is_an_error(
    nowhere: Path,
    monkeypatch: pytest.MonkeyPatch,
    environments: Callable[[str], Path],
    lava: str,
    reason: str,
) -> None:
    complete(nowhere / "private")
    python = environments(lava)
    monkeypatch.setenv(PYTHON_VARIABLE, str(python))
    with pytest.raises(BackendMissing) as caught:
        find_lava()
    assert caught.value.code == "lava-python-unusable"
    assert str(caught.value) == (
        f"SNNDEPLOY_LAVA_PYTHON: {python} cannot run Lava: {reason}\n"
        "  next: set it to a Python that has lava-nc 0.10.0, or unset it"
    )


@pytest.mark.parametrize(
    ("python", "reason"),
    [("/no/such/python", "No such file"), ("/bin/echo", "does not answer as a Python")],
)
@pytest.mark.skipif(os.name == "nt", reason="paths of another system")
def test_a_named_python_that_is_none_is_an_error(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch, python: str, reason: str
) -> None:
    monkeypatch.setenv(PYTHON_VARIABLE, python)
    with pytest.raises(BackendMissing, match=reason) as caught:
        find_lava()
    assert caught.value.code == "lava-python-unusable"


@pytest.mark.parametrize("stamp", [None, "building", "lava-nc 0.9.0 on Python 3.10\n"])
def test_an_environment_without_a_complete_stamp_is_absent(
    nowhere: Path, stamp: str | None
) -> None:
    complete(nowhere / "private")
    path = nowhere / "private" / lava_env.STAMP
    path.unlink() if stamp is None else path.write_text(stamp)
    assert find_lava() is None


def test_an_environment_whose_base_is_gone_is_absent(nowhere: Path) -> None:
    python = complete(nowhere / "private")
    python.unlink()
    python.symlink_to(nowhere / "gone")
    assert find_lava() is None


def test_installing_twice_changes_nothing(nowhere: Path) -> None:
    complete(nowhere / "private")
    said: list[str] = []
    assert lava_install.install_lava(progress=said.append) == find_lava()
    assert said == [f"lava-nc {LAVA_VERSION} is already in {nowhere / 'private'}"]


def test_installing_over_something_else_is_refused(nowhere: Path) -> None:
    (nowhere / "work").mkdir()
    (nowhere / "work" / "thesis.tex").write_text("all of it")
    with pytest.raises(UsageError) as caught:
        lava_install.install_lava(nowhere / "work")
    assert caught.value.code == "lava-directory-occupied"
    assert str(caught.value) == (
        f"{nowhere / 'work'}: the directory holds something that snndeploy did not put there\n"
        "  next: name another directory, or remove this one"
    )
    assert (nowhere / "work" / "thesis.tex").read_text() == "all of it"


def test_a_failed_install_leaves_nothing(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = nowhere / "private"
    (directory / "lib").mkdir(parents=True)
    (directory / "lib" / "half-written").touch()
    EnvironmentPlace(directory, lava_env.STAMP).sign("building")
    monkeypatch.setattr(lava_install, "_bases", lambda: [(Path(sys.executable), HERE)])
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    with pytest.raises(BackendMissing, match="No matching distribution") as caught:
        lava_install.install_lava()
    assert caught.value.code == "lava-install-failed"
    assert not directory.exists()


def test_an_interrupted_install_leaves_nothing(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(lava_install, "_bases", lambda: [(Path(sys.executable), HERE)])
    monkeypatch.setattr(lava_install, "_install_into", interrupted)
    with pytest.raises(KeyboardInterrupt):
        lava_install.install_lava()
    assert not (nowhere / "private").exists()


@pytest.mark.parametrize("when", ["write_text", "replace"])
def test_interrupted_while_it_is_signed(
    when: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file that becomes the stamp keeps no later installation away."""
    place = EnvironmentPlace(tmp_path / "private", lava_env.STAMP)

    def interrupted(path: Path, *_: object) -> None:
        path.touch()
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Path, when, interrupted)
        with pytest.raises(KeyboardInterrupt):
            place.claim()
    assert not place.signed.exists()
    assert list(place.directory.iterdir())
    assert place.claim()


def test_no_python_to_build_on(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lava_install, "_bases", lambda: [(nowhere / "python3.10", (3, 10))])
    with pytest.raises(BackendMissing) as caught:
        lava_install.install_lava()
    assert caught.value.code == "lava-no-python"
    assert str(caught.value).startswith(
        "lava-nc 0.10.0 needs Python 3.10, 3.11 or 3.12, and none that works was found; "
        f"{nowhere / 'python3.10'} cannot create an environment: "
    )


def test_an_unsuitable_python_to_build_on(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lava_install, "PYTHONS", ((3, 8), (3, 9)))
    with pytest.raises(BackendMissing) as caught:
        lava_install.install_lava(python=Path(sys.executable))
    assert caught.value.code == "lava-python-unsuitable"
    assert str(caught.value) == (
        f"{sys.executable} cannot run lava-nc 0.10.0: it is Python {HERE[0]}.{HERE[1]}\n"
        "  next: name a Python 3.8 or 3.9"
    )


def test_lava_that_does_not_import(environments: Callable[[str], Path]) -> None:
    with pytest.raises(BackendMissing, match="No module named") as caught:
        lava_env.check_lava(environments(LAVA_VERSION))
    assert caught.value.code == "lava-broken"


def test_the_patch_reaches_one_class_and_ends_with_the_import(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler = nowhere / "lava" / "magma" / "compiler"
    compiler.mkdir(parents=True)
    (compiler / "var_model.py").write_text(
        "from dataclasses import dataclass\n"
        "@dataclass\n"
        "class ByteEncoder: pass\n"
        "@dataclass\n"
        "class VarModel:\n"
        "    encoder: ByteEncoder = ByteEncoder()\n"
    )
    monkeypatch.syspath_prepend(nowhere)
    original = dataclasses.dataclass
    try:
        import_lava()
        patched = sys.modules["lava.magma.compiler.var_model"]
        assert hash(patched.VarModel().encoder) == hash(patched.ByteEncoder())
        assert patched.VarModel.__hash__ is None
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "lava"]:
            del sys.modules[name]
    assert dataclasses.dataclass is original


@pytest.mark.slow
@pytest.mark.lava
@pytest.mark.parametrize("version", [(3, 11), (3, 12)])
def test_a_patched_environment_runs_lava(tmp_path: Path, version: tuple[int, int]) -> None:
    base = next((python for python, found in lava_install._bases() if found == version), None)
    if base is None:
        pytest.skip(f"there is no Python {version} here")
    env = lava_install.install_lava(tmp_path / "lava", base)
    assert (env.version, env.patched, env.origin) == (version, True, "directory")
    lava_env.check_lava(env.python)

    unpatched = (str(env.python), "-c", "import lava.magma.compiler.var_model")
    refused = subprocess.run(unpatched, capture_output=True, text=True, check=False)
    assert "mutable default" in refused.stderr
    assert lava_install.install_lava(tmp_path / "lava") == env
