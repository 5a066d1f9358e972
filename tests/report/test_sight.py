"""What pictures show is counted here once more, in another way."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import snndeploy
from snndeploy.bundle import Bundle
from snndeploy.ir.arrays import frozen
from snndeploy.mapping import core_shares, traffic
from snndeploy.report import Sight, sight_of
from snndeploy.report.sight import CodeCounts
from snndeploy.report.sight.codes import codes_of
from snndeploy.simulate.float.engine import run_float
from tests.support.builders import conv_net


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return snndeploy.bundle_of(snndeploy.compile(conv_net(seed=7), recipe="default"))


@pytest.fixture(scope="module")
def sight(bundle: Bundle) -> Sight:
    return sight_of(bundle.program, bundle.placement, bundle.target, bundle.networks, bundle.golden)


def test_codes_are_all_weights_once(bundle: Bundle, sight: Sight) -> None:
    for found, s in zip(sight.codes, bundle.program.synapses, strict=True):
        alive = np.ones(s.mantissa.shape, bool) if s.alive is None else s.alive
        kept = s.mantissa[alive]
        assert found.pruned == s.mantissa.size - kept.size
        for low, high, n in found.bars:
            assert n == np.count_nonzero((kept >= low) & (kept <= high) & (kept != 0))
        assert found.zeros == np.count_nonzero(kept == 0)
        assert sum(n for *_, n in found.bars) == kept.size - found.zeros
        assert len(found.bars) <= 64


def test_bars_are_as_wide_as_codes_are_apart(bundle: Bundle) -> None:
    first = bundle.program.synapses[0]
    values = frozen(np.resize([-16, -8, 0, 8, 8], first.mantissa.shape), np.int64)
    changed = dataclasses.replace(first, mantissa=values, alive=None)
    program = dataclasses.replace(bundle.program, synapses=(changed,))
    (found,) = codes_of(program)
    n = values.size
    counts = [np.count_nonzero(values == v) for v in (-16, -8, 8)]
    bars = [
        (v, v + 7, c) for v, c in zip((-16, -8, 0, 8), (*counts[:2], 0, counts[2]), strict=True)
    ]
    zeros = int(np.count_nonzero(values == 0))
    assert found == CodeCounts(
        projection=first.name,
        bits=first.weight_bits,
        exponent=first.exponent,
        bars=tuple(bars),
        zeros=zeros,
        pruned=0,
    )
    assert zeros > 0
    assert sum(counts) + zeros == n


def test_cores_are_filled_and_spoken_to_as_mapping_counts(bundle: Bundle, sight: Sight) -> None:
    tiles = sight.mesh.cores
    shares = core_shares(bundle.placement, bundle.target)
    assert {t.core: t.fill for t in tiles} == pytest.approx(shares)
    rates = {
        name.partition(".")[2]: (array != 0).mean(axis=(0, 1))
        for name, array in bundle.golden.items()
        if bundle.program.group(name.partition(".")[2]).kind != "readout"
    }
    total = traffic(bundle.program, bundle.placement, bundle.target, rates)
    received = [t.received or 0.0 for t in tiles]
    assert sum(received) == pytest.approx(total.messages)
    assert max(received) == pytest.approx(total.busiest)
    assert sum(t.sent or 0.0 for t in tiles) == pytest.approx(total.messages - total.from_host)


def test_places_on_a_chip_are_apart(sight: Sight) -> None:
    spots = [(t.chip, t.column, t.row) for t in sight.mesh.cores]
    assert len(spots) == len(set(spots))
    assert all(c < sight.mesh.columns and r < sight.mesh.rows for _, c, r in spots)


def test_trains_are_those_of_both_networks(bundle: Bundle, sight: Sight) -> None:
    x = bundle.golden["input.input"] / float(bundle.program.group("input").scale)
    trained = run_float(bundle.networks["float"], x).spikes
    for train in sight.trains:
        after = bundle.golden[f"spikes.{train.name}"]
        before = trained[train.name]
        assert train.rate == pytest.approx(after.mean())
        assert train.trained_rate == pytest.approx(before.mean())
        apart = (after != before).reshape(len(after), -1).mean(axis=1)
        assert train.differing == pytest.approx(apart.tolist(), abs=1e-6)
        flat = [a[:, 0].reshape(len(a), -1) != 0 for a in (before, after)]
        for t, row, who in train.raster:
            spiked = tuple(bool(f[t, train.neurons[row]]) for f in flat)
            assert spiked == [(True, True), (True, False), (False, True)][who]
        either = (flat[0] | flat[1])[:, list(train.neurons)]
        assert len(train.raster) == either.sum()


def test_what_has_not_run_has_no_rates(bundle: Bundle) -> None:
    still = sight_of(bundle.program, bundle.placement, bundle.target)
    assert still.trains == ()
    assert {n.rate for n in still.nodes} == {None}
    assert {t.received for t in still.mesh.cores} == {None}
    assert (still.steps, still.samples) == (0, 0)


def test_levels_follow_the_network(sight: Sight) -> None:
    level = {n.name: n.level for n in sight.nodes}
    assert level["input"] == 0
    assert all(level[e.target] > level[e.source] for e in sight.edges)
    assert all(e.delay == 0 for e in sight.edges)
