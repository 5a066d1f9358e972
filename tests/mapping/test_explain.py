"""What is on a core and in a layer adds up, in Python and on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from snndeploy.bundle import read_bundle
from snndeploy.chip import load_target
from snndeploy.cli import main
from snndeploy.errors import UsageError
from snndeploy.ir.program import Program
from snndeploy.mapping import explain_core, explain_layer, place_program
from snndeploy.mapping.count.memory import Memory
from snndeploy.mapping.route.traffic import messages
from snndeploy.simulate.integer.engine import run_integer
from tests.support.commands import FRONTEND, code_of, network
from tests.support.mapping_programs import mlp
from tests.support.random_programs import random_program, small_chip

LOIHI1, LOIHI2 = load_target("loihi1"), load_target("loihi2")


def rates(program: Program) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {g.name: rng.random(g.shape) for g in program.groups}


def test_a_core_counted_by_hand() -> None:
    """784-128-64-10 as Intel's compiler took it: the last layer is alone on its core."""
    program = mlp(784, 128, 64, 10)
    placement = place_program(program, LOIHI2)
    core = placement.of_group("l3")[0].core
    told = explain_core(program, placement, LOIHI2, core, {"l2": 6.4})
    assert [(w.what, w.words) for w in told.words] == [
        ("synapses of l2->l3 (dense)", 256),
        ("input axons of l2->l3", 64),
        ("axon map of l3", 10),
        ("neurons of l3", 10),
        ("group entries of l3", 1),
    ]
    assert told.limit == 20_000
    assert sum(w.share for w in told.words) == pytest.approx(341 / 20_000)
    assert (told.fullest, told.axons_in, told.axons_out) == ("groups", 64, 10)
    (held,) = told.synapses
    assert (held.encodings, held.words, held.axons, held.synapses) == (("dense",), 256, 64, 640)
    (source,) = told.incoming
    assert (source.core, source.groups) == (placement.of_group("l2")[0].core, ("l2",))
    assert source.messages == pytest.approx(6.4)
    assert told.outgoing == ()


@pytest.mark.parametrize("target", [LOIHI1, LOIHI2], ids=lambda t: t.name)
@pytest.mark.parametrize("seed", range(6))
def test_words_and_messages_add_up(seed: int, target: object) -> None:
    assert target in (LOIHI1, LOIHI2)
    program, chip = random_program(seed), small_chip(target, seed)  # type: ignore[arg-type]
    placement = place_program(program, chip, effort="low")
    pool = "pool_words" if chip.family == "loihi2" else "synapse_words"
    spikes = rates(program)
    sent = messages(Memory(program, chip), placement, spikes)
    for core in placement.cores[:5]:
        told = explain_core(program, placement, chip, core, spikes)
        used = sum(s.resources[pool] for s in placement.on_core(core))
        assert sum(w.words for w in told.words) == used
        assert {u.resource: u.used for u in told.uses}[pool] == used
        came = float(sent.weight[sent.target == core].sum())
        assert sum(n.messages for n in told.incoming) == pytest.approx(came)
        went = float(sent.weight[sent.source == core].sum())
        assert sum(n.messages for n in told.outgoing) == pytest.approx(went)
        assert [u.share for u in told.uses] == sorted((u.share for u in told.uses), reverse=True)
    for group in program.on_chip:
        layer = explain_layer(program, placement, chip, group.name, spikes)
        slices = placement.of_group(group.name)
        assert layer.neurons == int(np.prod(group.shape))
        assert layer.cores == tuple(sorted({s.core for s in slices}))
        assert sum(w.words for w in layer.words) == sum(s.resources[pool] for s in slices)
    one = program.synapses[0]
    by_projection = explain_layer(program, placement, chip, one.name, spikes)
    assert by_projection.layer == one.target


