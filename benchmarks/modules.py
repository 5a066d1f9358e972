"""SpikingJelly's SEW-ResNets and spike-driven transformer through ``compress_module``, layer by layer.

    python benchmarks/modules.py [--model sew18 sew152 sdt] [--layers 4] [--size 64]

Needs SpikingJelly (2.0.0; ``pip install --no-deps spikingjelly loguru``), in an environment of its own
if need be. Weights are random, batch norm has seen random images, so that every layer fires. With
``--layers`` only so many layers, spread over the network, are compressed; the time of the others is
extrapolated by rows x columns^3 (their elimination) and said to be.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
import types
from typing import Any

import numpy as np
import torch

import snndeploy
from snndeploy.passes.prune import Prune
from snndeploy.passes.quantize import Quantize
from snndeploy.pipeline.module_hooks import Watch
from snndeploy.recipe import Recipe


def without_torchvision() -> None:
    """SpikingJelly's model zoo takes one function from torchvision, to download; torch has it, too."""
    utils = types.ModuleType("torchvision.models.utils")
    utils.load_state_dict_from_url = torch.hub.load_state_dict_from_url  # type: ignore[attr-defined]
    parents = {n: types.ModuleType(n) for n in ("torchvision", "torchvision.models")}
    sys.modules.update({**parents, utils.__name__: utils})


def model(name: str) -> Any:
    """A network of many steps at a time."""
    from spikingjelly.activation_based import functional, neuron
    from spikingjelly.activation_based.model import sew_resnet, spike_driven_transformer

    if name == "sdt":
        net = spike_driven_transformer.SpikeDrivenTransformer(
            embed_dims=128, depths=2, num_classes=10
        )
    else:
        make = {"sew18": sew_resnet.sew_resnet18, "sew152": sew_resnet.sew_resnet152}[name]
        net = make(pretrained=False, cnf="ADD", spiking_neuron=neuron.IFNode)
    functional.set_step_mode(net, "m")
    return net


def settled(net: Any, x: torch.Tensor) -> Any:
    """Batch norm with the statistics of ``x``."""
    from spikingjelly.activation_based import functional

    for part in net.modules():
        if "BatchNorm" in type(part).__name__:
            part.momentum = None
    with torch.no_grad():
        net.train()(x)
    functional.reset_net(net)
    return net.eval()


def chosen(net: Any, x: torch.Tensor, count: int) -> list[tuple[Any, bool]]:
    """All layers that run, and whether each is one of about ``count``, evenly spread (0: all)."""
    watch = Watch(net)
    with torch.no_grad():
        watch.run(lambda m, s: m(s), [x])
    layers = [seen for seen in watch.layers.values() if seen.calls]
    every = max(1, len(layers) // count) if count else 1
    return [(seen, i % every == every // 2) for i, seen in enumerate(layers)]


def cost(layer: Any) -> float:
    """What elimination takes, up to a factor."""
    rows, columns = layer.weight.shape[0], int(np.prod(layer.weight.shape[1:]))
    return float(rows) * columns**3


def run(name: str, options: argparse.Namespace) -> None:
    """Compress, and print seconds per layer and the peak."""
    torch.manual_seed(0)
    x = torch.rand(4, options.samples, 3, options.size, options.size)
    net = settled(model(name), x)
    layers = chosen(net, x, options.layers)
    recipe = Recipe(name="modules", passes=(
        Prune(sparsity=0.9, method="sbc", scope="layer", search="rounds"),
        Quantize(method="sbc", bits=4, per="channel", clip="minmax"),
    ))  # fmt: skip
    picked = [seen.name for seen, taken in layers if taken]
    began = time.process_time()
    found = snndeploy.compress_module(
        net, [x], recipe, layers=picked if options.layers else None,
        progress=lambda done, of: print(f"{name}: {done} of {of}", file=sys.stderr, flush=True),
    )  # fmt: skip
    spent = time.process_time() - began
    done = sum(cost(seen.layer) for seen, taken in layers if taken)
    whole = sum(cost(seen.layer) for seen, _ in layers)
    weights = sum(seen.layer.weight.numel() for seen, _ in layers) / 1e6
    driven = sum(layer.leak is not None for layer in found.layers.values())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{name}: {weights:.1f} M weights in {len(layers)} layers, {len(found.layers)} compressed "
        f"({driven} drive a neuron) in {spent:.0f} CPU s, peak {peak:.1f} GiB; all of them"
        f"{', extrapolated' if whole > done else ''}: {spent * whole / done / 60:.0f} CPU min",
        flush=True,
    )


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = ("sew18", "sew152", "sdt")
    parser.add_argument("--model", nargs="+", choices=names, default=list(names))
    parser.add_argument("--layers", type=int, default=0, help="only so many; 0: all")
    parser.add_argument("--samples", type=int, default=2)
    parser.add_argument("--size", type=int, default=64, help="pixels")
    options = parser.parse_args()
    without_torchvision()
    for name in options.model:
        run(name, options)


if __name__ == "__main__":
    main()
