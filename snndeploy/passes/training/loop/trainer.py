"""The trainer: epochs of a module on labelled samples, deterministic, interruptible, resumable."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from ....ir.answers import UNLABELLED, chosen
from ....ir.decoding import decode
from ....ir.network import Network
from ..options import TrainingPass
from ..torch_network.module import TrainableNetwork
from ..torch_network.unroll import UnrolledRun, Unrolling
from .checkpoint import Checkpoint
from .data import Batches
from .reach import all_finite, with_finite_gradients

Stream = Callable[[str], np.random.Generator]


_DAMAGE = (LookupError, TypeError, ValueError, AttributeError, RuntimeError, ArithmeticError)
"""What fields of other types and sizes make Python and torch raise."""


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """How an epoch went.

    ``loss`` includes penalties; ``accuracy`` is that of the batches as they were learnt from,
    ``validation`` that of the validation samples afterwards (NaN without any); of target values both are
    the share of their variance that is explained, and ``measure`` says so. ``rate`` is spikes per
    neuron and step, ``sparsity`` the fraction of zero weights. ``note`` is what the penalty says.
    """

    number: int
    loss: float
    accuracy: float
    validation: float
    rate: float
    sparsity: float
    note: str = ""
    measure: Literal["accuracy", "explained"] = "accuracy"

    @property
    def status(self) -> str:
        """One line."""
        parts = [f"loss {self.loss:.3f}", f"{self.measure} {self.accuracy:.2%}"]
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
        PassRefused: the loss, or gradients of single steps, are no numbers.
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
            found = {"type": "Unrolling", "fields": saved["unrolling"]}
            module.unrolling = decode(found, {}, Unrolling)
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
            top = max((e.validation for e in history), default=-math.inf)
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
                    unrolling=asdict(module.unrolling),
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
    lost, right, judged, fired = 0.0, 0.0, 0, 0.0
    batches = samples.shuffled(how.batch, stream(f"epoch {number}"))
    for i, (inputs, labels, taught) in enumerate(batches):
        done = ((number - 1) * steps + i) / (epochs * steps)
        for group in optimizer.param_groups:
            cosine = 0.5 * (1 + math.cos(math.pi * done))
            group["lr"] = how.lr * (cosine if how.schedule == "cosine" else 1.0)

        def attempt(
            inputs: Mapping[str, Tensor] = inputs,
            labels: Tensor = labels,
            taught: Tensor | None = taught,
        ) -> tuple[Tensor, bool, UnrolledRun]:
            run = module(inputs)
            if samples.regresses:
                told = scores(run, output, averaged(how.loss))
                loss = missed_values(told, labels, samples.spread, taught, how)
            else:
                per_step = samples.window if labels.ndim > 1 else 0
                told = scores(run, output, how.loss, per_step)
                loss = missed(told, run.steps, labels, taught, how)
            for penalty in penalties:
                loss = loss + penalty.loss(module, run)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            return loss.detach(), all_finite(p.grad for p in learnt), run

        loss, run = with_finite_gradients(module, samples.steps, attempt)
        if how.clip_norm:
            nn.utils.clip_grad_norm_(learnt, how.clip_norm)
        optimizer.step()
        for penalty in penalties:
            penalty.after_step(module, optimizer.param_groups[0]["lr"])
        module.clamp_()
        lost += float(loss) * len(labels)
        met, of = hits(run, module.network, labels, samples)
        right, judged = right + met, judged + of
        fired += rate(run, module.network) * len(labels)
    n = len(samples)
    return Epoch(
        number=number,
        loss=lost / n,
        accuracy=right / max(1, judged),
        validation=math.nan,
        rate=fired / n,
        sparsity=sparsity(module),
        measure="explained" if samples.regresses else "accuracy",
    )


def averaged(loss: str) -> str:
    """The loss of the same name that is a mean over time, which target values are of."""
    return "mean" if loss == "count" else loss


def missed_values(
    told: Tensor, aims: Tensor, spread: float, taught: Tensor | None, how: TrainingPass
) -> Tensor:
    """Mean square of what ``told`` misses the target values by, and what was ``taught``; 1 is as bad as
    always answering their mean."""
    loss = ((told - aims) ** 2).mean() / spread
    if taught is None:
        return loss
    return (1 - how.distill) * loss + how.distill * ((told - taught) ** 2).mean() / spread


def missed(
    told: Tensor, steps: int, labels: Tensor, taught: Tensor | None, how: TrainingPass
) -> Tensor:
    """Cross-entropy of the scores ``told`` against the labels, and against what was ``taught``.

    Answers of a teacher are means over time, so that it may have seen more steps.
    """
    told = _compared(told * how.contrast)
    labels = labels.flatten()
    loss = nn.functional.cross_entropy(told, labels, ignore_index=UNLABELLED)
    if taught is None:
        return loss
    taught = taught * how.contrast * (steps if how.loss == "count" else 1)
    soft = nn.functional.softmax(_compared(taught) / how.temperature, dim=1)
    # squared, so that the share of gradients is that of the losses (Hinton et al. 2015)
    alike = nn.functional.cross_entropy(told / how.temperature, soft) * how.temperature**2
    return (1 - how.distill) * loss + how.distill * alike


def _compared(told: Tensor) -> Tensor:
    """Scores of two classes where there is one neuron: it says yes by more than 0."""
    if told.shape[1] > 1:
        return told
    return torch.cat([torch.zeros_like(told), told], dim=1)


def answers_of(module: TrainableNetwork, samples: Batches, loss: str, batch: int = 256) -> Tensor:
    """What a network tells of each class, as mean over time: ``(samples, classes)``."""
    output = module.network.with_role("output")[0].name
    kind = "membrane" if loss == "membrane" else "mean"
    with torch.no_grad():
        found = [scores(module(x), output, kind) for x, _ in samples.in_order(batch)]
    return torch.cat(found)


def scores(run: UnrolledRun, output: str, loss: str, window: int = 0) -> Tensor:
    """What the loss sees of each class: ``(samples, classes)``.

    With a ``window``, of each step, samples one after the other: ``(samples * steps, classes)``, over so
    many steps behind it.
    """
    told = run.membranes[output] if loss == "membrane" else run.outputs[output]
    if window:
        total = _summed(told.flatten(2), window)
        if loss != "count":
            seen = torch.arange(1, len(told) + 1, device=told.device).clamp(max=window)
            total = total / seen[:, None, None]
        return total.transpose(0, 1).flatten(0, 1)
    return (told.sum(0) if loss == "count" else told.mean(0)).flatten(1)


def _summed(emitted: Tensor, window: int) -> Tensor:
    """Sums over the last ``window`` steps, as `snndeploy.ir.answers.smoothed`."""
    if window == 1:
        return emitted
    total = emitted.cumsum(0)
    if window >= len(total):
        return total
    return torch.cat([total[:window], total[window:] - total[:-window]])


def answers(run: UnrolledRun, network: Network) -> Tensor:
    """Class per sample, as engines answer; see `snndeploy.ir.answers.chosen`."""
    output = network.with_role("output")[0].name
    answer: Tensor = chosen(run.outputs[output].detach().sum(0).flatten(1))
    return answer


def hits(run: UnrolledRun, network: Network, labels: Tensor, samples: Batches) -> tuple[float, int]:
    """How many answers are right, and of how many: one per sample, or per labelled step.

    Of target values, each counts as the share of the variance of all ``samples`` that is explained.
    """
    if samples.regresses:
        output = network.with_role("output")[0].name
        told = run.outputs[output].detach().mean(0).flatten(1)
        off = float(((told - labels) ** 2).sum()) / samples.spread
        return labels.numel() - off, labels.numel()
    window = samples.window
    if labels.ndim == 1:
        return int((answers(run, network) == labels).sum()), len(labels)
    output = network.with_role("output")[0].name
    emitted = run.outputs[output].detach().flatten(2)
    told = chosen(_summed(emitted, window)).T
    known = labels != UNLABELLED
    return int(((told == labels) & known).sum()), int(known.sum())


def accuracy(module: TrainableNetwork, samples: Batches, batch: int = 256) -> float:
    """Fraction of the samples, or of the labelled steps, that are answered right; see `hits`."""
    right, judged = 0.0, 0
    with torch.no_grad():
        for inputs, labels in samples.in_order(batch):
            met, of = hits(module(inputs), module.network, labels, samples)
            right, judged = right + met, judged + of
    return right / max(1, judged)


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
