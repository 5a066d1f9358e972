"""snnTorch modules as people write them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import snntorch as snn  # type: ignore[import-not-found]
import torch
from snntorch import utils  # type: ignore[import-not-found]
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from tests.live.gallery.piece import Piece, dyadic, norm

FLAT = {"input": (12,)}
IMAGE = {"input": (2, 8, 8)}


def hidden(**options: Any) -> Any:
    return snn.Leaky(0.5, init_hidden=True, **options)


def fresh(module: nn.Module) -> None:
    for layer in module.modules():
        if isinstance(layer, snn.SpikingNeuron):
            for name in ("spk", "syn", "syn_exc", "syn_inh", "mem"):
                if hasattr(layer, name):
                    setattr(layer, name, torch.zeros(0))


def listed(returned: Any) -> list[Tensor]:
    return list(returned) if isinstance(returned, tuple) else [returned]


def by_step(module: nn.Module, frames: list[Tensor]) -> list[Tensor]:
    """One call for each step."""
    fresh(module)
    answers = [listed(module(*frame)) for frame in zip(*frames, strict=True)]
    return [torch.stack(parts) for parts in zip(*answers, strict=True)]


def at_once(module: nn.Module, frames: list[Tensor]) -> list[Tensor]:
    """One call for all steps, time in front."""
    fresh(module)
    return listed(module(*frames))


def batch_first(module: nn.Module, frames: list[Tensor]) -> list[Tensor]:
    """One call for all steps, samples in front."""
    fresh(module)
    return listed(module(*(f.transpose(0, 1) for f in frames)))


def first_frame(module: nn.Module, frames: list[Tensor]) -> list[Tensor]:
    fresh(module)
    return listed(module(*(f[0] for f in frames)))


def one(frames: list[Tensor]) -> Any:
    return frames[0][0] if len(frames) == 1 else tuple(f[0] for f in frames)


def whole(frames: list[Tensor]) -> Any:
    return frames[0] if len(frames) == 1 else tuple(frames)


class InARow(nn.Sequential):
    """nn.Sequential with hidden states."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(12, 9), hidden(), nn.Dropout(0.5), nn.Linear(9, 5), hidden())


class Loop(nn.Module):
    """The form of the tutorials: states by hand, spikes and membranes of all steps."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.lif1 = nn.Linear(12, 9), snn.Leaky(0.5)
        self.fc2, self.lif2 = nn.Linear(9, 5), snn.Leaky(0.5)

    def forward(self, x: Tensor) -> Any:
        mem1, mem2 = self.lif1.init_leaky(), self.lif2.init_leaky()
        spk_rec, mem_rec = [], []
        for step in range(x.size(0)):
            spk1, mem1 = self.lif1(self.fc1(x[step]), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            spk_rec.append(spk2)
            mem_rec.append(mem2)
        return torch.stack(spk_rec, dim=0), torch.stack(mem_rec, dim=0)


class OneFrame(Loop):
    """The same frame in every step."""

    def forward(self, x: Tensor) -> Any:
        mem1, mem2 = self.lif1.init_leaky(), self.lif2.init_leaky()
        spk_rec = []
        cur1 = self.fc1(x.flatten(1))
        for _ in range(6):
            spk1, mem1 = self.lif1(cur1, mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            spk_rec.append(spk2)
        return torch.stack(spk_rec)


class BatchFirst(Loop):
    """Samples in front of steps, currents of all steps at once, a buffer that is filled."""

    def forward(self, x: Tensor) -> Any:
        mem1, mem2 = torch.zeros(x.shape[0], 9), torch.zeros(x.shape[0], 5)
        currents = self.fc1(x)
        out = torch.zeros(x.shape[1], x.shape[0], 5)
        for step in range(x.shape[1]):
            spk1, mem1 = self.lif1(currents[:, step], mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            out[step] = spk2
        return out


class Parts(nn.Module):
    """Layers that the modules below connect."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.l1 = nn.Linear(12, 6), hidden()
        self.fc2, self.l2 = nn.Linear(6, 6), hidden()
        self.fc3, self.out = nn.Linear(6, 4), hidden()
        self.wide = nn.Linear(12, 4)


class Residual(Parts):
    def forward(self, x: Tensor) -> Any:
        z = self.l1(self.fc1(x))
        z2 = self.l2(self.fc2(z) + z)
        return self.out(self.fc3(z2 + z))


class Concat(Parts):
    def forward(self, x: Tensor) -> Any:
        z = self.l1(self.fc1(x))
        return self.out(self.wide(torch.cat([z, self.l2(self.fc2(z))], dim=1)))


class Shared(Parts):
    """One weight for two branches, and one layer twice in a row."""

    def forward(self, x: Tensor) -> Any:
        z = self.l1(self.fc1(x))
        z2 = self.l2(self.fc2(z))
        return self.out(self.fc3(z) * 0.5 + self.fc3(z2) - self.fc3(self.fc2(z2)) / 8)


