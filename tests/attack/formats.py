"""For every format that is read: valid files, ways to break them, and what reads them."""

from __future__ import annotations

import io
import json
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from snndeploy.chip import load_target, target_folder
from snndeploy.data import load_samples
from snndeploy.export.hdf5 import tree_bytes
from snndeploy.ingest import read_network
from snndeploy.passes.training.finetune import FineTune
from snndeploy.pipeline.tuning.front import front_of
from snndeploy.pipeline.tuning.space import RecipeSpace
from snndeploy.pipeline.tuning.study import TuneStudy
from snndeploy.pipeline.tuning.trial import TrialOutcome
from snndeploy.recipe import load_recipe, recipe_folder
from snndeploy.verify.trace import fitted_trace, read_trace
from tests.attack import mutate
from tests.attack.bundle_formats import BUNDLES
from tests.attack.form import Format, command, small_model
from tests.attack.mutate import Rng, one_of
from tests.ingest import test_fuzz as nir_files
from tests.support.builders import chain_net
from tests.support.commands import FRONTEND
from tests.support.labelled import Labelled


def _seed_nir(folder: Path) -> None:
    nir_files.seeds(folder)


def _break_nir(seeds: Path, target: Path, rng: Rng) -> None:
    path = target / "model.nir"
    shutil.copy(seeds / one_of(rng, ("conv.nir", "rec.nir")), path)
    kind = int(rng.integers(len(nir_files.MUTATIONS) + 2))
    if kind < len(nir_files.MUTATIONS):
        nir_files.MUTATIONS[kind](path, rng)
    elif kind == len(nir_files.MUTATIONS):
        _break_links(path, rng)
    else:
        _break_names(path, rng)


def _break_links(path: Path, rng: Rng) -> None:
    """Values and groups that lie elsewhere."""
    with h5py.File(path, "a") as file:
        names = nir_files.datasets(file)
        name = "node/" + str(one_of(rng, names))
        shape = file[name].shape or (1,)
        del file[name]
        match int(rng.integers(5)):
            case 0:
                file[name] = h5py.ExternalLink("/etc/passwd", "/")
            case 1:
                file[name] = h5py.SoftLink("/node")
            case 2:
                file.create_dataset(name, (64,), "u1", external=[("/etc/passwd", 0, 64)])
            case 3:
                layout = h5py.VirtualLayout(shape, "f8")
                layout[...] = h5py.VirtualSource("/etc/passwd", "x", shape)
                file.create_virtual_dataset(name, layout)
            case _:
                file[name] = file["node"]


def _break_names(path: Path, rng: Rng) -> None:
    """Nodes called what no terminal should see."""
    names = ("\x1b[2J", "[red]x[/red]", "a" * 100_000, "..", "\u202ex", "ä" * 300, " ", "[/]")
    with h5py.File(path, "a") as file:
        nodes = file["node/nodes"]
        old, new = str(one_of(rng, list(nodes))), str(one_of(rng, names))
        nodes.move(old, new)
        edges = [
            [new if e.decode() == old else e.decode() for e in pair] for pair in file["node/edges"]
        ]
        del file["node/edges"]
        file["node/edges"] = np.array(edges, dtype=object).astype("S" if new.isascii() else object)


def _use_nir(folder: Path) -> None:
    command("inspect", folder / "model.nir", *FRONTEND)


def _seed_net(folder: Path) -> None:
    rng = np.random.default_rng(0)
    neuron = {"type": np.bytes_("CUBA"), "iDecay": 410, "vDecay": 410, "vThMant": 64, "refDelay": 1}
    layers = {}
    for i, (outputs, inputs) in enumerate(((5, 6), (3, 5))):
        layers[str(i)] = {
            "type": np.array([b"dense"]),
            "shape": np.array([outputs]),
            "weight": rng.integers(-9, 9, (outputs, inputs)) * 2,
            "neuron": neuron,
        }
    (folder / "model.net").write_bytes(tree_bytes({"layer": layers}))


def _break_net(seeds: Path, target: Path, rng: Rng) -> None:
    path = target / "model.net"
    shutil.copy(seeds / "model.net", path)
    if rng.random() < 0.4:
        path.write_bytes(mutate.bytes_of(path.read_bytes(), rng))
        return
    values = (
        None,
        "text",
        np.nan,
        -1,
        0,
        2**62,
        np.zeros(0),
        np.zeros((3, 3)),
        np.bytes_("x"),
        1 + 2j,
    )
    with h5py.File(path, "a") as file:
        names: list[str] = []
        file["layer"].visit(names.append)
        name = f"layer/{one_of(rng, names)}"
        del file[name]
        value = one_of(rng, values)
        if value is not None:
            file[name] = value


def _use_net(folder: Path) -> None:
    command("inspect", folder / "model.net")


