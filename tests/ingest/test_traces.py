"""The traces of exporters at their ends: which frameworks a file fits, and which it just misses."""

from __future__ import annotations

from typing import Any

import nir
import numpy as np
import pytest

from snndeploy.ingest import choose_profile, fingerprint, read_raw
from snndeploy.ingest.semantics.traces import ratio_dt, told_dt
from tests.support.nir_graphs import chain, cuba, full, graph, lif

WEIGHT = np.eye(3, dtype=np.float32)


def plain(neuron: Any) -> Any:
    """Parameters in float32, as of a torch module."""
    for name, value in vars(neuron).items():
        if isinstance(value, np.ndarray) and value.dtype == np.float64:
            setattr(neuron, name, value.astype(np.float32))
    return neuron


def dense() -> nir.Linear:
    return nir.Linear(WEIGHT)


def one(tau: float, r: float, **fields: Any) -> nir.LIF:
    return plain(lif(3, tau=tau, r=r, **fields))


def integrate(r: float, **fields: Any) -> nir.IF:
    values = {"v_threshold": full(3, 1.0), "v_reset": full(3, 0.0), **fields}
    return plain(nir.IF(r=full(3, r), **values))


def mixed(tau: tuple[float, ...], r: tuple[float, ...], **fields: Any) -> nir.LIF:
    """Neurons of one node that differ."""
    values = {name: np.array(value) for name, value in fields.items()}
    return plain(lif(3, tau=np.array(tau), r=np.array(r), **values))


def readout(tau: float, r: float) -> nir.LI:
    return plain(nir.LI(tau=full(3, tau), r=full(3, r), v_leak=full(3, 0.0)))


def synaptic(**fields: Any) -> nir.CubaLIF:
    return plain(cuba(3, **fields))


def bare(*nodes: Any) -> list[tuple[str, float | None, bool]]:
    """Frontend, dt, and whether that is assumed, of all that ``nodes`` behind a dense layer fit."""
    model = chain(3, nir.Affine(WEIGHT, np.zeros(3, np.float32)), *nodes)
    return [(c.frontend, c.dt, c.dt_assumed) for c in fingerprint(read_raw(model))]


SNNTORCH = ("snntorch", 1e-4, False)
SINABS = ("sinabs", 1.0, False)
NORSE = ("norse", None, False)
BUG = ("norse", 1e-6, True)
NIR = ("nir", None, False)


