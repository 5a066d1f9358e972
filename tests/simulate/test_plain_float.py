"""The float engine in NumPy alone against the engine: two programs, two libraries, one meaning."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from snndeploy.errors import InputError
from snndeploy.ir.network import Network
from snndeploy.ir.ops import Dense, Pointwise, Reshape
from snndeploy.simulate.float import plain
from snndeploy.simulate.float.engine import run_float
from snndeploy.simulate.float.plain import run_plain
from tests.fuzz.networks import KINDS, draw
from tests.support.builders import ZOO, conv, inputs, lif, project, spikes

EXACT = [seed for seed in range(180) if KINDS[seed % len(KINDS)] == "exact"]


@pytest.mark.parametrize("first", range(0, len(EXACT), 20))
def test_both_engines_agree_where_numbers_are_exact(first: int) -> None:
    """Every operator, neuron option, delay and loop that networks are drawn with."""
    for seed in EXACT[first : first + 20]:
        case = draw(seed)
        told = run_float(case.network, case.data, dtype="float64").spikes
        found = run_plain(case.network, case.data, dtype="float64").spikes
        assert list(found) == list(told)
        for name, values in told.items():
            np.testing.assert_array_equal(found[name], values, f"{seed} {name}")


@pytest.mark.parametrize("build", ZOO, ids=lambda build: build.__name__)
def test_windows_in_pieces_change_nothing(
    build: type[Network], monkeypatch: pytest.MonkeyPatch
) -> None:
    network = build()
    data = spikes(network)
    whole = run_plain(network, data).spikes
    monkeypatch.setattr(plain, "_WINDOWS", 1)
    for name, values in run_plain(network, data).spikes.items():
        np.testing.assert_array_equal(values, whole[name])
    assert any(values.any() for values in whole.values())


def test_it_refuses_what_the_engine_refuses() -> None:
    network = ZOO[0]()
    with pytest.raises(InputError) as error:
        run_plain(network, spikes(network)[..., :1])
    assert error.value.code == "input-shape"


def test_it_loads_neither_torch_nor_numba() -> None:
    """That is what it is for: a look at a small network takes less than loading them."""
    program = (
        "import sys; from snndeploy.simulate.float.plain import run_plain;"
        "print(sorted({'torch', 'numba', 'scipy'} & set(sys.modules)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[]"


def test_what_a_step_multiplies() -> None:
    """As many as there are weights for each target neuron; wiring multiplies once."""
    populations = (
        inputs((2, 4, 4)),
        lif("a", (3, 4, 4)),
        lif("b", (3, 4, 4)),
        lif("c", (5,), "output"),
    )
    flat = Reshape((48,))
    network = Network(
        populations,
        (
            project("to-a", "input", "a", conv(2, 3), np.ones((3, 2, 3, 3))),
            project("to-b", "a", "b", Pointwise((3, 4, 4), ()), np.ones(())),
            project("to-c", "b", "c", (flat, Dense(5, 48)), np.ones((5, 48))),
        ),
    ).verify()
    assert plain.multiplications(network) == 48 * 2 * 9 + 48 + 5 * 48
