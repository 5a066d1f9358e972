"""A run's report tells operations, energy and time of one count, and what sets its ends apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import snndeploy
from snndeploy.chip import load_target
from snndeploy.cli.show.render_runs import print_run_report
from snndeploy.ir.arrays import frozen
from snndeploy.mapping import place_program
from snndeploy.pipeline.run import run_samples
from tests.support.mapping_programs import mlp


@pytest.mark.parametrize(("target", "most"), [("loihi1", 36), ("loihi2", 30)])
def test_a_run_of_a_layer_with_a_few_zeros(
    target: str, most: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """4 x 3 weights of which 2 are zero, all three inputs spike in each of 3 steps."""
    chip = load_target(target)
    program = mlp(3, 4)
    (s,) = program.synapses
    weight = np.full((4, 3), 2)
    weight[0, 0] = weight[1, 1] = 0
    program = replace(program, target=target, synapses=(replace(s, mantissa=frozen(weight)),))
    placement = place_program(program, chip)
    samples = snndeploy.Samples(np.ones((3, 1, 3)))
    report = run_samples(samples, ["integer"], program, placement, chip)
    activity, energy = report["activity"], report["energy"][target]
    assert (activity["synops_per_sample"], activity["most_synops_per_sample"]) == (30, most)
    (term,) = (t for t in report["time"]["terms"] if t["what"] == "synaptic operations")
    assert (3 * term["count"], 3 * term["count_high"]) == (30, most)
    assert energy["parts"]["synaptic operations"] == pytest.approx(
        30 * chip.energy.synaptic_op.pj / 1000
    )
    assert report["time"]["activity"] == "measured"
    print_run_report(report)
    told = capsys.readouterr().out
    assert ("counts the zeros that dense lists hold (inferred)" in told) == (most > 30)
