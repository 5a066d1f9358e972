"""Runs inside an environment with one framework: random networks, its output against ours.

Usage: python check.py FRAMEWORK COUNT. Prints one JSON list: what each network was and how it was read,
how many of its output values differ from ours, how many spikes it had, what was warned of, and whether
that is wrong: a difference that nothing warned of, or one where nothing was left open.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

import snndeploy
from snndeploy.errors import InputError
from snndeploy.ingest import read_network
from snndeploy.ir.network import Network
from snndeploy.live.read import copied
from snndeploy.simulate.float.engine import run_float

STEPS = 30


@dataclass(frozen=True, kw_only=True)
class Case:
    """A network of a framework, what it answers to ``x``, and every way to read it.

    Args:
        what: what it is, in words.
        live: as read from the module.
        x: inputs, (steps, 1, *shape).
        out: the framework's answer.
        graph: what the framework's own exporter makes of it; None where it refuses.
        said: all that the file does not say, as options.
        lost: whether the exporter is known to drop something of it.
    """

    what: str
    live: Network
    x: Any
    out: Any
    graph: Any
    said: Mapping[str, Any]
    lost: bool = False


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


def prepared(module: nn.Module, where: str) -> nn.Module:
    """A copy that exporters take: batch norm folded, dropout left out."""
    return folded(copied(module, where))


def folded(module: nn.Module) -> nn.Module:
    from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

    for name, child in list(module.named_children()):
        setattr(module, name, folded(child))
    if not isinstance(module, nn.Sequential):
        bypass(module)
        return module
    kept: dict[str, nn.Module] = {}
    for name, child in module.named_children():
        last = next(reversed(kept), None)
        before = kept[last] if last is not None else None
        if isinstance(child, nn.modules.batchnorm._BatchNorm) and last is not None:
            if isinstance(before, (nn.Conv1d, nn.Conv2d)):
                kept[last] = fuse_conv_bn_eval(before, child)
                continue
            if isinstance(before, nn.Linear):
                kept[last] = fuse_linear_bn_eval(before, child)
                continue
        if not isinstance(child, (nn.modules.dropout._DropoutNd, nn.Identity)):
            kept[name] = child
    if list(kept.values()) == list(module.children()):
        return module
    if type(module) is nn.Sequential:
        module._modules = dict(kept)
        return module
    return type(module)(*kept.values())


def bypass(module: nn.Module) -> None:
    """Put a function in the place of dropout outside a Sequential: exporters know no such layer."""

    if isinstance(module, (nn.ModuleList, nn.ModuleDict)):
        return
    for name, child in list(module.named_children()):
        if isinstance(child, (nn.modules.dropout._DropoutNd, nn.Identity)):
            delattr(module, name)
            setattr(module, name, same)


def same(x: torch.Tensor) -> torch.Tensor:
    return x


def snntorch(i: int, rng: np.random.Generator) -> Case:
    import snntorch as snn
    from snntorch import utils
    from snntorch.export_nir import export_to_nir

    reset = ("subtract", "zero", "none")[i % 3]
    late = bool(i // 3 % 2) or reset == "none"
    options: dict[str, Any] = {"reset_mechanism": reset, "init_hidden": True, "reset_delay": late}
    beta = 1.0 if i % 11 == 10 else float(rng.uniform(0.5, 0.98))

    def leaky(*shape: int, threshold: float = 1.0) -> Any:
        """One value per neuron, which is what the exporter can write."""
        per_neuron = {"threshold": torch.full(shape, threshold), **options}
        return snn.Leaky(torch.full(shape, beta), **per_neuron)

    if i % 2:
        x = spikes(rng, STEPS, 1, 12)
        if i % 4 == 1:
            options["reset_delay"] = late = True  # RSynaptic knows nothing else
            alpha = torch.full((5,), 0.6)
            last = snn.Synaptic(alpha, torch.full((5,), beta), threshold=torch.ones(5), **options)
            middle = snn.RSynaptic(0.7, beta, linear_features=9, **options)
        else:
            last, middle = leaky(5), snn.RLeaky(beta, linear_features=9, **options)
        net = nn.Sequential(scaled(nn.Linear(12, 9)), middle, scaled(nn.Linear(9, 5)), last)
    else:
        x = spikes(rng, STEPS, 1, 2, 8, 8)
        net = nn.Sequential(
            scaled(nn.Conv2d(2, 4, 3, padding=1)),
            batch_norm(4),
            leaky(4, 8, 8),
            nn.AvgPool2d(2),
            scaled(nn.Conv2d(4, 3, 3)),
            leaky(3, 2, 2, threshold=0.7),
            nn.Dropout(0.5),
            nn.Flatten(),
            scaled(nn.Linear(12, 5)),
            leaky(5),
        )
    net.eval()
    network = snndeploy.from_snntorch(net, x[0])
    with torch.no_grad(), np.errstate(divide="ignore"):
        graph = export_to_nir(prepared(net, ""), x[0], ignore_dims=[0])
    timing = "snntorch-delayed" if late else "snntorch-immediate"
    utils.reset(net)
    with torch.no_grad():
        frames = [net(frame) for frame in x]
    out = torch.stack([f[0] if isinstance(f, tuple) else f for f in frames])
    return Case(
        what=f"{reset}{'' if late else ' at once'}, {'recurrent' if i % 2 else 'conv'}, beta {beta:.2f}",
        live=network,
        x=x,
        out=out,
        graph=graph,
        said={"frontend": "snntorch", "reset": reset, "reset_timing": timing},
    )


def norse(i: int, rng: np.random.Generator) -> Case:
    import norse.torch as nt
    from norse.torch.functional.reset import reset_subtract, reset_value

    method = (reset_value, reset_subtract)[i % 2]
    tau = float(rng.integers(50, 500))
    leak, back = (float(rng.uniform(-0.3, 0.2)) if i % 3 else 0.0 for _ in range(2))
    back = back if i % 5 == 1 else 0.0  # the exporter drops it
    kind = ("conv", "box", "cell", "iaf", "readout")[i % 5]
    method = reset_value if kind in ("cell", "iaf") else method  # these know nothing else

    def full(value: float, shape: tuple[int, ...]) -> torch.Tensor:
        return torch.full(shape, value)

    def box(*shape: int) -> Any:
        return nt.LIFBoxCell(
            nt.LIFBoxParameters(
                tau_mem_inv=full(tau, shape),
                v_leak=full(leak, shape),
                v_th=full(0.3, shape),
                v_reset=full(back, shape),
                reset_method=method,
            )
        )

    def cell(*shape: int) -> Any:
        return nt.LIFCell(
            nt.LIFParameters(
                tau_syn_inv=full(200.0, shape),
                tau_mem_inv=full(tau, shape),
                v_leak=full(leak, shape),
                v_th=full(0.1 + max(leak, 0.0), shape),
                v_reset=full(back, shape),
            )
        )

    def iaf(*shape: int) -> Any:
        p = nt.IAFParameters(v_th=full(1.0, shape), v_reset=full(back, shape))
        return nt.IAFCell(p)

    def readout(*shape: int) -> Any:
        return nt.LIBoxCell(
            nt.LIBoxParameters(tau_mem_inv=full(tau, shape), v_leak=full(leak, shape))
        )

    if kind == "conv":
        shape: tuple[int, ...] = (2, 8, 8)
        net = nt.SequentialState(
            scaled(nn.Conv2d(2, 4, 3, bias=False)),
            batch_norm(4),
            box(4, 6, 6),
            scaled(nn.Conv2d(4, 3, 3, stride=2)),
            box(3, 2, 2),
        )
    else:
        shape = (12,)
        first = {"box": box, "cell": cell, "iaf": iaf, "readout": box}[kind]
        last = readout if kind == "readout" else first
        net = nt.SequentialState(
            scaled(nn.Linear(12, 9)), first(9), scaled(nn.Linear(9, 5)), last(5)
        )
    net.eval()
    x = spikes(rng, STEPS, 1, *shape)
    network = snndeploy.from_norse(net, x[0] if kind == "conv" else x[0, 0])
    with torch.no_grad():
        graph = nt.to_nir(prepared(net, ""), x[0, 0], dt=1e-3)
    state, frames = None, []
    with torch.no_grad():
        for frame in x:
            out, state = net(frame, state)
            frames.append(out)
    reset = "zero" if method is reset_value else "subtract"
    return Case(
        what=f"{method.__name__} {kind}, v_leak {leak:.2f}, v_reset {back:.2f}",
        live=network,
        x=x,
        out=torch.stack(frames),
        graph=graph,
        said={"frontend": "norse", "dt": 1e-6, "reset": reset},
        lost=back != 0,
    )


def sinabs(i: int, rng: np.random.Generator) -> Case:
    import sinabs as s
    import sinabs.activation as sa
    import sinabs.layers as sl
    from sinabs.nir import to_nir

    spike = (sa.MultiSpike, sa.SingleSpike, sa.MaxSpike(2))[i % 3]
    reset = (sa.MembraneSubtract(), sa.MembraneReset())[i // 3 % 2]
    floor = (None, -1.0, -0.5)[i // 2 % 3]
    options: dict[str, Any] = {"spike_fn": spike, "reset_fn": reset, "min_v_mem": floor}
    normalised = bool(i // 2 % 2)

    def neuron(*shape: int) -> nn.Module:
        if i % 2:
            return sl.LIFSqueeze(
                tau_mem=torch.full(shape, float(5 + i)),
                norm_input=normalised,
                batch_size=1,
                **options,
            )
        return sl.IAFSqueeze(batch_size=1, **options)

    factor = 6.0 if i % 4 == 3 else 2.0
    net = nn.Sequential(
        scaled(nn.Conv2d(2, 4, 3, padding=1), factor),
        batch_norm(4),
        neuron(4, 8, 8),
        sl.SumPool2d(2),
        scaled(nn.Conv2d(4, 3, 3, bias=False), factor),
        neuron(3, 2, 2),
        nn.Flatten(),
        scaled(nn.Linear(12, 5), factor),
        neuron(5),
    ).eval()
    x = spikes(rng, STEPS, 1, 2, 8, 8)
    network = snndeploy.from_sinabs(net, x[:, 0])
    s.reset_states(net)
    with torch.no_grad():
        out = net(x[:, 0])
        graph = None
        folded = prepared(net, "")
        s.reset_states(folded)
        for layer in folded if i % 2 else ():
            if isinstance(layer, sl.LIFSqueeze):  # the exporter takes one threshold per neuron
                shape = layer.tau_mem.shape
                layer.spike_threshold = nn.Parameter(
                    layer.spike_threshold.expand(shape).clone(), requires_grad=False
                )
        graph = to_nir(folded, x[:, 0])
    name = getattr(spike, "__name__", type(spike).__name__)
    return Case(
        what=f"{name}, {type(reset).__name__}, floor {floor}, {'LIF' if i % 2 else 'IAF'}",
        live=network,
        x=x,
        out=out.unsqueeze(1),
        graph=graph,
        said={
            "frontend": "sinabs",
            "spikes_per_step": "one" if name == "SingleSpike" else "many",
            "max_spikes": 2 if name == "MaxSpike" else None,
            "reset": "subtract" if isinstance(reset, sa.MembraneSubtract) else "zero",
            "v_floor": floor,
            "input_gain": "ode" if normalised or not i % 2 else "unit",
        },
    )


def spikingjelly(i: int, rng: np.random.Generator) -> Case:
    from spikingjelly.activation_based import functional, layer, neuron
    from spikingjelly.activation_based.nir_exchange.to_nir import export_to_nir

    v_reset = (0.0, None, -0.2)[i % 3]
    dt = (1e-4, 1e-3)[i // 2 % 2]

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
    graph = None
    if v_reset is not None:  # the exporter refuses a soft reset
        folded = prepared(net, "")
        functional.reset_net(folded)
        with torch.no_grad():
            graph = export_to_nir(folded, x[0], dt=dt)
    return Case(
        what=f"{type(net[2]).__name__}, v_reset {v_reset}, dt {dt:g}",
        live=network,
        x=x,
        out=out,
        graph=graph,
        said={"frontend": "spikingjelly", "dt": dt},
    )


CASES: dict[str, Callable[[int, np.random.Generator], Case]] = {
    "snntorch": snntorch,
    "norse": norse,
    "sinabs": sinabs,
    "spikingjelly": spikingjelly,
}


def results(name: str, count: int) -> list[dict[str, Any]]:
    """Every network read live, from its file with all options given, and from its file alone."""
    warnings.simplefilter("ignore")
    found = []
    for i in range(count):
        torch.manual_seed(i)
        case = CASES[name](i, np.random.default_rng(i))
        found.append(compared(case, "live", case.live, strict=True))
        if case.graph is None:
            continue
        told = read_network(case.graph, **case.said)
        found.append(compared(case, "file, all said", told, strict=not case.lost))
        try:
            alone = read_network(case.graph)
        except InputError as error:
            if error.code not in ("semantics-ambiguous", "dt-unknown"):
                raise
            continue  # refused, with the options to choose from
        found.append(compared(case, "file alone", alone, strict=False))
    return found


def compared(case: Case, how: str, network: Network, *, strict: bool) -> dict[str, Any]:
    """Differing output values; wrong where they were not to be, or nothing warned of them."""
    output = network.with_role("output")[0]
    ours = run_float(network, case.x.numpy()).spikes[output.name]
    expected = case.out.numpy().reshape(ours.shape)
    spiking = output.neuron is not None and output.neuron.spiking
    same = ours == expected if spiking else np.isclose(ours, expected, rtol=1e-5, atol=1e-6)
    differing = int((~same).sum())
    warned = {f.code for f in network.findings if f.severity == "warning"}
    return {
        "what": f"{case.what}, {how}",
        "how": how,
        "differing": differing,
        "spikes": float(expected.sum()),
        "warned": sorted(warned),
        "wrong": bool(differing and (strict or not warned)),
    }


def main(name: str, count: int) -> None:
    print(json.dumps(results(name, count)))  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
