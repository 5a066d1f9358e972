"""compress_module: the passes' solvers on live torch modules, found and measured through hooks."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import snndeploy
from snndeploy.calibrate.moments import filtered
from snndeploy.errors import InputError, PassRefused
from snndeploy.limits import Limits, using
from snndeploy.passes.base import PassContext
from snndeploy.passes.prune import Prune
from snndeploy.passes.quantization.quantize import Quantize
from snndeploy.pipeline.torch_modules.arrivals import Arrivals
from snndeploy.pipeline.torch_modules.hooks import ModuleWatch
from snndeploy.recipe import Recipe, load_recipe


class LIFNode(nn.Module):
    """A leaky neuron with the interface of SpikingJelly's, many steps at a time."""

    step_mode = "m"

    def __init__(self, tau: float = 2.0) -> None:
        super().__init__()
        self.tau = tau

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        v, out = torch.zeros_like(x[0]), []
        for current in x:
            v = v + (current - v) / self.tau
            spike = (v >= 0.3).to(v.dtype)
            v = v * (1 - spike)
            out.append(spike)
        return torch.stack(out)


class Leaky(nn.Module):
    """A leaky neuron with the interface of snnTorch's, one step at a time."""

    def __init__(self, beta: float) -> None:
        super().__init__()
        self.beta, self.threshold = torch.tensor(beta), torch.tensor(1.0)
        self.v = torch.zeros(())

    def reset(self) -> None:
        self.v = torch.zeros(())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.v = self.beta * self.v + x
        spike = (self.v > self.threshold).to(x.dtype)
        self.v = self.v - spike * self.threshold
        return spike


class Steps(nn.Module):
    """Calls its layers once per step."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([self.layers(step) for step in x])


class Attention(nn.Module):
    """A spike-driven attention block: queries, keys and values are spikes, and multiplied."""

    def __init__(self, d: int = 12) -> None:
        super().__init__()
        self.q, self.k, self.v, self.out = (nn.Linear(d, d, bias=False) for _ in range(4))
        self.q_lif, self.k_lif, self.v_lif, self.out_lif = (
            LIFNode(t) for t in (2.0, 3.0, 4.0, 5.0)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.q_lif(self.q(x)), self.k_lif(self.k(x)), self.v_lif(self.v(x))
        mixed = q @ k.transpose(-2, -1) @ v / q.shape[-1]
        return x + self.out_lif(self.out(mixed))  # a residual sum of spikes


def recipe(*passes: Any, guard: Any = "off", **fields: Any) -> Recipe:
    return Recipe(name="test", passes=passes, guard=guard, **fields)


def spikes(*shape: int) -> torch.Tensor:
    return (torch.rand(*shape, generator=torch.Generator().manual_seed(0)) < 0.4).float()


PRUNE = recipe(Prune(sparsity=0.6, method="sbc", positions=0, damp=0.0))


def constrained(weight: np.ndarray, x: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Least squares of filtered inputs on each row's mask, by numpy's own solver."""
    out = np.zeros_like(weight)
    for i, kept in enumerate(mask):
        out[i, kept] = np.linalg.lstsq(x[:, kept], x @ weight[i], rcond=None)[0]
    return out


def test_attention_is_compressed_for_the_neurons_it_drives() -> None:
    torch.manual_seed(0)
    block = Attention().double()
    x = spikes(10, 6, 5, 12).double()  # steps, samples, tokens, channels
    found = snndeploy.compress_module(block, [x], PRUNE)
    assert {n: layer.leak for n, layer in found.layers.items()} == pytest.approx(
        {"q": 1 / 2, "k": 2 / 3, "v": 3 / 4, "out": 4 / 5}
    )
    for name, leak in (("q", 0.5), ("v", 0.75)):
        old, new = (getattr(m, name).weight.detach().numpy() for m in (block, found.module))
        arrived = filtered(x.numpy(), leak, None).reshape(-1, 12)
        assert (new == 0).mean() == pytest.approx(0.6, abs=0.01)
        np.testing.assert_allclose(new, constrained(old, arrived, new != 0), atol=1e-8)


