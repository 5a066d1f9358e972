"""Pictures are data: what they show is what was counted, and a library draws all of them."""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
from typing import Any

import pytest

import snndeploy
from snndeploy.errors import BackendMissing, InputError, UsageError
from snndeploy.report import all_pictures, picture_file, sensitivity_pictures, sight_of
from snndeploy.report.pictures import Picture
from snndeploy.report.pictures.answers import confusion_pictures
from snndeploy.report.pictures.energy import energy_pictures
from snndeploy.report.pictures.mesh import mesh_pictures
from snndeploy.report.pictures.network import network_picture
from snndeploy.report.pictures.passes import pass_pictures
from snndeploy.report.sight import CoreTile, GraphEdge, LayerNode, Mesh, Sight
from tests.support.builders import conv_net

RUN: dict[str, Any] = {
    "labels": [0, 0, 1, 2],
    "predictions": {"float": [0, 0, 1, 2], "integer": [0, 1, 1, 2]},
    "energy": {
        "chip": {
            "low": 2.0,
            "high": 5.0,
            "parts": {"spikes": 2.0, "none": 0.0},
            "certainty": "inferred",
        },
        "45nm-cmos": {
            "low": 1.0,
            "high": 1.0,
            "parts": {"additions": 1.0},
            "certainty": "published",
        },
    },
}
EMPTY = Sight(
    nodes=(),
    edges=(),
    mesh=Mesh(columns=1, rows=1, chips=1, cores=()),
    codes=(),
    trains=(),
    steps=0,
    samples=0,
)


def shown(picture: Picture, layer: int | None = None) -> list[dict[str, Any]]:
    view = picture.spec if layer is None else picture.spec["layer"][layer]
    values: list[dict[str, Any]] = view["data"]["values"]
    return values


def test_confusion_matrices_count_pairs() -> None:
    before, after = confusion_pictures(RUN)
    assert before.alt == "Confusion matrix of float: 4 of 4 samples are right."
    assert after.alt == "Confusion matrix of integer: 3 of 4 samples are right."
    assert {(v["is"], v["said"]): v["n"] for v in shown(after)} == {
        (0, 0): 1,
        (0, 1): 1,
        (1, 1): 1,
        (2, 2): 1,
    }
    assert list(confusion_pictures({**RUN, "labels": None})) == []


def test_no_picture_of_energy_mixes_kinds() -> None:
    pictures = list(energy_pictures(RUN))
    assert [p.title for p in pictures] == [
        "Energy per sample: the chip",
        "Energy per sample: the arithmetic alone",
    ]
    assert [[v["model"] for v in shown(p, 1)] for p in pictures] == [["chip"], ["45nm-cmos"]]
    assert shown(pictures[0], 0) == [{"model": "chip", "part": "spikes", "nj": 2.0}]
    assert pictures[0].note.endswith("lines reach to the high ends.")
    assert pictures[1].note == ""


def test_a_part_has_one_colour_in_all_pictures_of_energy() -> None:
    def told(parts: dict[str, float]) -> dict[str, Any]:
        ends = {"low": 2.0, "high": 3.0, "certainty": "paper"}
        return {**ends, "parts": parts}

    energy = {"chip": told({"a": 1.0, "b": 1.0}), "45nm-cmos": told({"c": 0.0, "b": 2.0})}
    scales = [
        p.spec["layer"][0]["encoding"]["color"]["scale"]
        for p in energy_pictures({"energy": energy})
    ]
    first, second = (dict(zip(s["domain"], s["range"], strict=True)) for s in scales)
    assert (set(first), set(second)) == ({"a", "b"}, {"b"})
    assert first["b"] == second["b"] != first["a"]


def test_the_waterfall_falls_from_pass_to_pass() -> None:
    alike = {"agreement": 0.9, "samples": 50, "divergence": 0.1}
    steps = [
        {"name": "as trained", "bits": 1000},
        {"name": "prune", "bits": 400, "answers": None},
        {"name": "quantize", "bits": 100, "answers": alike},
    ]
    bits, answers = pass_pictures(steps)
    taken = [(v["step"], v["from"], v["to"]) for v in shown(bits, 0) if v["what"] == "taken"]
    assert taken == [("1. prune", 400, 1000), ("2. quantize", 100, 400)]
    assert [(v["step"], v["share"]) for v in shown(answers)] == [("2. quantize", 0.9)]
    assert list(pass_pictures(steps[:1])) == []


def tile(core: int, chip: int, fill: float) -> CoreTile:
    return CoreTile(
        core=core,
        chip=chip,
        column=core,
        row=0,
        layers=tuple(f"layer{i}" for i in range(8)),
        neurons=5,
        fill=fill,
        resource="synapse_words",
        received=2.0,
        sent=1.0,
    )


def test_chips_stand_beside_each_other_and_cores_lead_to_their_layer() -> None:
    mesh = Mesh(columns=2, rows=1, chips=2, cores=(tile(0, 0, 0.5), tile(1, 3, 1.2)))
    fill, traffic = mesh_pictures(mesh, ("layer9", "layer0"))
    assert [v["x"] for v in shown(fill, 1)] == [0, 4]
    assert [(v["x"], v["y"]) for v in shown(fill, 0)] == [(1, 0), (3, 0)]
    first = shown(fill, 1)[0]
    assert first["link"] == "#layer-1"
    assert first["layers"] == "layer0, layer1, layer2, layer3, layer4, layer5 and 2 more"
    assert "core 1, uses 120.0% of its synapse words" in fill.alt
    assert shown(traffic, 1)[1]["messages"] == 3.0