class Last(Parts):
    """A residual that ends in the last layer, whose spikes answer beside those of another."""

    def forward(self, x: Tensor) -> Any:
        z = self.l1(self.fc1(x))
        return self.l2(self.fc2(z) + 2 * z), z


class Readout(Parts):
    """Answers with a weighted sum of spikes."""

    def forward(self, x: Tensor) -> Any:
        return self.fc3(self.l2(self.fc2(self.l1(self.fc1(x)))))


class Convolutional(nn.Module):
    """Batch norm, functional pooling, max pooling of spikes, views."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1, self.lif1 = nn.Conv2d(2, 4, 3, padding=1), norm(4), hidden()
        self.conv2, self.lif2 = nn.Conv2d(4, 3, 3, padding="same", bias=False), hidden()
        self.drop, self.fc, self.lif3 = nn.Dropout2d(0.3), nn.Linear(12, 5), hidden()

    def forward(self, x: Tensor) -> Any:
        spk1 = self.lif1(self.bn1(self.conv1(x)))
        spk2 = self.lif2(self.conv2(F.max_pool2d(spk1, 2)))
        pooled = F.avg_pool2d(self.drop(spk2), 2)
        return self.lif3(self.fc(pooled.view(x.shape[0], -1)))


class Decoder(nn.Module):
    """Transposed convolution, upsampling, paddings, channels turned round."""

    def __init__(self) -> None:
        super().__init__()
        self.up1, self.lif1 = nn.ConvTranspose2d(2, 3, 2, stride=2), hidden()
        self.up2 = nn.Upsample(scale_factor=2, mode="nearest")
        self.conv, self.lif2 = nn.Conv2d(3, 2, 3), hidden()

    def forward(self, x: Tensor) -> Any:
        spk = self.lif1(self.up1(F.avg_pool2d(x, 2, padding=1, count_include_pad=False)))
        turned = F.relu(spk.permute(0, 1, 3, 2).flip(1))
        return self.lif2(self.conv(F.pad(self.up2(turned)[:, :, 2:-2, 2:-2], (1, 1, 0, 1))))


class Twofold(nn.Module):
    """Two inputs and two answers."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(7, 6), nn.Linear(5, 6)
        self.l1, self.a, self.b = hidden(), hidden(), hidden()
        self.fca, self.fcb = nn.Linear(6, 3), nn.Linear(6, 2)

    def forward(self, sound: Tensor, light: Tensor) -> Any:
        z = self.l1(self.left(sound) + self.right(light))
        return self.a(self.fca(z)), self.b(self.fcb(z))


class Recurrent(nn.Module):
    """RLeaky, RSynaptic and Synaptic with states by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.l1 = nn.Linear(12, 6), snn.RLeaky(0.5, linear_features=6)
        self.fc2, self.l2 = nn.Linear(6, 5), snn.RSynaptic(0.5, 0.5, all_to_all=False, V=-0.25)
        self.fc3, self.l3 = nn.Linear(5, 4), snn.Synaptic(0.5, 0.5, reset_mechanism="zero")

    def forward(self, x: Tensor) -> Any:
        spk1, mem1 = self.l1.init_rleaky()
        spk2, syn2, mem2 = self.l2.init_rsynaptic()
        syn3, mem3 = self.l3.init_synaptic()
        found = []
        for frame in x:
            spk1, mem1 = self.l1(self.fc1(frame), spk1, mem1)
            spk2, syn2, mem2 = self.l2(self.fc2(spk1), spk2, syn2, mem2)
            spk3, syn3, mem3 = self.l3(self.fc3(spk2), syn3, mem3)
            found.append(spk3)
        return torch.stack(found)


class ByHand(nn.Module):
    """Recurrent weights and a delay of two steps in forward()."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.back, self.lif = nn.Linear(12, 6), nn.Linear(6, 6), snn.Leaky(0.5)
        self.late, self.out = nn.Linear(6, 4), snn.Leaky(0.5)

    def forward(self, x: Tensor) -> Any:
        mem, mem2 = self.lif.init_leaky(), self.out.init_leaky()
        past = [torch.zeros(x.shape[1], 6)] * 2
        found = []
        for frame in x:
            spk, mem = self.lif(self.fc(frame) + self.back(past[-1]), mem)
            out, mem2 = self.out(self.late(past[-2]), mem2)
            past.append(spk)
            found.append(out)
        return torch.stack(found)