@pytest.mark.parametrize(
    ("nodes", "fits"),
    [
        # snnTorch: r = tau / 1e-4 in every neuron, nothing that it cannot write
        ([one(1e-3, 10.0)], [SNNTORCH]),
        ([one(1e-3, 10.0), one(2e-3, 20.0)], [SNNTORCH]),
        ([one(1e-3, 10.0), one(2e-3, 10.0)], []),
        ([one(1e-3, 10.0 * (1 + 4e-6))], [SNNTORCH]),
        ([one(1e-3, 10.0 * (1 + 4e-5))], []),
        ([one(1e-3, 10.0), readout(1e-3, 10.0)], []),
        ([one(1e-3, 10.0), nir.SumPool2d(np.ones(2), np.ones(2), np.zeros(2))], []),
        (
            [
                nir.Conv1d(3, np.ones((1, 1, 1), np.float32), 1, 0, 1, 1, np.zeros(1)),
                one(1e-3, 10.0),
            ],
            [],
        ),
        # Sinabs: r = 1 and time constants in steps
        ([one(1.0, 1.0)], [SINABS]),
        ([one(20.0, 1.0), readout(1.0, 1.0), integrate(1.0)], [SINABS]),
        ([one(20.0, 1.0), one(0.99, 1.0)], []),
        ([one(20.0, 1.0), synaptic(tau_mem=20.0, r=1.0)], []),
        ([one(20.0, 1.0, v_leak=0.5)], []),
        ([one(20.0, 1.0), dense()], []),  # it writes every layer with a bias
        ([one(20.0, 1.0), nir.Scale(full(3, 1.0))], []),
        ([one(20.0, 1.0), nir.Delay(full(3, 1.0))], []),
        ([one(20.0, 1.0), nir.Threshold(full(3, 1.0))], []),
        # Norse: r = 1 and seconds, which its exporter multiplies by dt
        ([one(5e-5, 1.0)], [BUG]),
        ([one(1e-4, 1.0)], [SNNTORCH, BUG]),
        ([one(1e-4 * 1.01, 1.0)], [NORSE, NIR]),
        ([one(1e-4, 1.0), one(2e-4, 1.0)], [NORSE]),
        ([one(0.99, 1.0)], [NORSE, NIR]),
        ([one(0.99, 1.0), one(2.0, 1.0)], []),
        ([integrate(1.0)], [SINABS, NORSE]),
        ([one(5e-3, 1.0), nir.Flatten({"input": np.array([3])})], [NIR]),
        ([one(5e-3, 1.0), nir.Scale(full(3, 1.0))], [NIR]),
        ([one(5e-3, 1.0), nir.I(full(3, 1.0))], [NIR]),
        ([synaptic(tau_mem=5e-3, tau_syn=5e-3, r=1.0, w_in=1.0)], [NORSE, NIR]),
        ([synaptic(tau_mem=5e-3, tau_syn=5e-3, r=1.0, w_in=2.0)], [NIR]),
        # Spyx: r = beta between 0 and 1, tau = dt / (1 - beta)
        ([one(4.0, 0.75), one(2.0, 0.5)], [("spyx", 1.0, False)]),
        ([one(4.0, 0.75), readout(2.0, 0.5)], [("spyx", 1.0, False)]),
        ([one(4.0, 0.75), one(4.0, 0.5)], []),
        ([one(4.0, 0.75), integrate(0.5)], []),
        ([one(4.0, 0.75), one(1.0, 0.0)], []),
        ([one(4.0, 0.75), one(1.0, -1.0)], []),
        # One of the neurons of a node is enough to tell
        ([mixed((20.0, 20.0, 20.0), (1.0, 1.0, 2.0))], []),
        ([mixed((20.0, 20.0, 20.0), (1.0, 1.0, 1.0), v_leak=(0.0, 0.5, 0.0))], []),
        ([mixed((20.0, 20.0, 0.9), (1.0, 1.0, 1.0))], []),
        ([mixed((5e-3, 5e-3, 5e-3), (1.0, 1.0, 2.0))], []),
        ([mixed((5e-3, 5e-3, 2.0), (1.0, 1.0, 1.0))], []),
        ([mixed((5e-3, 5e-3, 5e-5), (1.0, 1.0, 1.0))], [NORSE]),
        ([mixed((4.0, 2.0, 0.5), (0.75, 0.5, -1.0))], []),
    ],
)
def test_which_frameworks_a_file_fits(
    nodes: list[Any], fits: list[tuple[str, float | None, bool]]
) -> None:
    assert bare(*nodes) == fits


def test_the_largest_tau_that_norse_multiplied() -> None:
    """In float64, as float32 has no 1e-4."""
    model = chain(3, nir.Affine(np.eye(3), np.zeros(3)), lif(3, tau=1e-4, r=1.0))
    found = [(c.frontend, c.dt, c.dt_assumed) for c in fingerprint(read_raw(model))]
    assert found == [SNNTORCH, BUG]


@pytest.mark.parametrize(
    ("dt", "taus", "fits"),
    [
        (1e-3, (1e-2, 2e-2), True),
        (0.5, (1.0, 3.0), True),
        (0.02, (0.01, 0.03), True),  # a gain below 1
        (0.99, (2.0, 3.0), True),
        (1.0, (2.0, 3.0), False),
        (1.5e-3, (1e-2, 2e-2), True),
        (1.05e-3, (1e-2, 2e-2), False),  # nobody chooses such a step
    ],
)
def test_rockpool_by_its_gain(dt: float, taus: tuple[float, ...], fits: bool) -> None:
    """r = tau exp(-dt / tau) / dt, with one dt of at most two digits."""
    nodes = [one(tau, tau * np.exp(-dt / tau) / dt) for tau in taus]
    found = [
        c for c in fingerprint(read_raw(chain(3, dense(), *nodes))) if c.frontend == "rockpool"
    ]
    assert [c.dt for c in found] == ([pytest.approx(dt, rel=1e-9)] if fits else [])


@pytest.mark.parametrize(
    "other",
    [
        one(1e-2, 0.0),
        one(1e-2, -1.0),
        one(-1e-2, 10.0 * np.exp(-0.1)),
        mixed((1e-2, 1e-2, 1e-3 / 50), (10.0 * np.exp(-0.1), 10.0 * np.exp(-0.1), -1.0)),
        mixed((1e-2, 1e-2, 1e-3 / 50), (10.0 * np.exp(-0.1), 10.0 * np.exp(-0.1), 0.0)),
        readout(1e-2, 10.0 * np.exp(-0.1)),
        synaptic(tau_mem=1e-2, r=10.0 * np.exp(-0.1), w_in=2.0),
    ],
)
def test_not_rockpool(other: Any) -> None:
    good = one(1e-2, 10.0 * np.exp(-0.1))
    assert "rockpool" in [f for f, _, _ in bare(good)]
    assert "rockpool" not in [f for f, _, _ in bare(good, other)]


