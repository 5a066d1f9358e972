"""What the training passes share: a module on its device, with data, rounding and checkpoints."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
import torch

from ....chip import Target, family_of, load_target
from ....errors import PassRefused
from ....ir.finding import Finding
from ....ir.network import Network
from ....lower import InputCoding, infer_coding, lower
from ....lower.integers import USUAL_BITS, integer_codes
from ...base import Calibration, Pass, PassContext
from ...kept import digest_of
from ..options import TrainingPass, training_data
from ..torch_network.grid import WeightGrid
from ..torch_network.module import TrainableNetwork
from ..torch_network.surrogate import SpikeGradient
from ..torch_network.unroll import Unrolling
from .checkpoint import Checkpoint
from .data import Batches
from .reach import shortened
from .trainer import Epoch, Penalty, accuracy, answers_of, train


class Session:
    """A pass at work on a network.

    Args:
        how: the pass.
        net: what it was given.
        ctx: what it may use.
        quantizer: brings weights onto their grid at the start of each epoch (None: real-valued
            layers stay so).

    Raises:
        PassRefused: there is nothing to train on, or torch has no such device.
        TargetError: there is no such target to be aware of.
    """

    def __init__(
        self, how: TrainingPass, net: Network, ctx: PassContext, quantizer: Pass | None = None
    ) -> None:
        self.how = how
        self.ctx = ctx
        self.data = training_data(ctx, net)
        self.quantizer = quantizer
        self.steps = int(net.notes.get("steps", 0)) or self.length
        name = self.data.aware or how.aware
        self.target: Target | None = load_target(name) if name else None
        self._bits = USUAL_BITS if self.target is None else family_of(self.target).weights.bits
        device = on_device(self.data.device)
        self.module = TrainableNetwork(
            net,
            learn=how.learn,
            layers=[p.name for p in how.select(net)],
            gradient=SpikeGradient(
                kind=how.surrogate, width=how.width, through_reset=how.through_reset
            ),
            unrolling=self.unrolling,
        ).to(device)
        refuse_another_start(net, self.module)
        self.history: list[Epoch] = []
        self.inexact: dict[str, float] = {}
        self._chip_grids: dict[str, WeightGrid] = {}
        self._teacher = (ctx.source or net) if how.distill else None
        networks = [n.digest for n in (net, self._teacher) if n is not None]
        samples = [s for s in (self.data.samples, self.data.validation) if s is not None]
        self._key = hashlib.sha256(
            "\n".join(
                [
                    *networks,
                    repr(how),
                    name,
                    str(ctx.seed),
                    ctx.scope,
                    torch.__version__,
                    *(digest_of(s) for s in samples),
                ]
            ).encode()
        ).hexdigest()

    @property
    def unrolling(self) -> Unrolling:
        """How gradients are asked to go back."""
        how = self.how
        return Unrolling(window=how.window, truncate=how.truncate, recompute=how.recompute)

    @property
    def length(self) -> int:
        """Steps of the samples."""
        return len(next(iter(self.data.samples.inputs.values())))

    def batches(
        self, samples: Calibration, steps: int = 0, taught: torch.Tensor | None = None
    ) -> Batches:
        """Samples as they are trained on: with analog values rounded as the chip gets them.

        ``steps`` of each; 0 is as many as the network was last trained for, or all.
        """
        scales = {}
        if self.target is not None:
            scales = {n: c.scale for n, c in codings(samples).items()}
        return Batches(
            samples, self.data.device, steps=steps or self.steps, scales=scales, taught=taught
        )

    @cached_property
    def taught(self) -> torch.Tensor | None:
        """What the teacher answers to the samples trained on, over all of their steps."""
        if self._teacher is None:
            return None
        device = self.data.device
        module = TrainableNetwork(self._teacher, learn=()).to(device)
        steps = int(self._teacher.notes.get("steps", 0))
        return answers_of(module, Batches(self.data.samples, device, steps=steps), self.how.loss)

    def fit(
        self,
        stage: str,
        epochs: int,
        *,
        penalties: Sequence[Penalty] = (),
        best: bool = True,
        steps: int = 0,
        constant: bool = False,
    ) -> list[Epoch]:
        """Train the module for some epochs.

        Args:
            stage: names the checkpoint, and the progress.
            epochs: how many.
            penalties: added to the loss.
            best: end with the best epoch on validation, not with the last.
            steps: of each sample (0: as in `batches`).
            constant: keep the learning rate, whatever the schedule.
        """
        how = replace(self.how, schedule="constant") if constant else self.how
        data, ctx = self.data, self.ctx
        checkpoint = None
        if data.folder is not None:
            path = data.folder / f"{ctx.scope.replace('#', '-')}-{stage}.pt"
            checkpoint = Checkpoint(path, f"{self._key}-{stage}", resume=data.resume)
        history = train(
            self.module,
            how,
            self.batches(data.samples, steps, self.taught),
            None if data.validation is None else self.batches(data.validation, steps),
            epochs=epochs,
            stream=lambda name: ctx.stream(f"{stage}/{name}"),
            penalties=penalties,
            refresh=self.refresh,
            checkpoint=checkpoint,
            best=best,
            report=lambda e, of: ctx.progress(f"{stage}: epochs", e.number, of, e.status),
        )
        self.history += history
        return history

    def fix(self, grids: Mapping[str, WeightGrid]) -> None:
        """Round these layers to these grids from now on."""
        self._chip_grids = {}
        self.module.set_grids(grids)

    def refresh(self, module: TrainableNetwork) -> None:
        """Bring the grids up to date with the weights, and the neurons with the target."""
        grids = {name: g for name, g in module.grids.items() if name not in self._chip_grids}
        real = module.to_network(rounded=False)
        if self.quantizer is not None:
            rounded = self.quantizer.run(real, PassContext(seed=self.ctx.seed)).network
            new = {p.name: p.weight for p in rounded.projections if p.weight.quantized}
            known = {p.name for p in module.network.projections if p.weight.quantized}
            grids |= {n: WeightGrid.of(w) for n, w in new.items() if n not in known}
            if getattr(self.quantizer, "share", "none") == "target":
                grids = _beside_fixed(rounded, grids, self._bits)
            for p in rounded.projections:
                if p.weight.mask is not None:
                    module.set_mask(p.name, p.weight.mask)
        if self.target is not None:
            self._chip_grids = _as_lowered(real, grids, self._bits)
        module.set_grids(grids | self._chip_grids)
        if self.target is None:
            return
        program = lower(
            module.to_network(), self.target, inputs=codings(self.data.samples), steps=self.steps
        )
        rounding = {name: r.weight for name, r in program.rounding.items()}
        self.inexact = {name: error for name, error in rounding.items() if error}
        module.set_chip(program, self.target)

    def accuracy(self, steps: int = 0) -> float:
        """Fraction of the validation samples (else of those trained on) that is answered right, or
        of the variance of their target values that is explained."""
        samples = self.data.validation or self.data.samples
        return accuracy(self.module, self.batches(samples, steps))

    def metrics(self) -> dict[str, float]:
        """What the training came to."""
        last = self.history[-1]
        judged = [e.validation for e in self.history if not np.isnan(e.validation)]
        found = {
            "epochs": float(len(self.history)),
            "loss": last.loss,
            "accuracy": last.accuracy,
            "rate": last.rate,
            "samples": float(next(iter(self.data.samples.inputs.values())).shape[1]),
        }
        return {
            **found,
            **({"validation": judged[-1], "best_validation": max(judged)} if judged else {}),
        }

    def findings(self) -> tuple[Finding, ...]:
        """Where what was trained is not exactly what will run, or training not what was asked for."""
        return shortened(self.module, self.unrolling) + tuple(
            Finding(
                code="aware-inexact",
                severity="warning",
                where=name,
                message=f"its weights are rounded again on {self.target.name}, by up to "
                f"{error:.2%} of the largest",
                rule="the layers into one population share a grid, for it to be exact",
            )
            for name, error in self.inexact.items()
            if self.target is not None
        )


def refuse_another_start(net: Network, module: TrainableNetwork) -> None:
    """Training begins with the network that was given, to the bit.

    Raises:
        PassRefused: the torch module holds other weights.
    """
    start = {p.name: p.weight for p in module.to_network().projections}
    for p in net.projections:
        moved = np.count_nonzero(start[p.name].data != p.weight.data)
        if moved:
            raise PassRefused(
                "training-start-differs",
                f"{moved} of its {p.weight.data.size} weights would change before the first step "
                "of training: in float32 they are not what they were",
                where=p.name,
                hint="scale the layer and its thresholds up, or quantize it again",
            )


def _as_lowered(net: Network, grids: Mapping[str, WeightGrid], bits: int) -> dict[str, WeightGrid]:
    """The grids of so many bits to which lowering rounds the layers that stay real-valued."""
    real = [p for p in net.projections if not p.weight.quantized and p.name not in grids]
    codes = {p.name: integer_codes(p.weight, bits) for p in real}
    return {
        name: WeightGrid(kind="symmetric", scale=c.step, bits=bits)
        for name, c in codes.items()
        if not c.exact
    }


def _beside_fixed(net: Network, grids: dict[str, WeightGrid], bits: int) -> dict[str, WeightGrid]:
    """Grids whose steps are powers of two from that of a real-valued layer into the same population.

    A shortcut of unit weights is such a layer: its grid is fixed, and the chip adds both exactly only
    if one step is a power of two of the other.
    """
    found = dict(grids)
    for p in net.projections:
        fixed = None if p.weight.quantized else integer_codes(p.weight, bits)
        if fixed is None or not fixed.exact:
            continue
        for q in net.incoming(p.target):
            if q.name in grids:
                power = np.rint(np.log2(grids[q.name].scale / fixed.step))
                found[q.name] = replace(grids[q.name], scale=fixed.step * 2.0**power)
    return found


def codings(samples: Calibration) -> dict[str, InputCoding]:
    """How each input enters the chip; what is constant in time is looked at once."""
    return {n: infer_coding(x[:1] if not x.strides[0] else x) for n, x in samples.inputs.items()}


def on_device(name: str) -> torch.device:
    """The device of that name.

    Raises:
        PassRefused: torch does not have it.
    """
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise PassRefused(
            "training-device",
            f"torch cannot compute on {name!r}: {str(error).splitlines()[0]}",
            hint="use --device cpu, or install a torch built for it",
        ) from error
    return device


def with_notes(net: Network, **notes: str) -> Network:
    """``net`` with more notes."""
    return replace(net, notes={**net.notes, **notes})
