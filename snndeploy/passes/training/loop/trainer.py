"""The trainer: epochs of a module on labelled samples, deterministic, interruptible, resumable."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from ....ir.decoding import decode
from ....ir.network import Network
from ..options import TrainingPass
from ..torch_network.module import TrainableNetwork
from ..torch_network.unroll import UnrolledRun
from .checkpoint import Checkpoint
from .data import Batches

Stream = Callable[[str], np.random.Generator]


_DAMAGE = (LookupError, TypeError, ValueError, AttributeError, RuntimeError, ArithmeticError)
"""What fields of other types and sizes make Python and torch raise."""


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """How an epoch went.

    ``loss`` includes penalties; ``accuracy`` is that of the batches as they were learnt from,
    ``validation`` that of the validation samples afterwards (NaN without any). ``rate`` is spikes per
    neuron and step, ``sparsity`` the fraction of zero weights. ``note`` is what the penalty says.
    """

    number: int
    loss: float
    accuracy: float
    validation: float
    rate: float
    sparsity: float
    note: str = ""

    @property
    def status(self) -> str:
        """One line."""
        parts = [f"loss {self.loss:.3f}", f"accuracy {self.accuracy:.2%}"]
        if not math.isnan(self.validation):
            parts.append(f"validation {self.validation:.2%}")
        parts += [f"rate {self.rate:.3f}", f"sparsity {self.sparsity:.1%}", self.note]
        return "  ".join(p for p in parts if p)


class Penalty(Protocol):
    """What is added to the loss, and what happens to it between epochs."""

    def loss(self, module: TrainableNetwork, run: UnrolledRun) -> Tensor:
        """The penalty on one batch."""

    def after_step(self, module: TrainableNetwork, lr: float) -> None:
        """What is done to the weights after a step of the optimiser."""

    def after_epoch(self, module: TrainableNetwork) -> str:
        """Bring the penalty up to date; says how it stands."""

    def state(self) -> dict[str, Any]:
        """Tensors and numbers that a checkpoint keeps."""

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint's ``state``."""


def train(
    module: TrainableNetwork,
    how: TrainingPass,
    samples: Batches,
    validation: Batches | None,
    *,
    epochs: int,
    stream: Stream,
    penalties: Sequence[Penalty] = (),
    refresh: Callable[[TrainableNetwork], None],
    checkpoint: Checkpoint | None = None,
    report: Callable[[Epoch, int], None],
    best: bool = True,
) -> list[Epoch]:
    """Train ``module`` in place.

    Args:
        module: what learns.
        how: options.
        samples: to learn from.
        validation: to judge by.
        epochs: how many.
        stream: gives the random numbers of a name; the order of samples in each epoch is drawn from a
            stream of its own, so that nothing depends on how training was interrupted.
        penalties: added to the loss.
        refresh: called before each epoch (grids and rounding are brought up to date here).
        checkpoint: where to save after each epoch, and what to go on from.
        report: told about each epoch.
        best: leave the module as it was after the epoch of the best validation, not after the last.

    Returns:
        All epochs, resumed ones included.

    Raises:
        InputError: a checkpoint is damaged, or of another run.
    """
    optimizer = _optimizer(module, how)
    history: list[Epoch] = []
    kept, unimproved = module.snapshot(), 0
    saved = None if checkpoint is None else checkpoint.load(module.device)
    if checkpoint is not None and saved is not None:
        # its fields may be missing, or hold anything that tensors and numbers can be made into
        try:
            rows = [{"type": "Epoch", "fields": row} for row in saved["history"]]
            history = [decode(row, {}, Epoch) for row in rows]
            module.restore(saved["best"])
            module.restore(saved["last"])
            kept, unimproved = saved["best"], int(saved["unimproved"])
            optimizer.load_state_dict(saved["optimizer"])
            for penalty, state in zip(penalties, saved["penalties"], strict=True):
                penalty.restore(state)
        except _DAMAGE as error:
            raise checkpoint.damaged() from error
    chooses = best and validation is not None
    with deterministic(module.device):
        while len(history) < epochs and not (how.patience and unimproved >= how.patience):
            number = len(history) + 1
            refresh(module)
            epoch = _epoch(module, how, samples, optimizer, stream, penalties, number, epochs)
            right = math.nan if validation is None else accuracy(module, validation, how.batch)
            notes = [p.after_epoch(module) for p in penalties]
            epoch = Epoch(**{**asdict(epoch), "validation": right, "note": "  ".join(notes)})
            top = max((e.validation for e in history), default=-1.0)
            better = not chooses or right > top
            kept = module.snapshot() if better else kept
            unimproved = 0 if better else unimproved + 1
            history.append(epoch)
            if checkpoint is not None:
                checkpoint.save(
                    history=[asdict(e) for e in history],
                    last=module.snapshot(),
                    best=kept,
                    unimproved=unimproved,
                    optimizer=optimizer.state_dict(),
                    penalties=[p.state() for p in penalties],
                )
            report(epoch, epochs)
    module.restore(kept)
    return history


