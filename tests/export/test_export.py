"""Networks written back as NIR or netx, and read again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from snndeploy import compile, read_network, read_netx
from snndeploy.cli import main
from snndeploy.data import Samples
from snndeploy.errors import InputError
from snndeploy.export import write_netx, write_nir
from snndeploy.export.netx import refuse_network
from snndeploy.ir.network import Network
from snndeploy.simulate.float.engine import run_float
from snndeploy.simulate.integer.engine import run_integer
from tests.support.commands import code_of
from tests.support.nir_graphs import chain, conv2d, cuba, graph, lif, written

CASES = (
    "snntorch_rsynaptic_zero_delay",
    "snntorch_conv_subtract_delay",
    "spikingjelly_residual_add",
    "sinabs_iaf_minv",
    "rockpool_lif",
    "snntorch_rleaky_one2one",
    "spikingjelly_mlp_cubalif",
)


def again(network: Network, folder: Path) -> Network:
    return read_network(write_nir(folder / "again.nir", network, force=True))


@pytest.mark.parametrize("case", CASES)
def test_exported_frameworks_come_back_the_same(
    case: str, shared_data: Path, tmp_path: Path
) -> None:
    network = read_network(shared_data / "nir_exports" / f"{case}.nir")
    back = again(network, tmp_path)
    assert back.digest == network.digest
    assert back.notes == {**network.notes, "restored": "recorded in the file by snndeploy"}
    nir.read(tmp_path / "again.nir", type_check=False)


@pytest.mark.parametrize("case", CASES[:3])
def test_the_nodes_alone_say_the_same(case: str, shared_data: Path, tmp_path: Path) -> None:
    """What any other reader sees, stepped with the profile that stands in the metadata."""
    folder = shared_data / "nir_exports"
    network = read_network(folder / f"{case}.nir")
    path = write_nir(tmp_path / "again.nir", network)
    with h5py.File(path, "a") as file:
        del file["node/metadata/snndeploy"]
    alone = read_network(path)
    assert alone.notes["why"].startswith("written in the file's metadata")
    with np.load(folder / f"{case}.npz", allow_pickle=False) as recorded:
        a, b = (run_float(n, recorded["input"]) for n in (network, alone))
    output, other = (n.with_role("output")[0].name for n in (network, alone))
    np.testing.assert_array_equal(a.spikes[output], b.spikes[other])
    assert a.spikes[output].any()


@st.composite
def models(draw: Any) -> Any:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n_in, n_hidden, n_out = (draw(st.integers(1, 5)) for _ in range(3))
    neuron = draw(st.sampled_from([lif, cuba]))
    nodes: dict[str, Any] = {
        "w": nir.Affine(rng.normal(size=(n_hidden, n_in)), rng.normal(size=n_hidden)),
        "a": neuron(n_hidden, v_threshold=rng.uniform(0.5, 2, n_hidden)),
        "x": nir.Linear(rng.normal(size=(n_out, n_hidden)).astype(np.float32)),
        "b": lif(n_out, v_leak=draw(st.sampled_from([0.0, 0.25]))),
    }
    edges = [("input", "w"), ("w", "a"), ("a", "x"), ("x", "b"), ("b", "output")]
    if draw(st.booleans()):
        nodes["r"] = nir.Affine(rng.normal(size=(n_hidden, n_hidden)), rng.normal(size=n_hidden))
        edges += [("a", "r"), ("r", "a")]
    if draw(st.booleans()):
        nodes["d"] = nir.Delay(np.full(n_in, 2e-3))
        nodes["s"] = nir.Linear(rng.normal(size=(n_out, n_in)))
        edges += [("input", "d"), ("d", "s"), ("s", "b")]
    options = {
        "reset": draw(st.sampled_from(["zero", "subtract"])),
        "compare": draw(st.sampled_from([">", ">="])),
        "recurrent_delay": draw(st.sampled_from(["spikes", "nirtorch"])),
    }
    return graph(nodes, edges, n_in), options


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(model=models())
def test_ingest_export_ingest_is_the_identity(model: Any, tmp_path: Path) -> None:
    net, options = model
    network = read_network(net, "nir", dt=1e-3, **options)
    assert again(network, tmp_path).digest == network.digest


@settings(max_examples=30, deadline=None)
@given(model=models(), seed=st.integers(0, 2**32 - 1))
def test_names_and_order_do_not_matter(model: Any, seed: int) -> None:
    net, options = model
    rng = np.random.default_rng(seed)
    names = dict(
        zip(net.nodes, rng.permutation([f"k{i}" for i in range(len(net.nodes))]), strict=True)
    )
    order = rng.permutation(list(net.nodes))
    edges = [(str(names[a]), str(names[b])) for a, b in net.edges]
    rng.shuffle(edges)
    renamed = nir.NIRGraph(
        {str(names[n]): net.nodes[n] for n in order}, [tuple(e) for e in edges], type_check=False
    )
    options = {**options, "dt": 1e-3}
    assert (
        read_network(renamed, "nir", **options).digest == read_network(net, "nir", **options).digest
    )


@pytest.fixture
def model(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    net = chain(
        (1, 6, 6),
        conv2d(rng.normal(size=(2, 1, 3, 3)), rng.normal(size=2)),
        lif((2, 4, 4)),
        nir.Flatten({"input": np.array([2, 4, 4])}, 0),
        nir.Affine(rng.normal(size=(3, 32)), np.ones(3)),
        lif(3),
    )
    return written(tmp_path, net)


def test_a_compressed_network_keeps_its_codes(model: Path, tmp_path: Path) -> None:
    network = compile(model, frontend="nir", semantics={"dt": 1e-3}).network
    assert all(p.weight.quantized for p in network.projections)
    back = again(network, tmp_path)
    assert back.digest == network.digest
    for p, q in zip(network.projections, back.projections, strict=True):
        np.testing.assert_array_equal(p.weight.data, q.weight.data)
        assert (q.weight.bits, q.weight.data.dtype) == (p.weight.bits, p.weight.data.dtype)
    with h5py.File(tmp_path / "again.nir") as file:
        stored = file["node/nodes/n0/weight"][()]
    np.testing.assert_array_equal(stored, network.projections[0].weight.values())


def test_edited_nodes_win_over_the_record(model: Path, tmp_path: Path) -> None:
    path = write_nir(tmp_path / "out.nir", read_network(model, "nir", dt=1e-3))
    with h5py.File(path, "a") as file:
        file["node/nodes/n0/weight"][...] *= 2
    back = read_network(path)
    assert any(f.code == "record-ignored" for f in back.findings)
    assert "restored" not in back.notes
    np.testing.assert_array_equal(
        back.projections[0].weight.data,
        2 * read_network(model, "nir", dt=1e-3).projections[0].weight.data,
    )


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ('{"schema": 99}', "record-newer", "another version of snndeploy"),
        ("{", "record-damaged", "its snndeploy metadata cannot be read"),
        ('{"schema": 1}', "record-damaged", "its snndeploy metadata cannot be read"),
    ],
)
def test_damaged_records(text: str, code: str, message: str, model: Path, tmp_path: Path) -> None:
    path = write_nir(tmp_path / "out.nir", read_network(model, "nir", dt=1e-3))
    with h5py.File(path, "a") as file:
        del file["node/metadata/snndeploy/structure"]
        file["node/metadata/snndeploy/structure"] = text
    with pytest.raises(InputError, match=message) as caught:
        read_network(path)
    assert caught.value.code == code
    assert "--frontend nir" in caught.value.hint
    assert read_network(path, "nir").digest


def test_what_nir_cannot_say(tmp_path: Path) -> None:
    mixed = lif(2, tau=np.array([1e-3, 1e-2]))
    network = read_network(chain(2, nir.Linear(np.eye(2)), mixed), "nir", dt=1e-3)
    import dataclasses

    population = network.populations[1]
    neuron = dataclasses.replace(population.neuron, leak=np.array([1.0, 0.5]))  # type: ignore[type-var]
    changed = dataclasses.replace(
        network,
        populations=(network.populations[0], dataclasses.replace(population, neuron=neuron)),
    )
    with pytest.raises(InputError, match="some of its neurons leak and some do not") as caught:
        write_nir(tmp_path / "no.nir", changed)
    assert caught.value.code == "export-nir"
    assert not (tmp_path / "no.nir").exists()


def test_netx_round(shared_data: Path, tmp_path: Path) -> None:
    program = read_netx(shared_data / "nir_models/lava_dl/mnist_784-128-64-10.net")
    back = read_netx(write_netx(tmp_path / "again.net", program))
    x = (np.random.default_rng(0).random((12, 2, 784)) < 0.3).astype(np.int64)
    a, b = run_integer(program, x), run_integer(back, x)
    for (_, p), (_, q) in zip(a.spikes.items(), b.spikes.items(), strict=True):
        np.testing.assert_array_equal(p, q)
    assert a.spikes["dense-2"].any()


def test_netx_of_pilotnet_is_the_same_file_again(shared_data: Path, tmp_path: Path) -> None:
    program = read_netx(shared_data / "nir_models/lava_dl/pilotnet_lif.net")
    assert read_netx(write_netx(tmp_path / "p.net", program)).digest == program.digest


def test_netx_refuses_what_it_cannot_hold(model: Path, tmp_path: Path) -> None:
    network = read_network(model, "nir", dt=1e-3, reset="subtract")
    program = compile(network, recipe=None).program
    with pytest.raises(InputError, match="file cannot hold it: ") as caught:
        write_netx(tmp_path / "no.net", program)
    assert caught.value.code == "export-netx"


def test_command(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "small.nir"
    arguments = ["export", str(model), "--frontend", "nir", "--dt", "0.001", "--to", "nir", "-o"]
    result = CliRunner().invoke(main, [*arguments, str(out)])
    assert result.exit_code == 0, result.output
    assert f"wrote {out}" in result.stderr
    assert read_network(out).notes["frontend"] == "nir"
    result = CliRunner().invoke(main, [*arguments, str(out)])
    assert result.exit_code == 3
    assert code_of(result) == "output-exists"
    result = CliRunner().invoke(main, [*arguments, str(tmp_path / "gone" / "x.nir")])
    assert result.exit_code == 3
    assert code_of(result) == "output-unwritable"


def nodes_alone(network: Network, folder: Path, **options: Any) -> Network:
    """What a reader sees that knows nothing of our metadata."""
    path = write_nir(folder / "plain.nir", network, force=True)
    with h5py.File(path, "a") as file:
        del file["node/metadata"]
    return read_network(path, "nir", dt=1e-3, **options)


def conv_and_pool(kind: type, padding: int = 0, **fields: Any) -> nir.NIRGraph:
    rng = np.random.default_rng(3)
    pool = kind(np.array([2, 2]), np.array([2, 2]), np.array([padding, padding]))
    size = 3 + padding
    return chain(
        (1, 8, 8),
        conv2d(rng.normal(size=(4, 1, 3, 3)), rng.normal(size=4)),
        pool,
        lif((4, size, size), **fields),
        nir.Flatten({"input": np.array([4, size, size])}, 0, -1),
        nir.Affine(rng.normal(size=(3, 4 * size * size)), rng.normal(size=3)),
        cuba(3),
    )


@pytest.mark.parametrize("kind", [nir.AvgPool2d, nir.SumPool2d])
@pytest.mark.parametrize("padding", [0, 1])
def test_a_bias_in_front_of_a_pool_is_written(kind: type, padding: int, tmp_path: Path) -> None:
    """With padding, windows at the border hold fewer values: what differs there goes into v_leak."""
    network = read_network(conv_and_pool(kind, padding), "nir", dt=1e-3)
    alone = nodes_alone(network, tmp_path)
    x = (np.random.default_rng(0).random((20, 4, 1, 8, 8)) < 0.3).astype(np.float32)
    a, b = (run_float(n, x, dtype="float64").spikes for n in (network, alone))
    for name in ("n2", "n5"):
        np.testing.assert_array_equal(a[name], b[name])
        assert a[name].any()
    conv = nir.read(tmp_path / "plain.nir", type_check=False).nodes["n0"]
    assert np.abs(conv.bias).min() > 0 or padding


def test_a_bias_that_no_weight_carries(tmp_path: Path) -> None:
    """A constant drive of a CubaLIF behind a bare edge comes through a branch of zeros."""
    model = chain(3, nir.Affine(np.eye(3), np.array([0.5, -0.25, 1.0])), cuba(3), names=("a", "n"))
    network = read_network(model, "nir", dt=1e-3)
    bare = read_network(chain(3, cuba(3), names=("n",)), "nir", dt=1e-3)
    neuron = network.population("n").neuron
    moved = bare.replace([replace(bare.population("n"), neuron=neuron)])
    x = (np.random.default_rng(0).random((20, 4, 3)) < 0.3).astype(np.float32)
    alone = nodes_alone(moved, tmp_path)
    np.testing.assert_array_equal(
        run_float(moved, x, dtype="float64").spikes["n"],
        run_float(alone, x, dtype="float64").spikes["n"],
    )
    assert alone.population("n").neuron.bias.tolist() == neuron.bias.tolist()  # type: ignore[union-attr]


def test_names_of_any_script(tmp_path: Path) -> None:
    model = chain(2, nir.Linear(np.eye(2)), lif(2), names=("größe", "λ"))
    network = read_network(model, "nir", dt=1e-3)
    path = write_nir(tmp_path / "names.nir", network)
    assert read_network(path).digest == network.digest
    assert ("größe", "λ") in nir.read(path, type_check=False).edges


def test_netx_says_beforehand_what_it_cannot_hold(tmp_path: Path) -> None:
    """All reasons at once, and before data are asked for or a recipe is run."""
    network = read_network(conv_and_pool(nir.AvgPool2d), "nir", dt=1e-3, reset="subtract")
    with pytest.raises(InputError) as caught:
        refuse_network(network)
    assert caught.value.code == "export-netx"
    for reason in ("n2: its reset is subtract", "n5: its reset is subtract", "n0: it is more than"):
        assert reason in caught.value.message
    model = written(tmp_path, conv_and_pool(nir.AvgPool2d))
    how = ["--frontend", "nir", "--dt", "0.001", "--to", "netx", "-o", str(tmp_path / "o.net")]
    run = CliRunner().invoke(main, ["export", str(model), "--recipe", "no-such", *how])
    assert run.exit_code == 3
    assert code_of(run) == "export-netx"
    plain = chain(2, nir.Linear(np.eye(2)), lif(2))
    refuse_network(read_network(plain, "nir", dt=1e-3))


def test_a_netx_file_spikes_as_the_integers_that_were_made_for_it(tmp_path: Path) -> None:
    """Not as the chip's: weights without exponents leave thresholds coarser, and that is told."""
    rng = np.random.default_rng(0)
    model = chain(
        (2, 7, 9),
        conv2d(rng.normal(size=(3, 2, 3, 5)), stride=(1, 2), padding=(1, 0)),
        lif((3, 7, 3), v_threshold=0.5),
        nir.Flatten({"input": np.array([3, 7, 3])}, 0, -1),
        nir.Linear(rng.normal(size=(4, 63))),
        lif(4, v_threshold=0.6),
    )
    x = (rng.random((4, 15, 2, 7, 9)) < 0.4).astype(np.uint8)
    np.savez(tmp_path / "x.npz", x=x)
    path = written(tmp_path, model)
    how = ["--frontend", "nir", "--dt", "0.001", "-r", "none", "-d", str(tmp_path / "x.npz")]
    to = ["--to", "netx", "-o", str(tmp_path / "o.net")]
    run = CliRunner().invoke(main, ["export", str(path), *how, *to])
    assert run.exit_code == 0, run.output
    assert "note[spikes-rounded] rounding: rounding to integers changes about" in run.stderr
    made = compile(
        read_network(model, "nir", dt=1e-3),
        recipe=None,
        calibration=Samples(x.swapaxes(0, 1)),
        layout="netx",
    )
    inputs = x.swapaxes(0, 1).astype(np.int64)
    read = run_integer(read_netx(tmp_path / "o.net"), inputs)
    own = run_integer(made.program, inputs)
    last = made.output
    assert own.spikes[last].sum() > 20
    found = next(s for name, s in read.spikes.items() if s.shape == own.spikes[last].shape)
    np.testing.assert_array_equal(found, own.spikes[last])
