"""Every operator of `Op`, one after the other, through every place that must know operators.

What a type checker cannot see, such as words that a reader takes or what the separate checker reads, is
seen here: a new operator fails until it has chains of its own, and then wherever it is forgotten.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from snndeploy import compile, read_network
from snndeploy.certify import certify
from snndeploy.certify import engine as checker
from snndeploy.certify.files import shaped
from snndeploy.errors import InputError
from snndeploy.export import write_nir
from snndeploy.export.netx import refuse_network
from snndeploy.export.netx_blocks import in_single_blocks
from snndeploy.ir.arrays import Array, Shape, size
from snndeploy.ir.codec import SharedArrays, encode
from snndeploy.ir.decoding import decode
from snndeploy.ir.fan.fan import Fan
from snndeploy.ir.linear.apply import apply_chain
from snndeploy.ir.linear.float_chain import float_chain
from snndeploy.ir.linear.unroll import unroll
from snndeploy.ir.network import Network
from snndeploy.ir.ops import Op, chain_shapes, index_map, weighted_op
from snndeploy.ir.text import full_text
from snndeploy.ir.text import read_network as read_text
from snndeploy.lower import InputCoding
from snndeploy.mapping import validate_placement
from snndeploy.passes.kernels.coupling import coupling
from snndeploy.passes.kernels.slicing import shrink
from snndeploy.passes.metrics import weight_uses
from snndeploy.pipeline import bundle_of, save_bundle
from snndeploy.simulate.float.engine import run_float
from snndeploy.simulate.integer.engine import IntegerEngine
from snndeploy.simulate.integer.plan import chain_peaks
from snndeploy.simulate.lava.plan import plan_lava
from tests.support.operators import CHAINS, around

Chain = tuple[tuple[Op, ...], Shape]
ALL = {name: chain for chains in CHAINS.values() for name, chain in chains.items()}
chains = pytest.mark.parametrize("chain", ALL.values(), ids=ALL)


def operators() -> Iterator[tuple[Op, Shape]]:
    for ops, shape in ALL.values():
        yield from zip(ops, chain_shapes(ops, shape)[:-1], strict=True)


def matrix(ops: tuple[Op, ...], weight: Array, shape: Shape) -> Array:
    """The chain as one matrix (outputs, inputs), synapse by synapse."""
    whole = np.eye(size(shape), dtype=np.int64)
    for op, before in zip(ops, chain_shapes(ops, shape)[:-1], strict=True):
        m = index_map(op, before)
        each = np.zeros((m.out_size, m.in_size), np.int64)
        values = 1 if m.weight_index is None else weight.reshape(-1)[m.weight_index]
        np.add.at(each, (m.out_index, m.in_index), values)
        whole = each @ whole
    return whole


def drawn(ops: tuple[Op, ...]) -> Array:
    values = np.random.default_rng(1).integers(-7, 8, weighted_op(ops).weight_shape)
    return np.asarray(values, np.int64)


def test_every_operator_has_chains() -> None:
    assert set(CHAINS) == set(get_args(Op))
    for kind, of in CHAINS.items():
        assert of
        assert all(any(isinstance(op, kind) for op in ops) for ops, _ in of.values())


def roomy(op: Op, shape: Shape) -> Shape:
    """A shape in which some window lies off the border, where the operator takes another shape."""
    wide = (shape[0], *(3 * n for n in shape[1:]))
    return shape if refusal(lambda: op.out_shape(wide)) else wide


def refusal(do: Callable[[], object]) -> str:
    """The code with which something is refused; empty where it is done."""
    try:
        do()
    except InputError as error:
        return error.code
    return ""


# --- what operators say of themselves -----------------------------------------------------------------


@pytest.mark.parametrize(("op", "shape"), list(operators()), ids=str)
def test_what_an_operator_says_is_so(op: Op, shape: Shape) -> None:
    m, out = index_map(op, shape), op.out_shape(shape)
    assert (m.in_size, m.out_size) == (size(shape), size(out))
    assert op.weighted == (m.weight_index is not None)
    assert op.fan_in == np.bincount(index_map(op, roomy(op, shape)).out_index).max()
    assert op.splits == (np.bincount(m.in_index).max() > 1)
    same = m.in_size == m.out_size and np.array_equal(m.in_index, m.out_index)
    assert op.is_view == (same and not op.weighted)
    if op.keeps_channels:
        assert np.array_equal(m.in_index // size(shape[1:]), m.out_index // size(out[1:]))


@chains
def test_what_an_operator_says_of_its_weights_is_so(chain: Chain) -> None:
    ops, shape = chain
    op = weighted_op(ops)
    at = ops.index(op)
    before, out = chain_shapes(ops, shape)[at : at + 2]
    m = index_map(op, before)
    assert m.weight_index is not None
    uses = np.bincount(m.weight_index, minlength=size(op.weight_shape))
    told = np.broadcast_to(weight_uses(op, before), op.weight_shape)
    assert np.array_equal(told.reshape(-1), uses)
    row = m.weight_index // (size(op.weight_shape) // op.weight_rows)
    rows_of_output = [set(row[m.out_index == o]) for o in range(m.out_size)]
    assert all(len(rows) == 1 for rows in rows_of_output)
    assert set.union(*rows_of_output) == set(range(op.weight_rows))
    assert op.one_to_one == (np.array_equal(m.in_index, m.out_index))
    hears = {
        (i // size(before[1:]), o // size(out[1:]))
        for o, i in zip(m.out_index, m.in_index, strict=True)
    }
    assert op.mixes_channels == (len(hears) == before[0] * out[0])
    block = row // (op.weight_rows // op.blocks)
    heard = [set(m.in_index[block == b]) for b in range(op.blocks)]
    assert sum(map(len, heard)) == len(set.union(*heard)), "blocks hear inputs of their own"


# --- one meaning, however it is computed --------------------------------------------------------------


@chains
def test_all_ways_to_compute_agree(chain: Chain) -> None:
    import torch

    ops, shape = chain
    weight = drawn(ops)
    x = np.random.default_rng(2).integers(-3, 4, (3, *shape))
    wanted = matrix(ops, weight, shape)
    flat = x.reshape(3, -1) @ wanted.T
    assert np.array_equal(apply_chain(ops, weight, x).reshape(3, -1), flat)
    real = float_chain(
        ops, torch.as_tensor(weight, dtype=torch.float64), torch.as_tensor(x).double()
    )
    assert np.array_equal(real.reshape(3, -1).numpy(), flat)
    unrolled = unroll(ops, weight, shape)
    full = np.zeros(unrolled.shape, np.int64)
    full[unrolled.rows, unrolled.cols] = unrolled.values
    assert np.array_equal(full, wanted)
    peak = chain_peaks(ops, weight, 3)[-1]
    assert 3 * np.abs(wanted).sum(axis=1).max() <= peak <= 3 * 7 * np.prod([o.fan_in for o in ops])
    arrays = SharedArrays()
    kinds = "/".join(kind.__name__ for kind in get_args(Op))
    read = shaped(json.loads(json.dumps(encode(list(ops), arrays))), f"[{kinds}]", arrays)
    assert np.array_equal(checker.apply(read, weight, x).reshape(3, -1), flat)
    back = checker.pull(read, weight, apply_chain(ops, weight, x), shape)
    assert np.array_equal(back.reshape(3, -1), flat @ wanted)


@chains
def test_all_engines_agree_and_the_checkers_too(chain: Chain, tmp_path: Path) -> None:
    net = around(*chain)
    coding = InputCoding.named("binary")
    shape = net.population("input").shape
    x = (np.random.default_rng(3).random((6, 2, *shape)) < 0.4).astype(np.int64)
    trained = run_float(net, x, dtype="float64").spikes
    assert trained["b"].any()
    for target in ("loihi1", "loihi2"):
        compiled = compile(net, target=target, recipe=None, inputs=coding)
        program = compiled.program
        held = program.rounding.values()  # every number is; long samples would still truncate leaks
        assert not any(
            (r.leak, r.syn_leak, r.threshold, r.bias, r.weight) != (0,) * 5 for r in held
        )
        for route in ("auto", "events", "dense"):
            chip = IntegerEngine(program, route=route).run(x).spikes
            assert all(np.array_equal(trained[n], chip[n]) for n in trained), route
        chip = IntegerEngine(program, device="cpu").run(x).spikes
        assert all(np.array_equal(trained[n], chip[n]) for n in trained)
        assert validate_placement(program, compiled.placement, compiled.target) == ()
        told = certify(save_bundle(tmp_path / f"{target}.snnb", bundle_of(compiled)))
        assert told["certified"], told
    s = next(s for s in program.synapses if s.name == "chain")
    whole = matrix(s.ops, s.mantissa, program.source_shape(s))
    on_lava = plan_lava(program, 6, 2)
    (spec,) = [c for c in on_lava.connections if (c["source"], c["target"]) == ("a", "b")]
    if spec["process"] in ("Sparse", "Dense"):
        w = on_lava.arrays[spec["weights"]]
        if spec["process"] == "Sparse":
            full = np.zeros(spec["shape"], np.int64)
            full[on_lava.arrays[spec["rows"]], on_lava.arrays[spec["cols"]]] = w
            w = full
        assert np.array_equal(w, whole)
    else:
        assert spec["process"] in ("Conv", "MultiSparse")


@chains
def test_a_fan_counts_every_synapse(chain: Chain) -> None:
    net = around(*chain)
    program = compile(net, recipe=None, inputs=InputCoding.named("binary")).program
    (s,) = [s for s in program.synapses if s.name == "chain"]
    ways = matrix(s.ops, np.ones(s.mantissa.shape, np.int64), program.source_shape(s))
    fan = Fan(s, program.source_shape(s), program.group("b").shape)
    into = fan.into(tuple((0, n) for n in fan.target_shape))
    counted = np.zeros(fan.source_shape, np.int64)
    counted[tuple(slice(*b) for b in into.region)] = into.full
    assert np.array_equal(counted.reshape(-1), ways.sum(axis=0))
    assert fan.synapses_per_target.sum() == ways.sum()
    assert not fan.plain or ways.max() == 1


# --- what is written can be read ----------------------------------------------------------------------


@chains
def test_text_and_files_hold_it(chain: Chain, tmp_path: Path) -> None:
    net = around(*chain)
    assert read_text(full_text(net)).digest == net.digest
    arrays = SharedArrays()
    assert decode(json.loads(json.dumps(encode(net, arrays))), arrays, Network).digest == net.digest


NO_NIR_NODE = {"strided", "dense, reshape"}
"""Chains that NIR cannot say: padding that is not symmetric, and a reshape that does not flatten."""


@pytest.mark.parametrize("name", ALL)
def test_an_export_says_the_same_or_refuses(name: str, tmp_path: Path) -> None:
    net = around(*ALL[name])
    refused = refusal(lambda: write_nir(tmp_path / "net.nir", net))
    assert refused == ("export-nir" if name in NO_NIR_NODE else "")
    if not refused:
        assert read_network(tmp_path / "net.nir").digest == net.digest
    blocks = [op for op in in_single_blocks(net).projections[1].ops if not op.is_view]
    assert refusal(lambda: refuse_network(net)) == ("export-netx" if len(blocks) > 1 else "")


# --- compression --------------------------------------------------------------------------------------


@chains
def test_what_is_cut_out_is_what_is_silenced(chain: Chain) -> None:
    """Units leave with their synapses: as if their neurons had never spiked."""
    net = around(*chain)
    x = (np.random.default_rng(3).random((6, 2, *net.population("input").shape)) < 0.5) * 1
    for group in coupling(net):
        if group.fixed or group.count == 1:
            continue
        gone = group.keep(range(1, group.count))
        small = shrink(net, [gone]).verify()
        silent = net
        for name in group.populations:
            threshold = np.ones(net.population(name).shape)
            threshold[:] = net.population(name).neuron.threshold  # type: ignore[union-attr]
            threshold[np.setdiff1d(np.arange(len(threshold)), gone.indices(name))] = 1e9
            old = net.population(name)
            assert old.neuron is not None
            neuron = old.neuron.changed(old.shape, threshold=threshold)
            silent = silent.replace(populations=[dataclasses.replace(old, neuron=neuron)])
        left, right = (run_float(n, x, dtype="float64").spikes for n in (small, silent))
        assert np.array_equal(left["output"], right["output"])
        for name in group.populations:
            assert np.array_equal(left[name], right[name][:, :, gone.indices(name)])