def _epoch(
    module: TrainableNetwork,
    how: TrainingPass,
    samples: Batches,
    optimizer: torch.optim.Optimizer,
    stream: Stream,
    penalties: Sequence[Penalty],
    number: int,
    epochs: int,
) -> Epoch:
    output = module.network.with_role("output")[0].name
    steps = math.ceil(len(samples) / how.batch)
    learnt = [p for p in module.parameters() if p.requires_grad]
    lost, right, fired = 0.0, 0, 0.0
    batches = samples.shuffled(how.batch, stream(f"epoch {number}"))
    for i, (inputs, labels, taught) in enumerate(batches):
        done = ((number - 1) * steps + i) / (epochs * steps)
        for group in optimizer.param_groups:
            cosine = 0.5 * (1 + math.cos(math.pi * done))
            group["lr"] = how.lr * (cosine if how.schedule == "cosine" else 1.0)
        run = module(inputs)
        loss = missed(scores(run, output, how.loss), run.steps, labels, taught, how)
        for penalty in penalties:
            loss = loss + penalty.loss(module, run)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if how.clip_norm:
            nn.utils.clip_grad_norm_(learnt, how.clip_norm)
        optimizer.step()
        for penalty in penalties:
            penalty.after_step(module, optimizer.param_groups[0]["lr"])
        module.clamp_()
        lost += float(loss.detach()) * len(labels)
        right += int((answers(run, module.network) == labels).sum())
        fired += rate(run, module.network) * len(labels)
    n = len(samples)
    return Epoch(
        number=number,
        loss=lost / n,
        accuracy=right / n,
        validation=math.nan,
        rate=fired / n,
        sparsity=sparsity(module),
    )


def missed(
    told: Tensor, steps: int, labels: Tensor, taught: Tensor | None, how: TrainingPass
) -> Tensor:
    """Cross-entropy of the scores ``told`` against the labels, and against what was ``taught``.

    Answers of a teacher are means over time, so that it may have seen more steps.
    """
    told = told * how.contrast
    loss = nn.functional.cross_entropy(told, labels)
    if taught is None:
        return loss
    taught = taught * how.contrast * (steps if how.loss == "count" else 1)
    soft = nn.functional.softmax(taught / how.temperature, dim=1)
    # squared, so that the share of gradients is that of the losses (Hinton et al. 2015)
    alike = nn.functional.cross_entropy(told / how.temperature, soft) * how.temperature**2
    return (1 - how.distill) * loss + how.distill * alike


def answers_of(module: TrainableNetwork, samples: Batches, loss: str, batch: int = 256) -> Tensor:
    """What a network tells of each class, as mean over time: ``(samples, classes)``."""
    output = module.network.with_role("output")[0].name
    kind = "membrane" if loss == "membrane" else "mean"
    with torch.no_grad():
        found = [scores(module(x), output, kind) for x, _ in samples.in_order(batch)]
    return torch.cat(found)


def scores(run: UnrolledRun, output: str, loss: str) -> Tensor:
    """What the loss sees of each class: ``(samples, classes)``."""
    if loss == "membrane":
        return run.membranes[output].mean(0).flatten(1)
    emitted = run.outputs[output]
    return (emitted.mean(0) if loss == "mean" else emitted.sum(0)).flatten(1)


def answers(run: UnrolledRun, network: Network) -> Tensor:
    """Class per sample: what emitted most, the lowest on a tie, as engines answer."""
    output = network.with_role("output")[0].name
    return run.outputs[output].detach().sum(0).flatten(1).argmax(1)


def accuracy(module: TrainableNetwork, samples: Batches, batch: int = 256) -> float:
    """Fraction of the samples that are answered right."""
    right = 0
    with torch.no_grad():
        for inputs, labels in samples.in_order(batch):
            right += int((answers(module(inputs), module.network) == labels).sum())
    return right / len(samples)


def rate(run: UnrolledRun, network: Network) -> float:
    """Spikes per neuron and step, inputs and readouts left out."""
    spiking = [p.name for p in network.populations if p.neuron is not None and p.neuron.spiking]
    fired = sum(float(run.spikes[name].detach().sum()) for name in spiking)
    neurons = sum(run.spikes[name].numel() for name in spiking)
    return fired / max(1, neurons * run.steps * run.samples)


def sparsity(module: TrainableNetwork) -> float:
    """Fraction of the weights that act as zero."""
    with torch.no_grad():
        weights = [module.weight(p.name) for p in module.network.projections]
    zeros = sum(int((w == 0).sum()) for w in weights)
    return zeros / sum(w.numel() for w in weights)


def _optimizer(module: TrainableNetwork, how: TrainingPass) -> torch.optim.Optimizer:
    """Weights decay, neurons' parameters do not."""
    groups = [
        {
            "params": [p for p in module.weights.values() if p.requires_grad],
            "weight_decay": how.weight_decay,
        },
        {"params": list(module.neurons.values()), "weight_decay": 0.0},
    ]
    groups = [g for g in groups if g["params"]]
    if how.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=how.lr, momentum=how.momentum)
    return torch.optim.AdamW(groups, lr=how.lr)


@contextmanager
def deterministic(device: torch.device) -> Iterator[None]:
    """The same sums in the same order, also on a GPU; what was set before is set again."""
    before = torch.are_deterministic_algorithms_enabled()
    tuned = torch.backends.cudnn.benchmark
    if device.type == "cuda":
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
        torch.backends.cudnn.benchmark = tuned
