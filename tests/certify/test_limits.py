"""Every limit of the checker at its end: the last that is taken, and the first that is not."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from snndeploy.certify import BundleRefused, Contradiction, certify, headroom, runs
from snndeploy.certify import __main__ as script
from snndeploy.certify.cores import check_partition
from snndeploy.certify.engine import chain
from snndeploy.certify.files import NEURONS, Archive, shaped
from tests.support.miscompiled import Files, taken_apart
from tests.support.one_neuron import one


@pytest.fixture
def files() -> Files:
    return taken_apart("dense", "loihi2").copy()


def window(**fields: Any) -> SimpleNamespace:
    """A convolution of one channel over a line."""
    plain: dict[str, Any] = {
        "in_channels": 1,
        "out_channels": 1,
        "kernel": [1],
        "stride": [1],
        "groups": 1,
    }
    plain |= {"padding": [(0, 0)], "dilation": [1]}
    return SimpleNamespace(type="Conv", **{**plain, **fields})


@pytest.mark.parametrize(
    ("op", "shape", "out"),
    [
        (window(kernel=[1 << 16]), (1, 1 << 17), (1, (1 << 16) + 1)),
        (window(kernel=[(1 << 16) + 1]), (1, 1 << 17), None),
        (window(stride=[1 << 20]), (1, NEURONS), (1, NEURONS >> 20)),
        (window(stride=[1 << 20]), (1, NEURONS + 1), None),
        (window(stride=[1 << 20], padding=[(0, 1)]), (1, NEURONS), None),
        (window(out_channels=NEURONS >> 4), (1, 16), (NEURONS >> 4, 16)),
        (window(out_channels=(NEURONS >> 4) + 1), (1, 16), None),
        (window(kernel=[5]), (1, 5), (1, 1)),
        (window(kernel=[6]), (1, 5), None),
        (window(kernel=[3], stride=[2], dilation=[2]), (1, 9), (1, 3)),
        (window(in_channels=6, out_channels=4, groups=2), (6, 3), (4, 3)),
        (window(in_channels=6, out_channels=4, groups=4), (6, 3), None),
        (window(in_channels=6, out_channels=3, groups=2), (6, 3), None),
        (window(in_channels=2), (1, 3), None),
        (SimpleNamespace(type="Dense", in_features=3, out_features=2), (3,), (2,)),
        (SimpleNamespace(type="Dense", in_features=3, out_features=2), (4,), None),
        (SimpleNamespace(type="Reshape", shape=(2, 3)), (6,), (2, 3)),
        (SimpleNamespace(type="Reshape", shape=(2, 3)), (5,), None),
        (SimpleNamespace(type="Pointwise", shape=(6,), weight_shape=[]), (6,), (6,)),
        (SimpleNamespace(type="Pointwise", shape=(6,), weight_shape=[]), (2, 3), None),
        (SimpleNamespace(type="SumPool", kernel=[2], stride=[2], padding=[1]), (3, 4), (3, 3)),
    ],
)
def test_operators_at_their_ends(op: Any, shape: tuple[int, ...], out: Any) -> None:
    if out is None:
        with pytest.raises(BundleRefused, match="has an operator"):
            chain([op], shape)
    else:
        assert chain([op], shape) == [shape, out]


@pytest.mark.parametrize(
    ("form", "good", "bad"),
    [
        ("shape", [1, 2, 3], [1, 2, 3, 4]),
        ("shape", [NEURONS], [NEURONS + 1]),
        ("shape", [1 << 13, 1 << 13], [1 << 13, (1 << 13) + 1]),
        ("shape", [1], [0]),
        ("shape", [3, 3], [3, 3.0]),
        ("2..31", 31, 32),
        ("2..31", 2, 1),
        ("?2..31", None, 0),
        ("big", 1 << 60, (1 << 60) + 1),
        ("big", -(1 << 60), -(1 << 60) - 1),
        ("real", 1.5, float("nan")),
        ("real", 3, "3"),
        ("real", 10**997, 10**999),
        ("str", "a" * 998, "a" * 999),
        ("str", "name", 7),
        ("a|b", "b", "c"),
        ("[a|b]", ["a", "b"], ["a", "c"]),
        ("{a|b}", {"map": {"x": "a"}}, {"map": {"x": "c"}}),
    ],
)
def test_forms_at_their_ends(form: str, good: Any, bad: Any) -> None:
    found = shaped(good, form, {})
    plain = good["map"] if isinstance(good, dict) else good
    assert list(found) == plain if isinstance(plain, list) else found == plain
    with pytest.raises(BundleRefused, match="has something that is not"):
        shaped(bad, form, {})


@pytest.mark.parametrize(
    ("form", "good", "bad"),
    [
        ("int[]", [1 << 40], [(1 << 40) + 1]),
        ("int[]", [-(1 << 40)], [-(1 << 40) - 1]),
        ("int[]", [-(1 << 40), 1 << 40], [-(1 << 40) - 1, 0]),
        ("int[]", [0, 0], [0, (1 << 40) + 1]),
        ("int[]", [3], [3.0]),
        ("int[]", [3], [True]),
        ("real[]", [3.5], [True]),
        ("real[]", [3], [True]),
        ("mask[]", [True], [1]),
    ],
)
def test_arrays_at_their_ends(form: str, good: list[Any], bad: list[Any]) -> None:
    arrays = {"good": np.array(good), "bad": np.array(bad)}
    assert shaped({"array": "good"}, form, arrays).tolist() == good
    with pytest.raises(BundleRefused, match="has something that is not"):
        shaped({"array": "bad"}, form, arrays)


def signed(files: Files, folder: Path, name: str, more: bytes) -> Path:
    """The bundle with something behind the text of a file, and the digest of that."""
    place = files.write(folder / "net.snnb")
    content = (place / name).read_bytes() + more
    (place / name).write_bytes(content)
    manifest = json.loads((place / "manifest.json").read_text())
    manifest["files"][name] = hashlib.sha256(content).hexdigest()
    (place / "manifest.json").write_text(json.dumps(manifest))
    return place


def test_tables_at_their_ends(files: Files, tmp_path: Path) -> None:
    """Long lines and very many dots take a reader of TOML minutes."""
    dots = (files.write(tmp_path / "plain") / "target.toml").read_text().count(".")
    good = [b"\n#" + b"x" * 4094, b"\n#" + b".\n#" * (9_999 - dots)]
    bad = [b"\n#" + b"x" * 4095, b"\n#" + b".\n#" * (10_000 - dots)]
    for more in good:
        assert certify(signed(files, tmp_path, "target.toml", more))["certified"]
    for more in bad:
        with pytest.raises(BundleRefused, match="too long a line"):
            certify(signed(files, tmp_path, "target.toml", more))


@pytest.mark.parametrize("limit", ["WORK", "MEMORY"])
def test_of_a_large_golden_run_some_samples_are_run(
    limit: str, files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many as fit, and one at the least; which is said."""
    steps, samples = files.golden["input.input"].shape[:2]
    files.golden = {
        name: np.tile(x, (1, 3, *[1] * (x.ndim - 2))) for name, x in files.golden.items()
    }
    place = files.write(tmp_path / "net.snnb")
    sizes = [int(np.prod(x.shape[2:])) for x in files.golden.values()]
    weights = sum(files.array(s["mantissa"]).size for s in files.synapses)
    one = steps * (weights if limit == "WORK" else sum(sizes))

    def ran(most: int) -> str:
        monkeypatch.setattr(runs, limit, most)
        (line,) = (x for x in certify(place)["proved"] if x.startswith("golden run"))
        return line

    of = f"samples (of {3 * samples}) give every recorded spike on the checker's own engine"
    assert ran(one * 2) == f"golden run: {steps} steps of 2 {of}"
    assert ran(one * 2 - 1) == f"golden run: {steps} steps of 1 {of}"
    assert ran(one - 1) == f"golden run: {steps} steps of 1 {of}"
    assert ran(one * 1000) == f"golden run: {steps} steps of {3 * samples} {of}"