SHAPE = (2, 3, 4)


def _seed_data(folder: Path) -> None:
    rng = np.random.default_rng(0)
    x = (rng.random((4, 5, *SHAPE)) < 0.3).astype(np.uint8)
    y = np.arange(4)
    np.savez(folder / "plain.npz", x=x, y=y)
    np.savez_compressed(folder / "packed.npz", x=x, y=y)
    np.save(folder / "plain.npy", x)
    n = np.arange(40)
    events = {"x": n % 4, "y": n % 3, "p": n % 2, "t": n * 50}
    np.savez(folder / "events.npz", **events, offset=np.array([0, 20, 40]), label=np.array([0, 1]))
    rows = "\n".join(f"{a},{b},{c},{d}" for a, b, c, d in zip(*events.values(), strict=True))
    (folder / "events.csv").write_text(f"x,y,p,t\n{rows}\n")
    (folder / "events.bin").write_bytes(bytes(rng.integers(0, 2, 40, np.uint8)))


def _break_data(seeds: Path, target: Path, rng: Rng) -> None:
    source = seeds / str(one_of(rng, sorted(p.name for p in seeds.iterdir())))
    path = target / source.name
    content = source.read_bytes()
    kind = rng.random()
    if kind < 0.03:
        mutate.special(path, rng)
    elif kind < 0.04:
        (target / "plain.npz").write_bytes(
            mutate.bomb(str(one_of(rng, ("x", "y"))), 64, content[:0])
        )
    elif path.suffix == ".npz" and kind < 0.9:
        with np.load(io.BytesIO(content)) as loaded:
            members = {name: mutate.npy(a) for name, a in loaded.items()}
        path.write_bytes(mutate.npz_of(members, rng))
    elif path.suffix == ".npy" and kind < 0.8:
        path.write_bytes(mutate.header_of(content, rng))
    elif path.suffix == ".csv" and kind < 0.8:
        path.write_bytes(_broken_table(content, rng))
    else:
        path.write_bytes(mutate.bytes_of(content, rng))


def _broken_table(content: bytes, rng: Rng) -> bytes:
    values = (
        b"9" * 5000,
        b"x" * 200_000,
        b"\0",
        b"nan",
        b"inf",
        b"1e300",
        b"4611686018427387904",
        b"-5",
    )
    more = (b'"', b"", b"1.5", b"\xff\xfe", b"1,2,3", b"0x10", b"1_000")
    lines = content.splitlines()
    at = int(rng.integers(len(lines)))
    cells = lines[at].split(b",")
    cells[int(rng.integers(len(cells)))] = one_of(rng, (*values, *more))
    lines[at] = b",".join(cells)
    return b"\n".join(lines)


def _use_data(folder: Path) -> None:
    (path,) = folder.iterdir()
    events = path.name.startswith("events")
    samples = load_samples(path, SHAPE, **({"steps": 5} if events else {}))
    for part in samples.batches(2):
        assert part.inputs.shape[0] == samples.steps
    if events:
        load_samples(path, SHAPE, bin_ms=1.0, time_from="zero").first(1).inputs  # noqa: B018


def _seed_toml(folder: Path) -> None:
    for place in (*recipe_folder().glob("*.toml"),):
        shutil.copy(place, folder / f"recipe-{place.name}")
    for place in target_folder().glob("*.toml"):
        shutil.copy(place, folder / f"target-{place.name}")


def _break_toml(seeds: Path, target: Path, rng: Rng) -> None:
    source = seeds / str(one_of(rng, sorted(p.name for p in seeds.iterdir())))
    if rng.random() < 0.03:
        mutate.special(target / source.name, rng)
    else:
        (target / source.name).write_bytes(mutate.toml_of(source.read_text(), rng))


def _use_toml(folder: Path) -> None:
    (path,) = folder.iterdir()
    if path.name.startswith("recipe-"):
        load_recipe(path)
    else:
        target = load_target(path)
        for board in target.boards:
            target.chips(board)


def _seed_trace(folder: Path) -> None:
    network = read_network(small_model(folder), "nir", dt=1e-3)
    rng = np.random.default_rng(0)
    shape = network.with_role("output")[0].shape
    arrays = {
        "input": (rng.random((7, 2, 6)) < 0.4).astype(np.float32),
        "output": (rng.random((7, 2, *shape)) < 0.4).astype(np.float32),
        "layer_n1": np.ones((7, 2, 5), np.float32),
    }
    np.savez(folder / "trace.npz", **arrays)