def test_only_the_layers_that_are_named() -> None:
    module = Attention()
    found = snndeploy.compress_module(module, [spikes(4, 2, 3, 12)], PRUNE, layers=["k", "out"])
    assert list(found.layers) == ["k", "out"]
    assert torch.equal(found.module.q.weight, module.q.weight)  # type: ignore[arg-type]
    assert float((found.module.k.weight == 0).float().mean()) > 0.5  # type: ignore[union-attr]


def weights_of(*steps: Any) -> Any:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(16, 8, bias=False), LIFNode(8.0)).double()
    x = spikes(20, 12, 16).double()
    return snndeploy.compress_module(module, [x], recipe(*steps)).module[0].weight.detach()  # type: ignore[index]


def test_every_method_looks_at_its_own_kernel() -> None:
    for method, kernel in (("obc", "current"), ("sbc", "membrane")):
        own = weights_of(Prune(sparsity=0.5, method=method))  # type: ignore[arg-type]
        named = weights_of(Prune(sparsity=0.5, method="sbc", kernels=(kernel,)))  # type: ignore[arg-type]
        assert torch.equal(own, named)
    for method, kernel in (("gptq", "current"), ("sbc", "membrane")):
        own = weights_of(Quantize(bits=3, method=method))  # type: ignore[arg-type]
        named = weights_of(Quantize(bits=3, method="sbc", kernels=(kernel,)))  # type: ignore[arg-type]
        assert torch.equal(own, named)
    assert not torch.equal(
        weights_of(Prune(sparsity=0.5, method="obc")), weights_of(Prune(sparsity=0.5, method="sbc"))
    )
    with pytest.raises(PassRefused, match="different kernels"):
        weights_of(Prune(sparsity=0.5, method="obc"), Quantize(bits=3, method="sbc"))


def test_the_module_itself_stays_as_it_is() -> None:
    block = Attention()
    before = {k: v.clone() for k, v in block.state_dict().items()}
    snndeploy.compress_module(block, [spikes(4, 2, 3, 12)], PRUNE)
    for name, value in block.state_dict().items():
        assert torch.equal(value, before[name])


def test_layers_called_step_by_step_are_the_same_as_the_network() -> None:
    torch.manual_seed(1)
    module = Steps(
        nn.Linear(16, 12, bias=False), Leaky(0.8), nn.Linear(12, 5, bias=False), Leaky(0.9)
    )
    module = module.double()
    x = spikes(9, 20, 16).double()
    found = snndeploy.compress_module(module, [x[:, :8], x[:, 8:]], PRUNE)
    assert [layer.leak for layer in found.layers.values()] == pytest.approx([0.8, 0.9])
    # The same through the network of the same layers.
    from snndeploy.ir.network import Network
    from snndeploy.ir.ops import Dense
    from tests.support.builders import inputs, lif, project

    w1, w2 = (module.layers[i].weight.detach().numpy() for i in (0, 2))  # type: ignore[union-attr]
    net = Network(
        (
            inputs((16,)),
            lif("h", (12,), leak=0.8, reset="subtract"),
            lif("output", (5,), "output", leak=0.9, reset="subtract"),
        ),
        (
            project("a", "input", "h", Dense(12, 16), w1),
            project("b", "h", "output", Dense(5, 12), w2),
        ),
    ).verify()

    class Samples:
        inputs = {"input": x.numpy()}  # noqa: RUF012
        labels = None

    after = PRUNE.passes[0].apply(net, PassContext(calibration=Samples())).network
    for i, p in zip((0, 2), after.projections, strict=True):
        new = found.module.layers[i].weight.detach().numpy()  # type: ignore[index, union-attr]
        np.testing.assert_allclose(new, p.weight.data, rtol=1e-6, atol=1e-12)


