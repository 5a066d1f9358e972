"""What a module does, as a network: every operation, steps, states, answers; and what is refused."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from snndeploy.errors import InputError
from snndeploy.ir.network import Network
from snndeploy.live.trace.terms import ArrivingTerms, terms_of
from snndeploy.simulate.float.engine import run_float
from tests.support.toy_framework import Fires, Hands, Lasts, Strange, answers, read

STEPS = 12


class Between(nn.Module):
    """Neurons, a function of their spikes, neurons."""

    def __init__(self, function: Callable[..., Any], *layers: nn.Module) -> None:
        super().__init__()
        self.first, self.last = Fires(), Fires()
        self.layers = nn.ModuleList(layers)
        self.function = function

    def forward(self, x: Tensor) -> Any:
        return self.last(self.function(self.first(x * 2), *self.layers))


def frames(*shape: int, samples: int = 3) -> np.ndarray[Any, Any]:
    drawn = np.random.default_rng(3).random((STEPS, samples, *shape)) < 0.5
    return drawn.astype(np.float32)


def equal(module: nn.Module, *shape: int) -> Network:
    """Read a module, and compare its answers with the network's."""
    torch.manual_seed(0)
    module.eval()
    network = read(module, torch.ones(2, *shape))
    x = frames(*shape)
    theirs = torch.stack(answers(module, [torch.tensor(x)])).numpy()
    output = network.with_role("output")[0]
    ours = run_float(network, x).spikes[output.name]
    np.testing.assert_array_equal(ours.reshape(theirs.shape), theirs)
    assert ours.any()
    assert not ours.all()
    return network


def weights(layer: Any) -> Any:
    """A layer whose weights are whole eighths."""
    torch.manual_seed(1)
    with torch.no_grad():
        for p in layer.parameters():
            p.copy_(torch.randint(-4, 8, p.shape) / 8)
    return layer


def norm() -> nn.Module:
    layer = nn.BatchNorm2d(2, eps=0.0)
    layer.running_var = torch.tensor([0.25, 4.0])
    layer.running_mean = torch.tensor([0.25, -0.5])
    return layer.eval()


