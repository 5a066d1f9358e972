"""ReLU networks in torch as sigma-delta networks: the same answers, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from snndeploy.data import Samples
from snndeploy.errors import SnnDeployError
from snndeploy.ir.graded.delta import DeltaRule
from snndeploy.ir.program import Program
from snndeploy.live import from_relu
from snndeploy.lower import encode_inputs
from snndeploy.pipeline import loaded_bundle, place_file
from snndeploy.pipeline.torch_modules.thresholds import against_thresholds
from snndeploy.simulate.integer.engine import run_integer
from snndeploy.simulate.lava.engine import run_lava
from snndeploy.simulate.lava.env import LavaEnv
from snndeploy.simulate.recording import Recording

STEPS, SHAPE = 6, (2, 8, 8)


class Written(nn.Module):
    """Layers called by hand, as people write them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.pool = nn.AvgPool2d(2)
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(64, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.norm(self.conv(x)))
        return self.fc(self.drop(torch.flatten(self.pool(x), 1)))


def sequence() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=2),
        nn.ReLU(),
        nn.Conv2d(4, 6, 2, groups=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(24, 12),
        nn.Linear(12, 9),
        nn.ReLU(),
        nn.Linear(9, 5),
        nn.ReLU(),
    )


NETWORKS: dict[str, Callable[[], nn.Module]] = {"sequence": sequence, "written": Written}


def made(name: str) -> nn.Module:
    torch.manual_seed(3)
    module = NETWORKS[name]()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean = torch.rand(4) - 0.5
            part.running_var = torch.rand(4) + 0.5
            part.weight.data = torch.rand(4) + 0.5
            part.bias.data = torch.rand(4) - 0.2
    return module.eval()


def frames(seed: int, samples: int = 20, steps: int = STEPS) -> Samples:
    """Data that change a little from step to step, labelled by nothing."""
    rng = np.random.default_rng(seed)
    x = rng.random((1, samples, *SHAPE)) + 0.1 * rng.normal(size=(steps, samples, *SHAPE)).cumsum(0)
    return Samples(np.clip(x, 0, 1).astype(np.float32))


def run(program: Program, samples: Samples) -> Recording:
    entry = program.groups[0]
    data = encode_inputs(samples.inputs, entry)
    return run_integer(program, data)


def answers(program: Program, samples: Samples) -> Any:
    """What the program answers, in units of the network."""
    group = program.group("answers")
    return run(program, samples).spikes["answers"] / float(group.scale)


def float_answers(module: nn.Module, samples: Samples) -> Any:
    with torch.no_grad():
        return np.stack([module(torch.from_numpy(x)).numpy() for x in samples.inputs])


@pytest.mark.parametrize("name", NETWORKS)
def test_answers_are_those_of_the_module_at_every_step(name: str) -> None:
    """With threshold 0 only 8 bits of weights, 7 of data and dropped bits of messages are lost."""
    module = made(name)
    before = {k: v.clone() for k, v in module.state_dict().items()}
    program = from_relu(module, frames(0), threshold=0.0)
    expected = float_answers(module, frames(1))
    got = answers(program, frames(1))
    error = np.abs(got - expected).max() / np.abs(expected).max()
    assert error < 0.03
    fewer = from_relu(module, frames(0), threshold=0.0, bits=4)
    assert np.abs(answers(fewer, frames(1)) - expected).max() / np.abs(expected).max() > error
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())


def test_what_layers_become() -> None:
    program = from_relu(made("sequence"), frames(0))
    rules = [g.dynamics for g in program.on_chip]
    dense = DeltaRule(form="sigma-delta")
    assert rules == [
        DeltaRule(form="delta"),
        dense,
        dense,
        DeltaRule(form="sigma-delta", activation="unit"),
        dense,
        DeltaRule(form="sigma-delta", spike_exp=12, state_exp=0),
        DeltaRule(form="sigma", spike_exp=12, state_exp=0),
    ]
    assert [g.depth for g in program.groups] == list(range(8))
    assert [g.message_bits for g in program.on_chip] == [16, 16, 16, 16, 16, 24, 24]
    codes = [f.code for f in program.findings]
    assert codes == ["delta-time", "delta-drift", *["relu-layer-scaled"] * 5]
    thresholds = [int(g.vth) for g in program.on_chip]
    assert thresholds[-2:] == [0, 0]
    assert min(thresholds[:-2]) > 0
    together = from_relu(made("sequence"), frames(0), starts="chip")
    assert [g.depth for g in together.groups] == [0, *[1] * 7]