def test_convolutions_with_batch_norm_and_quantised_weights() -> None:
    torch.manual_seed(2)

    class Fold(nn.Module):
        """Convolution and batch norm over steps and samples together."""

        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 3, padding=1, bias=False)
            self.norm = nn.BatchNorm2d(8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.norm(self.conv(x.flatten(0, 1)))
            return y.reshape(*x.shape[:2], *y.shape[1:])

    class SeqToANNContainer(Fold):
        """As SpikingJelly's is called."""

    module = nn.Sequential(SeqToANNContainer(), LIFNode(4.0)).eval()
    with torch.no_grad():
        module[0].norm.running_var.copy_(torch.rand(8) + 0.5)
    quantise = Quantize(method="sbc", bits=3, per="channel", clip="mse")
    found = snndeploy.compress_module(module, [spikes(5, 4, 3, 6, 6)], recipe(quantise))
    assert found.layers["0.conv"].leak == pytest.approx(0.75)
    weight = found.module[0].conv.weight.detach().reshape(8, -1)  # type: ignore[index, union-attr]
    for row in weight:
        assert len(torch.unique((row * 1e6).round())) <= 7


def test_an_output_without_a_neuron_is_measured_on_its_current() -> None:
    module = nn.Sequential(nn.Linear(6, 4, bias=False))
    found = snndeploy.compress_module(module, [spikes(8, 6)], PRUNE)
    assert found.layers["0"].leak is None
    assert found.layers["0"].sparsity == pytest.approx(0.6, abs=0.05)


def test_shipped_recipes_and_what_has_no_form() -> None:
    module = Attention()
    x = [spikes(4, 2, 3, 12)]
    found = snndeploy.compress_module(module, x, load_recipe("osbc").guarded("off", None))
    assert np.mean([layer.sparsity for layer in found.layers.values()]) == pytest.approx(
        0.9, abs=0.01
    )
    refused = (
        {"scope": "global"},
        {"kernels": ("current", "long")},
        {"sequential": True, "asymmetry": (0.0, 1.0)},
    )
    given = [recipe(Prune(sparsity=0.5, method="sbc", **options)) for options in refused]  # type: ignore[arg-type]
    for what in ("default", *given):
        with pytest.raises(PassRefused) as caught:
            snndeploy.compress_module(module, x, what)
        assert caught.value.code == "module-option"
    with pytest.raises(InputError) as missing:
        snndeploy.compress_module(nn.ReLU(), x, "sbc")
    assert missing.value.code == "module-no-layers"
    odd = nn.Sequential(nn.Conv2d(1, 2, 3, padding="same"), LIFNode())
    with pytest.raises(InputError) as padding:
        snndeploy.compress_module(odd, [spikes(3, 1, 5, 5)], "sbc")
    assert padding.value.code == "module-padding"


def test_a_layer_beyond_the_memory_is_refused_before_anything_is_measured() -> None:
    module = nn.Sequential(nn.Linear(6, 1500, bias=False), nn.Linear(1500, 4, bias=False))
    with using(Limits(held=100 << 20)), pytest.raises(PassRefused) as caught:
        snndeploy.compress_module(module, [spikes(8, 6)], PRUNE)
    assert (caught.value.code, caught.value.where) == ("moments-beyond-memory", "1")
    found = snndeploy.compress_module(module, [spikes(8, 6)], PRUNE, layers=["0"])
    assert list(found.layers) == ["0"]


def classifier() -> tuple[nn.Module, list[torch.Tensor]]:
    """Two layers, and ten calls of four samples over twelve steps."""
    torch.manual_seed(2)
    layers = (nn.Linear(16, 12, bias=False), nn.Linear(12, 5, bias=False))
    module = Steps(layers[0], Leaky(0.8), layers[1], Leaky(0.9)).double()
    for layer in layers:
        layer.weight.data *= 3
    return module, list(spikes(12, 40, 16).double().split(4, dim=1))


def test_settings_are_chosen_by_the_answers_to_held_out_calls() -> None:
    module, calls = classifier()
    options: dict[str, Any] = {"sparsity": 0.6, "method": "sbc", "search": "rounds"}
    open_ = Prune(
        **options,
        kernels=("current", "long"),
        asymmetry=(0.0, 1.0),
        sequential=True,
        choose="output",
        scope="measured",
        thresholds=True,
    )
    found = snndeploy.compress_module(module, calls, recipe(open_, guard="warn"))
    assert found.answers is not None
    assert (found.answers.samples, found.answers.held_out) == (8, True)
    single = {}
    open_to = itertools.product(("current", "long"), (0.0, 1.0), ("lamp", "layer"), (False, True))
    for kernel, asymmetry, scope, thresholds in open_to:
        one = Prune(
            **options,
            kernels=(kernel,),  # type: ignore[arg-type]
            asymmetry=(asymmetry,),
            sequential=True,
            scope=scope,  # type: ignore[arg-type]
            thresholds=thresholds,
        )
        answers = snndeploy.compress_module(module, calls, recipe(one, guard="warn")).answers
        assert answers is not None
        single[kernel, asymmetry, scope, thresholds] = answers.divergence
    assert len(set(single.values())) > 8
    assert found.answers.divergence == min(single.values())
    assert single[tuple(found.settings.values())] == min(single.values())  # type: ignore[index]


def test_sbc_plus_compresses_a_module() -> None:
    module, calls = classifier()
    found = snndeploy.compress_module(module, calls, load_recipe("sbc-plus").guarded("warn", 0.0))
    assert np.mean([layer.sparsity for layer in found.layers.values()]) > 0.8
    assert [f.code for f in found.findings] == ["answers-differ", "compared-on-few"]
    assert "compared on 8 samples, which" in found.findings[1].message
    for name in found.layers:
        weight = found.module.get_submodule(name).weight
        assert all(len(row.unique()) <= 16 for row in weight)  # type: ignore[union-attr]


def test_the_guard_gives_back_until_the_answers_hold() -> None:
    module, calls = classifier()
    step = Prune(sparsity=0.9, method="sbc", search="rounds")
    asked = snndeploy.compress_module(module, calls, recipe(step, guard="warn"))
    assert asked.answers is not None
    assert asked.relief == 0
    limit = asked.answers.bound / 2
    held = snndeploy.compress_module(
        module, calls, recipe(step, guard="back-off", max_divergence=limit)
    )
    assert held.answers is not None
    assert held.answers.bound <= limit
    assert 0 < held.relief < 1
    assert [f.code for f in held.findings] == ["backed-off", "compared-on-few"]
    kept = 1 - np.mean([layer.sparsity for layer in held.layers.values()])
    assert kept == pytest.approx(0.1 ** (1 - held.relief), abs=0.02)
    whole = snndeploy.compress_module(
        module, calls, recipe(step, guard="back-off", max_divergence=0.0)
    )
    assert whole.relief == 1
    assert [f.code for f in whole.findings] == ["backed-off"]
    for name, value in module.state_dict().items():
        assert torch.equal(value, whole.module.state_dict()[name])


def test_what_answers_no_classes_cannot_be_compared() -> None:
    module = nn.Sequential(nn.Linear(6, 4, bias=False))
    scalar = lambda m, x: m(x).sum()  # noqa: E731
    step = Prune(sparsity=0.5, method="sbc")
    found = snndeploy.compress_module(
        module, [spikes(8, 6)], recipe(step, guard="warn"), run=scalar
    )
    assert found.answers is None
    with pytest.raises(InputError) as caught:
        snndeploy.compress_module(
            module, [spikes(8, 6)], recipe(step, guard="back-off"), run=scalar
        )
    assert caught.value.code == "module-answer"


class Shortcut(nn.Module):
    """Two layers whose currents are summed, by a shortcut that carries membranes, and folded."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(12, 12, bias=False), nn.Linear(12, 12, bias=False)
        self.inner, self.outer = LIFNode(2.0), LIFNode(4.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        current = self.first(x)
        deeper = self.second(self.inner(current))
        both = (current + deeper).flatten(1, 2).unflatten(1, x.shape[1:3])
        spikes: torch.Tensor = self.outer(both)
        return spikes


def test_layers_behind_a_sum_drive_the_neuron_it_reaches() -> None:
    found = snndeploy.compress_module(Shortcut(), [spikes(6, 4, 3, 12)], PRUNE)
    assert {n: layer.leak for n, layer in found.layers.items()} == {"first": 0.5, "second": 0.75}


class Twice(nn.Module):
    """One layer in front of two neurons."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.fast, self.slow = nn.Linear(12, 12), LIFNode(2.0), LIFNode(4.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        current = self.layer(x)
        return torch.stack([self.fast(current), self.slow(current)], -1)


class Membranes(nn.Module):
    """Answers with the potentials of its neuron, which hands them out beside its spikes."""

    class Leaky(Leaky):
        def forward(self, x: torch.Tensor) -> Any:
            return super().forward(x), self.v

    def __init__(self, *, looks: bool) -> None:
        super().__init__()
        self.layer, self.neuron, self.looks = nn.Linear(12, 5), self.Leaky(0.8), looks

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pairs = [self.neuron(self.layer(step)) for step in x]
        return torch.stack([pair[int(self.looks)] for pair in pairs])


def test_thresholds_change_where_nothing_else_reaches_the_neuron() -> None:
    def factors(module: nn.Module, *passes: Any) -> dict[str, bool]:
        found = snndeploy.compress_module(module, [spikes(6, 4, 3, 12)], recipe(*passes))
        return {n: layer.thresholds is not None for n, layer in found.layers.items()}

    pruned = Prune(sparsity=0.6, method="sbc", thresholds=True)
    codes = Quantize(bits=3, method="sbc", per="layer", thresholds=True)
    # A sum is not divided for one of its parts, nor is what a sum or another neuron takes, too.
    assert factors(Shortcut(), pruned) == {"first": False, "second": False}
    assert factors(Twice(), pruned) == {"layer": False}
    assert factors(Membranes(looks=False), pruned) == {"layer": True}
    assert factors(Membranes(looks=True), pruned) == {"layer": False}
    assert set(factors(Attention(), pruned).values()) == {True}
    assert set(factors(Attention(), codes).values()) == {False}  # one step for the layer

    class Resting(LIFNode):
        v_reset = 0.1

    class Adaptive(LIFNode):
        pass

    Resting.__name__, Adaptive.__name__ = "LIFNode", "LIFAdExNode"
    for neuron, divided in ((LIFNode(), True), (Resting(), False), (Adaptive(), False)):
        assert factors(nn.Sequential(Deep(12, 8), neuron), pruned) == {"0": divided}

    class BatchNorm(nn.BatchNorm1d):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x.flatten(0, 2)).reshape(x.shape)

    alone = nn.Sequential(Deep(12, 12), BatchNorm(12), LIFNode(), Deep(12, 12), LIFNode()).eval()
    assert factors(alone, codes) == {"0": True, "3": False}
    shared = BatchNorm(12)
    apart = nn.Sequential(Deep(12, 12), shared, LIFNode(), Deep(12, 12), shared, LIFNode()).eval()
    assert factors(apart, pruned) == {"0": False, "3": False}


