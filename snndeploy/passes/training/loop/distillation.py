"""The loop of `Distil`: a student, its teacher, and steps that are relative to each layer."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ....calibrate.fidelity import Reference
from ....calibrate.made_up import made_up, side_by_side
from ....ir.arrays import Array
from ....ir.finding import Finding
from ....ir.network import Network
from ....simulate.float.engine import run_float
from ...base import PassContext
from ...given import answers_window
from ..options import DistilOptions
from ..torch_network.module import TrainableNetwork
from ..torch_network.surrogate import SpikeGradient
from ..torch_network.unroll import UnrolledRun, Unrolling
from .data import once
from .reach import all_finite, shortened, with_finite_gradients
from .session import on_device, refuse_another_start
from .trainer import deterministic

_Tensors = Mapping[str, Tensor]
_Gradients = Sequence[Tensor | None]
_MOMENTUM, _SQUARES, _TINY = 0.9, 0.999, 1e-12
_AT_ONCE = 256
_SHAKEN = 2
"""Networks beside each epoch's own that it is judged by."""


@dataclass(frozen=True, kw_only=True)
class DistilEpoch:
    """How an epoch went: mean divergence of the answers learnt from, and of those to samples aside."""

    number: int
    loss: float
    aside: float

    @property
    def status(self) -> str:
        """One line."""
        told = f"divergence {self.loss:.4f}"
        return told if math.isnan(self.aside) else f"{told}, aside {self.aside:.4f}"


