"""A guarded recipe holds its limit, gives back where it costs most, and says so."""

from __future__ import annotations

import dataclasses
import re
from functools import lru_cache
from typing import Any

import numpy as np
import pytest

from snndeploy.calibrate.fidelity import Reference
from snndeploy.chip import load_target, native_only
from snndeploy.data import Samples
from snndeploy.demo import FOLDER, digits
from snndeploy.ingest import read_network
from snndeploy.ir.network import Network
from snndeploy.ir.ops import Dense, Pointwise
from snndeploy.passes.adapt import Adapt
from snndeploy.passes.base import Pass, PassContext
from snndeploy.passes.guard.back_off import run_guarded
from snndeploy.passes.guard.costs import layer_costs
from snndeploy.passes.guard.ways import closer_ways, way_of
from snndeploy.passes.kernels.remove_kernels import RemoveKernels
from snndeploy.passes.metrics import measure
from snndeploy.passes.prune import Prune
from snndeploy.passes.quantization.prune_quantize import PruneQuantize
from snndeploy.passes.quantization.quantize import Quantize
from snndeploy.passes.quantization.rescaw import ReScaW
from snndeploy.passes.runner import run_passes
from snndeploy.pipeline import compress
from snndeploy.recipe import CalibrationOptions, Recipe
from tests.support.builders import chain_net, inputs, lif, project, spikes


@lru_cache
def network() -> Network:
    return read_network(FOLDER / "digits.nir", "snntorch", reset="zero")


@lru_cache
def watch() -> Reference:
    x = digits().part(40, 60).inputs
    return Reference(network(), {p.name: x for p in network().with_role("input")})


@dataclasses.dataclass(frozen=True, eq=False)
class Seen:
    """What passes calibrate on."""

    inputs: Any
    labels: Any = None
    window: int = 1


def context(**options: Any) -> PassContext:
    x = digits().first(40).inputs
    seen = Seen({p.name: x for p in network().with_role("input")})
    return PassContext(calibration=seen, watch=watch(), **options)


RUINOUS = (Prune(sparsity=0.8), Quantize(bits=3))


def test_what_holds_is_left_alone() -> None:
    gentle = (Prune(sparsity=0.3), Quantize(bits=8))
    log = run_guarded(network(), gentle, context(), guard="back-off")
    assert (log.passes, log.notes) == (gentle, ())
    assert log.answers is not None
    assert log.answers.bound <= 0.05
    assert [s.answers is not None for s in log.steps] == [True, True]
    plain = run_passes(network(), gentle, PassContext())
    assert plain.network.digest == log.network.digest
    assert plain.answers is None


def test_a_ruin_is_told_with_the_layer_that_costs_most() -> None:
    log = run_guarded(network(), RUINOUS, context(), guard="warn")
    (found,) = log.notes
    assert (found.code, found.severity, found.limit) == ("answers-differ", "warning", 0.05)
    assert log.passes == RUINOUS
    costs = layer_costs(network(), log.network, watch())
    assert found.where == max(costs, key=costs.__getitem__)
    assert found.used is not None
    assert found.used > 1
    (fix,) = found.fixes
    restored = [p for p in network().projections if p.name == found.where]
    better = watch().divergence(log.network.replace(projections=restored))
    assert f"divergence {better:.3g}" in fix.effect


def test_backing_off_holds_the_limit_and_keeps_what_is_cheap() -> None:
    asked = run_passes(network(), RUINOUS, context())
    log = run_guarded(network(), RUINOUS, context(), guard="back-off")
    assert log.answers is not None
    assert log.answers.bound <= 0.05
    (found,) = log.notes
    assert found.code == "backed-off"
    costs = layer_costs(network(), asked.network, watch())
    worst, cheapest = max(costs, key=costs.__getitem__), min(costs, key=costs.__getitem__)
    assert found.where == worst
    assert re.search(rf"[:,] {worst} (79|80)\.\d% → ", found.message)
    layers = log.steps[-1].after.layers
    assert layers[cheapest].sparsity > layers[worst].sparsity
    total = measure(log.network).total("storage_bits")
    assert total < 0.7 * 32 * measure(network()).total("weights")
    assert total > measure(asked.network).total("storage_bits")


def test_what_was_kept_is_a_recipe_that_gives_it_again() -> None:
    log = run_guarded(network(), RUINOUS, context(), guard="back-off")
    recipe = Recipe.from_toml(Recipe(passes=log.passes).to_toml())
    assert run_passes(network(), recipe.passes, context()).network.digest == log.network.digest


