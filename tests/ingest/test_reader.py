"""Reading files that are fine, and refusing those that are not, each with one clear message."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import pytest

from snndeploy import limits
from snndeploy.errors import InputError, SnnDeployError
from snndeploy.files import hdf5
from snndeploy.ingest import read_network, read_raw
from tests.support.nir_graphs import chain, cuba, graph, lif, written

RNG = np.random.default_rng(0)


def small() -> nir.NIRGraph:
    return chain(
        4, nir.Affine(RNG.normal(size=(3, 4)), RNG.normal(size=3)), lif(3), names=("fc", "lif")
    )


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return written(tmp_path, small())


def edited(path: Path, edit: Callable[[Any], None]) -> Path:
    with h5py.File(path, "r+") as file:
        edit(file)
    return path


def replaced(key: str, value: Any, place: str = "node/nodes/") -> Callable[[Any], None]:
    def edit(file: Any) -> None:
        del file[place + key]
        file[place + key] = value

    return edit


def removed(key: str) -> Callable[[Any], None]:
    def edit(file: Any) -> None:
        del file[key]

    return edit


def no_edges(file: Any) -> None:
    del file["node/edges"]
    file["node/edges"] = np.zeros((0, 2), "S1")


def no_nodes(file: Any) -> None:
    del file["node/nodes"]
    file.create_group("node/nodes")


def soft_link(file: Any) -> None:
    file["node/nodes/fc/extra"] = h5py.SoftLink("/node/nodes/lif/tau")


def itself(file: Any) -> None:
    file["node/nodes/fc/loop"] = file["node"]


def huge(file: Any) -> None:
    del file["node/nodes/fc/weight"]
    file.create_dataset("node/nodes/fc/weight", (1 << 20, 1 << 20), "f4", chunks=(1024, 1024))


def extra_edge(*ends: str) -> Callable[[Any], None]:
    def edit(file: Any) -> None:
        edges = [*file["node/edges"][()].tolist(), [e.encode() for e in ends]]
        del file["node/edges"]
        file["node/edges"] = edges

    return edit


NAN = np.array([[np.nan, 1, 2, np.inf]] * 3)
BAD_FILES: dict[str, tuple[Callable[[Any], None], str, str, str]] = {
    "unknown type": (
        replaced("fc/type", "Affin"),
        "unknown-node-type",
        "'Affin', which NIR",
        ":fc",
    ),
    "type is a number": (replaced("fc/type", 3), "unknown-node-type", "missing or not text", ":fc"),
    "no type": (removed("node/nodes/fc/type"), "unknown-node-type", "missing or not text", ":fc"),
    "missing field": (removed("node/nodes/lif/tau"), "missing-field", "the field 'tau'", ":lif"),
    "text for numbers": (replaced("fc/weight", "heavy"), "wrong-dtype", "text 'heavy'", ":fc"),
    "texts for numbers": (replaced("fc/weight", [b"a", b"b"]), "wrong-dtype", "not numbers", ":fc"),
    "complex": (
        replaced("fc/weight", np.ones((3, 4), complex)),
        "wrong-dtype",
        "complex128",
        ":fc",
    ),
    "not finite": (
        replaced("fc/weight", NAN),
        "weight-not-finite",
        r"6 value\(s\) of 'weight'",
        ":fc",
    ),
    "infinite tau": (replaced("lif/tau", [1, 2, -np.inf]), "weight-not-finite", "1 value", ":lif"),
    "no values": (replaced("fc/bias", np.zeros(0)), "empty-field", "'bias' holds no values", ":fc"),
    "shapes of parameters": (
        replaced("lif/tau", [1.0, 2.0]),
        "parameter-shape",
        r"tau \(2,\)",
        ":lif",
    ),
    "no graph": (removed("node"), "not-nir", "holds no NIR graph", "model.nir"),
    "no nodes": (no_nodes, "empty-graph", "the graph has no nodes", "model.nir"),
    "no edges": (no_edges, "unconnected", "no edge leads into it", ":fc"),
    "root is a node": (
        replaced("type", "Affine", "node/"),
        "not-nir",
        "root is a Affine",
        "model.nir",
    ),
    "soft link": (soft_link, "foreign-link", "links to another place", ":fc.extra"),
    "loop of groups": (itself, "too-nested", "nested without end", "fc.loop"),
    "huge": (huge, "too-large", r"shape \(1048576, 1048576\)", ":fc.weight"),
    "unknown end": (extra_edge("lif", "outptu"), "unknown-node", "names no node", "model.nir"),
    "double edge": (extra_edge("fc", "lif"), "duplicate-edge", "listed twice", ":fc"),
    "into an input": (extra_edge("lif", "input"), "input-driven", "'lif' leads into", ":input"),
    "out of an output": (extra_edge("output", "fc"), "output-read", "leads to 'fc'", ":output"),
    "pairs of three": (
        replaced("edges", [[b"a", b"b", b"c"]], "node/"),
        "wrong-dtype",
        "pair of names",
        "",
    ),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_file(case: str, model: Path) -> None:
    edit, code, message, where = BAD_FILES[case]
    with pytest.raises(InputError, match=message) as caught:
        read_raw(edited(model, edit))
    assert caught.value.code == code
    assert where in caught.value.where
    assert str(model) in caught.value.where


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such file") as caught:
        read_network(tmp_path / "none.nir")
    assert caught.value.code == "file-not-found"


def test_directory(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="it is a directory") as caught:
        read_network(tmp_path)
    assert caught.value.code == "not-a-file"


def test_unreadable(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5.os, "access", lambda *_: False)
    with pytest.raises(InputError, match="reading it is not permitted") as caught:
        read_network(model)
    assert caught.value.code == "file-unreadable"


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 a zip", b"{}" * 1000])
def test_not_hdf5(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.nir"
    path.write_bytes(content)
    with pytest.raises(InputError, match="the file is not HDF5") as caught:
        read_network(path)
    assert caught.value.code == "not-hdf5"


def test_neither_path_nor_graph() -> None:
    with pytest.raises(InputError, match="a dict is neither a path nor a") as caught:
        read_network({})
    assert caught.value.code == "not-nir"


def test_truncated_at_any_length(model: Path) -> None:
    content = model.read_bytes()
    codes = set()
    for length in range(0, len(content), max(1, len(content) // 60)):
        model.write_bytes(content[:length])
        with pytest.raises(InputError) as caught:
            read_raw(model)
        codes.add(caught.value.code)
    assert codes == {"not-hdf5", "damaged-file"}


def test_damaged_head_never_gives_a_traceback(model: Path) -> None:
    """Bytes of the file's head, one at a time. (Deeper damage can hang libhdf5 itself.)"""
    content = model.read_bytes()
    draw = random.Random(0)
    read = 0
    for place in range(0, 96, 2):
        damaged = bytearray(content)
        damaged[place] = draw.randrange(256)
        model.write_bytes(damaged)
        with contextlib.suppress(SnnDeployError):
            read_network(model, "nir", dt=1e-3)
            read += 1
    assert 0 < read < 48  # some bytes matter, some do not


