"""Norse modules as people write them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import norse.torch as norse  # type: ignore[import-not-found]
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from tests.live.gallery.piece import Piece, dyadic

FLAT = {"input": (12,)}
BOX = norse.LIFBoxParameters(tau_mem_inv=torch.as_tensor(500.0), v_th=torch.as_tensor(0.5))
LIF = norse.LIFParameters(
    tau_mem_inv=torch.as_tensor(500.0),
    tau_syn_inv=torch.as_tensor(500.0),
    v_th=torch.as_tensor(0.5),
)
LI = norse.LIParameters(tau_mem_inv=torch.as_tensor(500.0), tau_syn_inv=torch.as_tensor(500.0))


def stepped(module: nn.Module, frames: list[Tensor]) -> list[Tensor]:
    """Step by step, with a state; one sample after the other, for modules know no axis of samples."""
    samples = []
    for i in range(frames[0].shape[1]):
        state, found = None, []
        for frame in frames[0][:, i]:
            out, state = module(frame, state)
            found.append(out)
        samples.append(torch.stack(found))
    return [torch.stack(samples, 1)]


def together(module: nn.Module, frames: list[Tensor]) -> list[Tensor]:
    """Step by step, all samples in a call."""
    state, found = None, []
    for frame in frames[0]:
        out, state = module(frame, state)
        found.append(out)
    return [torch.stack(found)]


def at_once(module: nn.Module, frames: list[Tensor]) -> list[Tensor]:
    returned = module(*frames)
    return list(returned) if isinstance(returned, tuple) else [returned]


def over_time(module: nn.Module, frames: list[Tensor]) -> list[Tensor]:
    return [module(frames[0])[0]]


class States(nn.Module):
    """Cells and their states by hand, through time."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.lif1 = nn.Linear(12, 8), norse.LIFCell(LIF)
        self.fc2, self.lif2 = nn.Linear(8, 5), norse.LIFBoxCell(BOX)

    def forward(self, x: Tensor) -> Any:
        s1 = s2 = None
        found = []
        for step in range(x.shape[0]):
            z, s1 = self.lif1(self.fc1(x[step]), s1)
            z, s2 = self.lif2(self.fc2(z), s2)
            found.append(z)
        return torch.stack(found)


class Recurrent(nn.Module):
    """Cells with weights of their own, then a readout."""

    def __init__(self) -> None:
        super().__init__()
        self.lif = norse.LIFRecurrentCell(12, 7, LIF)
        self.li = norse.LILinearCell(7, 3, LI)
        with torch.no_grad():
            for cell in (self.lif, self.li):
                cell.input_weights.copy_(
                    torch.round(cell.input_weights * 16 + 2).clamp(-15, 15) / 8
                )
            self.lif.recurrent_weights.copy_(torch.round(self.lif.recurrent_weights * 4) / 8)

    def forward(self, x: Tensor) -> Any:
        s1 = s2 = None
        found = []
        for frame in x:
            z, s1 = self.lif(frame, s1)
            v, s2 = self.li(z, s2)
            found.append(v)
        return torch.stack(found)


class Residual(nn.Module):
    """One step in a call, states in a tuple, a residual and a branch."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.a = nn.Linear(12, 6), norse.LIFBoxCell(BOX)
        self.fc2, self.b = nn.Linear(6, 6), norse.IAFCell()
        self.fc3, self.c = nn.Linear(12, 4), norse.LIFBoxCell(BOX)

    def forward(self, x: Tensor, state: Any = None) -> Any:
        sa, sb, sc = state or (None, None, None)
        z, sa = self.a(self.fc1(x), sa)
        y, sb = self.b(self.fc2(z) + 0.5 * z, sb)
        out, sc = self.c(self.fc3(torch.cat([y, z], dim=-1)), sc)
        return out, (sa, sb, sc)


class Image(nn.Module):
    """Convolutions, functional pooling, and pooling of the largest spike."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.a = nn.Conv2d(2, 3, 3), norse.LIFBoxCell(BOX)
        self.conv2, self.b = nn.Conv2d(3, 4, 2, bias=False), norse.LIFBoxCell(BOX)
        self.fc, self.c = nn.Linear(16, 5), norse.LIFBoxCell(BOX)

    def forward(self, x: Tensor) -> Any:
        sa = sb = sc = None
        found = []
        for frame in x:
            z, sa = self.a(self.conv1(frame), sa)
            z, sb = self.b(self.conv2(F.max_pool2d(z, 2)), sb)
            z, sc = self.c(
                self.fc(F.avg_pool2d(z, 2, stride=1, padding=1)[:, :, ::2, ::2].flatten(1)), sc
            )
            found.append(z)
        return torch.stack(found)


def pieces() -> dict[str, Callable[[], Piece]]:
    """All of them, by name."""
    return {
        "sequential state": lambda: Piece(
            module=dyadic(
                norse.SequentialState(
                    nn.Linear(12, 9), norse.LIFBoxCell(BOX), nn.Linear(9, 5), norse.LIFCell(LIF)
                )
            ),
            shapes=FLAT,
            run=stepped,
            sample=lambda frames: frames[0][0, 0],
            outputs=("3",),
        ),
        "samples together": lambda: Piece(
            module=dyadic(
                norse.SequentialState(
                    nn.Conv2d(2, 3, 3),
                    norse.LIFBoxCell(BOX),
                    nn.AvgPool2d(2),
                    nn.Flatten(),
                    nn.Linear(27, 4),
                    norse.LIFBoxCell(BOX),
                )
            ),
            shapes={"input": (2, 8, 8)},
            run=together,
            sample=lambda frames: frames[0][0],
            outputs=("5",),
        ),
        "residual": lambda: Piece(
            module=dyadic(Residual()),
            shapes=FLAT,
            run=stepped,
            sample=lambda frames: frames[0][0, 0],
            outputs=("c",),
        ),
        "states": lambda: Piece(
            module=dyadic(States()),
            shapes=FLAT,
            run=at_once,
            sample=lambda frames: frames[0],
            outputs=("lif2",),
        ),
        "recurrent": lambda: Piece(
            module=dyadic(Recurrent()),
            shapes=FLAT,
            run=at_once,
            sample=lambda frames: frames[0],
            outputs=("li",),
            exact=False,
        ),
        "image": lambda: Piece(
            module=dyadic(Image()),
            shapes={"input": (2, 8, 8)},
            run=at_once,
            sample=lambda frames: frames[0],
            outputs=("c",),
        ),
        "over time": lambda: Piece(
            module=dyadic(
                norse.SequentialState(
                    nn.Linear(12, 9), norse.LIF(LIF), nn.Linear(9, 5), norse.LIF(LIF)
                )
            ),
            shapes=FLAT,
            run=over_time,
            sample=lambda frames: frames[0],
            outputs=("3",),
        ),
    }