def subtracting() -> tuple[Network, PassContext]:
    """A network whose resets the chip's own neurons do not have, and what to run passes with."""
    net = read_network(FOLDER / "digits.nir", "snntorch", reset="subtract")
    x = digits().part(40, 60).inputs
    names = [p.name for p in net.with_role("input")]
    seen = Seen({n: digits().first(40).inputs for n in names})
    reference = Reference(net, dict.fromkeys(names, x))
    target = native_only(load_target("loihi2"))
    return net, PassContext(calibration=seen, watch=reference, target=target)


@pytest.mark.parametrize("guard", ["back-off", "search"])
def test_what_the_chip_needs_is_not_given_back(guard: Any) -> None:
    net, ctx = subtracting()
    log = run_guarded(net, (Adapt(), *RUINOUS), ctx, guard=guard, limit=1e-6)
    assert isinstance(log.passes[0], Adapt)
    spiking = [p.neuron for p in log.network.populations if p.neuron and p.neuron.spiking]
    assert {n.reset for n in spiking} == {"zero"}
    told = [f for f in log.notes if f.code == "answers-differ"]
    assert [(f.where, f.limit) for f in told] == [("adapt", 1e-6)]
    assert "what the chip needs alone" in told[0].message
    alone = run_passes(net, (Adapt(),), ctx).answers
    assert alone is not None
    assert log.answers is not None
    assert told[0].used == alone.bound
    assert log.answers.bound <= alone.bound + 1e-6


def test_a_limit_above_what_the_chip_needs_holds_for_all_of_it() -> None:
    net, ctx = subtracting()
    alone = run_passes(net, (Adapt(),), ctx).answers
    assert alone is not None
    limit = alone.bound + 0.01
    log = run_guarded(net, (Adapt(), *RUINOUS), ctx, guard="back-off", limit=limit)
    assert isinstance(log.passes[0], Adapt)
    assert [f.code for f in log.notes] == ["backed-off"]
    assert log.answers is not None
    assert log.answers.bound <= limit


def test_a_limit_of_nothing_gives_everything_back() -> None:
    log = run_guarded(network(), RUINOUS, context(), guard="back-off", limit=0.0)
    assert log.passes == ()
    assert log.network is network()
    assert "nothing of the recipe is left" in log.notes[0].message


def test_before_everything_is_given_back_all_weights_stay_on_eight_bits() -> None:
    """The limit is what eight bits cost, so that nothing pruned is within it."""
    eight = (Quantize(bits=8, per="channel"),)
    limit = watch().bound(run_passes(network(), eight, PassContext()).network)
    log = run_guarded(network(), RUINOUS, context(), guard="back-off", limit=limit)
    assert log.network.digest == run_passes(network(), eight, PassContext()).network.digest
    assert [p.name for p in log.passes] == ["quantize"]
    assert log.answers is not None
    assert log.answers.bound == limit
    pruned = run_guarded(network(), RUINOUS[:1], context(), guard="back-off", limit=-1.0)
    assert pruned.passes == ()


def test_before_anything_is_given_back_codes_are_fitted_closer() -> None:
    """Three bits to nearest are a ruin; by membrane error they hold, and stay three."""
    step, limit = Quantize(bits=3), 0.1
    log = run_guarded(network(), (step,), context(), guard="back-off", limit=limit)
    assert log.passes == (step.closer(),)
    assert {m.bits for m in log.steps[-1].after.layers.values()} == {3}
    assert log.answers is not None
    assert (
        log.answers.bound
        <= limit
        < watch().bound(run_passes(network(), (step,), context()).network)
    )
    (found,) = log.notes
    assert (found.code, found.severity, found.where) == ("fitted-closer", "note", "quantize")
    assert found.used == log.answers.bound
    alone = dataclasses.replace(context(), calibration=None)
    blind = run_guarded(network(), (step,), alone, guard="back-off", limit=limit)
    assert [f.code for f in blind.notes] == ["backed-off"]
    assert max(m.bits for m in blind.steps[-1].after.layers.values()) > 3