def test_what_takes_too_long_is_refused(
    files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = max(x["input.input"].shape[0] for x in (files.golden, files.worst))
    work = steps * sum(files.array(s["mantissa"]).size for s in files.synapses)
    place = files.write(tmp_path / "net.snnb")
    kept = files.worst["input.input"].shape[1]  # worst inputs are replayed, too, each once
    assert kept > 1
    monkeypatch.setattr(runs, "WORK", (work * kept + 0.5) / 50)
    assert certify(place)["certified"]
    monkeypatch.setattr(runs, "WORK", (work * kept - 0.5) / 50)
    with pytest.raises(BundleRefused, match="keeps more worst inputs than are replayed"):
        certify(place)
    monkeypatch.setattr(runs, "WORK", (work - 0.5) / 50)
    with pytest.raises(BundleRefused, match="multiplications per sample: more than is checked"):
        certify(place)


@pytest.mark.parametrize("sent", [-1, 2])
def test_a_plain_spike_is_there_or_not(sent: int, files: Files, tmp_path: Path) -> None:
    x = files.golden["input.input"].astype(np.int8)
    x.reshape(-1)[0] = sent
    files.golden["input.input"] = x
    found = certify(files.write(tmp_path / "net.snnb"))["contradiction"]
    assert (found["file"], found["where"]) == ("golden.npz", "input.input")
    assert found["what"] == "messages"


def test_texts_are_weighed_before_they_are_read(
    files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = files.write(tmp_path / "net.snnb")
    monkeypatch.setattr("snndeploy.certify.files.TEXT", 40)
    with pytest.raises(BundleRefused, match="has a JSON text of more than 40 bytes"):
        certify(place)


@pytest.mark.parametrize(
    "bounds", [[[0, 1, 2], [0, 2]], [[0, 2], [0]], [[0, 2]], [[0, 2], [1, 1]], [[0, 3], [0, 2]]]
)
def test_slices_are_boxes(bounds: list[list[int]]) -> None:
    group = SimpleNamespace(name="n", shape=(2, 2), kind="lif")
    target = {"chip": {"cores": 4}, "boards": {"one": 1}}

    def checked(ends: list[list[int]], name: str = "n") -> int:
        part = SimpleNamespace(group=name, bounds=ends, core=0)
        placement = SimpleNamespace(slices=[part], cores_per_chip=4)
        return check_partition(SimpleNamespace(groups=[group]), placement, target, "one")

    assert checked([[0, 2], [0, 2]]) == 1
    with pytest.raises(Contradiction, match="slice: stated a box of"):
        checked(bounds)
    with pytest.raises(Contradiction, match="group of a slice"):
        checked([[0, 2], [0, 2]], "other")


def test_what_the_script_leaves_with(
    files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = str(files.write(tmp_path / "net.snnb"))
    assert script.main([place]) == 0
    told = capsys.readouterr().out
    assert json.loads(told)["certified"]
    assert told.startswith('{\n  "certified": true,\n')
    assert told.endswith("\n}\n")
    for wrong in ([], [place, place], ["--help"]):
        assert script.main(wrong) == 2
        assert "usage" in capsys.readouterr().err
    assert script.main([str(tmp_path / "none")]) == 3
    assert capsys.readouterr().err.startswith("refused: ")


@pytest.mark.parametrize("field", ["du", "dv", "vth", "bias_mant", "scale"])
def test_parameters_are_of_their_neurons(field: str, files: Files, tmp_path: Path) -> None:
    """What is of more neurons than there are is not cut off, and not spread."""
    group = next(g for g in files.groups if g["kind"] != "input")
    array = files.array(group[field])
    more = np.broadcast_to(array, (2, *group["shape"])).copy()
    files.put(group[field], more)
    found = certify(files.write(tmp_path / "net.snnb"))["contradiction"]
    assert (found["where"], found["what"]) == (group["name"], f"shape of {field}")


@pytest.mark.parametrize(("axes", "taken"), [(0, True), (8, True), (9, False)])
def test_arrays_have_few_axes(axes: int, taken: bool) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, x=np.ones((1,) * axes))
    archive = Archive(buffer.getvalue(), "program.npz")
    if taken:
        assert archive["x"].shape == (1,) * axes
        return
    with pytest.raises(BundleRefused, match="has an array of float64 and shape"):
        _ = archive["x"]


def test_a_worst_input_counts_up_to_where_it_overflows_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A register that is just full has not overflowed yet; behind the first overflow anything may be."""
    program = one((1 << 18,), dv=np.array(4096))
    program.headroom = program.rounding = {}
    limit = (1 << 23) - 1
    peaks = np.zeros((2, 5, 1), np.int64)
    peaks[:, :, 0] = [limit - 1, limit, limit + 7, limit + 9, 3]
    monkeypatch.setattr(headroom, "engine", lambda *_: ({}, {"n": peaks}))
    monkeypatch.setattr(headroom, "given", lambda *_, **__: ({}, 5, 1, 1))
    kept = {"u.n": np.array([0, 2, limit + 7]), "v.n": np.array([0, 2, limit + 7])}

    class Worst(dict[str, Any]):
        members = kept

    told: dict[str, Any] = {"bounds": {}, "proved": [], "not_proved": []}
    headroom.check_headroom(program, Worst(kept), told)
    assert told["bounds"]["n"]["u"]["reached"] == limit + 7
    assert told["bounds"]["n"]["u"]["step"] == 2
