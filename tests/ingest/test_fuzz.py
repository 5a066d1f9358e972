"""Damaged and hostile NIR files end in a network or in one clear error: no traceback, hang or flood."""

from __future__ import annotations

import resource
import shutil
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import pytest

from snndeploy.errors import InputError
from snndeploy.files import hdf5
from snndeploy.ingest import read_network
from snndeploy.limits import Limits, using
from tests.support.nir_graphs import chain, conv2d, cuba, graph, lif, written

TWO_GIB = 2 << 30


def seeds(folder: Path) -> list[Path]:
    """Small valid models: a convolutional one, and a recurrent one."""
    rng = np.random.default_rng(0)
    conv = chain(
        (2, 6, 6),
        conv2d(rng.normal(size=(3, 2, 3, 3))),
        lif((3, 4, 4)),
        nir.AvgPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
        nir.Flatten({"input": np.array([3, 2, 2])}, 0),
        nir.Affine(rng.normal(size=(4, 12)), np.ones(4)),
        lif(4),
    )
    nodes = {
        "w": nir.Linear(rng.normal(size=(5, 4))),
        "n": cuba(5),
        "r": nir.Linear(np.eye(5)),
        "d": nir.Delay(np.full(4, 1e-3)),
    }
    edges = [("input", "d"), ("d", "w"), ("w", "n"), ("n", "r"), ("r", "n"), ("n", "output")]
    return [written(folder, conv, "conv.nir"), written(folder, graph(nodes, edges), "rec.nir")]


def flip_bits(path: Path, rng: np.random.Generator) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(int(rng.integers(1, 9))):
        content[int(rng.integers(len(content)))] ^= 1 << int(rng.integers(8))
    path.write_bytes(content)


def flip_structure(path: Path, rng: np.random.Generator) -> None:
    """Bits where HDF5 keeps its own structures: near the signatures of its blocks."""
    content = bytearray(path.read_bytes())
    marks = [
        i
        for mark in (b"TREE", b"SNOD", b"HEAP", b"GCOL")
        for i in range(len(content))
        if content[i : i + 4] == mark
    ]
    start = int(rng.choice(marks))
    for _ in range(int(rng.integers(1, 4))):
        content[min(len(content) - 1, start + int(rng.integers(64)))] ^= 1 << int(rng.integers(8))
    path.write_bytes(content)


def truncate(path: Path, rng: np.random.Generator) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(rng.integers(len(content)))])


def datasets(file: Any) -> list[str]:
    found: list[str] = []
    file["node"].visititems(lambda n, o: found.append(n) if isinstance(o, h5py.Dataset) else None)
    return found


def replace_field(path: Path, rng: np.random.Generator) -> None:
    """Another dtype, shape or value; or none at all."""
    values: list[Any] = [
        None,
        "text",
        np.bytes_("x"),
        np.nan,
        np.inf,
        -1,
        0,
        2**62,
        np.zeros(0),
        np.zeros((3, 3, 3)),
        np.full(4, 1e300),
        np.array(["a", "b"], "S1"),
        np.ones((1, 1, 1, 1)),
        1 + 2j,
        True,
        -7.5,
        np.array([2**31, 2**31]),
        h5py.Empty("f8"),
        np.arange(12, dtype=">i2"),
    ]
    with h5py.File(path, "a") as file:
        name = "node/" + str(rng.choice(datasets(file)))
        value = values[int(rng.integers(len(values)))]
        del file[name]
        if value is not None:
            file[name] = value


def rewire(path: Path, rng: np.random.Generator) -> None:
    """Edges drawn anew: cycles without a neuron, loose nodes, nodes that do not exist."""
    with h5py.File(path, "a") as file:
        names = [*file["node/nodes"], "nobody"]
        edges = rng.choice(names, size=(int(rng.integers(1, 12)), 2))
        del file["node/edges"]
        file["node/edges"] = edges.astype("S")


def claim(path: Path, rng: np.random.Generator) -> None:
    """Terabytes that nobody stored, or shapes that lead to as many neurons."""
    huge = int(rng.choice([2**20, 2**31, 2**40]))
    with h5py.File(path, "a") as file:
        if rng.random() < 0.5:
            name = "node/" + str(rng.choice(datasets(file)))
            del file[name]
            file.create_dataset(name, shape=(huge,), dtype="f4", chunks=(1024,))
        else:
            inputs = [n for n in file["node/nodes"] if n == "input"]
            del file[f"node/nodes/{inputs[0]}/shape"]
            file[f"node/nodes/{inputs[0]}/shape"] = np.array([huge, huge])[
                : int(rng.integers(1, 3))
            ]
            if rng.random() < 0.5:
                for name in file["node/nodes"]:
                    for key in set(file[f"node/nodes/{name}"]) & {"padding", "tau", "r"}:
                        del file[f"node/nodes/{name}/{key}"]
                        file[f"node/nodes/{name}/{key}"] = np.array([huge])


MUTATIONS: tuple[Callable[[Path, np.random.Generator], None], ...] = (
    flip_bits,
    flip_structure,
    truncate,
    replace_field,
    rewire,
    claim,
)


def ending(path: Path) -> str:
    """``network``, or the code of the error; an error always says where."""
    try:
        read_network(path, "nir", dt=1e-3)
    except InputError as error:
        return error.code if error.message and error.where else f"{error.code} says too little"
    return "network"


