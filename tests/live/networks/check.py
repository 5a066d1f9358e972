"""Runs inside an environment with one framework: random networks, its output against ours.

Usage: python check.py FRAMEWORK COUNT. Prints one JSON object: what each network was, how many of its
output values differ from ours, and how many spikes it had.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

import snndeploy
from snndeploy.ir.network import Network
from snndeploy.simulate.float.engine import run_float

STEPS = 30
Case = tuple[str, Network, Any, Any]


def spikes(rng: np.random.Generator, *shape: int) -> torch.Tensor:
    return torch.tensor((rng.random(shape) < 0.4).astype(np.float32))


def scaled(layer: nn.Module, factor: float = 3.0) -> nn.Module:
    """Weights large enough that neurons fire."""
    with torch.no_grad():
        layer.weight *= factor  # type: ignore[operator]
    return layer


def batch_norm(channels: int) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(channels)
    norm.running_mean = torch.randn(channels) * 0.1
    norm.running_var = torch.rand(channels) + 0.5
    return norm.eval()


def snntorch(i: int, rng: np.random.Generator) -> Case:
    import snntorch as snn
    from snntorch import utils

    reset = ("subtract", "zero", "none")[i % 3]
    late = bool(i // 3 % 2) or reset == "none"
    options: dict[str, Any] = {"reset_mechanism": reset, "init_hidden": True, "reset_delay": late}
    beta = float(rng.uniform(0.5, 0.98))
    if i % 2:
        x = spikes(rng, STEPS, 1, 12)
        last = snn.Synaptic(0.6, beta, **options) if i % 4 == 1 else snn.Leaky(beta, **options)
        late_only = {**options, "reset_delay": True}
        options = late_only if i % 4 == 1 else options
        kind = snn.RSynaptic if i % 4 == 1 else snn.RLeaky
        args = (0.7, beta) if i % 4 == 1 else (beta,)
        if i % 4 == 1:
            last = snn.Synaptic(0.6, beta, **options)
        middle = kind(*args, linear_features=9, **options)
        net = nn.Sequential(scaled(nn.Linear(12, 9)), middle, scaled(nn.Linear(9, 5)), last)
    else:
        x = spikes(rng, STEPS, 1, 2, 8, 8)
        net = nn.Sequential(
            scaled(nn.Conv2d(2, 4, 3, padding=1)),
            batch_norm(4),
            snn.Leaky(beta, **options),
            nn.AvgPool2d(2),
            scaled(nn.Conv2d(4, 3, 3)),
            snn.Leaky(beta, threshold=0.7, **options),
            nn.Dropout(0.5),
            nn.Flatten(),
            scaled(nn.Linear(12, 5)),
            snn.Leaky(beta, **options),
        )
    net.eval()
    network = snndeploy.from_snntorch(net, x[0])
    utils.reset(net)
    with torch.no_grad():
        frames = [net(frame) for frame in x]
    out = torch.stack([f[0] if isinstance(f, tuple) else f for f in frames])
    return (
        f"{reset}{'' if late else ' at once'}, {'recurrent' if i % 2 else 'conv'}",
        network,
        x,
        out,
    )


def norse(i: int, rng: np.random.Generator) -> Case:
    import norse.torch as nt
    from norse.torch.functional.reset import reset_subtract, reset_value

    method = (reset_value, reset_subtract)[i % 2]
    tau = torch.tensor(float(rng.integers(50, 500)))
    box = nt.LIFBoxParameters(tau_mem_inv=tau, v_th=torch.tensor(0.3), reset_method=method)
    if i % 3 == 2:
        lif = nt.LIFParameters(tau_mem_inv=tau, v_th=torch.tensor(0.1))
        shape: tuple[int, ...] = (12,)
        net = nt.SequentialState(
            scaled(nn.Linear(12, 9)), nt.LIFCell(lif), scaled(nn.Linear(9, 5)), nt.LIFCell(lif)
        )
    elif i % 3 == 1:
        shape = (12,)
        net = nt.SequentialState(
            scaled(nn.Linear(12, 9)),
            nt.LIFBoxCell(box),
            scaled(nn.Linear(9, 5)),
            nt.LIFBoxCell(box),
        )
    else:
        shape = (2, 8, 8)
        net = nt.SequentialState(
            scaled(nn.Conv2d(2, 4, 3, bias=False)),
            batch_norm(4),
            nt.LIFBoxCell(box),
            scaled(nn.Conv2d(4, 3, 3, stride=2)),
            nt.LIFBoxCell(box),
        )
    net.eval()
    x = spikes(rng, STEPS, 1, *shape)
    sample = x[0, 0]
    network = snndeploy.from_norse(net, sample)
    state, frames = None, []
    with torch.no_grad():
        for frame in x:
            out, state = net(frame, state)
            frames.append(out)
    return (
        f"{method.__name__} {['box', 'conv', 'cell'][(0, 1, 2)[i % 3]]}",
        network,
        x,
        torch.stack(frames),
    )


def sinabs(i: int, rng: np.random.Generator) -> Case:
    import sinabs as s
    import sinabs.activation as sa
    import sinabs.layers as sl

    spike = (sa.MultiSpike, sa.SingleSpike, sa.MaxSpike(2))[i % 3]
    reset = (sa.MembraneSubtract(), sa.MembraneReset())[i // 3 % 2]
    floor = (None, -1.0, -0.5)[i // 2 % 3]
    options: dict[str, Any] = {"spike_fn": spike, "reset_fn": reset, "min_v_mem": floor}

    def neuron() -> nn.Module:
        if i % 2:
            return sl.LIFSqueeze(
                tau_mem=float(5 + i), norm_input=bool(i // 2 % 2), batch_size=1, **options
            )
        return sl.IAFSqueeze(batch_size=1, **options)

    factor = 6.0 if i % 4 == 3 else 2.0
    net = nn.Sequential(
        scaled(nn.Conv2d(2, 4, 3, padding=1), factor),
        batch_norm(4),
        neuron(),
        sl.SumPool2d(2),
        scaled(nn.Conv2d(4, 3, 3, bias=False), factor),
        neuron(),
        nn.Flatten(),
        scaled(nn.Linear(12, 5), factor),
        neuron(),
    ).eval()
    x = spikes(rng, STEPS, 1, 2, 8, 8)
    network = snndeploy.from_sinabs(net, x[:, 0])
    s.reset_states(net)
    with torch.no_grad():
        out = net(x[:, 0])
    name = getattr(spike, "__name__", type(spike).__name__)
    return f"{name}, {type(reset).__name__}, floor {floor}", network, x, out.unsqueeze(1)


def spikingjelly(i: int, rng: np.random.Generator) -> Case:
    from spikingjelly.activation_based import functional, layer, neuron

    v_reset = (0.0, None, -0.2)[i % 3]

    def node() -> nn.Module:
        kind = i // 3 % 4
        if kind == 0:
            return neuron.IFNode(v_reset=v_reset)
        if kind == 1:
            return neuron.LIFNode(tau=2.0 + i / 4, decay_input=bool(i % 2), v_reset=v_reset)
        if kind == 2:
            return neuron.ParametricLIFNode(init_tau=2.0, decay_input=bool(i % 2), v_reset=v_reset)
        return neuron.CUBALIFNode(c_decay=0.5, v_decay=0.75, v_reset=v_reset)

    net = nn.Sequential(
        scaled(layer.Conv2d(2, 4, 3, padding=1), 8.0),
        layer.BatchNorm2d(4).eval(),
        node(),
        layer.AvgPool2d(2),
        scaled(layer.Conv2d(4, 3, 3, bias=False), 8.0),
        node(),
        layer.Flatten(),
        scaled(layer.Linear(12, 5), 8.0),
        node(),
    ).eval()
    x = spikes(rng, STEPS, 1, 2, 8, 8)
    network = snndeploy.from_spikingjelly(net, x[0])
    functional.reset_net(net)
    with torch.no_grad():
        out = torch.stack([net(frame) for frame in x])
    return f"{type(net[2]).__name__}, v_reset {v_reset}", network, x, out


CASES: dict[str, Callable[[int, np.random.Generator], Case]] = {
    "snntorch": snntorch,
    "norse": norse,
    "sinabs": sinabs,
    "spikingjelly": spikingjelly,
}


def main(name: str, count: int) -> None:
    warnings.simplefilter("ignore")
    results = []
    for i in range(count):
        torch.manual_seed(i)
        what, network, x, out = CASES[name](i, np.random.default_rng(i))
        output = network.with_role("output")[0].name
        ours = run_float(network, x.numpy()).spikes[output]
        expected = out.numpy().reshape(ours.shape)
        results.append(
            {
                "what": what,
                "differing": int((ours != expected).sum()),
                "spikes": float(expected.sum()),
            }
        )
    print(json.dumps(results))  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
