"""Connections that no chip has: membranes that are sent on, and loops shorter than their projections."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import snndeploy
from snndeploy.chip import load_target
from snndeploy.errors import LoweringRefused
from snndeploy.export.nir import write_nir
from snndeploy.ir.arrays import Array
from snndeploy.ir.network import Network, Population
from snndeploy.ir.neurons import Neuron
from snndeploy.ir.ops import Dense
from snndeploy.lower import lower
from snndeploy.lower.timing import lengthened
from snndeploy.passes.adapt import adapted, connected, unconnected
from snndeploy.simulate.float.engine import run_float
from snndeploy.simulate.integer.engine import run_integer
from tests.support.builders import inputs, lif, project
from tests.support.commands import run as invoke

LOIHI1 = load_target("loihi1")
RNG = np.random.default_rng(5)
IN, OUT, REC = RNG.integers(-4, 9, (4, 3)) / 8, RNG.integers(-2, 9, (2, 4)) / 8, np.eye(4) / 4


def filtered(leak: Any = 0.875, *, out: float = 0.25, **fields: Any) -> Network:
    """input → state; state's spikes through two filters' membranes into the output, 2 steps late."""
    li = Population("filter", (2,), Neuron.create((2,), **{"leak": leak, **fields}))
    return Network(
        (inputs((3,)), lif("state", (4,)), li, lif("out", (2,), "output", bias=out)),
        (
            project("in", "input", "state", Dense(4, 3), IN),
            project("a", "state", "filter", Dense(2, 4), OUT, delay=1),
            project("b", "filter", "out", Dense(2, 2), [[1, 0.5], [-1, 2]], delay=1),
        ),
    ).verify()


def looped(delay: int = 1) -> Network:
    """Three projections in a loop that is ``delay`` steps late."""
    return Network(
        (inputs((3,)), lif("a", (4,)), lif("b", (4,)), lif("c", (4,), "output")),
        (
            project("in", "input", "a", Dense(4, 3), IN),
            project("ab", "a", "b", Dense(4, 4), np.eye(4)),
            project("bc", "b", "c", Dense(4, 4), np.eye(4)),
            project("ca", ["c", "a"], "a", Dense(4, 4), -REC, delay=delay),
        ),
    ).verify()


def data(steps: int = 30, n: int = 3) -> Array:
    return (np.random.default_rng(4).random((steps, 6, n)) < 0.5).astype(np.float32)


@pytest.mark.parametrize("leak", [0.875, 0.0])
def test_a_filter_becomes_synapses_and_no_spike_differs(leak: float) -> None:
    """Powers of two: both orders of the sums are exact."""
    net = filtered(leak)
    made, told = connected(net)
    assert [p.name for p in made.populations] == ["input", "state", "out"]
    before, after = (run_float(n, data()).spikes["out"] for n in (net, made))
    assert before.any()
    np.testing.assert_array_equal(before, after)
    neuron = made.population("out").neuron
    assert neuron is not None
    assert neuron.syn_leak is None if leak == 0 else float(neuron.syn_leak) == leak  # type: ignore[arg-type]
    (finding,) = told
    assert (finding.code, finding.severity, finding.where) == ("adapted", "note", "out")
    assert finding.message == (
        "filter becomes the synapses of out, and 12 weights become 8 (exact)"
    )
    program = lower(made, LOIHI1)
    np.testing.assert_array_equal(
        run_integer(program, data().astype(np.int64)).spikes["out"], after
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"leak": np.array([0.5, 0.75])},  # no synapse keeps two parts
        {"syn_leak": 0.5},
        {"bias": 0.5},
        {"drive": 0.5},
        {"v_init": 0.5},
        {"v_floor": -1.0},
    ],
)
def test_a_filter_that_no_synapse_can_be_is_told_and_counted_as_spiking(
    fields: dict[str, Any],
) -> None:
    net = filtered(**fields)
    assert [p.name for p in connected(net)[0].populations] == ["input", "state", "filter", "out"]
    made, told = unconnected(net)
    assert [(f.code, f.severity, f.where) for f in told] == [("analog-source", "error", "filter")]
    assert "nothing that is known" in told[0].message
    assert all(p.neuron is None or p.neuron.spiking for p in made.populations)


def test_what_else_arrives_beside_a_filter_would_be_filtered_too() -> None:
    net = filtered()
    beside = project("beside", "state", "out", Dense(2, 4), OUT)
    more = dataclasses.replace(net, projections=(*net.projections, beside))
    assert connected(more)[0] is more
    without_memory = filtered(0.0)
    more = dataclasses.replace(without_memory, projections=(*without_memory.projections, beside))
    made, _ = connected(more)
    np.testing.assert_array_equal(
        *(run_float(n, data()).spikes["out"] for n in (more, made)), strict=True
    )
    assert "filter" not in {p.name for p in made.populations}


def test_a_loop_gets_the_steps_that_it_lacks_where_it_is_late_already() -> None:
    made, late = lengthened(looped())
    assert [(x.loop, x.hop.projection, x.hop.source, x.steps) for x in late] == [
        ("a -> b -> c -> a", "ca", "c", 2)
    ]
    (changed,) = (p for p in made.projections if p.name == "ca")
    assert [(s.population, int(s.delay)) for s in changed.sources] == [("c", 3), ("a", 1)]
    with pytest.raises(LoweringRefused) as caught:
        lower(looped(), LOIHI1)
    assert caught.value.code == "loop-too-short"
    assert "--adapt" in str(caught.value)
    fits = looped(3)
    assert lengthened(fits) == (fits, ())
    result = adapted(looped(), snndeploy.chip.family_of(LOIHI1))
    assert [f.message for f in result.findings] == [
        "what c sends to a arrives 2 steps later than trained "
        "(measured: compare the answers on your data)"
    ]


@pytest.mark.parametrize("target", ["loihi1", "loihi2", "xylo-a2"])
@pytest.mark.parametrize(
    ("net", "code"),
    [
        (filtered(), "analog-source"),
        (filtered(np.array([0.5, 0.75])), "analog-source"),
        (looped(), "loop-too-short"),
    ],
    ids=["filter", "filters", "loop"],
)
def test_every_chip_answers_with_budgets(target: str, net: Network, code: str) -> None:
    told = snndeploy.compile(net, target=target, recipe=None, tell_all=True)
    assert not told.fits
    assert code in {f.code for f in told.findings if f.severity == "error"}
    assert len(told.placement.cores) >= 1
    with pytest.raises(LoweringRefused) as caught:
        snndeploy.compile(net, target=target, recipe=None)
    assert caught.value.code == code


def test_check_ends_with_findings_and_adapt_mends(tmp_path: Path) -> None:
    path = write_nir(tmp_path / "net.nir", filtered())
    found = invoke("check", path, "-t", "loihi1")
    assert found.exit_code == 5
    assert "error[analog-source] filter: it sends its membrane to other populations" in found.output
    assert "--adapt: filter becomes the synapses of out" in found.output
    mended = invoke("check", path, "-t", "loihi1", "--adapt")
    assert mended.exit_code == 0
    assert "fits loihi1" in mended.output
