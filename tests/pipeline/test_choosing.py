"""One network on several chips, in one answer."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from click.testing import CliRunner

import snndeploy
from snndeploy.cli import main
from snndeploy.data import Samples
from snndeploy.export import write_nir
from snndeploy.ir.network import Network
from snndeploy.ir.ops import Dense
from snndeploy.pipeline.advise.choosing import compare_targets
from tests.support.builders import inputs, lif, project

RNG = np.random.default_rng(3)


def network(width: int = 12) -> Network:
    return Network(
        (
            inputs((6,), "in"),
            lif("hidden", (width,), leak=0.875),
            lif("out", (4,), "output", leak=0.75),
        ),
        (
            project("w1", "in", "hidden", Dense(width, 6), RNG.normal(0.3, 0.4, (width, 6))),
            project("w2", "hidden", "out", Dense(4, width), RNG.normal(0.2, 0.4, (4, width))),
        ),
    ).verify()


def samples() -> Samples:
    return Samples((RNG.random((20, 8, 6)) < 0.3).astype(np.uint8), np.arange(8) % 4)


def test_every_target_answers() -> None:
    found = compare_targets(
        network(), ["loihi1", "loihi2", "xylo-a2"], recipe=None, samples=samples()
    )
    assert [c.target for c in found] == ["loihi1", "loihi2", "xylo-a2"]
    assert {c.answer for c in found} == {"fits"}
    assert found[2].cores == found[2].board_cores == 1
    assert len({c.trained for c in found}) == 1
    for c in found:
        assert c.accuracy is not None
        assert c.step_ns is not None
        assert c.step_ns[0] > 0
        assert c.energy_nj is not None
        assert 0 < c.energy_nj[0] <= c.energy_nj[1]
    # loihi keeps a neuron without a synaptic state as it is; Xylo tells what it does instead
    assert not found[1].told
    assert all("one kind of neuron" in text for text in found[2].told)


def test_what_does_not_fit_and_what_is_refused() -> None:
    (wide,) = compare_targets(network(1001), ["xylo-a2"], recipe=None)
    assert (wide.answer, wide.why) == ("does not fit", ("xylo-neurons",))
    assert wide.step_ns is None
    negative = network()
    out = negative.population("out")
    assert out.neuron is not None
    changed = snndeploy.ir.network.Population(
        "out", (4,), out.neuron.changed((4,), threshold=-1.0), "output"
    )
    (refused,) = compare_targets(negative.replace([changed]), ["xylo-a2"], recipe=None)
    assert (refused.answer, refused.why) == ("refused", ("threshold-not-positive",))
    assert refused.cores is None


def test_the_command(tmp_path: Path) -> None:
    file = write_nir(tmp_path / "net.nir", network())
    told = ["--frontend", "snntorch", "--targets", "loihi2,xylo-a2", "--recipe", "none"]
    done = CliRunner().invoke(main, ["compare", str(file), *told, "--json"])
    assert done.exit_code == 0, done.output
    records = json.loads(done.stdout)
    assert [r["target"] for r in records] == ["loihi2", "xylo-a2"]
    table = CliRunner().invoke(main, ["compare", str(file), *told])
    assert table.exit_code == 0
    assert "xylo-a2" in table.stdout