def test_the_closer_way_takes_what_the_first_one_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passes before the first that differs are not run again, and what follows has the same bits."""
    net = chain_net([np.random.default_rng(i).normal(0.2, 0.4, (6, 6)) for i in range(2)])
    x = {"input": spikes(net, samples=20)}
    ctx = PassContext(calibration=Seen(x), watch=Reference(net, x))
    steps, ran = (Prune(sparsity=0.3), Quantize(bits=4)), list[str]()
    first = way_of(net, steps, ctx)
    whole = run_passes(net, [p.closer() for p in steps], ctx)
    for step in steps:
        run = type(step).run

        def noted(self: Pass, *given: Any, run: Any = run) -> Any:
            ran.append(self.name)
            return run(self, *given)

        monkeypatch.setattr(type(step), "run", noted)
    (closer,) = closer_ways(net, first, ctx)
    assert set(ran) == {"quantize"}
    assert [s.digest for s in closer.log.steps] == [s.digest for s in whole.steps]
    assert [s.metrics for s in closer.log.steps] == [s.metrics for s in whole.steps]
    assert [s.answers for s in closer.log.steps] == [s.answers for s in whole.steps]
    assert closer.networks[0][0] is net
    assert (closer.networks[0][1], closer.networks[1][0]) == (first.networks[0][1],) * 2


def test_what_cannot_run_closer_backs_off_as_it_is() -> None:
    """Layers that are tied one to one have no row to make up with."""
    rng = np.random.default_rng(0)
    ops = (Dense(20, 12), Pointwise((20,), (20,)), Dense(5, 20))
    shapes = ((20, 12), (20,), (5, 20))
    names = ["input", "n0", "n1", "output"]
    layers = [
        project(f"w{i}", a, b, op, rng.normal(0, 1, shape).astype(np.float32))
        for i, (a, b, op, shape) in enumerate(zip(names, names[1:], ops, shapes, strict=False))
    ]
    populations = (inputs((12,)), lif("n0", (20,)), lif("n1", (20,)), lif("output", (5,), "output"))
    net = Network(populations, tuple(layers)).verify()
    x = {"input": spikes(net, samples=40)}
    ctx = PassContext(calibration=Seen(x), watch=Reference(net, x))
    log = run_guarded(net, (Quantize(bits=2),), ctx, guard="back-off")
    assert [f.code for f in log.notes] == ["backed-off"]
    assert all(isinstance(p, Quantize) and p.method == "rtn" for p in log.passes)


def test_a_higher_limit_keeps_more() -> None:
    stored = [
        measure(
            run_guarded(network(), RUINOUS, context(), guard="back-off", limit=limit).network
        ).total("storage_bits")
        for limit in (0.02, 0.5)
    ]
    assert stored[1] < stored[0]


def test_searching_comes_down_from_several_amounts() -> None:
    step = PruneQuantize(sparsity=0.99, bits=2, search="rounds")
    log = run_guarded(network(), (step,), context(), guard="search")
    assert log.answers is not None
    (found,) = log.notes
    assert (found.code, found.severity) == ("amounts-found", "note")
    assert log.answers.bound <= 0.05
    assert measure(log.network).total("storage_bits") < 3 * measure(network()).total("weights")


def test_a_search_that_finds_nothing_says_so() -> None:
    step = PruneQuantize(sparsity=0.99, bits=2, search="rounds")
    log = run_guarded(network(), (step,), context(), guard="search", limit=0.0)
    assert (log.passes, log.network) == ((), network())
    (found,) = log.notes
    assert (found.code, found.severity) == ("amounts-found", "warning")
    assert found.message.startswith("nothing: ")


def test_kernels_come_back_too() -> None:
    steps = (RemoveKernels(ratio=0.8), Prune(sparsity=0.5))
    log = run_guarded(network(), steps, context(), guard="back-off")
    assert log.answers is not None
    assert log.answers.bound <= 0.05
    assert "kernels" in log.notes[0].message
    shapes = {p.name: p.shape[0] for p in log.network.populations}
    asked = {
        p.name: p.shape[0] for p in run_passes(network(), steps, PassContext()).network.populations
    }
    assert all(shapes[n] >= asked[n] for n in shapes)
    assert shapes != asked


@pytest.mark.parametrize(
    ("severity", "steps"),
    [
        ("warning", (Prune(sparsity=0.5),)),
        ("warning", (Quantize(bits=4),)),
        ("note", (Quantize(),)),
    ],
)
def test_without_samples_nobody_knows_and_that_is_said(severity: str, steps: Any) -> None:
    log = compress(network(), recipe=Recipe(passes=steps))
    assert [(f.code, f.severity) for f in log.notes] == [("answers-not-measured", severity)]
    silent = compress(network(), recipe=Recipe(passes=steps, guard="off"))
    assert silent.notes == ()
    assert compress(network(), recipe=None).findings == ()


@pytest.mark.parametrize("guard", ["warn", "back-off", "search"])
def test_a_network_that_answers_nothing_has_no_answers_to_keep(guard: Any) -> None:
    """Every silent network would be alike, and a search would take all of it away."""
    nothing = {p.name: 0 * digits().first(3).inputs for p in network().with_role("input")}
    deaf = dataclasses.replace(context(), watch=Reference(network(), nothing))
    log = run_guarded(network(), RUINOUS, deaf, guard=guard)
    assert [(f.code, f.severity) for f in log.notes] == [("answers-silent", "warning")]
    assert log.notes[0].message.startswith("the trained network answers nothing on 3 samples ")
    assert (log.passes, log.answers) == (RUINOUS, None)
    assert not watch().silent


EVERY: list[Pass] = [
    Prune(sparsity=0.6, scope="global"),
    Prune(sparsity=0.6, method="sbc", scope="lamp", search="rounds"),
    Quantize(bits=3),
    Quantize(bits=3, share="target"),
    Quantize(bits=3, method="sbc"),
    ReScaW(bits=2),
    PruneQuantize(sparsity=0.6, bits=3, search="rounds"),
    RemoveKernels(ratio=0.5),
]


@pytest.mark.parametrize("step", EVERY, ids=lambda p: p.name)
def test_relief_goes_from_what_was_asked_to_nothing(step: Pass) -> None:
    net, ctx = network(), context()
    after = step.run(net, ctx).network
    names = [p.name for p in net.projections]

    def stored(share: float) -> int:
        eased = step.eased(net, after, dict.fromkeys(names, share))
        return measure(run_passes(net, eased, ctx).network).total("storage_bits")

    same = run_passes(net, step.eased(net, after, {}), ctx).network
    assert measure(same).layers == measure(after).layers
    amounts = [stored(share) for share in (0.0, 0.4, 0.8, 1.0)]
    assert amounts[0] == measure(after).total("storage_bits")
    assert amounts == sorted(amounts)
    assert amounts[0] < amounts[2]
    assert amounts[3] == measure(net).total("storage_bits")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spy(Pass):
    """Sees samples, and changes nothing."""

    name = "spy"
    stage = "any"

    def run(self, net: Network, ctx: PassContext) -> Any:
        from snndeploy.passes.base import PassResult

        SEEN.append(np.asarray(ctx.samples("spy")["input"]))
        return PassResult(network=net, modified=False)


SEEN: list[np.ndarray] = []


@pytest.mark.parametrize(
    ("there", "wanted", "seen", "compared", "held_out"),
    [
        (130, 100, 100, 30, True),
        (119, 100, 96, 23, True),
        (100, 100, 80, 20, True),
        (50, 10, 10, 40, True),
        (22, 20, 17, 5, True),
        (11, 10, 10, 11, False),
        (30, 256, 20, 10, True),
        (9, 256, 9, 9, False),
    ],
)
def test_answers_are_compared_on_samples_that_no_pass_sees(
    there: int, wanted: int, seen: int, compared: int, held_out: bool
) -> None:
    samples = Samples(digits().first(there).inputs)
    SEEN.clear()
    recipe = Recipe(passes=(Spy(),), calibration=CalibrationOptions(samples=wanted))
    log = compress(network(), recipe=recipe, calibration=samples)
    (mine,) = SEEN
    assert mine.shape[1] == seen
    assert log.answers is not None
    made_up = 50 - compared if compared < 15 else 0
    assert (log.answers.samples, log.answers.made_up) == (compared + made_up, made_up)
    assert log.answers.held_out == held_out
    assert log.answers.divergence == 0


@pytest.mark.parametrize(("there", "code"), [(249, "backed-off"), (250, "fitted-closer")])
def test_a_guard_fits_codes_on_samples_that_are_not_compared(there: int, code: str) -> None:
    """Rounding looks at no samples, so 200 are compared; what is beyond them may be fitted to."""
    samples = Samples(digits().first(there).inputs)
    recipe = Recipe(passes=(Quantize(bits=3),), guard="back-off", max_divergence=0.1)
    log = compress(network(), recipe=recipe, calibration=samples)
    assert [f.code for f in log.notes] == [code]
    assert log.answers is not None
    assert (log.answers.samples, log.answers.held_out) == (200, True)


def test_passes_that_look_at_no_samples_leave_all_for_comparing() -> None:
    samples = Samples(digits().first(70).inputs)
    log = compress(network(), recipe=Recipe(passes=(Quantize(),)), calibration=samples)
    assert log.answers is not None
    assert (log.answers.samples, log.answers.held_out) == (70, True)