def jelly(*nodes: Any, names: tuple[str, ...] = ("_0", "_1", "_2")) -> Any:
    """Neurons in float64 beside weights in float32, as SpikingJelly leaves them."""
    return read_raw(chain(3, dense(), *nodes, names=names[: 1 + len(nodes)]))


DOUBLE = {"v_threshold": full(3, 1.0), "v_reset": full(3, 0.0)}


@pytest.mark.parametrize(
    ("node", "names", "found"),
    [
        (lif(3, tau=2e-3, r=20.0), ("a", "b"), (1e-4, False)),
        (nir.IF(r=full(3, 1000.0), **DOUBLE), ("a", "b"), (1e-3, False)),
        (nir.IF(r=full(3, 1.0), **DOUBLE), ("_0", "_1"), None),
        (lif(3, tau=2.0, r=2.0), ("a", "b"), None),  # a dt of 1 is none in seconds
        (lif(3, tau=2.0, r=4.0), ("a", "b"), (0.5, False)),
        (lif(3, tau=2e-4, r=1.0), ("_0", "_1"), (1e-4, True)),
        (lif(3, tau=1e-4, r=1.0), ("_0", "_1"), (1e-4, True)),
        (lif(3, tau=0.9e-4, r=1.0), ("_0", "_1"), None),
        (lif(3, tau=0.0999, r=1.0), ("_0", "_1"), (1e-4, True)),
        (lif(3, tau=0.1, r=1.0), ("_0", "_1"), None),  # a thousand steps
        (lif(3, tau=2e-4, r=1.0), ("_0", "lif"), None),
        (nir.LI(tau=full(3, 2e-3), r=full(3, 20.0), v_leak=full(3, 0.0)), ("a", "b"), None),
    ],
)
def test_spikingjelly_by_what_it_leaves(
    node: Any, names: tuple[str, ...], found: tuple[float, bool] | None
) -> None:
    some = [c for c in fingerprint(jelly(node, names=names)) if c.frontend == "spikingjelly"]
    assert [(c.dt, c.dt_assumed) for c in some] == ([] if found is None else [found])


def test_the_names_of_all_neurons_are_those_that_fx_traces() -> None:
    nodes = [lif(3, tau=2e-4, r=1.0), lif(3, tau=2e-4, r=1.0)]
    for names, fits in ((("_0", "_1", "_2"), True), (("_0", "_1", "lif"), False)):
        found = [c.frontend for c in fingerprint(jelly(*nodes, names=names))]
        assert ("spikingjelly" in found) == fits


@pytest.mark.parametrize(
    ("taus", "fits"),
    [
        ([2e-4, 3e-4], True),
        ([2e-4, 0.5e-4], False),
        ([np.array([2e-4, 2e-4, 0.5e-4]), 2e-4], False),
        ([np.array([2e-4, 2e-4, 0.2]), 2e-4], False),
    ],
)
def test_every_tau_is_so_many_steps(taus: list[Any], fits: bool) -> None:
    raw = jelly(*(lif(3, tau=tau, r=1.0) for tau in taus))
    assert ("spikingjelly" in [c.frontend for c in fingerprint(raw)]) == fits


def test_neurons_that_do_not_say_what_they_reset_to_are_not_spikingjellys() -> None:
    """Not all of them, at least: its exporter writes v_reset for every neuron."""
    says, silent = lif(3, tau=2e-3, r=20.0), lif(3, tau=2e-3, r=20.0)
    found = [c.frontend for c in fingerprint(jelly(says, lif(3, tau=2e-3, r=20.0)))]
    silent.v_reset = None
    assert "spikingjelly" in found
    found = [c.frontend for c in fingerprint(jelly(says, silent))]
    assert "spikingjelly" not in found


def test_a_pool_that_sums_is_not_spikingjellys() -> None:
    pool = nir.SumPool2d(np.ones(2), np.ones(2), np.zeros(2))
    raw = jelly(lif(3, tau=2e-3, r=20.0), pool)
    assert "spikingjelly" not in [c.frontend for c in fingerprint(raw)]


@pytest.mark.parametrize(("loop", "frontends"), [(True, ["snntorch"]), (False, [])])
def test_neurons_in_float64_are_snntorchs_only_in_a_loop(loop: bool, frontends: list[str]) -> None:
    """RLeaky keeps its parameters outside of torch."""
    edges = [("input", "fc"), ("fc", "lif"), ("lif", "output")]
    back = [("lif", "w"), ("w", "lif")] if loop else []
    nodes = {"fc": dense(), "lif": lif(3, tau=1e-3, r=10.0)} | ({"w": dense()} if loop else {})
    raw = read_raw(graph(nodes, [*edges, *back], 3))
    assert [c.frontend for c in fingerprint(raw) if c.frontend == "snntorch"] == frontends