def test_too_many_items(model: Path) -> None:
    few = limits.using(limits.Limits(model_items=8))
    with few, pytest.raises(InputError, match="more than 8 items") as caught:
        read_raw(model)
    assert caught.value.code == "too-large"


def test_unknown_field_is_reported(model: Path) -> None:
    def add(file: Any) -> None:
        file["node/nodes/fc/colour"] = 3

    raw = read_raw(edited(model, add))
    assert [f.code for f in raw.findings] == ["unknown-field"]
    assert raw.findings[0].where.endswith(":fc")
    assert "'colour' is not part of Affine and was ignored" in raw.findings[0].message
    assert raw.findings[0] in read_network(model, "nir", dt=1e-3).findings


def test_file_and_memory_agree(tmp_path: Path) -> None:
    built = small()
    built.nodes["output"] = nir.Output({"output": np.array([3])})
    path = tmp_path / "model.nir"
    nir.write(path, built)
    from_file, from_memory = (read_network(m, "nir", dt=1e-3) for m in (path, built))
    assert from_file.digest == from_memory.digest


def test_torch_tensors_in_memory() -> None:
    torch = pytest.importorskip("torch")
    built, plain = small(), small()
    plain.nodes["fc"] = nir.Linear(np.ones((3, 4), np.float32))
    built.nodes["fc"] = nir.Linear(torch.nn.Parameter(torch.ones(3, 4)))
    assert read_network(built, "nir", dt=1e-3).digest == read_network(plain, "nir", dt=1e-3).digest