IMAGE = (2, 6, 6)
OPERATIONS: dict[str, tuple[Callable[..., Any], tuple[nn.Module, ...]]] = {
    "sum of branches": (lambda z: z + 0.75 * z.flip(1), ()),
    "difference": (lambda z: 1.25 * z - 0.5, ()),
    "number minus signal": (lambda z: 1.5 - z, ()),
    "division": (lambda z: -z / -0.5, ()),
    "in place": (lambda z: z.clone().mul_(2).add_(0.25), ()),
    "concatenation": (lambda z, c: c(torch.cat([z, z[:, :1]], 1)), (nn.Conv2d(3, 2, 3),)),
    "stack": (lambda z: torch.stack([z, z], 1).sum(1), ()),
    "channels turned": (lambda z, c: c(z[:, [1, 0]]), (nn.Conv2d(2, 3, 3, padding=1),)),
    "channels behind": (lambda z, c: c(z)[:, [2, 0]], (nn.Conv2d(2, 3, 3),)),
    "grouped": (lambda z, c: c(z), (nn.Conv2d(2, 4, 3, stride=2, groups=2),)),
    "dilated": (lambda z, c: c(z), (nn.Conv2d(2, 2, 2, dilation=2),)),
    "same": (lambda z, c: c(z), (nn.Conv2d(2, 2, 4, padding="same"),)),
    "padded": (lambda z, c: c(F.pad(z, (1, 2, 0, 1))), (nn.Conv2d(2, 2, 3, padding=1),)),
    "transposed": (lambda z, c: c(z), (nn.ConvTranspose2d(2, 3, 3, stride=2, padding=1),)),
    "upsampled": (lambda z, c: c(F.interpolate(z, scale_factor=2)), (nn.Conv2d(2, 2, 2),)),
    "batch norm": (lambda z, c, n: n(c(z)), (nn.Conv2d(2, 2, 3), norm())),
    "batch norm alone": (lambda z, n: n(z), (norm(),)),
    "average": (lambda z, c: F.avg_pool2d(c(z), 2), (nn.Conv2d(2, 3, 3, padding=1),)),
    "average at edges": (lambda z: 4 * F.avg_pool2d(z, 3, 2, 1, count_include_pad=False), ()),
    "average over the edge": (
        lambda z: 4 * F.avg_pool2d(z, 4, 3, 1, True, count_include_pad=False),
        (),
    ),
    "average over a counted edge": (lambda z: 4 * F.avg_pool2d(z, (4, 3), (3, 2), 1, True), ()),
    "sum over the edge": (lambda z: F.avg_pool2d(z, 4, 4, ceil_mode=True, divisor_override=4), ()),
    "adaptive": (lambda z: 2 * F.adaptive_avg_pool2d(z, (3, 2)), ()),
    "adaptive, uneven": (lambda z: 2 * F.adaptive_avg_pool2d(z, (4, 4)), ()),
    "mean over space": (lambda z, c: c(4 * z.mean((2, 3))), (nn.Linear(2, 3),)),
    "power average": (lambda z, p: p(z), (nn.LPPool2d(1, 2),)),
    "largest spike": (lambda z, c: c(F.max_pool2d(z, 3, 2, 1)), (nn.Conv2d(2, 3, 2),)),
    "largest spikes of a grid": (lambda z: 2 * F.adaptive_max_pool2d(z, (3, 2)), ()),
    "frame repeated and taken": (lambda z: 2 * z.unsqueeze(0).repeat(3, 1, 1, 1, 1)[1], ()),
    "any spike": (lambda z: 2 * torch.maximum(z, z.flip(2)), ()),
    "sum clamped": (lambda z: 2 * (z + z.flip(3)).clamp(max=1), ()),
    "flat": (lambda z, f: f(z.permute(0, 2, 3, 1).reshape(1, -1)), (nn.Linear(72, 5),)),
    "view": (lambda z, f: f(z.view(z.shape[0], -1)), (nn.Linear(72, 5),)),
    "axes in place": (
        lambda z, f: f(z.clone().unsqueeze_(0).transpose_(2, 4).squeeze_(0).flatten(1)),
        (nn.Linear(72, 5),),
    ),
    "one sample, no bias": (
        lambda z, f: torch.stack([f(row) for row in z.flatten(1)]),
        (nn.Linear(72, 5, bias=False),),
    ),
    "two layers": (lambda z, f, g: g(f(z.flatten(1))), (nn.Linear(72, 9), nn.Linear(9, 4))),
    "einsum": (lambda z, f: torch.einsum("bi,oi->bo", z.flatten(1), f.weight), (nn.Linear(72, 4),)),
    "relu of spikes": (lambda z: 2 * F.relu(z), ()),
    "halves": (lambda z, f: sum(f(h) for h in z.flatten(1).chunk(2, 1)), (nn.Linear(36, 4),)),
    "into a buffer": (lambda z: _buffer(z), ()),
    "pixels": (lambda z: 2 * F.pixel_shuffle(z.repeat(1, 2, 1, 1), 2), ()),
}


def _buffer(z: Tensor) -> Tensor:
    buffer = torch.zeros(z.shape[0], 3, 6, 6)
    buffer[:, 0] = z[:, 1]
    buffer[:, 2] += z[:, 0] * 2
    buffer[:, :, 0] = 0.25
    return buffer * 1.5


@pytest.mark.filterwarnings("ignore:Using padding")
@pytest.mark.parametrize("name", OPERATIONS)
def test_operations(name: str) -> None:
    function, layers = OPERATIONS[name]
    for layer in layers:
        if not isinstance(layer, nn.BatchNorm2d):
            weights(layer)
    equal(Between(function, *layers), *IMAGE) if name != "flat" else equal_one(function, layers)