def test_messages_and_sums_fit_on_what_was_seen() -> None:
    """Factors are the largest with room: some register is nearly full, none is beyond."""
    for spike_exp in (4, 6):
        program = from_relu(made("sequence"), frames(0), threshold=0.0, spike_exp=spike_exp)
        entry = program.groups[0]
        data = encode_inputs(frames(0).inputs, entry)
        names = [g.name for g in program.on_chip]
        seen = run_integer(program, data, record_states=names)
        for g in program.on_chip[1:-2]:
            message, sums = np.abs(seen.spikes[g.name]).max(), np.abs(seen.u[g.name]).max()
            assert message < 2**15
            assert sums < 2**23
            assert max(message / 2**15, sums / 2**23) > 0.15, g.name


def test_weights_are_held_in_the_bits_that_were_asked_for() -> None:
    for bits in (8, 5, 3):
        program = from_relu(made("sequence"), frames(0), bits=bits)
        for s in program.synapses[1:-1]:
            levels = s.mantissa // (1 << (9 - bits))
            assert (levels * (1 << (9 - bits)) == s.mantissa).all()
            assert np.abs(levels).max() == 2 ** (bits - 1) - 1
            assert s.weight_bits == bits


def test_thresholds_save_events_and_cost_answers() -> None:
    module = made("sequence")
    judged = Samples(frames(1).inputs, np.zeros(20, np.int64))
    points = against_thresholds(module, frames(0), judged, (0.0, 0.1, 0.8))
    assert [p.threshold for p in points] == [0.0, 0.1, 0.8]
    assert points[0].agrees > 0.9
    assert points[0].agrees > points[2].agrees
    macs = [p.macs for p in points]
    assert 1 > macs[0] > macs[1] > macs[2] > 0
    assert list(points[0].events) == ["encoder", "0", "2", "5", "6", "8"]
    assert points[2].events["0"] < points[0].events["0"] < 1
    assert points[0].accuracy is not None
    blind = against_thresholds(module, frames(0), frames(1), (0.0,))
    assert blind[0].accuracy is None


def test_it_is_placed_and_bundled() -> None:
    placed = place_file(from_relu(made("written"), frames(0)))
    assert placed.fits
    bundle = loaded_bundle(placed, frames(1, samples=2))
    assert bundle.golden["spikes.answers"].shape == (STEPS, 2, 5)


@pytest.mark.lava
def test_lava_answers_the_same(lava: LavaEnv) -> None:
    program = from_relu(made("written"), frames(0), threshold=0.1)
    entry = program.groups[0]
    data = encode_inputs(frames(1, samples=2).inputs, entry)
    here, real = run_integer(program, data), run_lava(program, data, lava=lava, timeout_s=120)
    for g in program.on_chip:
        np.testing.assert_array_equal(here.spikes[g.name], real.spikes[g.name], g.name)


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.a(x)


class Branching(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


def doubled() -> nn.Module:
    module = nn.Sequential(nn.Linear(4, 3))
    module.register_forward_hook(lambda _m, _i, out: 2 * out)
    return module


def pooled() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 1, 1), nn.MaxPool2d(2))


FLAT, IMAGE = np.ones((1, 3, 4), np.float32), np.ones((1, 3, 1, 4, 4), np.float32)


@pytest.mark.parametrize(
    ("module", "data", "options", "code", "text"),
    [
        (pooled, IMAGE, {}, "relu-layer", "a MaxPool2d here has no sigma-delta form"),
        (lambda: nn.Sequential(nn.Tanh()), FLAT, {}, "relu-layer", "a Tanh here"),
        (lambda: nn.Sequential(nn.ReLU()), FLAT, {}, "relu-layer", "must follow a weighted layer"),
        (lambda: nn.Sequential(nn.Flatten()), IMAGE, {}, "relu-layer", "must end with a weighted"),
        (
            lambda: nn.Sequential(nn.Conv2d(1, 1, 3, padding="same")),
            IMAGE,
            {},
            "relu-layer",
            "its padding is 'same'",
        ),
        (Residual, FLAT, {}, "relu-branch", "layers must be in a row"),
        (Branching, FLAT, {}, "relu-trace", "torch.fx cannot follow the module"),
        (doubled, FLAT, {}, "relu-differs", "answers otherwise than the module"),
        (lambda: nn.Linear(4, 3), FLAT, {"bits": 9}, "relu-option", "bits is 9, not 2 to 8"),
        (lambda: nn.Linear(4, 3), FLAT, {"target": "loihi1"}, "graded-missing", "sends no numbers"),
    ],
)
def test_refusals(
    module: Callable[[], nn.Module], data: Any, options: dict[str, Any], code: str, text: str
) -> None:
    with pytest.raises(SnnDeployError) as caught:
        from_relu(module().eval(), Samples(data), **options)
    assert caught.value.code == code
    assert text in caught.value.message


def test_training_mode_is_refused() -> None:
    with pytest.raises(SnnDeployError) as caught:
        from_relu(nn.Linear(4, 3), Samples(FLAT))
    assert caught.value.code == "relu-training"