def test_half_precision_becomes_single() -> None:
    built = small()
    built.nodes["fc"] = nir.Linear(np.ones((3, 4), np.float16))
    assert read_network(built, "nir", dt=1e-3).projections[0].weight.data.dtype == np.float32


def nested(**inner: Any) -> nir.NIRGraph:
    nodes = {
        "input": nir.Input({"input": np.array([3])}),
        "cell": cuba(3),
        "w": nir.Linear(RNG.normal(size=(3, 3))),
        "output": nir.Output({"output": np.array([3])}),
    }
    edges = [("input", "cell"), ("cell", "w"), ("w", "cell"), ("cell", "output")]
    return nir.NIRGraph(nodes={**nodes, **inner}, edges=edges, type_check=False)


def test_subgraphs_are_resolved(tmp_path: Path) -> None:
    fc = nir.Linear(RNG.normal(size=(3, 4)))
    deep = graph({"fc": fc, "rnn": nested()}, [("input", "fc"), ("fc", "rnn"), ("rnn", "output")])
    raw = read_raw(written(tmp_path, deep))
    assert list(raw.nodes) == ["fc", "input", "output", "rnn.cell", "rnn.w"]
    assert set(raw.edges) == {
        ("input", "fc"),
        ("fc", "rnn.cell"),
        ("rnn.cell", "rnn.w"),
        ("rnn.w", "rnn.cell"),
        ("rnn.cell", "output"),
    }


def test_subgraph_with_two_inputs() -> None:
    two = nested(other=nir.Input({"input": np.array([3])}))
    deep = graph({"rnn": two}, [("input", "rnn"), ("rnn", "output")], 3)
    with pytest.raises(InputError, match="has 2 Input nodes, edges need 1") as caught:
        read_raw(deep)
    assert caught.value.code == "subgraph-ends"


def test_names_that_collide_once_resolved() -> None:
    deep = graph(
        {"rnn": nested(), "rnn.cell": lif(3)},
        [("input", "rnn"), ("rnn", "output"), ("input", "rnn.cell"), ("rnn.cell", "output")],
        3,
    )
    with pytest.raises(InputError, match="two nodes have this name") as caught:
        read_raw(deep)
    assert caught.value.code == "duplicate-name"


def test_nesting_without_end() -> None:
    deep: Any = nested()
    for _ in range(40):
        deep = nir.NIRGraph(nodes={"g": deep}, edges=[], type_check=False)
    with pytest.raises(InputError, match="nested deeper") as caught:
        read_raw(deep)
    assert caught.value.code == "too-nested"


def test_node_that_is_no_node(model: Path) -> None:
    def edit(file: Any) -> None:
        file["node/nodes/stray"] = 3

    with pytest.raises(InputError, match="it is not a node") as caught:
        read_raw(edited(model, edit))
    assert caught.value.code == "unknown-node-type"


@pytest.mark.parametrize("kind", ["Input", "Output"])
def test_no_ends(kind: str) -> None:
    built = graph({"lif": lif(4)}, [("input", "lif"), ("lif", "output")])
    built.nodes.pop(kind.lower())
    built.edges = [e for e in built.edges if kind.lower() not in e]
    with pytest.raises(InputError, match=f"the graph has no {kind} node") as caught:
        read_raw(built)
    assert caught.value.code == f"no-{kind.lower()}"


