"""What rockpool's tools take, built back into the configuration that the engine runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from snndeploy.chip import load_target
from snndeploy.errors import InputError
from snndeploy.export.xylo import write_xylo, xylo_specification
from snndeploy.lower import InputCoding, lower
from snndeploy.simulate.integer.engine import run_integer
from snndeploy.simulate.integer.in_turn.kernel import run_compiled
from tests.support.xylo_configurations import messages, wired
from tests.support.xylo_networks import hidden_layers, sent

XYLO = load_target("xylo-a2")


@pytest.mark.parametrize("bias", [False, True])
def test_the_specification_runs_as_the_program_does(bias: bool, tmp_path: Path) -> None:
    program = lower(hidden_layers(bias=bias), XYLO, inputs=InputCoding(kind="graded", peak=15))
    with np.load(write_xylo(tmp_path / "net.npz", program), allow_pickle=False) as stored:
        s = dict(stored)
    assert ("bias_hidden" in s) == bias
    assert all(a.dtype.kind == "i" for a in s.values())
    assert s["weights_in"].shape == (6, 21)
    assert s["weights_out"].shape == (21, 5)
    x = sent()[:, 0]
    c = {
        "w_in": s["weights_in"][..., None],
        "w_rec": s["weights_rec"][..., None],
        "w_out": s["weights_out"][..., None],
        "shift": np.array([s[f"weight_shift_{block}"] for block in ("in", "rec", "out")]),
        "dash_syn": s["dash_syn"][:, None],
        "dash_syn_out": s["dash_syn_out"][:, None],
        **{k: s[k] for k in ("dash_mem", "dash_mem_out", "threshold", "threshold_out")},
        "has_bias": np.array(bias),
        "bias": s.get("bias_hidden", np.zeros(21)),
        "bias_out": s.get("bias_out", np.zeros(5)),
        "alias": np.zeros((0, 2)),
        "version": np.array(2),
        "x": np.concatenate([x, np.zeros((2, 6), int)]),  # until the output has seen all of it
    }
    spikes = run_compiled(wired(c), messages(c)).spikes[:, 0]
    ours = run_integer(program, sent()[:, :1]).spikes
    np.testing.assert_array_equal(spikes[:40, :12], ours["hidden12"][:, 0])
    np.testing.assert_array_equal(spikes[1:41, 12:21], ours["hidden9"][:, 0])
    np.testing.assert_array_equal(spikes[2:42, 21:], ours["output5"][:, 0])


def test_what_is_there_is_not_replaced(tmp_path: Path) -> None:
    program = lower(hidden_layers(), XYLO)
    assert xylo_specification(program)["threshold"].min() >= 1
    (tmp_path / "net.npz").touch()
    with pytest.raises(InputError):
        write_xylo(tmp_path / "net.npz", program)