@pytest.mark.parametrize(
    ("nodes", "dt"),
    [
        ([one(1e-2, 10.0)], 1e-3),
        ([one(1e-2, 1.0)], None),  # a factor of 1 says nothing
        ([one(1e-2, 1.0), one(2e-2, 20.0)], 1e-3),
        # of one neuron, whose leak is all of v, beside others it does
        ([plain(lif(3, tau=np.array([1e-3, 2e-3, 1e-2]), r=np.array([1.0, 2, 10])))], 1e-3),
        ([one(1e-2, 10.0), one(2e-2, 10.0)], None),
        ([one(1e-2, -10.0)], None),
        ([integrate(1000.0)], 1e-3),
        ([integrate(1.0)], None),
        ([plain(nir.I(full(3, 500.0)))], 2e-3),
        ([synaptic(tau_mem=1e-2, r=1.0, tau_syn=5e-3, w_in=5.0)], 1e-3),
        ([synaptic(tau_mem=1e-2, r=10.0, tau_syn=5e-3, w_in=10.0)], None),
        ([one(np.inf, np.inf)], None),
        ([plain(lif(3, tau=np.array([np.inf, 1e-2, 1e-2]), r=np.array([np.inf, 10, 10])))], 1e-3),
        ([one(1.234567e-2, 10.0)], 1.23457e-3),  # the shortest number that is close enough
        ([one(1.2345e-2 * (1 + 3e-6), 10.0)], 1.2345e-3),
        ([one(1e-2, 10.0), one(1e-2 * (1 + 5e-6), 10.0)], 1e-3),
        ([one(1e-2, 10.0), one(1e-2 * (1 + 5e-5), 10.0)], None),
    ],
)
def test_the_time_step_in_what_is_divided_by_it(nodes: list[Any], dt: float | None) -> None:
    found = ratio_dt(read_raw(chain(3, dense(), *nodes)))
    assert found == (None if dt is None else pytest.approx(dt, rel=1e-7))


def test_the_time_step_that_is_told() -> None:
    def told(frontend: str, *nodes: Any) -> float | None:
        return told_dt(read_raw(chain(3, dense(), *nodes)), frontend)

    assert told("snntorch", one(1e-3, 10.0)) == 1e-4
    assert told("spyx", one(4.0, 0.75)) == 1.0
    assert told("norse", one(1e-4, 1.0)) is None  # that of the exporter is assumed
    assert told("norse", one(5e-3, 1.0)) is None
    assert told("nir", one(1e-2, 10.0)) == 1e-3


@pytest.mark.parametrize(
    ("metadata", "profile"),
    [
        ({"framework": "Norse"}, ("norse", "zero")),
        ({"frontend": "rockpool"}, ("rockpool", "subtract")),
        ({"frontend": "somebody"}, None),
        ({"framework": 7}, None),
        ({"frontend": "norse", "reset_mechanism": "soft"}, ("norse", "subtract")),
        ({"frontend": "norse", "reset": "value"}, ("norse", "zero")),
        ({"frontend": "snntorch", "reset": "hard"}, ("snntorch", "zero")),
        ({"frontend": "snntorch", "reset": np.bytes_(b"none")}, ("snntorch", "none")),
        ({"frontend": "norse", "notes": "soft"}, ("norse", "zero")),
        ({"frontend": "norse", "source": "me", "name": "mine", "x": 1}, ("norse", "zero")),
    ],
)
def test_what_metadata_say(metadata: dict[str, Any], profile: tuple[str, str] | None) -> None:
    model = chain(3, dense(), one(3e-3, 17.0))
    model.metadata = {"dt": 1e-3, **metadata}
    raw = read_raw(model)
    if profile is None:
        with pytest.raises(Exception, match="fits none that is known"):
            choose_profile(raw)
    else:
        found, why = choose_profile(raw)
        assert (found.name, found.reset, found.dt) == (*profile, 1e-3)
        assert why.startswith("written in the file's metadata; dt from the file's metadata")


def test_a_time_step_of_nothing_is_none() -> None:
    """tau = 0 is dt / (1 - beta) for a dt of 0 only."""
    assert not [c for c in bare(one(0.0, 0.75)) if c[0] == "spyx"]
    assert [c for c in bare(one(4e-3, 0.75)) if c[0] == "spyx"] == [("spyx", 1e-3, False)]
