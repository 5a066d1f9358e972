"""The contract of passes, the runner that enforces it, and the registry."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import Annotated, Any, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field

from snndeploy.errors import PassRefused, RecipeError, SnnDeployError
from snndeploy.ir.network import Network
from snndeploy.ir.ops import Dense, chain_shapes, index_map, weighted_index
from snndeploy.ir.weights import Weight
from snndeploy.passes import registry
from snndeploy.passes.base import Pass, PassContext, PassEvent, PassResult, PassStage, stage_of
from snndeploy.passes.kernels.remove_kernels import RemoveKernels
from snndeploy.passes.metrics import measure
from snndeploy.passes.prune import Prune
from snndeploy.passes.quantization.quantize import Quantize
from snndeploy.passes.runner import check_order, run_passes
from snndeploy.passes.training.finetune import FineTune
from tests.support.builders import ZOO, conv_net

ALL = (RemoveKernels(ratio=0.25), Prune(sparsity=0.5), Quantize(bits=4))


@dataclass(frozen=True, kw_only=True)
class Custom(Pass):
    """A pass that does what the test says."""

    name: ClassVar[str] = "custom"
    stage: ClassVar[PassStage] = "any"
    body: ClassVar[Callable[[Network, PassContext], PassResult]]

    strength: Annotated[float, Field(gt=0)] = 1.0
    tags: tuple[str, ...] = ()

    def run(self, net: Network, ctx: PassContext) -> PassResult:
        return type(self).body(net, ctx)


def custom(body: Callable[[Network, PassContext], PassResult]) -> Custom:
    class Local(Custom):
        pass

    Local.body = staticmethod(body)
    return Local()


def unchanged(net: Network, ctx: PassContext) -> PassResult:
    del ctx
    return PassResult(network=net, modified=False)


# --- options ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"strength": "1"}, "custom.strength: input should be a valid number, not '1'"),
        ({"strength": True}, "custom.strength: input should be a valid number, not True"),
        ({"strength": 0}, "custom.strength: input should be greater than 0, not 0"),
        ({"tags": "ab"}, "custom.tags: input should be a valid tuple, not 'ab'"),
        ({"tags": (1,)}, "custom.tags[0]: input should be a valid string, not 1"),
    ],
)
def test_options_are_checked_when_a_pass_is_built(options: dict[str, Any], text: str) -> None:
    with pytest.raises(RecipeError) as caught:
        Custom(**options)
    assert caught.value.code == "option-value"
    assert str(caught.value) == text


def test_options_have_one_form() -> None:
    made = Custom(strength=2, tags=["a"])  # type: ignore[arg-type]
    assert made == Custom(strength=2.0, tags=("a",))
    assert made.options() == {"strength": 2.0, "tags": ("a",)}
    assert hash(RemoveKernels()) == hash(RemoveKernels())


# --- running ----------------------------------------------------------------------------------


def test_a_log_of_everything() -> None:
    net = conv_net()
    log = run_passes(net, ALL, PassContext())
    assert [s.name for s in log.steps] == ["remove-kernels", "prune", "quantize"]
    assert [s.index for s in log.steps] == [1, 2, 3]
    assert log.steps[0].before == measure(net)
    assert log.steps[0].after == log.steps[1].before
    assert log.steps[2].after == measure(log.network)
    assert log.steps[2].digest == log.network.digest
    assert log.steps[1].options == Prune(sparsity=0.5).options()
    after = log.steps[2].after
    assert after.neurons == {"input": 128, "s1": 192, "s2": 64, "s3": 10, "output": 5}
    assert after.layers["conv2"].weights == 4 * 3 * 9
    assert after.layers["conv2"].alive == 54
    assert after.layers["conv2"].sparsity == 0.5
    assert after.layers["conv2"].storage_bits == 54 * 4
    assert after.total("storage_bits") == 4 * after.total("alive")
    assert set(log.steps[2].metrics) == {"conv1", "conv2", "fc1", "fc2"}


def test_the_input_network_is_untouched() -> None:
    net = conv_net()
    digest = net.digest
    run_passes(net, ALL, PassContext())
    assert conv_net().digest == digest
    assert stage_of(net) == "any"


def test_observers_see_every_step_and_can_dump_them() -> None:
    events: list[PassEvent] = []
    net = conv_net()
    log = run_passes(net, ALL, PassContext(observer=events.append))
    ends = [e for e in events if e.kind == "end"]
    assert [e.label for e in ends] == ["001-remove-kernels", "002-prune", "003-quantize"]
    assert [e.network.digest for e in ends if e.network] == [s.digest for s in log.steps]
    assert events[0].kind == "start"
    assert events[0].network is net
    assert events[0].metrics == measure(net)
    progress = [e for e in events if e.kind == "progress" and e.name == "prune"]
    assert [(e.what, e.done, e.of) for e in progress] == [("layers", i, 4) for i in range(4)]
    assert {(e.index, e.total) for e in progress} == {(2, 3)}


@pytest.mark.parametrize("factory", ZOO)
def test_synapses_are_those_of_the_index_map(factory: Callable[[], Network]) -> None:
    net = factory()
    masked = Prune(sparsity=0.3).apply(net, PassContext()).network
    for p in masked.projections:
        before = weighted_index(p.ops)
        m = index_map(p.op, chain_shapes(p.ops[:before], masked.source_shape(p))[-1])
        alive = np.ones(p.weight.shape, bool) if p.weight.mask is None else p.weight.mask
        counted = measure(masked).layers[p.name]
        assert m.weight_index is not None
        assert counted.synapses == int(alive.reshape(-1)[m.weight_index].sum())


# --- streams ----------------------------------------------------------------------------------


def draws(ctx: PassContext, name: str = "") -> list[int]:
    return list(ctx.stream(name).integers(0, 2**60, 4))


@given(st.integers(0, 2**64), st.text(), st.text())
@settings(deadline=None)
def test_streams_differ_by_name_and_repeat(seed: int, a: str, b: str) -> None:
    ctx = PassContext(seed=seed, scope="p")
    assert draws(ctx, a) == draws(ctx, a)
    if a != b:
        assert draws(ctx, a) != draws(ctx, b)
    assert draws(ctx, a) != draws(dataclasses.replace(ctx, seed=seed + 1), a)


def test_adding_a_pass_moves_no_other_draw() -> None:
    def drawn(passes: list[Pass]) -> dict[str, list[int]]:
        seen: dict[str, list[int]] = {}

        def body(net: Network, ctx: PassContext) -> PassResult:
            seen[ctx.scope] = draws(ctx)
            return unchanged(net, ctx)

        steps = [custom(body) if isinstance(p, Custom) else p for p in passes]
        run_passes(conv_net(), steps, PassContext(seed=7))
        return seen

    alone = drawn([Custom()])
    more = drawn([RemoveKernels(ratio=0.5), Custom(), Prune(sparsity=0.5), Custom()])
    assert list(alone) == ["custom"]
    assert list(more) == ["custom", "custom#2"]
    assert more["custom"] == alone["custom"]
    assert more["custom#2"] != alone["custom"]


# --- the order law ----------------------------------------------------------------------------


@given(st.permutations(ALL))
@settings(deadline=None)
def test_only_one_order_is_lawful(passes: list[Pass]) -> None:
    if tuple(passes) == ALL:
        check_order(passes)
    else:
        with pytest.raises(RecipeError, match="comes after"):
            check_order(passes)


def test_the_order_law_in_words() -> None:
    with pytest.raises(RecipeError) as caught:
        run_passes(conv_net(), [ALL[1], Custom(), ALL[0]], PassContext())
    assert caught.value.code == "order-law"
    assert str(caught.value) == (
        "passes[2]: 'remove-kernels' comes after 'prune'\n"
        "  next: the order is remove-kernels → prune → quantize"
    )


@pytest.mark.parametrize(
    ("first", "then", "state"), [(1, 0, "pruned"), (2, 0, "quantized"), (2, 1, "quantized")]
)
def test_a_pass_refuses_the_wrong_side(first: int, then: int, state: str) -> None:
    net = ALL[first].apply(conv_net(), PassContext()).network
    with pytest.raises(PassRefused) as caught:
        ALL[then].apply(net, PassContext())
    assert caught.value.code == "order-law"
    assert str(caught.value) == (
        f"{ALL[then].name!r} cannot run on a network that is already {state}\n"
        "  next: the order is remove-kernels → prune → quantize; "
        "start from the network as it was ingested"
    )


def test_a_joint_pass_counts_as_all_its_stages() -> None:
    class Joint(Custom):
        @property
        def stages(self) -> tuple[PassStage, ...]:
            return ("prune", "quantize")

    check_order([RemoveKernels(), Joint()])
    check_order([Prune(sparsity=0.1), Joint()])
    with pytest.raises(RecipeError, match="'prune' comes after 'custom'"):
        check_order([Joint(), Prune(sparsity=0.1)])


# --- promises and failures --------------------------------------------------------------------


def clone(net: Network) -> Network:
    return dataclasses.replace(net)


def smaller_output(net: Network, ctx: PassContext) -> PassResult:
    del ctx
    p = net.projections[-1]
    op = Dense(4, 10)
    last = dataclasses.replace(p, ops=(op,), weight=Weight(p.weight.data[:4]))
    output = dataclasses.replace(net.population("output"), shape=(4,))
    return PassResult(network=net.replace([output], [last]), modified=True)


@pytest.mark.parametrize(
    ("body", "promise"),
    [
        (
            lambda net, ctx: PassResult(network=clone(net), modified=False),
            "an unmodified network is returned as it came, and a modified one is another",
        ),
        (
            lambda net, ctx: PassResult(network=net, modified=True),
            "an unmodified network is returned as it came, and a modified one is another",
        ),
        (smaller_output, "inputs and outputs stay as they are"),
    ],
)
def test_broken_promises(body: Callable[..., PassResult], promise: str) -> None:
    with pytest.raises(SnnDeployError) as caught:
        custom(body).apply(conv_net(), PassContext())
    assert caught.value.code == "pass-broke-promise"
    assert caught.value.exit_code == 1
    assert str(caught.value) == (
        f"the pass 'custom' broke its promise: {promise}\n"
        "  next: this is a bug of the pass; report it with the recipe and the network"
    )


def test_ensures_is_checked() -> None:
    class Promising(Custom):
        def ensures(self, before: Network, after: Network) -> None:
            self.promise(before is after, "nothing happens")

    Promising.body = staticmethod(lambda net, ctx: PassResult(network=clone(net), modified=True))
    with pytest.raises(SnnDeployError, match="broke its promise: nothing happens"):
        Promising().apply(conv_net(), PassContext())


@pytest.mark.parametrize("liar", ALL, ids=lambda p: p.name)
def test_built_in_promises_notice_a_wrong_result(liar: Pass) -> None:
    """`ensures` of each built-in pass rejects the result of doing nothing, or too much."""
    net = conv_net()
    right = liar.apply(net, PassContext()).network
    liar.ensures(net, right)
    wrong = conv_net(channels=(5, 6)) if isinstance(liar, RemoveKernels) else net
    with pytest.raises(SnnDeployError, match="broke its promise"):
        liar.ensures(net, wrong)


def test_an_invalid_result_is_noticed() -> None:
    def body(net: Network, ctx: PassContext) -> PassResult:
        del ctx
        p = net.projections[0]
        bad = dataclasses.replace(p, weight=Weight(p.weight.data * np.nan))
        return PassResult(network=net.replace(projections=[bad]), modified=True)

    with pytest.raises(SnnDeployError) as caught:
        run_passes(conv_net(), [Prune(sparsity=0.1), custom(body)], PassContext())
    assert caught.value.code == "weight-not-finite"
    assert str(caught.value).startswith(
        "pass 2 of 2 (custom, after prune) projection conv1: 72 value(s) of its weight are NaN"
    )


def test_refusals_come_before_the_first_pass_runs() -> None:
    with pytest.raises(RecipeError) as caught:
        run_passes(conv_net(), [ALL[0], ALL[1], Quantize(layers=("fc3",))], PassContext())
    assert str(caught.value) == (
        "pass 3 of 3 (quantize) quantize.layers: "
        "'fc3' matches no layer\n  next: did you mean 'fc2'?"
    )


def test_samples_are_refused_before_the_first_pass_runs() -> None:
    seen: list[str] = []
    ctx = PassContext(observer=lambda event: seen.append(event.name))
    with pytest.raises(PassRefused) as caught:
        run_passes(conv_net(), [Prune(sparsity=0.1), FineTune(epochs=1)], ctx)
    assert str(caught.value).startswith(
        "pass 2 of 2 (finetune): it trains, and there are no labelled"
    )
    assert not seen


def test_a_crash_is_reported_as_a_bug_with_its_history() -> None:
    def body(net: Network, ctx: PassContext) -> PassResult:
        raise ZeroDivisionError("oh no")

    with pytest.raises(SnnDeployError) as caught:
        run_passes(conv_net(), [Prune(sparsity=0.1), custom(body)], PassContext())
    assert caught.value.code == "pass-crashed"
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert str(caught.value) == (
        "pass 2 of 2 (custom, after prune): ZeroDivisionError: oh no\n"
        "  next: this is a bug of the pass; report it with the recipe and the network"
    )


# --- registry ---------------------------------------------------------------------------------


def plug_in(name: str, value: str) -> EntryPoint:
    return EntryPoint(name=name, value=value, group=registry.GROUP)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def install(*points: EntryPoint) -> None:
        monkeypatch.setattr(registry, "entry_points", lambda group: list(points))

    return install


@pytest.mark.parametrize("name", registry.BUILT_IN)
def test_a_built_in_pass_has_the_name_of_its_class(name: str) -> None:
    assert registry.pass_class(name).name == name


def test_a_plug_in_joins(installed: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    import sys
    import types

    module = types.ModuleType("acme_passes")
    module.Custom = Custom  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "acme_passes", module)
    installed(plug_in("custom", "acme_passes:Custom"))
    assert registry.known_passes()["custom"].owner == "acme_passes:Custom"
    assert registry.pass_class("custom") is Custom
    assert registry.broken() == ()


def test_duplicates_name_both_owners(installed: Callable[..., None]) -> None:
    installed(plug_in("prune", "acme.passes:Prune"))
    with pytest.raises(RecipeError) as caught:
        registry.pass_names()
    assert caught.value.code == "pass-duplicate"
    assert str(caught.value) == (
        "two packages provide a pass named 'prune': snndeploy and acme.passes:Prune\n"
        "  next: uninstall one of them, or rename its pass"
    )
    installed(plug_in("x", "a:X"), plug_in("x", "b:X"))
    with pytest.raises(RecipeError, match="'x': a:X and b:X"):
        registry.pass_names()


def test_broken_plug_ins_are_listed_and_harm_nobody(installed: Callable[..., None]) -> None:
    installed(
        plug_in("absent", "no_such_module:X"),
        plug_in("not-a-pass", "json:dumps"),
        plug_in("misnamed", "snndeploy.passes.prune:Prune"),
    )
    assert registry.pass_class("prune") is Prune
    reasons = {b.name: b.reason for b in registry.broken()}
    assert reasons["absent"] == "ModuleNotFoundError: No module named 'no_such_module'"
    assert reasons["not-a-pass"].endswith("is not a subclass of Pass")
    assert reasons["misnamed"] == "its pass calls itself 'prune'"
    with pytest.raises(RecipeError) as caught:
        registry.pass_class("absent")
    assert caught.value.code == "pass-broken"
    assert str(caught.value) == (
        "the pass 'absent' of no_such_module:X cannot be used: "
        "ModuleNotFoundError: No module named 'no_such_module'\n"
        "  next: repair or uninstall no_such_module:X"
    )


def test_unknown_passes_are_corrected() -> None:
    with pytest.raises(RecipeError) as caught:
        registry.pass_class("pruen")
    assert caught.value.code == "pass-unknown"
    assert str(caught.value) == "there is no pass 'pruen'\n  next: did you mean 'prune'?"