class Distillation:
    """One run of the pass.

    Args:
        how: the pass.
        net: what it was given.
        teacher: whose answers are learnt.
        ctx: samples, streams, and whom to tell.

    Raises:
        PassRefused: torch has no such device; in `run`, gradients of single steps are no numbers.
    """

    def __init__(
        self, how: DistilOptions, net: Network, teacher: Network, ctx: PassContext
    ) -> None:
        self.how, self.net, self.ctx = how, net, ctx
        self.device = on_device("cpu" if ctx.training is None else ctx.training.device)
        self.module = TrainableNetwork(
            net,
            learn=how.learn,
            layers=_names(how, net),
            gradient=SpikeGradient(kind=how.surrogate, width=how.width),
            unrolling=self.unrolling,
        ).to(self.device)
        refuse_another_start(net, self.module)
        self.teacher = teacher
        inputs = ctx.samples(f"the pass {how.name!r}")
        self.inputs = {name: once(x) for name, x in inputs.items()}
        self.length, self.samples = next(iter(self.inputs.values())).shape[:2]
        self.steps = int(net.notes.get("steps", 0)) or self.length
        self.reference = None
        if ctx.aside is not None:
            self.reference = Reference(teacher, ctx.aside.inputs, window=answers_window(ctx.aside))
        self.history: list[DistilEpoch] = []
        self.best = 0
        self.start = math.nan
        self.network = net

    @property
    def unrolling(self) -> Unrolling:
        """How gradients are asked to go back."""
        return Unrolling(window=self.how.window, recompute=self.how.window > 0)

    def findings(self) -> tuple[Finding, ...]:
        """Where training was not what was asked for."""
        return shortened(self.module, self.unrolling)

    @property
    def learns(self) -> bool:
        """Whether there is anything to learn."""
        return any(p.requires_grad for p in self.module.parameters())

    def run(self) -> None:
        """Train, and end with the best epoch (the last one where nothing was put aside)."""
        how = self.how
        with deterministic(self.device):
            wanted = self._taught_all()
            softness = {n: _softness(counts) for n, counts in wanted.items()}
            steps = RelativeSteps(self.module)
            least = self.start = self._judged(steps)
            for number in range(1, how.epochs + 1):
                stream = self.ctx.stream(f"epoch {number}")
                losses = []
                for share, x, answers in self._batches(wanted, stream):
                    with steps.shaken(how.noise, stream):

                        def attempt(
                            x: _Tensors = x, answers: _Tensors = answers
                        ) -> tuple[Tensor, bool, _Gradients]:
                            run = self.module({name: v[: self.steps] for name, v in x.items()})
                            loss = divergence(answers, self._answers(run), softness)
                            found = steps.gradients(loss)
                            return loss.detach(), all_finite(found), found

                        loss, gradients = with_finite_gradients(self.module, self.steps, attempt)
                    done = (number - 1 + share) / how.epochs
                    steps.take(gradients, how.rate * 0.5 * (1 + math.cos(math.pi * done)))
                    losses.append(float(loss))
                found = self.module.to_network()
                aside = self._judged(steps)
                epoch = DistilEpoch(number=number, loss=float(np.mean(losses)), aside=aside)
                self.history.append(epoch)
                if self.reference is None or aside < least:
                    least, self.best = aside, number
                    self.network = found if found.digest != self.net.digest else self.net
                self.ctx.progress("epochs", number, how.epochs, epoch.status)

    def metrics(self) -> dict[str, float]:
        """What came of it."""
        found = {"epochs": float(len(self.history)), "kept": float(self.best)}
        found["divergence"] = self.history[-1].loss
        if self.reference is not None:
            found["aside_before"] = self.start
            found["aside"] = min(self.start, *(e.aside for e in self.history))
        return found

    def _judged(self, steps: RelativeSteps) -> float:
        """Divergence on samples aside: of the network, and of some that are shaken, always alike."""
        if self.reference is None:
            return math.nan
        found = [self.reference.divergence(self.module.to_network())]
        stream = self.ctx.stream("judged")
        for _ in range(_SHAKEN if self.how.noise and steps.neurons else 0):
            with steps.shaken(self.how.noise, stream):
                found.append(self.reference.divergence(self.module.to_network()))
        return float(np.mean(found))

    def _batches(
        self, wanted: _Tensors, stream: np.random.Generator
    ) -> Iterator[tuple[float, _Tensors, _Tensors]]:
        """One epoch: how much of it is over, inputs, and what the teacher answers to them.

        The teacher answers many made-up samples at a time, which costs little more than a few.
        """
        made = self.how.synthetic
        real = max(1, round(self.how.batch * (1 - made)))
        order = stream.permutation(self.samples)
        for low in range(0, self.samples, _AT_ONCE):
            chunk = order[low : low + _AT_ONCE]
            x = {n: _taken(v, chunk) for n, v in self.inputs.items()}
            answers = {n: w[chunk] for n, w in wanted.items()}
            other = made_up(x, stream, shift=self.how.shift) if made else x
            told = self._taught(other) if made else answers
            # where more are made up than not, the made-up ones come again
            each = self.how.batch - real if made < 1 else self.how.batch
            turns = stream.permutation(len(chunk))
            for i in range(0, len(chunk), real):
                own = np.arange(i, min(i + real, len(chunk)))
                span = np.arange(i * each // real, (i + len(own)) * each // real)
                few = np.take(turns, span, mode="wrap")
                parts = (
                    [(other, told, few)] if made >= 1 else [(x, answers, own), (other, told, few)]
                )
                yield (
                    (low + i) / self.samples,
                    {
                        n: self._tensor(side_by_side([_taken(p[n], of) for p, _, of in parts]))
                        for n in x
                    },
                    {n: torch.cat([t[n][of] for _, t, of in parts]) for n in answers},
                )

    def _tensor(self, x: Array) -> Tensor:
        """Inputs on the device; of those that are constant in time one step is copied, and expanded."""
        constant = x.strides[0] == 0 and len(x) > 1
        values = torch.tensor(x[:1] if constant else x, dtype=torch.float32, device=self.device)
        return values.expand(len(x), *values.shape[1:]) if constant else values

    def _answers(self, run: UnrolledRun) -> dict[str, Tensor]:
        """Counts of each output, ``(samples, neurons)``, as if over all steps."""
        factor = self.length / self.steps
        return {name: emitted.sum(0).flatten(1) * factor for name, emitted in run.outputs.items()}

    def _taught(self, inputs: Mapping[str, Array]) -> dict[str, Tensor]:
        """What the teacher counts at each output, ``(samples, neurons)``."""
        run = run_float(self.teacher, inputs)
        names = [p.name for p in self.teacher.with_role("output")]
        counts = {n: run.spikes[n].sum(axis=0, dtype=np.float64) for n in names}
        return {
            n: torch.tensor(c.reshape(len(c), -1), dtype=torch.float32, device=self.device)
            for n, c in counts.items()
        }

    def _taught_all(self) -> _Tensors:
        """What the teacher counts on every sample."""
        parts = [
            self._taught({n: x[:, low : low + _AT_ONCE] for n, x in self.inputs.items()})
            for low in range(0, self.samples, _AT_ONCE)
        ]
        return {n: torch.cat([p[n] for p in parts]) for n in parts[0]}


def _softness(counts: Tensor) -> float:
    """Half the standard deviation of the teacher's counts, as `Reference` has it."""
    return float(counts.std(correction=0)) / 2 or 1.0


def _taken(x: Array, chosen: Array) -> Array:
    """Some samples; what is a view of one step stays one."""
    if x.strides[0] == 0 and len(x) > 1:
        return np.broadcast_to(x[:1, chosen], (len(x), len(chosen), *x.shape[2:]))
    return np.asarray(x[:, chosen])


def divergence(
    wanted: Mapping[str, Tensor], found: Mapping[str, Tensor], softness: Mapping[str, float]
) -> Tensor:
    """Kullback-Leibler divergence of softened counts ``(samples, neurons)``, mean over samples.

    An output of one neuron is compared over the samples, as `Reference` does.
    """
    total = []
    for name, counts in wanted.items():
        p, q = counts / softness[name], found[name] / softness[name]
        if counts.shape[1] == 1:
            p, q = p.T, q.T
        p, q = torch.log_softmax(p, 1), torch.log_softmax(q, 1)
        total.append((p.exp() * (p - q)).sum(1).mean())
    return torch.stack(total).mean()


class RelativeSteps:
    """Adam whose step is a share of each layer's own size; see ``rate`` of `Distil`."""

    def __init__(self, module: TrainableNetwork) -> None:
        self.module = module
        self.parameters: list[tuple[Tensor, Tensor]] = []
        for p in module.network.projections:
            latent = module.latent(p.name)
            if latent.requires_grad:
                self.parameters.append((latent, _unit(module, p.name)))
        self.neurons = [
            (p, torch.full_like(p, float(p.detach().abs().mean()))) for p in module.neurons.values()
        ]
        self.parameters += self.neurons
        self._mean = [torch.zeros_like(p) for p, _ in self.parameters]
        self._square = [torch.zeros_like(p) for p, _ in self.parameters]
        self._count = 0

    @contextmanager
    def shaken(self, noise: float, stream: np.random.Generator) -> Iterator[None]:
        """What learns of the neurons is elsewhere by ``noise`` times its size, for a while."""
        moved = [(p, p.detach().clone(), unit) for p, unit in self.neurons] if noise else []
        with torch.no_grad():
            for p, _, unit in moved:
                by = torch.tensor(stream.normal(0, noise, p.shape), dtype=p.dtype, device=p.device)
                p.add_(by * unit)
        try:
            yield
        finally:
            with torch.no_grad():
                for p, value, _ in moved:
                    p.copy_(value)

    def gradients(self, loss: Tensor) -> _Gradients:
        """Gradients of ``loss``, None where it does not depend on a parameter."""
        learnt = [p for p, _ in self.parameters]
        found: _Gradients = torch.autograd.grad(loss, learnt, allow_unused=True)
        return found

    def take(self, gradients: _Gradients, rate: float) -> None:
        """One step down ``gradients``."""
        self._count += 1
        bias = (1 - _MOMENTUM**self._count, 1 - _SQUARES**self._count)
        with torch.no_grad():
            for i, ((p, unit), g) in enumerate(zip(self.parameters, gradients, strict=True)):
                if g is None:
                    continue
                self._mean[i].lerp_(g, 1 - _MOMENTUM)
                self._square[i].mul_(_SQUARES).addcmul_(g, g, value=1 - _SQUARES)
                root = (self._square[i] / bias[1]).sqrt_().add_(_TINY)
                p.sub_(rate * unit * (self._mean[i] / bias[0]) / root)
        self.module.clamp_()


def _unit(module: TrainableNetwork, name: str) -> Tensor:
    """What steps of a layer's weights are relative to, broadcastable to them."""
    latent, mask = module.latent(name).detach(), module.mask(name)
    grid = module.grids.get(name)
    if grid is not None:
        return torch.tensor(grid.scale, dtype=latent.dtype, device=latent.device)
    alive = latent if mask is None else latent[mask]
    size = alive.square().mean().sqrt() if alive.numel() else latent.new_zeros(())
    return size if mask is None else size * mask


def _names(how: DistilOptions, net: Network) -> list[str]:
    """The layers whose weights learn; none where all that the patterns name have codes."""
    spared = how.spares(net)
    exempt = how.ignored(net)
    if all(p.name in spared or p.name in exempt for p in net.projections):
        return []
    return [p.name for p in how.select(net)]
