"""Sinabs modules as people write them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sinabs  # type: ignore[import-not-found]
import sinabs.activation as sa  # type: ignore[import-not-found]
import sinabs.layers as sl  # type: ignore[import-not-found]
import torch
from torch import Tensor, nn

from tests.live.gallery.piece import Piece, dyadic, norm

FLAT = {"input": (12,)}
IMAGE = {"input": (2, 8, 8)}


def squeezed(module: nn.Module, frames: list[Tensor]) -> list[Tensor]:
    """Samples and steps in one axis."""
    sinabs.reset_states(module)
    steps, samples = frames[0].shape[:2]
    out = module(frames[0].transpose(0, 1).flatten(0, 1))
    return [out.unflatten(0, (samples, steps)).transpose(0, 1)]


def apart(module: nn.Module, frames: list[Tensor]) -> list[Tensor]:
    """(samples, steps, ...)."""
    sinabs.reset_states(module)
    returned = module(*(f.transpose(0, 1) for f in frames))
    answers = returned if isinstance(returned, tuple) else (returned,)
    return [a.transpose(0, 1) for a in answers]


def samples_first(frames: list[Tensor]) -> Any:
    found = [f.transpose(0, 1) for f in frames]
    return found[0] if len(found) == 1 else tuple(found)


class Residual(nn.Module):
    """A residual, two branches, a neuron per branch."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.a = nn.Linear(12, 6), sl.IAF()
        self.fc2, self.b = nn.Linear(6, 6), sl.IAF(spike_fn=sa.SingleSpike, min_v_mem=-1.0)
        self.merge = sl.Merge()
        self.fc3, self.c = nn.Linear(12, 4), sl.IAF(reset_fn=sa.MembraneReset(), min_v_mem=-2.0)

    def forward(self, x: Tensor) -> Any:
        z = self.a(self.fc1(x))
        y = self.b(self.merge(self.fc2(z), z))
        return self.c(self.fc3(torch.cat((y, z), dim=2)))


class Filtered(nn.Module):
    """Synapses with a time constant, and an exponential readout."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(12, 6)
        self.a = sl.LIF(tau_mem=4.0, tau_syn=3.0, norm_input=False)
        self.fc2, self.out = nn.Linear(6, 3), sl.ExpLeak(tau_mem=5.0, norm_input=True)

    def forward(self, x: Tensor) -> Any:
        return self.out(self.fc2(self.a(self.fc1(x))))


class Recurrent(nn.Module):
    """Weights from a layer to itself."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(12, 6)
        self.a = sl.IAFRecurrent(rec_connect=nn.Linear(6, 6), spike_fn=sa.SingleSpike)

    def forward(self, x: Tensor) -> Any:
        return self.a(self.fc1(x))


class Twofold(nn.Module):
    """Two inputs, one of them twice."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(7, 6), nn.Linear(5, 6)
        self.a, self.b = sl.IAF(), sl.IAF()
        self.fc = nn.Linear(6, 3)

    def forward(self, first: Tensor, second: Tensor) -> Any:
        z = self.a(self.left(first) + self.right(second) + self.right(second) / 2)
        return self.b(self.fc(z)), z


def pieces() -> dict[str, Callable[[], Piece]]:
    """All of them, by name."""

    def image() -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1, bias=False),
            norm(4),
            sl.IAFSqueeze(batch_size=3),
            sl.SumPool2d(2),
            nn.Conv2d(4, 3, 3),
            sl.IAFSqueeze(batch_size=3, spike_fn=sa.MaxSpike(2)),
            nn.Flatten(),
            nn.Linear(12, 5, bias=False),
            sl.IAFSqueeze(batch_size=3, min_v_mem=-1.0),
        )

    def of_steps() -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(2, 4, 3, stride=2),
            sl.IAFSqueeze(num_timesteps=6, spike_fn=sa.SingleSpike),
            nn.MaxPool2d(3),
            nn.Flatten(),
            nn.Linear(4, 5),
            sl.IAFSqueeze(num_timesteps=6),
        )

    def flat(module: nn.Module, *outputs: str, **more: Any) -> Piece:
        return Piece(
            module=dyadic(module),
            shapes=FLAT,
            run=apart,
            sample=samples_first,
            outputs=outputs,
            **more,
        )

    def in_one_axis(frames: list[Tensor]) -> Any:
        return frames[0].transpose(0, 1).flatten(0, 1)

    return {
        "squeezing": lambda: Piece(
            module=dyadic(image()), shapes=IMAGE, run=squeezed, sample=in_one_axis, outputs=("8",)
        ),
        "squeezing by steps": lambda: Piece(
            module=dyadic(of_steps()),
            shapes=IMAGE,
            run=squeezed,
            sample=in_one_axis,
            outputs=("5",),
        ),
        "residual": lambda: flat(Residual(), "c"),
        "filtered": lambda: flat(Filtered(), "out", exact=False),
        "recurrent": lambda: flat(Recurrent(), "a"),
        "two inputs": lambda: Piece(
            module=dyadic(Twofold()),
            shapes={"first": (7,), "second": (5,)},
            run=apart,
            sample=samples_first,
            outputs=("b", "a"),
        ),
    }