def _break_trace(seeds: Path, target: Path, rng: Rng) -> None:
    shutil.copy(seeds / "model.nir", target / "model.nir")
    content = (seeds / "trace.npz").read_bytes()
    path = target / "trace.npz"
    kind = rng.random()
    if kind < 0.03:
        mutate.special(path, rng)
    elif kind < 0.2:
        path.write_bytes(mutate.bytes_of(content, rng))
    else:
        with np.load(io.BytesIO(content)) as loaded:
            members = {name: mutate.npy(a) for name, a in loaded.items()}
        path.write_bytes(mutate.npz_of(members, rng))


def _use_trace(folder: Path) -> None:
    path = folder / "trace.npz"
    network = read_network(folder / "model.nir", "nir", dt=1e-3)
    fitted_trace(read_trace(path), network, str(path))


@cache
def _training() -> tuple[Any, Any, Any]:
    from snndeploy.passes.base import PassContext, Training

    rng = np.random.default_rng(0)
    network = chain_net([rng.normal(0, 0.5, (3, 4)).astype(np.float32)])
    inputs = (rng.random((4, 8, 4)) < 0.5).astype(np.float32)
    data = Labelled({"input": inputs}, rng.integers(0, 3, 8))

    def context(folder: Path, *, resume: bool) -> Any:
        return PassContext(training=Training(samples=data, folder=folder, resume=resume), scope="p")

    return network, FineTune(epochs=1, batch=8), context


def _seed_checkpoint(folder: Path) -> None:
    network, how, context = _training()
    how.apply(network, context(folder, resume=False))


def _break_checkpoint(seeds: Path, target: Path, rng: Rng) -> None:
    import torch

    (source,) = seeds.glob("*.pt")
    path = target / source.name
    kind = rng.random()
    if kind < 0.05:
        mutate.special(path, rng)
        return
    if kind < 0.3:
        path.write_bytes(mutate.bytes_of(source.read_bytes(), rng))
        return
    state = torch.load(source, weights_only=True)
    holder, keys = state, [k for k in state if k not in ("schema", "key")]
    while True:
        key = one_of(rng, keys)
        inner = holder[key]
        if not isinstance(inner, (dict, list)) or not inner or rng.random() < 0.4:
            break
        holder, keys = inner, list(inner) if isinstance(inner, dict) else list(range(len(inner)))
    if rng.random() < 0.3:
        del holder[key]
    else:
        junk = [v for v in mutate.JUNK if not isinstance(v, int) or abs(v) < 1 << 63]
        holder[key] = one_of(rng, (*junk, torch.zeros(0), torch.zeros(3, 3, 3), torch.tensor(7)))
    torch.save(state, path)


def _use_checkpoint(folder: Path) -> None:
    network, how, context = _training()
    how.apply(network, context(folder, resume=True))


@cache
def _space() -> RecipeSpace:
    rng = np.random.default_rng(0)
    network = chain_net([rng.normal(0, 0.5, (3, 4)).astype(np.float32)])
    return RecipeSpace(network=network, target=load_target("loihi2"), samples=4)


def _study(path: Path) -> TuneStudy:
    return TuneStudy(path, {"network": "n", "seed": "0"}, _space(), 0)


def _seed_study(folder: Path) -> None:
    study = _study(folder / "study.journal")
    for index, why in enumerate(("", "does not fit", "dominated")):
        asked = study.ask(index, 0, _space().starts[index])
        outcome = TrialOutcome(
            number=asked.number,
            choice=asked.choice,
            why=why,
            digest="d",
            cores=3,
            words=40,
            cost=40.0,
            right=np.arange(8) > index,
        )
        study.tell(asked, outcome, 4, 0.6)
    study.ask(3, 0, None)  # one that is not finished


def _break_study(seeds: Path, target: Path, rng: Rng) -> None:
    path = target / "study.journal"
    content = (seeds / "study.journal").read_bytes()
    kind = rng.random()
    if kind < 0.05:
        mutate.special(path, rng)
    elif kind < 0.4:
        path.write_bytes(mutate.bytes_of(content, rng))
    else:
        lines = content.splitlines()
        place = int(rng.integers(len(lines)))
        changed = mutate.json_of(json.loads(lines[place]), rng)
        lines[place] = json.dumps(changed).encode()
        path.write_bytes(b"\n".join(lines) + b"\n")


def _use_study(folder: Path) -> None:
    front_of(_study(folder / "study.journal").outcomes)


FORMATS: dict[str, Format] = {
    "nir": Format(_seed_nir, _break_nir, _use_nir),
    "net": Format(_seed_net, _break_net, _use_net),
    **BUNDLES,
    "data": Format(_seed_data, _break_data, _use_data),
    "toml": Format(_seed_toml, _break_toml, _use_toml),
    "trace": Format(_seed_trace, _break_trace, _use_trace),
    "checkpoint": Format(_seed_checkpoint, _break_checkpoint, _use_checkpoint),
    "study": Format(_seed_study, _break_study, _use_study),
}
