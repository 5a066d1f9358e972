"""Calibration: second moments and figures of channels, summed by whoever is there, to the same bits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from snndeploy.calibrate.listen import Remembered
from snndeploy.calibrate.moments import gather, gather_joint
from snndeploy.calibrate.parts import PART
from snndeploy.calibrate.statistics import observe
from snndeploy.data import Samples
from snndeploy.passes.kernels.remove_kernels import RemoveKernels
from snndeploy.passes.quantization.prune_quantize import PruneQuantize
from snndeploy.pipeline import compile, compress
from snndeploy.recipe import Recipe
from snndeploy.workers import Here, Shared, Task, Workers, workers_at
from tests.support.builders import conv_net, spikes

SAMPLES = 2 * PART + 7


class Backwards(Workers):
    """Does the last task first, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, tuple[str, ...]]] = []

    def each(
        self, function: Callable[[Any, Any], Any], shared: Shared[Any], tasks: Sequence[Task[Any]]
    ) -> Iterator[Any]:
        self.asked.append((shared.digest, tuple(t.digest for t in tasks)))
        done = {i: function(shared.value, tasks[i].argument) for i in reversed(range(len(tasks)))}
        yield from (done[i] for i in range(len(tasks)))


def measured(workers: Workers, seed: int = 0, **options: Any) -> dict[str, Any]:
    """Arrays that calibration gives for one network and its pruned like."""
    net = conv_net()
    x = {"input": spikes(net, steps=6, samples=SAMPLES, seed=seed)}
    less = conv_net(1)
    found: dict[str, Any] = {}
    for name, m in gather(less, x, reference=net, workers=workers, **options).items():
        found |= {f"{name} {k}": v for k, v in vars(m).items()}
    hidden = [p.name for p in net.populations if p.neuron is not None]
    for name, figures in observe(net, x, hidden, workers=workers).items():
        found |= {f"{name} {k}": v for k, v in vars(figures).items()}
    return found


def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)


def test_parts_are_added_in_their_order_whoever_is_first() -> None:
    workers = Backwards()
    found = measured(workers)
    assert same(found, measured(Here()))
    assert [len(tasks) for _, tasks in workers.asked] == [3, 3]


def test_the_sum_of_parts_is_that_of_all() -> None:
    net = conv_net()
    x = spikes(net, steps=6, samples=SAMPLES)
    whole = gather(net, x[:, :PART], max_memory=1 << 30)
    for name, m in gather(net, x).items():
        late = [gather(net, part)[name] for part in (x[:, PART : 2 * PART], x[:, 2 * PART :])]
        first = whole[name]
        assert m.count == first.count + sum(p.count for p in late)
        total = first.hessian * first.count + sum(p.hessian * p.count for p in late)
        np.testing.assert_allclose(m.hessian * m.count, total, rtol=1e-12, atol=1e-9)
        mean = first.mean * first.count + sum(p.mean * p.count for p in late)
        np.testing.assert_allclose(m.mean * m.count, mean, rtol=1e-12, atol=1e-12)


def test_digests_follow_what_is_asked() -> None:
    """A scheduler that holds a result gives it back for the same task and for no other."""

    def asked(**options: Any) -> list[tuple[str, tuple[str, ...]]]:
        workers = Backwards()
        measured(workers, **options)
        return workers.asked[:1]

    first = asked()
    assert asked() == first
    for change in (
        {"kernel": "long"},
        {"positions": 3},
        {"max_memory": 1 << 28},
        {"projections": ["fc1"]},
    ):
        (shared, _), (other, _) = first[0], asked(**change)[0]
        assert shared != other, change
    (shared, tasks), (again, others) = first[0], asked(seed=1)[0]
    assert (shared == again, set(tasks) & set(others)) == (True, set())


def test_trains_that_workers_send_are_remembered() -> None:
    net = conv_net()
    x = {"input": spikes(net, steps=6, samples=SAMPLES)}
    last = net.projections[-1].name
    plain = gather(net, x, [last])[last]
    for workers in (Here(), Backwards()):
        inputs = Remembered(x, 1 << 24)
        for _ in range(2):  # the second time from known trains
            again = gather(net, inputs, [last], workers=workers)[last]
            assert np.array_equal(again.hessian, plain.hessian)
        part, _ = inputs.cut(net, {s.population for s in net.projections[-1].sources}, set())
        assert not part.projections


def test_layers_side_by_side_are_shared_out_too() -> None:
    net = conv_net()
    x = {"input": spikes(net, steps=6, samples=SAMPLES)}
    name = net.projections[-1].name
    workers = Backwards()
    joint = gather_joint(net, x, [name], workers=workers)
    assert len(workers.asked) == 1
    assert np.array_equal(joint.hessian, gather_joint(net, x, [name]).hessian)


FEWER = Recipe(
    name="fewer",
    guard="off",
    passes=(
        RemoveKernels(ratio=0.25, kinds=("conv",), score="second-order", fold="weights"),
        PruneQuantize(sparsity=0.5, scope="sensitivity", search="rounds", sequential=True),
    ),
)


@pytest.mark.parametrize("recipe", ["osbc", FEWER], ids=["osbc", "fewer"])
def test_recipes_let_workers_calibrate(recipe: str | Recipe) -> None:
    net = conv_net()
    data = Samples(spikes(net, steps=6, samples=SAMPLES))
    workers = Backwards()
    found = compress(net, recipe=recipe, calibration=data, workers=workers).network
    assert found.digest == compress(net, recipe=recipe, calibration=data).network.digest
    assert workers.asked


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_one_two_and_three_workers_compile_the_same_program() -> None:
    net = conv_net()
    data = Samples(spikes(net, steps=6, samples=SAMPLES))
    digests = {compile(net, recipe="sbc-plus", calibration=data).program.digest}
    for n in (1, 2, 3):
        with workers_at(f"local:{n}") as workers:
            digests.add(
                compile(net, recipe="sbc-plus", calibration=data, workers=workers).program.digest
            )
    assert len(digests) == 1
