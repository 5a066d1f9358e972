"""What is added to the loss: the pull of ADMM, and the price of activity."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ....ir.arrays import Array
from ....ir.linear.float_chain import float_chain
from ..torch_network.module import TrainableNetwork
from ..torch_network.unroll import UnrolledRun
from .data import Batches

_BATCH = 256
Values = Mapping[str, Array]
Project = Callable[[Values], Values]
"""Values of layers, by name, to the nearest ones that the constraint allows."""


class Pull:
    """The scaled-dual pull ``rho / 2 * |W - Z + U|^2`` towards a constraint (Deng et al. 2021).

    The pull is decoupled from the optimiser, as AdamW decouples weight decay: after each of its steps
    of length lr on the loss, W takes the proximal step ``W = (W + lr rho (Z - U)) / (1 + lr rho)``. As
    part of the loss its strength would depend on the scale of weights and gradients, which Adam takes
    out again; this way W closes the same share of the distance in every layer, and no rho is too large.

    After every ``every``-th epoch (or ``within`` times in each, of ``steps`` steps) ``Z = project(W +
    U)`` and ``U += W - Z``; then rho grows by ``growth`` (by that root of it within an epoch) and the
    scaled dual shrinks by it, so that the unscaled one stays what it was. A constant rho below the
    curvature of the loss does not converge; a growing one does.
    """

    def __init__(
        self,
        module: TrainableNetwork,
        names: Sequence[str],
        project: Project,
        *,
        rho: float,
        growth: float,
        every: int = 1,
        within: int = 1,
        steps: int = 1,
    ) -> None:
        self.project = project
        self.rho = rho
        self.growth = growth ** (1 / within)
        self.every = every
        self.epochs = 0
        # the last of an epoch's updates comes after it
        self._updates = {round(i * steps / within) for i in range(1, within)}
        self._step = 0
        self.z = self._projected({name: module.latent(name).detach() for name in names})
        self.u = {name: torch.zeros_like(z) for name, z in self.z.items()}

    def _projected(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        found = self.project({n: v.cpu().double().numpy() for n, v in values.items()})
        return {
            n: torch.tensor(found[n], dtype=v.dtype, device=v.device) for n, v in values.items()
        }

    def loss(self, module: TrainableNetwork, run: UnrolledRun) -> Tensor:
        """Nothing: the pull acts between the optimiser's steps."""
        del module
        return run.spikes[next(iter(run.spikes))].new_zeros(())

    def after_step(self, module: TrainableNetwork, lr: float) -> None:
        """Pull the real-valued weights towards Z - U."""
        share = lr * self.rho
        with torch.no_grad():
            for name, z in self.z.items():
                module.latent(name).add_(share * (z - self.u[name])).div_(1 + share)
        self._step += 1
        if self._step in self._updates:
            self._update(module)

    def after_epoch(self, module: TrainableNetwork) -> str:
        """Move Z and U, and let rho grow; says the residual."""
        self.epochs += 1
        self._step = 0
        if self.epochs % self.every == 0:
            self._update(module)
        return f"residual {self.residual(module):.3f}"

    def _update(self, module: TrainableNetwork) -> None:
        w = {name: module.latent(name).detach() for name in self.z}
        self.z = self._projected({name: w[name] + self.u[name] for name in w})
        self.u = {n: (self.u[n] + w[n] - z) / self.growth for n, z in self.z.items()}
        self.rho *= self.growth

    def residual(self, module: TrainableNetwork) -> float:
        """Largest ``|W - Z| / |W|`` over the layers."""
        found = []
        for name, z in self.z.items():
            w = module.latent(name).detach()
            found.append(float((w - z).norm() / w.norm().clamp_min(1e-12)))
        return max(found)

    def state(self) -> dict[str, Any]:
        """Z, U, rho and the epochs done."""
        return {"z": dict(self.z), "u": dict(self.u), "rho": self.rho, "epochs": self.epochs}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`."""
        self.z, self.u = dict(state["z"]), dict(state["u"])
        self.rho, self.epochs = state["rho"], state["epochs"]


class ActivityPrice:
    """A price on spikes: of each hidden layer's rate above a target, and of SynOps above a budget.

    Args:
        module: the network, for its layers and fan-outs.
        weight: of the penalty.
        target_rate: spikes per neuron and step that are free, in each layer.
        synops: synaptic operations per sample that are free (0: no budget, rates alone are priced).
        ignore: inputs whose values are no spikes.
    """

    def __init__(
        self,
        module: TrainableNetwork,
        *,
        weight: float,
        target_rate: float,
        synops: float,
        ignore: Sequence[str] = (),
    ) -> None:
        self.weight = weight
        self.target_rate = target_rate
        self.synops = synops
        network = module.network
        self._hidden = [
            p.name for p in network.with_role("hidden") if p.neuron and p.neuron.spiking
        ]
        self._ignore = set(ignore)
        self._fan_out = self._counted(module)
        self._last = 0.0

    def _counted(self, module: TrainableNetwork) -> dict[str, Tensor]:
        return {n: fan for n, fan in fan_outs(module).items() if n not in self._ignore}

    def _used(self, run: UnrolledRun) -> Tensor:
        """SynOps of a batch."""
        return torch.stack([(run.spikes[n] * fan).sum() for n, fan in self._fan_out.items()]).sum()

    def used(self, module: TrainableNetwork, samples: Batches) -> float:
        """SynOps per sample."""
        with torch.no_grad():
            total = sum(float(self._used(module(x))) for x, _ in samples.in_order(_BATCH))
        return total / len(samples)

    def loss(self, module: TrainableNetwork, run: UnrolledRun) -> Tensor:
        """The price of one batch."""
        del module
        used = self._used(run) / run.samples
        self._last = float(used.detach())
        if self.synops:
            return self.weight * (used / self.synops - 1).clamp_min(0)
        rates = [
            run.spikes[n].sum() / (run.spikes[n].numel() * run.steps * run.samples)
            for n in self._hidden
        ]
        above = [(rate - self.target_rate).clamp_min(0) for rate in rates]
        return self.weight * (torch.stack(above).sum() if above else used * 0)

    def after_step(self, module: TrainableNetwork, lr: float) -> None:
        """Nothing: the price is part of the loss."""

    def after_epoch(self, module: TrainableNetwork) -> str:
        """Count fan-outs again, as weights may have become zero; says the SynOps of the last batch."""
        self._fan_out = self._counted(module)
        return f"SynOps {self._last:,.0f}"

    def state(self) -> dict[str, Any]:
        """Nothing: fan-outs follow from the weights."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Nothing to go on from."""


def fan_outs(module: TrainableNetwork) -> dict[str, Tensor]:
    """How many weights that are not zero each neuron's spike meets, per population: ``(*shape)``.

    Spikes are counted where they are met, at the edges of maps too: it is the gradient of what
    arrives when every such weight is 1.
    """
    found: dict[str, Tensor] = {}
    for p in module.network.projections:
        shape = module.network.source_shape(p)
        ones = (module.weight(p.name).detach() != 0).to(torch.float32)
        x = torch.zeros((1, *shape), device=ones.device, requires_grad=True)
        with torch.enable_grad():
            arriving = float_chain(p.ops, ones, x).sum()
        (fan_out,) = torch.autograd.grad(arriving, x)
        for source in p.sources:
            name = source.population
            found[name] = found.get(name, torch.zeros_like(fan_out[0])) + fan_out[0]
    return found