def test_what_was_divided_fires_as_with_other_thresholds() -> None:
    """Per channel, of neurons with biases that are called step by step, and reset by subtraction."""
    torch.manual_seed(0)
    module = Steps(nn.Linear(16, 12), Leaky(0.8), nn.Linear(12, 5), Leaky(0.9)).double()
    module.layers[0].weight.data *= 3  # type: ignore[operator, union-attr]
    x = spikes(9, 20, 16).double()
    step = Prune(sparsity=0.8, method="sbc", thresholds=True, sequential=True)
    found = snndeploy.compress_module(module, [x], recipe(step))
    by_hand = copy.deepcopy(found.module)
    for name, layer in found.layers.items():
        assert layer.thresholds is not None
        index = int(name.split(".")[1])
        factor = torch.as_tensor(layer.thresholds)
        assert float(factor.max() - factor.min()) > 0.05
        linear, neuron = by_hand.layers[index], by_hand.layers[index + 1]  # type: ignore[index]
        linear.weight.data *= factor[:, None]  # type: ignore[union-attr, operator]
        linear.bias.data *= factor  # type: ignore[union-attr, operator]
        neuron.threshold = factor  # type: ignore[union-attr]
        original = module.get_submodule(name).bias
        np.testing.assert_allclose(linear.bias.detach(), original.detach(), atol=1e-12)  # type: ignore[union-attr]
    for part in (*found.module.modules(), *by_hand.modules()):
        if isinstance(part, Leaky):
            part.reset()
    spikes_of = found.module(x)
    assert torch.equal(spikes_of, by_hand(x))
    assert 0.02 < float(spikes_of.mean()) < 0.9