def equal_one(function: Any, layers: Any) -> None:
    """As `equal`, with one sample: the code under test counts on it."""
    module = Between(function, *layers).eval()
    network = read(module, torch.ones(1, *IMAGE))
    x = frames(*IMAGE, samples=1)
    theirs = torch.stack(answers(module, [torch.tensor(x)])).numpy()
    ours = run_float(network, x).spikes["last"]
    np.testing.assert_array_equal(ours, theirs.reshape(ours.shape))


def test_structure_is_kept() -> None:
    """Convolutions stay convolutions; sums before a weight are one projection with two sources."""
    conv = weights(nn.Conv2d(2, 3, 3, padding=1))
    network = equal(Between(lambda z, c: F.avg_pool2d(c(z[:, [1, 0]]), 2), conv), *IMAGE)
    (projection,) = network.incoming("last")
    assert [type(op).__name__ for op in projection.ops] == ["Conv", "SumPool"]
    assert projection.name == "layers.0"

    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = Fires(), Fires(), Fires()
            self.f, self.g = weights(nn.Linear(6, 6)), weights(nn.Linear(6, 4))

        def forward(self, x: Tensor) -> Any:
            z = self.a(x * 2)
            return self.c(self.g(self.b(self.f(z)) + z))

    (projection,) = equal(Residual(), 6).incoming("c")
    assert sorted(s.population for s in projection.sources) == ["a", "b"]


def test_the_module_and_its_states_stay_as_they_are() -> None:
    module = Between(lambda z: z)
    module.first.v = torch.ones(2)
    before = copy.deepcopy(module.state_dict())
    read(module, torch.ones(2, 5))
    assert torch.equal(module.first.v, torch.ones(2))
    assert "forward" not in vars(module.first)
    assert before == module.state_dict()