def test_dangling_node_is_reported() -> None:
    edges = [("input", "a"), ("a", "output"), ("input", "b")]
    network = read_network(graph({"a": lif(4), "b": lif(4)}, edges), "nir", dt=1e-3)
    dead = [f for f in network.findings if f.code == "dead-node"]
    assert [f.where for f in dead] == ["graph:b"]


def test_names_in_natural_order() -> None:
    nodes = {str(i): lif(4) for i in range(12)}
    names = ["input", *nodes, "output"]
    network = read_network(graph(nodes, pairwise(names)), "nir", dt=1e-3)
    assert [p.name for p in network.populations] == ["input", *nodes]


def test_bfloat16_tensors_are_widened() -> None:
    import torch

    weight = torch.tensor([[0.5, -1.25]]).to(torch.bfloat16)
    raw = read_raw(chain(2, nir.Linear(weight), lif(1), names=("fc", "l")))
    assert raw.nodes["fc"].array("weight").dtype == np.float32
    assert raw.nodes["fc"].array("weight").tolist() == [[0.5, -1.25]]


@pytest.mark.parametrize("then", ["the same", "another", "changed", "within other limits"])
def test_what_is_read_ahead_is_what_would_be_read(then: str, tmp_path: Path) -> None:
    """An answer that was prepared is taken by whoever asks for that very file, and by nobody else."""
    one, two = (written(tmp_path, chain(n, lif(n)), f"{n}.nir") for n in (3, 5))
    hdf5.begin_reading(one, hdf5.NIR)
    prepared = hdf5._workers[0]
    if then == "changed":
        one.write_bytes(two.read_bytes())
    if then == "within other limits":
        with limits.using(limits.Limits(model_items=3)), pytest.raises(InputError) as caught:
            hdf5.read_tree(one, hdf5.NIR)
        assert caught.value.code == "too-large"
    else:
        read = read_raw(two if then == "another" else one)
        neurons = 3 if then == "the same" else 5
        assert read.nodes["n0"].array("tau").shape == (neurons,)
    assert (hdf5._workers[0] is prepared) == (then == "the same")
    assert not hdf5._workers[0].begun


def test_what_cannot_be_read_ahead_is_left_to_its_reader(tmp_path: Path) -> None:
    """Nothing is said, and no process waits for it."""
    hdf5._end_worker()
    os.mkfifo(tmp_path / "fifo.nir")
    (tmp_path / "text.nir").write_text("not hdf5")
    for name in ("missing.nir", "fifo.nir", "text.nir", "."):
        hdf5.begin_reading(tmp_path / name, hdf5.NIR)
    assert not hdf5._workers


@pytest.mark.parametrize("moment", ["write", "after"])
def test_an_interrupt_while_reading_ahead_leaves_no_answer_to_be_taken_for_another(
    moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither where the worker has been asked and nobody noted it, nor where it has not been."""
    one, two = (written(tmp_path, chain(n, lif(n)), f"{n}.nir") for n in (3, 5))
    begin = hdf5._Worker.begin

    def interrupted(worker: Any, request: Any) -> None:
        if moment == "after":
            begin(worker, request)
            worker.begun = {}
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(hdf5._Worker, "begin", interrupted)
        with pytest.raises(KeyboardInterrupt):
            hdf5.begin_reading(one, hdf5.NIR)
    assert read_raw(two).nodes["n0"].array("tau").shape == (5,)


def test_an_answer_to_another_request_is_refused(tmp_path: Path) -> None:
    one, two = (written(tmp_path, chain(n, lif(n)), f"{n}.nir") for n in (3, 5))
    hdf5._end_worker()
    hdf5.begin_reading(one, hdf5.NIR)
    hdf5._workers[0].begun = {}
    with pytest.raises(InputError) as caught:
        read_raw(two)
    assert caught.value.code == "damaged-file"
    assert read_raw(two).nodes["n0"].array("tau").shape == (5,)