def test_sequential_calibration_aims_at_the_membranes_of_the_module() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Linear(16, 14, bias=False), LIFNode(2.0), nn.Linear(14, 6, bias=False), LIFNode(4.0)
    ).double()
    x = spikes(20, 30, 16).double()
    step = Prune(
        sparsity=0.5, method="sbc", positions=0, damp=0.0, sequential=True, asymmetry=(1.0,)
    )
    # Two samples of different sizes: what is measured is the mean over all of them.
    found = snndeploy.compress_module(module, [x[:, :10], x[:, 10:]], recipe(step)).module
    old, new = (m[2].weight.detach().numpy() for m in (module, found))  # type: ignore[index, union-attr]
    a, b = (filtered(m[:2](x).numpy(), 0.75, None).reshape(-1, 14) for m in (module, found))  # type: ignore[index]
    for i, kept in enumerate(new != 0):
        best = np.linalg.lstsq(b[:, kept], a @ old[i], rcond=None)[0]
        np.testing.assert_allclose(new[i, kept], best, atol=1e-8)


class Counted(LIFNode):
    """Counts how often it ran."""

    runs = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        type(self).runs += 1
        return super().forward(x)


class Deep(nn.Linear):
    """A linear layer that takes all steps at once, and says so."""

    step_mode = "m"