class Loop(nn.Module):
    """Goes through time itself."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.back = weights(nn.Linear(5, 4)), weights(nn.Linear(4, 4))
        self.lif = Hands()

    def forward(self, x: Tensor) -> Any:
        v = torch.zeros(x.shape[1], 4)
        spikes = torch.zeros(x.shape[1], 4)
        found = []
        for frame in x:
            spikes, v = self.lif(self.fc(frame) + self.back(spikes), v)
            found.append(spikes)
        return torch.stack(found)


def test_states_by_hand_and_a_loop_of_spikes() -> None:
    module, x = Loop(), frames(5)
    network = read(module, torch.tensor(x))
    delays = {p.sources[0].population: p.sources[0].max_delay for p in network.projections}
    assert delays == {"input": 0, "lif": 1}
    assert network.notes["time"] == "axis 0 of what a call takes"
    with torch.no_grad():
        np.testing.assert_array_equal(run_float(network, x).spikes["lif"], module(torch.tensor(x)))


def test_v_starts_where_it_is_handed_in() -> None:
    class Start(Loop):
        def forward(self, x: Tensor) -> Any:
            v = torch.full((x.shape[1], 4), 0.75)
            found = []
            for frame in x:
                spikes, v = self.lif(self.fc(frame), v)
                found.append(spikes)
            return torch.stack(found)

    x = frames(5)
    network = read(Start(), torch.tensor(x))
    assert network.population("lif").neuron.v_init == 0.75  # type: ignore[union-attr]


@pytest.mark.parametrize("reset", ["subtract", "none"])
def test_a_membrane_that_is_answered_is_a_population(reset: str) -> None:
    class Membrane(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.lif = weights(nn.Linear(5, 4)), Fires(reset="subtract")

        def forward(self, x: Tensor) -> Any:
            spikes = self.lif(self.fc(x))
            return (spikes, self.lif.v) if reset == "none" else self.lif.v

    network = read(Membrane(), torch.ones(2, 5))
    if reset == "none":
        assert [p.name for p in network.with_role("output")] == ["lif"]
        assert [f.code for f in network.findings] == ["live-membrane-beside"]
        return
    (output,) = network.with_role("output")
    assert output.name == "lif.v"
    assert not output.neuron.spiking  # type: ignore[union-attr]


def test_several_inputs_by_their_names() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.f, self.g, self.lif = nn.Linear(3, 4), nn.Linear(5, 4), Fires()

        def forward(self, sound: Tensor, light: Tensor) -> Any:
            return self.lif(self.f(sound) + self.g(light))

    for sample in (
        (torch.ones(1, 3), torch.ones(1, 5)),
        {"light": torch.ones(1, 5), "sound": torch.ones(1, 3)},
    ):
        network = read(Two(), sample)
        assert {p.name: p.shape for p in network.with_role("input")} == {
            "sound": (3,),
            "light": (5,),
        }
    with pytest.raises(InputError, match="no tensor, and not several") as caught:
        read(Two(), {"loud": torch.ones(1, 3)})
    assert caught.value.code == "live-sample"


def refused(module: nn.Module, *shape: int) -> InputError:
    with pytest.raises(InputError) as caught:
        read(module, torch.ones(1, *shape))
    assert caught.value.where == "from_toy"
    return caught.value


def test_what_is_not_linear_is_told_with_its_line() -> None:
    def function(z: Tensor) -> Tensor:
        bent = torch.tanh(z)
        return bent * 2

    error = refused(Between(function), 5)
    assert error.code == "live-nonlinear"
    assert "'last' is fed by tanh, tensor 'bent'" in error.message
    assert "test_trace.py" in error.message
    assert "bent = torch.tanh(z)" in error.message
    assert "linear" in error.hint


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (lambda z: z * z, "the product of two signals"),
        (lambda z: 1 / z, "a division by a signal"),
        (lambda z: F.relu(z - 0.5), "relu of values that may be negative"),
        (lambda z: (z + z).clamp(max=1.5), "clamping"),
        (lambda z: F.max_pool2d(z * 2, 2), "the largest of values that are no single spikes"),
        (lambda z: F.adaptive_max_pool2d(z, 4), "max pooling over windows of different sizes"),
        (
            lambda z: F.conv3d(z[None], torch.ones(1, 1, 1, 2, 2))[0],
            "a convolution over three axes",
        ),
        (lambda z: torch.maximum(z + z, z), "the larger of values that are not spikes"),
        (lambda z: torch.div(z, 2, rounding_mode="floor"), "a division that rounds"),
        (lambda z: (z / 2).long().float(), "rounding to whole numbers"),
    ],
)
def test_operations_without_a_form(function: Any, text: str) -> None:
    error = refused(Between(function), 2, 6, 6)
    assert error.code == "live-nonlinear"
    assert text in error.message


def test_a_map_too_large_for_a_matrix() -> None:
    error = refused(Between(lambda z: F.interpolate(z, scale_factor=2)), 2, 64, 64)
    assert error.code == "live-too-large"
    assert "8,192 to 32,768 values" in error.message


class Sequences(nn.Module):
    """Layers that take all steps at once, behind what makes the steps or turns them to the front."""

    def __init__(self, before: Callable[[Tensor], Tensor], after: Callable[[Any], Any]) -> None:
        super().__init__()
        self.before, self.after = before, after
        self.fc1, self.first = weights(nn.Linear(5, 6)), Lasts()
        self.fc2, self.last = weights(nn.Linear(6, 4)), Lasts(reset="subtract")

    def forward(self, x: Tensor) -> Any:
        z = self.first(self.fc1(self.before(x)))
        return self.after(self.last(self.fc2(z + torch.maximum(z, z.flip(2)))))


@pytest.mark.parametrize("samples", [2, STEPS])
def test_one_frame_from_which_a_module_makes_the_steps(samples: int) -> None:
    module = Sequences(lambda x: x.unsqueeze(0).repeat(STEPS, 1, 1), lambda z: z.mean(0))
    network = read(module, torch.ones(samples, 5))
    assert "one frame stands for all of them" in network.notes["time"]
    x = np.repeat(frames(5)[:1], STEPS, axis=0)
    counts = run_float(network, x).spikes["last"].sum(0)
    (theirs,) = answers(module, [torch.tensor(x[:1])])
    np.testing.assert_allclose(counts / STEPS, theirs.numpy(), rtol=1e-6)
    assert counts.any()


def test_steps_behind_samples_that_a_module_turns_to_the_front() -> None:
    module = Sequences(lambda x: x.transpose(0, 1), lambda z: z)
    network = read(module, torch.ones(2, STEPS, 5))
    assert network.notes["time"] == "axis 1 of what a call takes"
    x = frames(5)
    (theirs,) = answers(module, [torch.tensor(x.swapaxes(0, 1))[None]])
    np.testing.assert_array_equal(run_float(network, x).spikes["last"], theirs.numpy())


def test_v_behind_all_steps_of_a_layer_that_takes_them_at_once() -> None:
    class LastV(Sequences):
        def forward(self, x: Tensor) -> Any:
            super().forward(x)
            return self.last.v

    module = LastV(lambda x: x, lambda z: z)
    network = read(module, torch.ones(STEPS, 2, 5))
    x = frames(5)
    (theirs,) = answers(module, [torch.tensor(x)[None]])
    ours = run_float(network, x).spikes[network.with_role("output")[0].name]
    np.testing.assert_allclose(ours[-1], theirs.numpy(), rtol=1e-5, atol=1e-6)


class Asks(nn.Module):
    """Decides by a value; ``how`` makes a condition of what it is given."""

    def __init__(self, how: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.how, self.lif = how, Fires()

    def forward(self, x: Tensor) -> Any:
        return self.lif(x if self.how(x) else 2 * x)


@pytest.mark.parametrize(
    "how", [lambda x: x.sum() > -1, lambda x: x[0, 0].item() > -1, lambda x: float(x.max()) > -1]
)
def test_asking_for_a_value_is_told_with_the_line(how: Callable[[Tensor], Any]) -> None:
    (told,) = (f for f in read(Asks(how), torch.ones(2, 3)).findings if f.code == "live-branch")
    assert told.severity == "warning"
    assert "test_trace.py" in told.message
    assert "another input may take another way" in told.message


def test_asking_for_a_shape_is_nothing_to_tell() -> None:
    network = read(Asks(lambda x: x.shape[0] > 0 and x.numel() > 1), torch.ones(2, 3))
    assert [f.code for f in network.findings] == []


def test_a_layer_that_numbers_alone_reach_is_refused() -> None:
    class CutOff(Between):
        def forward(self, x: Tensor) -> Any:
            return self.last(self.first(torch.tensor(x.detach().numpy() * 2)))

    error = refused(CutOff(lambda z: z), 3)
    assert error.code == "live-cut-off"
    assert "what arrives in 'first' is not computed from what the module is given" in error.message
    assert "x.detach().numpy()" in error.message
    assert "numpy()" in error.hint


class Steps(nn.Module):
    """Does something in some steps only."""

    def __init__(self) -> None:
        super().__init__()
        self.lif, self.count = Fires(), 0

    def forward(self, x: Tensor) -> Any:
        self.count += 1
        return self.lif(x if self.count % 2 else 2 * x)


class TwiceAStep(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lif, self.other = Fires(), Fires()

    def forward(self, x: Tensor) -> Any:
        for frame in x:
            spikes = self.other(self.lif(self.lif(frame)))
        return spikes


class Halved(Loop):
    """Changes a state before it hands it on."""

    def forward(self, x: Tensor) -> Any:
        v = torch.zeros(x.shape[1], 4)
        for frame in x:
            spikes, v = self.lif(self.fc(frame), v)
            v = v * 0.5
        return spikes


class Depends(nn.Module):
    """Looks at values."""

    def __init__(self) -> None:
        super().__init__()
        self.lif = Fires()

    def forward(self, x: Tensor) -> Any:
        return self.lif(x * 1.5 if bool((x == 1).all()) else x * 0.25)


class Nothing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lif = Fires()

    def forward(self, x: Tensor) -> Any:
        self.lif(x)
        return torch.zeros(1)


class ZeroedMembrane(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lif = Fires()

    def forward(self, x: Tensor) -> Any:
        self.lif(x)
        return self.lif.v


class Copied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lif = Fires()
        self.lock = threading.Lock()


@pytest.mark.parametrize(
    ("module", "shape", "code", "text"),
    [
        (
            Steps(),
            (5,),
            "live-time",
            "what arrives in 'lif' in step 0 is not what arrives in step 3",
        ),
        (Depends(), (5,), "live-differs", "layer 'lif' first differs in step"),
        (Nothing(), (5,), "live-no-answer", "nothing that the module returns depends on a layer"),
        (ZeroedMembrane(), (5,), "live-membrane", "its reset is no linear map of its spikes"),
        (
            nn.Sequential(Strange()),
            (5,),
            "live-neuron",
            "layer '0' is a Strange, which is not known",
        ),
        (nn.Sequential(nn.ReLU()), (5,), "live-no-neurons", "no neurons that are known"),
        (nn.Sequential(nn.Linear(3, 2), Fires()), (5,), "live-run", "the module does not run"),
        (Copied(), (5,), "live-copy", "the module cannot be copied"),
    ],
)
def test_refusals(module: nn.Module, shape: tuple[int, ...], code: str, text: str) -> None:
    error = refused(module, *shape)
    assert error.code == code
    assert text in error.message


def test_states_that_training_left_are_no_obstacle() -> None:
    """Tensors with a gradient history, which torch itself does not copy; the module keeps its own."""
    net = nn.Sequential(weights(nn.Linear(5, 6)), Fires())
    state = net[0].weight * 2
    net[1].left = {"mem": (state, [state])}
    equal(net, 5)
    assert net[1].left["mem"][0] is state
    assert state.grad_fn is not None


def test_a_state_that_is_changed_by_hand() -> None:
    with pytest.raises(InputError, match="'lif' is given states that forward") as caught:
        read(Halved(), torch.ones(4, 1, 5))
    assert caught.value.code == "live-state"


def test_a_layer_that_takes_two_steps_in_one() -> None:
    with pytest.raises(InputError, match="layer 'lif' ran 8 times in 4 steps") as caught:
        read(TwiceAStep(), torch.ones(4, 1, 5))
    assert caught.value.code == "live-reused"


def test_a_layer_that_never_spikes_is_told() -> None:
    network = read(
        nn.Sequential(Fires(), weights(nn.Linear(5, 3)).requires_grad_(False)), torch.ones(1, 5)
    )
    assert network.with_role("output")[0].name == "output"
    silent = nn.Sequential(nn.Linear(5, 3), Fires())
    nn.init.constant_(silent[0].weight, -1.0)  # type: ignore[arg-type]
    (found,) = read(silent, torch.ones(1, 5)).findings
    assert found.code == "live-silent"
    assert "layer '1' never spiked" in found.message


def test_a_layer_that_starts_from_another_state() -> None:
    class Start(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lif, self.first = Hands(), Fires()

        def forward(self, x: Tensor) -> Any:
            v = torch.zeros(1, 5)
            for frame in x:
                _, v = self.lif(frame, v)
            return self.lif(x[0], v)[0] + self.lif(x[0], v)[0]

    with pytest.raises(InputError) as caught:
        read(Start(), torch.ones(3, 1, 5))
    assert caught.value.code == "live-state"
    assert "given states of" in caught.value.message


def test_what_arrives_with_all_steps_in_it_is_refused() -> None:
    def refused(code: str, message: str, hint: str) -> InputError:
        return InputError(code, message, where="from_toy", hint=hint)

    arriving = ArrivingTerms(paths=(), constant=np.zeros(320))
    with pytest.raises(
        InputError, match="320 values arrive in a step where the layer has 8"
    ) as caught:
        terms_of(arriving, {}, (8,), 0, "from_toy", refused)
    assert caught.value.code == "live-time"