def fuzz(folder: Path, count: int, first: int) -> dict[str, int]:
    """Read ``count`` mutated files; how many ended how. Anything but our errors propagates."""
    originals = seeds(folder)
    path, outcomes = folder / "mutated.nir", dict[str, int]()
    for i in range(first, first + count):
        rng = np.random.default_rng(i)
        shutil.copy(originals[i % 2], path)
        MUTATIONS[i // 2 % len(MUTATIONS)](path, rng)
        start = time.monotonic()
        outcome = ending(path)
        assert time.monotonic() - start < 15, f"file {i}"
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
    return outcomes


@pytest.mark.parametrize("count", [150, pytest.param(2000, marks=pytest.mark.slow)])
def test_mutated_files(count: int, tmp_path: Path) -> None:
    with using(Limits(model_s=5.0)):
        outcomes = fuzz(tmp_path, count, 0)
    assert not [code for code in outcomes if " " in code]
    assert outcomes["network"] > 0
    assert outcomes["damaged-file"] > count // 20
    hdf5._end_worker()
    unit = 1 if sys.platform == "darwin" else 1024
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit < TWO_GIB


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return seeds(tmp_path)[1]


def test_a_reader_that_hangs_or_crashes_is_a_damaged_file(
    model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    digest = read_network(model, "nir", dt=1e-3).digest
    script = tmp_path / "worker.py"
    ready = "import os, sys, time; os.write(1, bytes(8)); input(); "
    for body, text in (
        ("import time; time.sleep(60)", "HDF5 did not start within 0.2 s"),
        (f"{ready}time.sleep(60)", "HDF5 did not finish within 0.2 s"),
        (f"{ready}os.abort()", "HDF5 crashed on it (SIGABRT)"),
        (f"{ready}raise SystemExit(3)", "HDF5 crashed on it (exit 3)"),
    ):
        hdf5._end_worker()
        script.write_text(body)
        began = time.monotonic()
        with monkeypatch.context() as patch, using(Limits(model_s=0.2)):
            patch.setattr(hdf5, "_SCRIPT", script)
            if "input" not in body:
                patch.setattr(hdf5, "_START_S", 0.2)
            with pytest.raises(InputError) as caught:
                read_network(model, "nir", dt=1e-3)
        assert (caught.value.code, caught.value.message) == ("damaged-file", text)
        assert caught.value.hint.startswith("try again; ") == ("within" in text)
        assert time.monotonic() - began < 15  # the start is not added to the time for reading
    assert read_network(model, "nir", dt=1e-3).digest == digest


def foreign(model: Path, kind: str, secret: Path) -> None:
    """A weight whose values are those of another file."""
    with h5py.File(model, "a") as file:
        nodes = file["node/nodes"]
        name = next(n for n in nodes if "weight" in nodes[n])
        shape = nodes[name]["weight"].shape
        del nodes[name]["weight"]
        if kind == "external":
            nodes[name].create_dataset("weight", shape, "u1", external=[(str(secret), 0, 10**6)])
            return
        other = secret.with_suffix(".h5")
        with h5py.File(other, "w") as source:
            source["data"] = np.ones(shape)
        layout = h5py.VirtualLayout(shape, "f8")
        layout[:] = h5py.VirtualSource(str(other), "data", shape)
        nodes[name].create_virtual_dataset("weight", layout)


@pytest.mark.parametrize("kind", ["external", "virtual"])
def test_values_in_other_files_are_not_read(model: Path, kind: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"x" * 10**6)
    foreign(model, kind, secret)
    with pytest.raises(InputError, match="its values are kept in other files") as caught:
        read_network(model, "nir", dt=1e-3)
    assert caught.value.code == "foreign-data"
    assert caught.value.where.endswith(".weight")


def test_the_size_of_a_model_is_bounded_and_the_bound_an_option(model: Path) -> None:
    with h5py.File(model, "a") as file:
        file["node/nodes/d/ballast"] = np.zeros(1 << 17)
    with using(Limits(memory=2 << 20)), pytest.raises(InputError) as caught:
        read_network(model, "nir", dt=1e-3)
    assert caught.value.code == "too-large"
    assert caught.value.hint == "give it more: snndeploy --max-memory MIB"
    with using(Limits(memory=8 << 20)):
        assert read_network(model, "nir", dt=1e-3).populations


def test_larger_models_are_given_more_time_where_they_are_allowed() -> None:
    assert Limits(model_s=3.0).reading_s(0) == 3.0
    assert Limits(model_s=3.0).reading_s(256 << 20) == 3.0
    assert Limits(model_s=3.0).reading_s(1 << 40) == 3.0  # more than 256 MiB is not read
    assert Limits(model_s=3.0, memory=4 << 30).reading_s(640 << 20) == 7.5
    assert Limits(model_s=3.0, memory=4 << 30).reading_s(1 << 40) == 12.0


def test_weights_are_in_memory_once(tmp_path: Path) -> None:
    """Reading a model takes its weights twice for a moment; a digest takes none of them."""
    weights = np.random.default_rng(0).normal(size=(1000, 2000))
    path = written(tmp_path, chain(2000, nir.Linear(weights), lif(1000)))
    read_network(path, "nir", dt=1e-3)
    tracemalloc.start()
    network = read_network(path, "nir", dt=1e-3)
    held, most = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    assert network.digest
    digested = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert held < 1.05 * weights.nbytes
    assert most < 2.1 * weights.nbytes
    assert digested < held + (20 << 20)


def test_claimed_neurons_are_counted_before_they_are_made(model: Path) -> None:
    with h5py.File(model, "a") as file:
        del file["node/nodes/input/shape"]
        file["node/nodes/input/shape"] = np.array([2**40])
    with pytest.raises(InputError, match=r"1,099,511,627,776 values, past 33,554,432") as caught:
        read_network(model, "nir", dt=1e-3)
    assert caught.value.code == "too-large"