def test_a_module_runs_no_further_than_to_the_layer_that_is_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Counted, "runs", 0)
    torch.manual_seed(0)
    module = nn.Sequential(Deep(8, 8), LIFNode(), Deep(8, 4), Counted())
    data = [spikes(6, 4, 8), spikes(6, 4, 8), spikes(6, 4, 8)]
    how = Prune(sparsity=0.5, method="sbc", sequential=True, asymmetry=(1.0,))
    stopped = snndeploy.compress_module(module, data, recipe(how)).module
    assert Counted.runs == 1  # when it was looked at which layers there are
    monkeypatch.setattr(Deep, "step_mode", "s")  # nobody knows how often a layer will be called
    whole = snndeploy.compress_module(module, data, recipe(how)).module
    assert Counted.runs > 3
    for a, b in zip(stopped.parameters(), whole.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("most", [0, 1 << 30])
def test_what_arrives_is_the_same_kept_or_computed_again(most: int) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(Deep(8, 8), LIFNode(), Deep(8, 4), LIFNode()).double()
    data = [spikes(6, 4, 8).double() / 3, 2 * spikes(6, 2, 8).double()]
    watch = ModuleWatch(module)
    watch.run(lambda m, x: m(x), data[:1])
    layers = list(watch.layers.values())
    arrivals = Arrivals(module, lambda m, x: m(x))
    for _ in range(2):
        found = list(arrivals.of(data, layers, most))
        for x, trains in zip(data, found, strict=True):
            assert np.array_equal(trains["0"], x.numpy())
            assert np.array_equal(trains["2"], module[:2](x).detach().numpy())
    assert len(arrivals._kept) == (4 if most else 0)


def block(kinds: Any, channels: int) -> nn.ModuleDict:
    """A residual block that adds spikes, as SEW-ResNet's (cnf = "ADD"), of a framework's layers."""

    def conv() -> nn.Module:
        made: nn.Module = kinds.Conv2d(channels, channels, 3, padding=1, bias=False)
        return made

    return nn.ModuleDict(
        {
            "conv1": conv(),
            "bn1": kinds.BatchNorm2d(channels),
            "sn1": kinds.neuron(),
            "conv2": conv(),
            "bn2": kinds.BatchNorm2d(channels),
            "sn2": kinds.neuron(),
        }
    )


class Sew(nn.Module):
    """A stem and two such blocks, as the first stage of SEW-ResNet-18."""

    def __init__(self, kinds: Any, channels: int = 6) -> None:
        super().__init__()
        self.stem = kinds.Conv2d(2, channels, 3, stride=2, padding=1, bias=False)
        self.stem_sn = kinds.neuron()
        self.blocks = nn.ModuleList([block(kinds, channels) for _ in range(2)])
        for part in self.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.running_var.uniform_(0.02, 0.1)  # type: ignore[union-attr, operator]
                part.running_mean.normal_(0, 0.1)  # type: ignore[union-attr, operator]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem_sn(self.stem(x))
        for part in self.blocks:
            assert isinstance(part, nn.ModuleDict)
            y = part["sn1"](part["bn1"](part["conv1"](x)))
            x = part["sn2"](part["bn2"](part["conv2"](y))) + x
        return x


class StandIn:
    """Layers over many steps with the interface of SpikingJelly's."""

    class Conv2d(nn.Conv2d):
        step_mode = "m"

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x.flatten(0, 1)).unflatten(0, x.shape[:2])

    class BatchNorm2d(nn.BatchNorm2d):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x.flatten(0, 1)).unflatten(0, x.shape[:2])

    @staticmethod
    def neuron() -> nn.Module:
        return LIFNode(2.0)


