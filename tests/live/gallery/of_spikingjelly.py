"""SpikingJelly modules as people write them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from spikingjelly.activation_based import functional, layer, neuron  # type: ignore[import-not-found]
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from tests.live.gallery.piece import Piece, dyadic, norm

FLAT = {"input": (12,)}
IMAGE = {"input": (2, 8, 8)}


def by_step(module: nn.Module, frames: list[Tensor]) -> list[Tensor]:
    functional.reset_net(module)
    return [torch.stack([module(frame) for frame in frames[0]])]


def at_once(module: nn.Module, frames: list[Tensor]) -> list[Tensor]:
    functional.reset_net(module)
    return [module(frames[0])]


def one(frames: list[Tensor]) -> Any:
    return frames[0][0]


def whole(frames: list[Tensor]) -> Any:
    return frames[0]


class Block(nn.Module):
    """A residual block that adds spikes, then one that joins channels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv0, self.sn0 = layer.Conv2d(2, 4, 3, padding=1), neuron.IFNode()
        self.conv1, self.sn1 = layer.Conv2d(4, 4, 3, padding=1, bias=False), neuron.IFNode()
        self.conv2, self.sn2 = layer.Conv2d(8, 3, 1), neuron.LIFNode(tau=2.0, decay_input=False)
        self.pool, self.fc = layer.AdaptiveAvgPool2d((2, 2)), layer.Linear(12, 5)
        self.out = neuron.IFNode(v_reset=None)

    def forward(self, x: Tensor) -> Any:
        a = self.sn0(self.conv0(x))
        b = self.sn1(self.conv1(a)) + a
        c = self.sn2(self.conv2(torch.cat([a, b], dim=-3)))
        return self.out(self.fc(torch.flatten(self.pool(c), -3)))


class Count(nn.Module):
    """Goes through time itself, with one frame, and answers with the rate."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            layer.Flatten(),
            layer.Linear(12, 8),
            neuron.LIFNode(),
            layer.Linear(8, 5),
            neuron.LIFNode(),
        )

    def forward(self, x: Tensor) -> Any:
        total: Any = 0.0
        for _ in range(8):
            total = total + self.net(x)
        return total / 8


class StaticImages(nn.Module):
    """Makes the steps itself, of one image, for layers that take all of them at once."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_fc = nn.Sequential(
            layer.Conv2d(2, 4, 3, padding=1, bias=False),
            layer.SeqToANNContainer(norm(4)),
            neuron.IFNode(),
            layer.MaxPool2d(2, 2),
            layer.Flatten(),
            layer.Linear(64, 5, bias=False),
            neuron.IFNode(),
        )
        functional.set_step_mode(self, "m")

    def forward(self, x: Tensor) -> Any:
        return self.conv_fc(x.unsqueeze(0).repeat(8, 1, 1, 1, 1)).mean(0)


class SamplesFirst(nn.Module):
    """Recordings as they are stored: (samples, steps, ...)."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.sn1 = layer.Linear(12, 8), neuron.IFNode()
        self.fc2, self.out = layer.Linear(8, 3), neuron.LIFNode(v_threshold=float("inf"))
        functional.set_step_mode(self, "m")

    def forward(self, x: Tensor) -> Any:
        z = self.sn1(self.fc1(x.transpose(0, 1)))
        self.out(self.fc2(z))
        return z, self.out.v


class Pooled(nn.Module):
    """Max pooling of spikes, functional pooling, layers for sequences around plain ones."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = layer.SeqToANNContainer(nn.Conv2d(2, 4, 3, padding=1), norm(4))
        self.sn1 = neuron.ParametricLIFNode(init_tau=2.0, decay_input=False, step_mode="m")
        self.pool = layer.MaxPool2d(2, step_mode="m")
        self.fc = layer.Linear(16, 5, step_mode="m")
        self.sn2 = neuron.IFNode(step_mode="m")

    def forward(self, x: Tensor) -> Any:
        z = self.pool(self.sn1(self.conv(x)))
        z = F.avg_pool2d(z.flatten(0, 1), 2).unflatten(0, x.shape[:2])
        return self.sn2(self.fc(z.flatten(2)))


