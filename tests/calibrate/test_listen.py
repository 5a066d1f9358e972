"""Trains that are remembered are those of a whole run, bit for bit, and runs get short."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from snndeploy.calibrate import listen as module
from snndeploy.calibrate.listen import Remembered, listen
from snndeploy.calibrate.moments import gather
from snndeploy.calibrate.stream import Chunk, prefix, stream
from snndeploy.ir.arrays import Array
from snndeploy.ir.network import Network
from tests.fuzz.networks import draw
from tests.support.builders import spikes
from tests.support.chains import chain


def trains(chunks: list[Chunk], name: str) -> Array:
    return np.concatenate([chunk.recording.spikes[name] for chunk in chunks], axis=1)


def changed(network: Network, name: str) -> Network:
    """A projection's weights the other way round."""
    (q,) = (q for q in network.projections if q.name == name)
    weight = dataclasses.replace(q.weight, data=np.flip(q.weight.data).copy())
    return network.replace(projections=[dataclasses.replace(q, weight=weight)])


@pytest.mark.parametrize("budget", [1 << 30, 3000], ids=["all is kept", "a little is kept"])
def test_known_trains_change_no_bit(budget: int) -> None:
    """Whatever is asked for, in whatever order, while weights change, with loops, delays, branches."""
    compared = saved = 0
    for seed in range(40):
        case = draw(seed)
        network, rng = case.network, np.random.default_rng(seed)
        remembered = Remembered(case.data, budget)
        memory = int(rng.choice([1, 1 << 30]))  # samples one by one, or together
        names = [p.name for p in network.populations if p.neuron is not None]
        for _ in range(8):
            asked = set(rng.choice(names, min(2, len(names)), replace=False).tolist())
            record = [next(iter(sorted(asked)))] if rng.random() < 0.3 else []
            running, _ = remembered.cut(prefix(network, asked), asked, set(record))
            saved += len(prefix(network, asked).projections) - len(running.projections)
            found = list(listen(network, asked, remembered, record=record, max_memory=memory))
            part = prefix(network, asked)
            wanted = list(stream(part, case.data, record=record, max_memory=memory))
            for name in asked:
                np.testing.assert_array_equal(trains(found, name), trains(wanted, name))
                assert trains(found, name).dtype == trains(wanted, name).dtype
                compared += 1
            for name in record:
                v = np.concatenate([chunk.recording.v[name] for chunk in found], axis=1)
                whole = np.concatenate([chunk.recording.v[name] for chunk in wanted], axis=1)
                np.testing.assert_array_equal(v, whole)
            if rng.random() < 0.5:
                other = rng.choice([q.name for q in network.projections])
                network = changed(network, str(other))
    assert compared > 400
    assert saved > (400 if budget > 3000 else 100)


def test_the_next_layer_is_run_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A chain of twenty, its weights replaced from the front: each layer runs once, not 210 times."""
    network = chain(20)
    remembered = Remembered({"input": spikes(network)}, 1 << 20)
    ran: list[int] = []
    whole = module.stream

    def counted(part: Network, *args: object, **options: object) -> object:
        ran.append(len(part.projections))
        return whole(part, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "stream", counted)
    for q in network.projections:
        list(listen(network, {q.sources[0].population}, remembered))
        network = changed(network, q.name)
    assert ran == [0, *[1] * 19]


def test_what_does_not_fit_is_not_kept() -> None:
    """The oldest goes first; a train that is larger than all of it is not kept at all."""
    network = chain(3)
    x = spikes(network)
    size = next(iter(listen(network, {"n1"}, {"input": x}))).recording.spikes["n1"].nbytes
    for budget, known in ((size - 1, set()), (size, {"n2"}), (2 * size, {"n1", "n2"})):
        remembered = Remembered({"input": x}, budget)
        for name in ("n1", "n2"):
            list(listen(network, {name}, remembered))
        found = {
            name
            for name in ("n1", "n2")
            if not remembered.cut(prefix(network, {name}), {name}, set())[0].projections
        }
        assert found == known


def test_moments_against_a_reference_hold_where_one_run_starts_from_known_trains() -> None:
    """Both run the same samples at a time, and both are remembered."""
    network = chain(6)
    x = {"input": spikes(network, samples=7)}
    last = network.projections[-1].name
    other = changed(network, network.projections[0].name)
    wanted = gather(other, x, [last], reference=network)[last]
    memory = 64 * 7 * x["input"][:, :1].nbytes  # a few samples at a time
    for order in ((other, network), (network, other)):
        remembered = Remembered(x, 1 << 20)
        list(listen(order[0], {network.projections[-2].sources[0].population}, remembered))
        found = gather(other, remembered, [last], reference=network, max_memory=memory)[last]
        assert found.cross is not None
        assert wanted.cross is not None
        np.testing.assert_allclose(found.hessian, wanted.hessian, rtol=1e-12)
        np.testing.assert_allclose(found.cross, wanted.cross, rtol=1e-12)
    source = network.projections[-1].sources[0].population
    for net in (network, other):
        running, _ = remembered.cut(prefix(net, {source}), {source}, set())
        assert not running.projections
