"""What objects say of themselves in a console: a line each."""

from __future__ import annotations

import numpy as np

import snndeploy
from snndeploy.demo import FOLDER, digits
from snndeploy.pipeline import bundle_of, compile


def test_public_objects_fit_a_screen() -> None:
    samples = digits().first(4)
    compiled = compile(FOLDER / "digits.nir", recipe=None, calibration=samples)
    network, program = compiled.source, compiled.program
    run = snndeploy.run_engine("integer", samples, program=program)
    things = (
        network,
        *network.populations,
        *network.projections,
        *(p.neuron for p in network.populations),
        *(p.weight for p in network.projections),
        program,
        *program.groups,
        *program.synapses,
        compiled,
        compiled.placement,
        compiled.target,
        compiled.recipe,
        compiled.log,
        bundle_of(compiled, samples),
        samples,
        run,
    )
    assert max(len(repr(thing)) for thing in things) < 500
    assert not any("\n" in repr(thing) for thing in things)


def test_what_they_say() -> None:
    network = compile(FOLDER / "digits.nir", recipe=None).source
    assert repr(network.populations[1]) == "Population(name='1', shape=(16, 8, 8), neuron=Neuron)"
    assert repr(network.projections[0].weight) == "Weight(data=float32 (16, 1, 3, 3))"
    assert repr(network).startswith("Network(populations=<input, 1, 4, 8>, projections=<0, 3, 7>")
    samples = snndeploy.Samples(np.zeros((2, 3, 4)), np.arange(3))
    assert repr(samples) == "Samples(source=float64 (2, 3, 4), labels=int64 (3,))"
    assert repr(snndeploy.load_target("loihi1")).startswith("Target('loihi1', 'Loihi, ")


def test_notebooks_show_fields_and_parts_as_text() -> None:
    network = compile(FOLDER / "digits.nir", recipe=None).source
    shown = network._repr_html_()
    assert shown.startswith("<b>Network</b><table><tr><th ")
    assert "Population(name=&#x27;1&#x27;, shape=(16, 8, 8), neuron=Neuron)<br>" in shown
    strange = snndeploy.Population("<script>", (1,), None)
    assert "&lt;script&gt;" in strange._repr_html_()
    assert "<script>" not in strange._repr_html_()
    many = snndeploy.Network(tuple(network.populations[:1]) * 50, ())
    assert many._repr_html_().count("<br>") == 40
    assert "and 10 more" in many._repr_html_()