class Tokens(nn.Module):
    """The end of a spiking transformer: a shortcut of membranes, means over tokens and over time."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = layer.SeqToANNContainer(nn.Conv2d(2, 4, 3, padding=1), norm(4))
        self.lif1, self.fc1 = neuron.IFNode(), layer.Conv2d(4, 8, 1)
        self.lif2, self.fc2 = neuron.IFNode(), layer.Conv2d(8, 4, 1)
        self.head_lif, self.head = neuron.IFNode(), nn.Linear(4, 3)
        functional.set_step_mode(self, "m")

    def forward(self, x: Tensor) -> Any:
        x = self.stem(x)
        x = x + self.fc2(self.lif2(self.fc1(self.lif1(x))))
        return self.head(self.head_lif(x.flatten(3).mean(-1)).mean(0))


def pieces() -> dict[str, Callable[[], Piece]]:
    """All of them, by name."""

    def in_a_row(mode: str) -> nn.Module:
        return nn.Sequential(
            layer.Conv2d(2, 4, 3, padding=1, bias=False, step_mode=mode),
            layer.SeqToANNContainer(norm(4)) if mode == "m" else norm(4),
            neuron.IFNode(step_mode=mode),
            layer.AvgPool2d(2, step_mode=mode),
            layer.Dropout(0.2, step_mode=mode),
            layer.Flatten(step_mode=mode),
            layer.Linear(64, 5, step_mode=mode),
            neuron.LIFNode(tau=2.0, decay_input=False, step_mode=mode),
        )

    def several_steps(module: nn.Module) -> nn.Module:
        functional.set_step_mode(module, "m")
        return module

    def image(module: nn.Module, run: Any, sample: Any, output: str, **more: Any) -> Piece:
        return Piece(
            module=dyadic(module), shapes=IMAGE, run=run, sample=sample, outputs=(output,), **more
        )

    return {
        "steps": lambda: image(in_a_row("s"), by_step, one, "7"),
        "sequences": lambda: image(in_a_row("m"), at_once, whole, "7"),
        "blocks": lambda: image(Block(), by_step, one, "out"),
        "blocks of sequences": lambda: image(several_steps(Block()), at_once, whole, "out"),
        "pooled": lambda: image(Pooled(), at_once, whole, "sn2"),
        "tokens": lambda: image(
            dyadic(Tokens(), gain=3.0),
            lambda module, frames: [len(frames[0]) * at_once(module, frames)[0]],
            whole,
            "output",
            exact=False,
        ),
        "rate": lambda: Piece(
            module=dyadic(Count()),
            shapes=FLAT,
            run=lambda module, frames: [8 * at_once(module, [frames[0][0]])[0]],
            sample=one,
            outputs=("net.4",),
            one_frame=True,
            steps=8,
            exact=False,
        ),
        "static images": lambda: Piece(
            module=dyadic(StaticImages()),
            shapes=IMAGE,
            run=lambda module, frames: [8 * at_once(module, [frames[0][0]])[0]],
            sample=one,
            outputs=("conv_fc.6",),
            one_frame=True,
            steps=8,
        ),
        "samples first": lambda: Piece(
            module=dyadic(SamplesFirst()),
            shapes=FLAT,
            run=lambda module, frames: [at_once(module, [frames[0].transpose(0, 1)])[0][0]],
            sample=lambda frames: frames[0].transpose(0, 1),
            outputs=("sn1",),
            exact=False,
        ),
        "synapses": lambda: Piece(
            module=dyadic(
                nn.Sequential(
                    layer.Linear(12, 8),
                    neuron.CUBALIFNode(c_decay=0.5, v_decay=0.5),
                    layer.Linear(8, 5),
                    neuron.LIFNode(tau=2.0, decay_input=True, v_reset=-0.5),
                )
            ),
            shapes=FLAT,
            run=by_step,
            sample=one,
            outputs=("3",),
            exact=False,
        ),
    }