def chain(count: int) -> tuple[tuple[LayerNode, ...], tuple[GraphEdge, ...]]:
    """Layers one after the other, of which the second level has two."""
    nodes = tuple(
        LayerNode(name=f"l{i}", kind="lif", shape=(4,), neurons=4, level=max(0, i - 1), rate=None)
        for i in range(count)
    )
    edges = tuple(
        GraphEdge(source=f"l{i}", target=f"l{i + 1}", operator="dense", weights=1, bits=8, delay=0)
        for i in range(count - 1)
    )
    return nodes, edges


@pytest.mark.parametrize(("count", "drawn"), [(60, 60), (61, 60), (1000, 60)])
def test_of_very_many_layers_the_first_are_drawn(count: int, drawn: int) -> None:
    nodes, edges = chain(count)
    sight = dataclasses.replace(EMPTY, nodes=nodes, edges=edges)
    picture = network_picture(sight, tuple(n.name for n in nodes))
    assert [box["name"] for box in shown(picture, 3)] == [f"l{i}" for i in range(drawn)]
    assert len({line["edge"] for line in shown(picture, 0)}) == drawn - 1
    assert ("The first 60 of" in picture.note) == (count > drawn)
    assert picture.spec["height"] < 96 * drawn


def test_words_of_lines_side_by_side_are_told_by_their_heads() -> None:
    """Two lines go down from the first level, one from the second."""
    nodes, edges = chain(4)
    edges = (*edges[1:], dataclasses.replace(edges[0], source="l0", target="l2", operator="conv"))
    sight = dataclasses.replace(EMPTY, nodes=nodes, edges=edges)
    lines, arrows, words = (shown(network_picture(sight, ()), i) for i in range(3))
    assert {line["edge"] for line in lines} == {0, 1, 2}
    assert [arrow["way"] for arrow in arrows] == ["l1 → l2", "l2 → l3", "l0 → l2"]
    assert arrows[2]["text"].startswith("conv")
    assert [word["way"] for word in words] == ["l2 → l3"]


def test_a_narrow_box_has_its_name_alone() -> None:
    nodes, _ = chain(2)
    many = tuple(dataclasses.replace(nodes[0], name=f"n{i}") for i in range(6))
    sight = dataclasses.replace(EMPTY, nodes=(*many, dataclasses.replace(nodes[1], level=1)))
    layers = network_picture(sight, ()).spec["layer"]
    texts = [layer["name"] for layer in layers if layer.get("name", "").startswith("onbox")]
    assert texts == ["onbox_name_0", "onbox_name_1", "onbox_size_1", "onbox_rate_1"]


def test_words_stay_within_their_box() -> None:
    """Two boxes side by side are narrower than one alone, and so are their words."""
    nodes, edges = chain(4)
    picture = network_picture(dataclasses.replace(EMPTY, nodes=nodes, edges=edges), ())
    texts = [
        layer for layer in picture.spec["layer"] if layer.get("name", "").startswith("onbox_name")
    ]
    limits = {
        tuple(v["name"] for v in t["data"]["values"]): t["mark"]["limit"]["expr"] for t in texts
    }
    assert limits == {("l0", "l1"): "0.3384 * width - 4", ("l2", "l3"): "0.52 * width - 4"}


def test_curves_of_what_layers_can_lose() -> None:
    point = {"layer": "a", "kind": "bits", "value": 4, "accuracy": 0.9, "distance": 0.2}
    (picture,) = sensitivity_pictures({"points": [point], "accuracy": 0.95})
    assert shown(picture) == [{"layer": "a", "at": 4, "kept": 0.9}]
    (picture,) = sensitivity_pictures({"points": [{**point, "accuracy": None}], "accuracy": None})
    assert shown(picture) == [{"layer": "a", "at": 4, "kept": 0.8}]


def test_a_picture_alone_needs_a_library_and_a_known_format(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    picture = next(confusion_pictures(RUN))
    with pytest.raises(UsageError) as caught:
        picture_file(picture, ".gif")
    assert caught.value.code == "picture-format"
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    with pytest.raises(BackendMissing) as missing:
        picture_file(picture, ".svg")
    assert missing.value.code == "drawing-missing"
    assert missing.value.hint == 'pip install "snndeploy[report]"'


@pytest.mark.skipif(
    importlib.util.find_spec("vl_convert") is None, reason="the report extra is not installed"
)
@pytest.mark.parametrize("suffix", [".svg", ".png"])
def test_what_cannot_be_drawn_is_said_in_one_line(suffix: str) -> None:
    spec = {"data": {"values": [{"x": 1}]}, "mark": "bar", "transform": [{"filter": "(("}]}
    picture = dataclasses.replace(next(confusion_pictures(RUN)), spec=spec)
    with pytest.raises(InputError) as caught:
        picture_file(picture, suffix)
    assert caught.value.code == "picture-undrawn"
    assert caught.value.where == picture.name
    assert "\n" not in caught.value.message


@pytest.mark.skipif(
    importlib.util.find_spec("vl_convert") is None, reason="the report extra is not installed"
)
def test_all_pictures_are_drawn() -> None:
    """Every specification is Vega-Lite, and what it says in words is in the drawing."""
    bundle = snndeploy.bundle_of(snndeploy.compile(conv_net(seed=7), recipe="default"))
    sight = sight_of(
        bundle.program, bundle.placement, bundle.target, bundle.networks, bundle.golden
    )
    pictures = all_pictures(bundle.report, [RUN], sight)
    assert {p.group for p in pictures} == {
        "network",
        "mesh",
        "passes",
        "confusion",
        "energy",
        "spikes",
        "rasters",
        "codes",
    }
    for picture in pictures:
        drawn = picture_file(picture, ".svg").decode()
        assert drawn.startswith("<svg ")
        assert drawn.count("<path") > 1
    assert picture_file(pictures[0], ".png").startswith(b"\x89PNG")