def test_what_is_not_there_is_refused() -> None:
    program = mlp(10, 8, 4)
    placement = place_program(program, LOIHI2)
    with pytest.raises(UsageError, match="nothing is on core 7") as caught:
        explain_core(program, placement, LOIHI2, 7, {})
    assert (caught.value.code, caught.value.hint) == ("core-empty", "cores in use: 0-1")
    with pytest.raises(UsageError, match="no layer is called 'l9'") as caught:
        explain_layer(program, placement, LOIHI2, "l9", {})
    assert caught.value.code == "layer-unknown"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


def test_the_command(tmp_path: Path) -> None:
    bundle = tmp_path / "net.snnb"
    assert run("compile", network(tmp_path, 20, 12, 4), *FRONTEND, "-o", bundle).exit_code == 0
    overview = run("explain", bundle)
    assert overview.exit_code == 0, overview.output
    assert "cores in use on loihi2" in overview.output
    core = run("explain", bundle, "--core", 0)
    assert "what fills it (of 20,000 words)" in core.output
    assert "messages from others" in core.output
    layer = run("explain", bundle, "--layer", "n2")
    assert layer.stdout.startswith("layer n3: 4 = 4 neurons on 1 core")
    told = json.loads(run("explain", bundle, "--layer", "n3", "--json").stdout)
    assert told["layer"] == "n3"
    assert sum(w["words"] for w in told["words"]) == next(
        u["used"] for u in told["uses"] if u["resource"] == "pool_words"
    )
    both = run("explain", bundle, "--layer", "n3", "--core", 0)
    assert (both.exit_code, code_of(both)) == (2, "explain-both")
    assert run("explain", bundle, "--core", 99).exit_code == 2
    assert run("explain", tmp_path / "gone.snnb").exit_code == 3


def test_reports_tell_the_time_and_what_the_search_proved(tmp_path: Path) -> None:
    model, bundle = network(tmp_path, 20, 12, 4), tmp_path / "net.snnb"
    text = run("compile", model, *FRONTEND, "-o", bundle).stdout
    assert "time per step (estimate, inferred): " in text
    assert "cores: fastest spread, a core each: proved optimal" in text
    report = json.loads(run("report", bundle, "--json").stdout)
    time = report["time"]
    assert time["low_ns"] == max(t["low_ns"] for t in time["terms"]) == time["terms"][0]["low_ns"]
    assert time["activity"].startswith("assumed: 10%")
    assert report["cores"]["search"]["kind"] == "optimal"
    rng = np.random.default_rng(0)
    data = tmp_path / "data.npz"
    np.savez(data, x=(rng.random((3, 10, 20)) < 0.3).astype(np.uint8))
    run_report = json.loads(run("simulate", bundle, "-d", data, "--json").stdout)
    assert run_report["time"]["activity"] == "measured"
    assert "time per step" in run("simulate", bundle, "-d", data).stdout


def test_messages_of_the_samples_that_are_given(tmp_path: Path) -> None:
    """Counted on a run of the samples: the input's are how often it spikes in a step."""
    bundle = tmp_path / "net.snnb"
    run("compile", network(tmp_path, 20, 12, 4), *FRONTEND, "-o", bundle)
    rng = np.random.default_rng(0)
    x = (rng.random((5, 9, 20)) < 0.3).astype(np.uint8)
    np.savez(tmp_path / "x.npz", x=x)
    program = read_bundle(bundle).program
    hidden = run_integer(program, x.swapaxes(0, 1)).spikes["n1"].sum(axis=(2,)).mean()
    told = {}
    for name in ("n1", "n3"):
        given = ("explain", bundle, "--layer", name, "-d", tmp_path / "x.npz", "--json")
        told[name] = json.loads(run(*given).stdout)
    (host,) = (n for n in told["n1"]["incoming"] if n["core"] is None)
    assert host["messages"] == pytest.approx(x.sum(axis=2).mean())
    assert told["n1"]["outgoing"][0]["messages"] == pytest.approx(hidden)
    assert hidden > 0
    everything = run("explain", bundle, "-d", tmp_path / "x.npz")
    assert (everything.exit_code, code_of(everything)) == (2, "explain-all")
