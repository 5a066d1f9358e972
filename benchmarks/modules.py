"""SpikingJelly's SEW-ResNets and spike-driven transformer through ``compress_module``, layer by layer.

    python benchmarks/modules.py [--model sew18 sew152 sdt] [--sample] [--size 64]

Needs SpikingJelly (2.0.0; ``pip install --no-deps spikingjelly loguru``), in an environment of its own
if need be. Weights are random, batch norm has seen random images, so that every layer fires. With
``--sample`` only the first layer of each shape is compressed, in a call of its own, and stands for the
others of its shape.
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
from snndeploy.passes.quantization.quantize import Quantize
from snndeploy.pipeline.torch_modules.hooks import ModuleWatch
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


def shapes(net: Any, x: torch.Tensor) -> dict[tuple[int, ...], list[str]]:
    """Names of the layers that run, by the shape of their weights."""
    watch = ModuleWatch(net)
    with torch.no_grad():
        watch.run(lambda m, s: m(s), [x])
    found: dict[tuple[int, ...], list[str]] = {}
    for seen in watch.layers.values():
        if seen.calls:
            found.setdefault(tuple(seen.layer.weight.shape), []).append(seen.name)
    return found


def run(name: str, options: argparse.Namespace) -> None:
    """Compress, and print seconds and the peak."""
    torch.manual_seed(0)
    x = torch.rand(4, options.samples, 3, options.size, options.size)
    net = settled(model(name), x)
    kinds = shapes(net, x)
    recipe = Recipe(
        name="modules",
        guard="off",  # its weights are random
        passes=(
            Prune(sparsity=0.9, method="sbc", scope="layer", search="rounds"),
            Quantize(method="sbc", bits=4, per="channel", clip="minmax"),
        ),
    )
    seconds, done, driven = 0.0, 0, 0
    every = [name for names in kinds.values() for name in names]
    parts = (
        [(names[:1], len(names)) for names in kinds.values()] if options.sample else [(every, 1)]
    )
    for names, times in parts:
        began = time.process_time()
        found = snndeploy.compress_module(net, [x], recipe, layers=names)
        spent = time.process_time() - began
        seconds, done = seconds + times * spent, done + len(names)
        driven += sum(layer.leak is not None for layer in found.layers.values())
        print(f"{name} {names[0]}: {spent:.1f} s, {times} alike", file=sys.stderr, flush=True)
    weights = sum(int(np.prod(shape)) * len(names) for shape, names in kinds.items()) / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{name}: {weights:.1f} M weights in {len(every)} layers, {done} compressed ({driven} drive a "
        f"neuron), {seconds / 60:.1f} CPU min for all{', extrapolated' if done < len(every) else ''}, "
        f"peak {peak:.1f} GiB",
        flush=True,
    )


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = ("sew18", "sew152", "sdt")
    parser.add_argument("--model", nargs="+", choices=names, default=list(names))
    parser.add_argument("--sample", action="store_true", help="one layer of each shape")
    parser.add_argument("--samples", type=int, default=2)
    parser.add_argument("--size", type=int, default=64, help="pixels")
    options = parser.parse_args()
    without_torchvision()
    for name in options.model:
        run(name, options)


if __name__ == "__main__":
    main()