class OneLayerTwoStates(nn.Module):
    """One object for all neurons, a state for each use."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(12, 6), nn.Linear(6, 4)
        self.lif = snn.Leaky(0.5, reset_mechanism="zero")

    def forward(self, x: Tensor) -> Any:
        mem1, mem2 = torch.zeros(x.shape[1], 6), torch.zeros(x.shape[1], 4)
        count: Any = 0
        for frame in x:
            spk1, mem1 = self.lif(self.fc1(frame), mem1)
            spk2, mem2 = self.lif(self.fc2(spk1), mem2)
            count = count + spk2
        return count


class Membrane(Loop):
    """Answers with the membrane of a layer that subtracts what it fires."""

    def forward(self, x: Tensor) -> Any:
        return super().forward(x)[1]


class Silent(nn.Module):
    """A readout that never resets, behind a Lapicque layer without hidden time constants."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.lif1 = nn.Linear(12, 6), snn.Lapicque(R=2.0, C=1.0, time_step=1.0)
        self.fc2 = nn.Linear(6, 3)
        self.lif2 = snn.Leaky(0.5, reset_mechanism="none")

    def forward(self, x: Tensor) -> Any:
        mem1, mem2 = torch.zeros(x.shape[1], 6), torch.zeros(x.shape[1], 3)
        found = []
        for frame in x:
            spk1, mem1 = self.lif1(self.fc1(frame), mem1)
            _, mem2 = self.lif2(self.fc2(spk1), mem2)
            found.append(mem2)
        return torch.stack(found)


class AlphaFilter(nn.Module):
    """Alpha neurons without reset."""

    def __init__(self) -> None:
        super().__init__()
        options = {"reset_mechanism": "none", "init_hidden": True}
        self.fc1, self.l1 = nn.Linear(12, 6), snn.Alpha(0.8, 0.7, threshold=0.3, **options)
        self.fc2, self.l2 = nn.Linear(6, 4), hidden()

    def forward(self, x: Tensor) -> Any:
        return self.l2(self.fc2(self.l1(self.fc1(x))))


class Line(nn.Module):
    """One axis of space."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.l1 = nn.Conv1d(2, 4, 3, stride=2, padding=1), hidden()
        self.pool = nn.AdaptiveAvgPool1d(4)
        self.conv2, self.l2 = nn.Conv1d(4, 3, 2, groups=1), hidden()

    def forward(self, x: Tensor) -> Any:
        return self.l2(self.conv2(self.pool(self.l1(self.conv1(x)))))


class ResetsAll(InARow):
    """Clears the states of every snnTorch layer that there is, then goes through time."""

    def forward(self, x: Tensor) -> Any:
        utils.reset(self)
        return torch.stack([super(ResetsAll, self).forward(frame) for frame in x])


def witness() -> Callable[[], bool]:
    """A layer of another network; whether it keeps its state is asked behind the reading."""
    layer = hidden(threshold=5.0)
    layer(torch.ones(1, 3))
    held = layer.mem.clone()
    return lambda: torch.equal(layer.mem, held)


def pieces() -> dict[str, Callable[[], Piece]]:
    """All of them, by name."""

    def calls(module: nn.Module, shapes: Any, *outputs: str, **more: Any) -> Piece:
        return Piece(
            module=dyadic(module), shapes=shapes, run=by_step, sample=one, outputs=outputs, **more
        )

    def loop(module: nn.Module, *outputs: str, **more: Any) -> Piece:
        return Piece(
            module=dyadic(module), shapes=FLAT, run=at_once, sample=whole, outputs=outputs, **more
        )

    return {
        "in a row": lambda: calls(InARow(), FLAT, "4"),
        "loop": lambda: loop(Loop(), "lif2", ""),
        "resets all": lambda: loop(ResetsAll(), "4"),
        "one frame": lambda: Piece(
            module=dyadic(OneFrame()),
            shapes=FLAT,
            run=first_frame,
            sample=one,
            outputs=("lif2",),
            one_frame=True,
        ),
        "batch first": lambda: Piece(
            module=dyadic(BatchFirst()),
            shapes=FLAT,
            run=batch_first,
            sample=lambda frames: frames[0].transpose(0, 1),
            outputs=("lif2",),
        ),
        "residual": lambda: calls(Residual(), FLAT, "out"),
        "concat": lambda: calls(Concat(), FLAT, "out"),
        "shared weights": lambda: calls(Shared(), FLAT, "out", exact=False),
        "two layers answer": lambda: calls(Last(), FLAT, "l2", "l1"),
        "readout": lambda: calls(Readout(), FLAT, "output"),
        "convolutional": lambda: calls(Convolutional(), IMAGE, "lif3"),
        "decoder": lambda: calls(Decoder(), IMAGE, "lif2", exact=False),
        "two inputs": lambda: calls(Twofold(), {"sound": (7,), "light": (5,)}, "a", "b"),
        "recurrent": lambda: loop(Recurrent(), "l3"),
        "by hand": lambda: loop(ByHand(), "out"),
        "one layer, two states": lambda: loop(OneLayerTwoStates(), "lif#2"),
        "membrane": lambda: loop(Membrane(), "lif2.v", exact=False),
        "silent": lambda: loop(Silent(), "lif2", exact=False),
        "alpha": lambda: calls(AlphaFilter(), FLAT, "l2", exact=False),
        "line": lambda: calls(Line(), {"input": (2, 16)}, "l2"),
    }
