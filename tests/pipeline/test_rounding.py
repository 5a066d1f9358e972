"""The estimate at compile time predicts what a run on other samples measures."""

from __future__ import annotations

import numpy as np
import pytest

import snndeploy
from snndeploy.data import Samples
from snndeploy.ir.network import Network
from snndeploy.ir.ops import Dense
from snndeploy.pipeline import report_of, run_compiled
from tests.support.builders import conv_net, inputs, lif, project, recurrent_net, spikes


def slow(leak: float) -> Network:
    rng = np.random.default_rng(0)
    return Network(
        (inputs((10,)), lif("a", (20,), leak=leak), lif("out", (5,), "output", leak=leak)),
        (
            project("w0", "input", "a", Dense(20, 10), rng.normal(size=(20, 10)) / 3),
            project("w1", "a", "out", Dense(5, 20), rng.normal(size=(5, 20)) / 3),
        ),
    ).verify()


CASES = {
    "conv": conv_net,
    "recurrent": recurrent_net,
    "slow": lambda: slow(0.999),
    "usual": lambda: slow(0.9),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_foretold_is_measured(case: str) -> None:
    """Within a factor of two, wherever more than a few spikes differ."""
    network = CASES[case]()
    data = Samples(spikes(network, samples=64, steps=40))
    first, others = next(data.batches(32)), list(data.batches(32))[1]
    compiled = snndeploy.compile(network, recipe=None, calibration=first)
    report = run_compiled(compiled, others, ("compressed", "integer"))
    (pair,) = report["comparisons"]
    layers = {layer["name"]: layer for layer in report_of(compiled)["layers"]}
    for name, share in compiled.program.differing.items():
        measured = 1 - pair["match"][name]
        few = 30 / max(1, pair["spikes"][name])
        assert measured / 2 - few <= share <= 2 * measured + few, name
        assert layers[name]["spikes_differing"] == round(share, 5)
    assert compiled.program.differing.keys() == {
        p.name for p in network.populations if p.neuron and p.neuron.spiking
    }


def test_what_is_felt_is_told_and_nothing_is_foretold_without_data() -> None:
    network = slow(0.9)
    data = Samples(spikes(network, samples=8, steps=40))
    compiled = snndeploy.compile(network, recipe=None, calibration=data)
    share = compiled.program.differing["out"]
    assert share > 0.005
    (note,) = [f for f in compiled.findings if f.code == "spikes-rounded"]
    assert f"out {share:.1%}" in note.message
    plain = snndeploy.compile(network, recipe=None)
    assert plain.program.differing == {}
    assert (
        plain.program.digest == snndeploy.compile(network, recipe=None, inputs=None).program.digest
    )
