"""Bundles, and what lies in and beside them: locks, and results that are kept for a resumption."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import shutil
from pathlib import Path

import numpy as np

from snndeploy.ir.decoding import decode
from snndeploy.ir.program import Program
from snndeploy.pipeline import compile
from snndeploy.recipe import Recipe
from tests.attack import mutate
from tests.attack.form import Format, command, small_model
from tests.attack.mutate import Rng, one_of
from tests.support.builders import chain_net
from tests.support.commands import FRONTEND, check, run


def _seed_bundle(folder: Path) -> None:
    command("compile", small_model(folder), *FRONTEND, "-o", folder / "net.snnb")


def _break_bundle(seeds: Path, target: Path, rng: Rng) -> None:
    bundle = target / "net.snnb"
    shutil.copytree(seeds / "net.snnb", bundle)
    name = str(one_of(rng, sorted(p.name for p in bundle.iterdir())))
    file = bundle / name
    kind = int(rng.integers(10))
    if kind == 0:
        mutate.special(file, rng)
        return
    if kind == 1:
        file.write_bytes(mutate.bytes_of(file.read_bytes(), rng))
        if rng.random() < 0.5 or name == "manifest.json":
            return
    elif kind == 2:
        manifest = json.loads((bundle / "manifest.json").read_text())
        manifest = mutate.json_of(manifest, rng)
        if (
            rng.random() < 0.4
            and isinstance(manifest, dict)
            and isinstance(manifest.get("files"), dict)
        ):
            manifest["files"][one_of(rng, ("../x", "/dev/zero", "/etc/passwd", "", "\0"))] = (
                "0" * 64
            )
        (bundle / "manifest.json").write_text(json.dumps(manifest))
        return
    elif name.endswith(".json"):
        data = json.loads(file.read_text())
        deep = rng.random() < 0.05
        file.write_text(mutate.nested(100_000) if deep else json.dumps(mutate.json_of(data, rng)))
    elif name.endswith(".toml"):
        file.write_bytes(mutate.toml_of(file.read_text(), rng))
    else:
        file.write_bytes(_broken_arrays(file.read_bytes(), rng))
    if name != "manifest.json":
        _sign(bundle)


def _broken_arrays(content: bytes, rng: Rng) -> bytes:
    with np.load(io.BytesIO(content)) as loaded:
        arrays = dict(loaded)
    if "structure" in arrays and rng.random() < 0.7:
        structure = mutate.json_of(json.loads(arrays["structure"].tobytes()), rng)
        text = mutate.nested(50_000) if rng.random() < 0.03 else json.dumps(structure)
        arrays["structure"] = np.frombuffer(text.encode(), np.uint8)
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        return buffer.getvalue()
    return mutate.npz_of({name: mutate.npy(a) for name, a in arrays.items()}, rng)


def _sign(bundle: Path) -> None:
    """Digests that are right, as an attacker would write them."""
    manifest = json.loads((bundle / "manifest.json").read_text())
    for name in manifest["files"]:
        manifest["files"][name] = hashlib.sha256((bundle / name).read_bytes()).hexdigest()
    with contextlib.suppress(Exception), np.load(bundle / "program.npz") as arrays:
        structure = json.loads(arrays["structure"].tobytes())
        manifest["program"] = decode(structure, dict(arrays), Program).digest
    (bundle / "manifest.json").write_text(json.dumps(manifest))


def _use_bundle(folder: Path) -> None:
    bundle = folder / "net.snnb"
    command("report", bundle, "--html", folder / "page.html")
    command("check", bundle, "-t", "loihi2")
    command("explain", bundle)


def _use_certificate(folder: Path) -> None:
    command("certify", folder / "net.snnb")


def _use_run(folder: Path) -> None:
    command("verify", folder / "net.snnb", "--engines", "integer")


def _seed_reports(folder: Path) -> None:
    _seed_bundle(folder)
    rng = np.random.default_rng(0)
    x = (rng.random((12, 5, 6)) < 0.4).astype(np.uint8)
    np.savez(folder / "data.npz", x=x, y=rng.integers(0, 3, 12))
    data = ("-d", folder / "data.npz", "--json")
    run_of = run("simulate", folder / "net.snnb", *data)
    curves = run("sensitivity", folder / "model.nir", *FRONTEND, *data)
    for name, result in (("run", run_of), ("sensitivity", curves)):
        (folder / f"{name}.json").write_text(check(result, 0) and result.stdout)
    (folder / "names.toml").write_text('"n1" = "first"\n"n3" = "second"\n')


def _break_reports(seeds: Path, target: Path, rng: Rng) -> None:
    for name in ("run.json", "sensitivity.json", "names.toml"):
        shutil.copy(seeds / name, target / name)
    (target / "net.snnb").symlink_to(seeds / "net.snnb")
    file = target / str(one_of(rng, ("run.json", "run.json", "sensitivity.json", "names.toml")))
    kind = rng.random()
    if kind < 0.03:
        mutate.special(file, rng)
    elif kind < 0.15:
        file.write_bytes(mutate.bytes_of(file.read_bytes(), rng))
    elif file.suffix == ".toml":
        file.write_bytes(mutate.toml_of(file.read_text(), rng))
    else:
        deep = rng.random() < 0.03
        changed = mutate.json_of(json.loads(file.read_text()), rng)
        file.write_text(mutate.nested(100_000) if deep else json.dumps(changed))


def _use_reports(folder: Path) -> None:
    reports = ("--run", folder / "run.json", "--sensitivity", folder / "sensitivity.json")
    names = ("--names", folder / "names.toml")
    outputs = ("--html", folder / "page.html", "--csv", folder / "tables")
    command("report", folder / "net.snnb", *reports, *names, *outputs)


def _seed_lock(folder: Path) -> None:
    _seed_bundle(folder)
    small_model(folder)
    shutil.copy(folder / "net.snnb" / "lock.toml", folder / "lock.toml")
    shutil.rmtree(folder / "net.snnb")


def _break_lock(seeds: Path, target: Path, rng: Rng) -> None:
    shutil.copy(seeds / "model.nir", target / "model.nir")
    if rng.random() < 0.03:
        mutate.special(target / "lock.toml", rng)
    else:
        text = (seeds / "lock.toml").read_text()
        (target / "lock.toml").write_bytes(mutate.toml_of(text, rng))


def _use_lock(folder: Path) -> None:
    locked = ("--locked", folder / "lock.toml", "-o", folder / "net.snnb")
    command("compile", folder / "model.nir", *locked)


_NETWORK = chain_net([np.random.default_rng(0).normal(0, 0.5, (3, 4)).astype(np.float32)])


def _resume(folder: Path, *, resume: bool) -> None:
    recipe = Recipe.from_toml('[[pass]]\nname = "prune"\nsparsity = 0.5\n')
    compile(_NETWORK, recipe=recipe, checkpoints=folder, resume=resume)


def _seed_kept(folder: Path) -> None:
    _resume(folder, resume=False)


def _break_kept(seeds: Path, target: Path, rng: Rng) -> None:
    (source,) = seeds.iterdir()
    path = target / source.name
    kind = rng.random()
    if kind < 0.05:
        mutate.special(path, rng)
    elif kind < 0.2:
        path.write_bytes(mutate.bytes_of(source.read_bytes(), rng))
    else:
        path.write_bytes(_broken_arrays(source.read_bytes(), rng))


def _use_kept(folder: Path) -> None:
    _resume(folder, resume=True)


BUNDLES: dict[str, Format] = {
    "bundle": Format(_seed_bundle, _break_bundle, _use_bundle),
    "certificate": Format(_seed_bundle, _break_bundle, _use_certificate),
    "run": Format(_seed_bundle, _break_bundle, _use_run),
    "reports": Format(_seed_reports, _break_reports, _use_reports),
    "lock": Format(_seed_lock, _break_lock, _use_lock),
    "kept": Format(_seed_kept, _break_kept, _use_kept),
}