class SpikingJelly:
    """The framework's own."""

    def __init__(self) -> None:
        pytest.importorskip("spikingjelly", reason="SpikingJelly is not installed here")
        from spikingjelly.activation_based import layer, neuron

        self.Conv2d, self.BatchNorm2d = layer.Conv2d, layer.BatchNorm2d
        self.neuron = lambda: neuron.LIFNode(tau=2.0, v_threshold=0.3)


def sew_network(sew: Sew, size: int) -> Any:
    """The same as a network: the sums are projections from several populations."""
    from snndeploy.ir.network import Network, Population
    from snndeploy.ir.neurons import Neuron
    from tests.support.builders import conv, inputs, project

    shape = (6, size // 2, size // 2)

    def fires(name: str, bias: Any = 0.0, role: Any = "hidden") -> Population:
        # v += (x - v) / tau: weights and biases below are halved.
        return Population(
            name,
            shape,
            Neuron.create(shape, leak=0.5, threshold=0.3, compare=">=", bias=bias),
            role,
        )

    def folded(layer: Any, norm: Any = None) -> tuple[np.ndarray, Any]:
        weight = layer.weight.detach().double().numpy() / 2
        if norm is None:
            return weight, 0.0
        gain = (norm.weight / (norm.running_var + norm.eps).sqrt()).detach().double().numpy()
        bias = norm.bias.detach().double().numpy() - norm.running_mean.double().numpy() * gain
        return weight * gain[:, None, None, None], (bias / 2)[:, None, None]

    populations = [inputs((2, size, size)), fires("s0")]
    projections = [project("stem", "input", "s0", conv(2, 6, stride=2), folded(sew.stem)[0])]
    sources = ["s0"]
    for i, part in enumerate(sew.blocks):
        assert isinstance(part, nn.ModuleDict)
        last = i + 1 == len(sew.blocks)
        middle, end = f"m{i}", "output" if last else f"e{i}"
        weight, bias = folded(part["conv1"], part["bn1"])
        populations.append(fires(middle, bias))
        projections.append(project(f"blocks.{i}.conv1", sources, middle, conv(6, 6), weight))
        weight, bias = folded(part["conv2"], part["bn2"])
        populations.append(fires(end, bias, "output" if last else "hidden"))
        projections.append(project(f"blocks.{i}.conv2", middle, end, conv(6, 6), weight))
        sources = [*sources, end]
    return Network(tuple(populations), tuple(projections)).verify()


@pytest.mark.parametrize("kinds", [StandIn, SpikingJelly])
@pytest.mark.parametrize(
    ("sequential", "thresholds"), [(False, False), (True, False), (True, True)]
)
def test_residual_blocks_get_the_weights_of_the_nir_path(
    kinds: Any, sequential: bool, thresholds: bool
) -> None:
    kinds = kinds()
    torch.manual_seed(3)
    sew = Sew(kinds).double().eval()
    for part in sew.modules():
        if hasattr(part, "step_mode"):
            part.step_mode = "m"
    x = spikes(8, 5, 2, 12, 12).double()
    options: dict[str, Any] = {"sequential": True, "asymmetry": (1.0,)} if sequential else {}
    step = Prune(
        sparsity=0.7, method="sbc", scope="layer", positions=0, thresholds=thresholds, **options
    )
    compressed = snndeploy.compress_module(sew, [x[:, :2], x[:, 2:]], recipe(step))
    found = compressed.module
    network = sew_network(sew, 12)

    class Samples:
        inputs = {"input": x.numpy()}  # noqa: RUF012
        labels = None

    after = step.apply(network, PassContext(calibration=Samples())).network
    assert isinstance(found, Sew)
    fired = found(x).detach().mean()
    assert 0.05 < float(fired) < 2.5
    for p, q in zip(network.projections, after.projections, strict=True):
        old, new = (m.get_submodule(p.name).weight.detach().numpy() for m in (sew, found))
        factor = compressed.layers[p.name].thresholds
        assert (factor is not None) == thresholds
        if factor is not None:
            neuron = after.population(p.target).neuron
            assert neuron is not None
            wanted = np.broadcast_to(neuron.threshold, (6, 6, 6))[:, 0, 0] / 0.3
            np.testing.assert_allclose(factor, wanted, rtol=1e-6)
            assert np.ptp(factor) > 0.01
            if p.name == "stem":  # there is no norm behind it
                new = new * factor[:, None, None, None]
        gain = (p.weight.data / old).reshape(len(old), -1)[:, :1]
        wanted = q.weight.data.reshape(len(old), -1)
        assert not np.array_equal(wanted != 0, np.ones_like(wanted, bool))
        error = np.abs(new.reshape(len(old), -1) * gain - wanted).max()
        assert error < 1e-6 * np.abs(wanted).max(), p.name


def test_spikingjelly_modules_get_the_weights_of_the_nir_path() -> None:
    pytest.importorskip("spikingjelly", reason="SpikingJelly is not installed here")
    from spikingjelly.activation_based import functional, layer, neuron

    torch.manual_seed(0)
    net = nn.Sequential(
        layer.Conv2d(2, 6, 3, padding=1, bias=False),
        layer.BatchNorm2d(6),
        neuron.LIFNode(tau=2.0),
        layer.Conv2d(6, 8, 3, stride=2, padding=1, bias=False),
        neuron.LIFNode(tau=3.0),
        layer.Flatten(),
        layer.Linear(8 * 16, 10, bias=False),
        neuron.IFNode(),
    ).eval()
    net[1].running_var.copy_(torch.rand(6) + 0.5)
    x = spikes(12, 9, 2, 8, 8)
    step = Prune(sparsity=0.7, method="sbc", scope="lamp", positions=0)
    functional.set_step_mode(net, "m")
    found = snndeploy.compress_module(net, [x], recipe(step))
    functional.set_step_mode(net, "s")
    functional.reset_net(net)
    network = snndeploy.from_spikingjelly(net, x[0])

    class Samples:
        inputs = {network.with_role("input")[0].name: x.numpy()}  # noqa: RUF012
        labels = None

    after = step.apply(network, PassContext(calibration=Samples())).network
    for old, p, i in zip(network.projections, after.projections, (0, 3, 6), strict=True):
        before, new = (m[i].weight.detach().double().numpy() for m in (net, found.module))
        gain = (old.weight.data / before).reshape(len(before), -1)[:, :1]
        wanted = p.weight.data.reshape(len(before), -1)
        error = np.abs(new.reshape(len(before), -1) * gain - wanted).max()
        assert error < 1e-6 * np.abs(wanted).max()
