"""A program and its network, or two files of a bundle, that differ in one thing: which is named."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from snndeploy.certify import Contradiction, certify
from snndeploy.certify.checks import structure
from snndeploy.certify.engine import by_target
from snndeploy.certify.files import At, shaped
from snndeploy.certify.rounding import _near, check_numbers
from snndeploy.chip import load_target
from snndeploy.ir.codec import SharedArrays, encode
from snndeploy.ir.network import Network
from snndeploy.ir.ops import Dense
from snndeploy.ir.weights import Weight
from snndeploy.lower import InputCoding, lower
from tests.support.builders import inputs, lif, project
from tests.support.checked import checked
from tests.support.miscompiled import Files, taken_apart


@pytest.mark.parametrize(
    ("off", "taken"), [(10.0, True), (10 + 1.005e-6, True), (10 + 1.015e-6, False), (-11.0, False)]
)
def test_what_is_near(off: float, taken: bool) -> None:
    """As much as is allowed, and a billionth of all: (1000 + 10) * 1e-9."""
    found = np.array([1000.0, 1000.0 + off])
    at = At("program.npz", "n")
    if taken:
        _near(at, "x", found, 1000.0, 10.0)
        return
    with pytest.raises(Contradiction) as caught:
        _near(at, "x", found, 1000.0, 10.0)
    assert (caught.value.record["what"], caught.value.record["stated"]) == (
        "x at [1]",
        "1000 (+- 10)",
    )


def test_nothing_is_near_nothing() -> None:
    _near(At("program.npz", "n"), "x", np.zeros(2), np.zeros(2), 0.0)


@cache
def pair() -> tuple[Any, Any]:
    """A program and its network: two inputs, a pruned layer, a filtered bias in two parts, an output."""
    weights = np.array([[1.0, -0.5, 0.25], [0.5, 0.75, -1.0]])
    mask = np.array([[True, True, False], [True, False, True]])
    network = Network(
        (
            inputs((3,), "a"),
            inputs((3,), "b"),
            lif("h", (2,), leak=0.9, syn_leak=0.95, bias=np.array([1.0, 0.0037])),
            lif("out", (2,), "output", leak=0.5),
        ),
        (
            project("pruned", "a", "h", Dense(2, 3), Weight(weights * mask, mask=mask)),
            project("plain", "b", "h", Dense(2, 3), weights),
            project("on", "h", "out", Dense(2, 2), np.eye(2) / 2),
        ),
    ).verify()
    program = lower(network, load_target("loihi2"), inputs=InputCoding.named("binary"))
    arrays = SharedArrays()
    read = shaped(json.loads(json.dumps(encode(network, arrays))), "Network", arrays)
    return checked(program), read


def named(things: list[Any], name: str) -> Any:
    return next(x for x in things if x.name == name)


def renamed(program: Any, _: Any) -> None:
    """The compartment that carries the bias, by whichever name it is known."""
    group = program.group.pop("h.always")
    group.name = "other"
    program.group["other"] = group


def more_weights(_: Any, network: Any) -> None:
    named(network.projections, "plain").weight.data = np.ones((3, 3))


def not_pruned(_: Any, network: Any) -> None:
    weight = named(network.projections, "pruned").weight
    weight.data = weight.data + 1.0


def another_source(_: Any, network: Any) -> None:
    named(network.projections, "plain").sources[0].population = "a"


def later(_: Any, network: Any) -> None:
    named(network.projections, "plain").sources[0].delay = np.array(1)


def one_later(_: Any, network: Any) -> None:
    named(network.projections, "plain").sources[0].delay = np.array([0, 1, 0])


CHANGES: dict[str, tuple[Callable[[Any, Any], Any], str, str, str]] = {
    "population": (lambda p, n: setattr(n.populations[0], "name", "x"), "", "groups", "names"),
    "constant": (renamed, "", "groups", "constants"),
    "role": (lambda p, n: setattr(n.populations[2], "role", "output"), "", "h", "shape and role"),
    "shape": (lambda p, n: setattr(n.populations[3], "shape", (1, 2)), "", "out", "shape and role"),
    "input": (lambda p, n: setattr(p.group["a"], "kind", "lif"), "", "a", "input"),
    "lost": (lambda p, n: n.projections.pop(0), "", "h", "projections"),
    "source": (another_source, "", "plain", "sources"),
    "delay": (later, "", "plain", "delay"),
    "delay of one": (one_later, "", "plain", "delay"),
    "weights": (more_weights, "network.npz", "plain", "shape of weights"),
    "mask": (
        lambda p, n: setattr(named(n.projections, "pruned").weight, "mask", None),
        "",
        "pruned",
        "pruned synapses",
    ),
    "pruned": (not_pruned, "network.npz", "pruned", "pruned weights"),
    "rest late": (
        lambda p, n: setattr(named(p.synapses, "h.bias-rest").sources[0], "latency", np.array(2)),
        "",
        "h.bias-rest",
        "sources",
    ),
    "rest pruned": (
        lambda p, n: setattr(named(p.synapses, "h.bias-rest"), "alive", np.ones((2, 1), bool)),
        "",
        "h.bias-rest",
        "pruned synapses",
    ),
    "rest elsewhere": (
        lambda p, n: setattr(named(p.synapses, "h.bias-rest").ops[1], "shape", (1, 2)),
        "",
        "h.bias-rest",
        "operators",
    ),
    "floor": (lambda p, n: setattr(p.group["out"], "v_floor", np.array(-1)), "", "out", "v_floor"),
}


def test_the_pair_is_alike() -> None:
    program, network = copy.deepcopy(pair())
    assert any(s.name == "h.bias-rest" for s in program.synapses)
    assert check_numbers(program, network, {"not_proved": []}) == max(
        r.weight for r in program.rounding.values()
    )


@pytest.mark.parametrize("change", CHANGES)
def test_what_differs_is_named(change: str) -> None:
    do, file, where, what = CHANGES[change]
    program, network = copy.deepcopy(pair())
    program.into = by_target(program.synapses, program.group)
    do(program, network)
    with pytest.raises(Contradiction) as caught:
        check_numbers(program, network, {"not_proved": []})
    found = caught.value.record
    assert (found["file"], found["where"]) == (file or "program.npz", where)
    assert str(found["what"]).startswith(what)


FILES: dict[str, tuple[Callable[[Files], Any], str, str]] = {
    "fits": (lambda f: f.report.update(fits=False), "report.json", "fits"),
    "depth": (lambda f: f.report["program"].update(depth=9), "report.json", "depth"),
    "bits": (
        lambda f: f.target["numeric"]["state_bits"].update(limit=23),
        "program.npz",
        "bits of u and v",
    ),
    "registers": (
        lambda f: f.program["arithmetic"]["fields"].update(state_shift=5),
        "program.npz",
        "registers of loihi2",
    ),
    "layer": (
        lambda f: f.report["layers"][0].update(name="x"),
        "report.json",
        "layers, shapes and depths",
    ),
    "scale": (
        lambda f: next(iter(f.lock["compile"]["inputs"].values())).update(scale=2.0),
        "lock.toml",
        "input",
    ),
}


@pytest.mark.parametrize("change", FILES)
def test_what_two_files_say_otherwise_is_named(change: str, tmp_path: Path) -> None:
    do, file, what = FILES[change]
    files = taken_apart("dense", "loihi2").copy()
    do(files)
    found = certify(files.write(tmp_path / "net.snnb"))["contradiction"]
    assert (found["file"], found["what"]) == (file, what)


def test_names_are_told_apart() -> None:
    """Two groups of one name would be one."""
    program, _ = copy.deepcopy(pair())
    program.groups.append(SimpleNamespace(**vars(program.groups[0])))
    with pytest.raises(Contradiction, match="names"):
        structure(program)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda p: setattr(p.group["a"], "role", "hidden"), "input"),
        (lambda p: setattr(p.group["out"], "compare", ">="), "options of lif"),
        (lambda p: setattr(p.synapses[0], "target", "b"), "ends"),
        (lambda p: setattr(p.synapses[0], "sources", []), "ends"),
        (lambda p: setattr(p.synapses[0], "port", "imag"), "port"),
        (lambda p: setattr(p.synapses[0], "mantissa", np.ones((3, 2), int)), "shape of weights"),
        (lambda p: setattr(p.group["out"], "shape", (3,)), "delivers"),
        (
            lambda p: setattr(p.synapses[0].sources[0], "latency", np.ones((1, 3), int)),
            "shape of latency",
        ),
    ],
)
def test_structures_that_are_none_are_named(change: Callable[[Any], Any], what: str) -> None:
    program, _ = copy.deepcopy(pair())
    change(program)
    with pytest.raises(Contradiction, match=what):
        structure(program)
