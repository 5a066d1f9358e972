"""SpikingJelly's SEW-ResNets and spike-driven transformer, compressed, and taken to Hala Point.

    python benchmarks/modules.py [--model sew18 sew152 sdt] [--sample] [--size 64]
    python benchmarks/modules.py --whole [--model sew18 sew152 sdt] [--size 64]

Needs SpikingJelly (2.0.0; ``pip install --no-deps spikingjelly loguru``), in an environment of its own
if need be. Weights are random, batch norm has seen random images, so that every layer fires.

As it is, ``compress_module`` goes through all layers; with ``--sample`` through the first one of each
shape, in a call of its own, which stands for the others of its shape. With ``--whole`` a network is read
from the live module and goes through every stage: second order, lower, place on Hala Point, check,
certify; a row for each. No chip format has a product of two spikes, so the transformer is compressed as
a live module, and what goes on is all of it but its products: those are inputs, their factors outputs.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
import types
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch

import snndeploy
from snndeploy.bundle import write_bundle
from snndeploy.chip import load_target
from snndeploy.data import Samples
from snndeploy.errors import SnnDeployError
from snndeploy.ir.arrays import size
from snndeploy.ir.network import Network
from snndeploy.limits import Limits, using
from snndeploy.lower import InputCoding, lower
from snndeploy.mapping import check_program, fits, place_program
from snndeploy.passes.prune import Prune
from snndeploy.passes.quantization.quantize import Quantize
from snndeploy.pipeline import bundle_of, certificate_of
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
            embed_dims=128, depths=2, num_classes=10, pooling_stat="1110"
        )  # its last pool would take the largest of currents
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
    recipe = second_order()
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


BOARD = "hala-point"


class Stages:
    """Seconds of each stage (wall and processor time, children included), and the peak of its memory."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.began = time.monotonic()

    @contextmanager
    def __call__(self, stage: str) -> Iterator[list[str]]:
        """Measure the body, and print what it has put into the list."""
        told: list[str] = []
        _forget_peak()
        wall, cpu = time.monotonic(), processor_time()
        yield told
        wall, cpu = time.monotonic() - wall, processor_time() - cpu
        cells = (f"{wall:,.1f} s", f"{cpu:,.1f} s", f"{_peak():.1f} GiB", ", ".join(told))
        print(f"| {self.what} | {stage} | {' | '.join(cells)} |", flush=True)


def processor_time() -> float:
    """Of this process and of its children."""
    t = os.times()
    return t.user + t.system + t.children_user + t.children_system


def _forget_peak() -> None:
    """Linux counts the peak anew from here; elsewhere it is that of all before."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak() -> float:
    """GiB."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def frames(options: argparse.Namespace, samples: int) -> torch.Tensor:
    """Spikes (steps, samples, 3, size, size), of which a fifth are there."""
    return (torch.rand(4, samples, 3, options.size, options.size) < 0.2).float()


class Attended(torch.nn.Module):
    """An attention layer whose products of spikes, ``k * v`` and ``q * (k * v)``, are inputs."""

    def __init__(self, attention: Any) -> None:
        super().__init__()
        self.attention = attention
        self.fed: tuple[torch.Tensor, ...] = ()
        self.sent: list[torch.Tensor] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Spikes of q, k, v and of what is summed over tokens go out, products come in."""
        a, shortcut = self.attention, x
        x = a.shortcut_lif(x)
        both, masked = self.fed
        layers = (
            (a.q_conv, a.q_bn, a.q_lif),
            (a.k_conv, a.k_bn, a.k_lif),
            (a.v_conv, a.v_bn, a.v_lif),
        )
        self.sent = [lif(norm(conv(x))) for conv, norm, lif in layers]
        self.sent.append(a.attn_lif(both.sum(dim=-1, keepdim=True)))
        return a.proj_bn(a.proj_conv(masked)) + shortcut  # type: ignore[no-any-return]


class WithoutProducts(torch.nn.Module):
    """A spike-driven transformer all of whose products are inputs."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net
        for block in net.blocks:
            block.attn = Attended(block.attn)

    def forward(self, x: torch.Tensor, *products: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The answer, and what the products are made of."""
        blocks = self.net.blocks
        for block, fed in zip(blocks, zip(products[::2], products[1::2], strict=True), strict=True):
            block.attn.fed = fed
        answer = self.net(x)
        return (answer, *(s for block in blocks for s in block.attn.sent))


def without_products(net: Any, options: argparse.Namespace) -> tuple[Any, dict[str, torch.Tensor]]:
    """The transformer beside its products, and random spikes for all its inputs."""
    x = frames(options, options.samples)
    side = options.size >> 3
    wide = net.head.in_features
    inputs = {"input0": x}
    for _ in net.blocks:
        for shape in ((wide, side**2), (wide, side, side)):
            spikes = (torch.rand(len(x), options.samples, *shape) < 0.1).float()
            inputs[f"input{len(inputs)}"] = spikes
    return WithoutProducts(net), inputs


def whole(name: str, options: argparse.Namespace) -> None:
    """Every stage of one network; of a transformer, all but the products that nothing can lower."""
    torch.manual_seed(0)
    net = settled(model(name), frames(options, options.samples))
    given: Any = frames(options, options.samples)
    stages = Stages(name)
    try:
        with stages("read") as told:
            read = snndeploy.from_spikingjelly(net, given[:, :1])
            told.append(described(read))
    except SnnDeployError as error:
        told = [f"refused: {error}"]
        print(f"{name} cannot be read whole: {error}", flush=True)
        with stages("second order, live") as told:
            found = snndeploy.compress_module(net, [given], second_order())
            driven = sum(layer.leak is not None for layer in found.layers.values())
            told.append(f"{len(found.layers)} layers, of which {driven} drive a neuron")
        cut, inputs = without_products(net, options)
        with stages("read without products") as told:
            read = snndeploy.from_spikingjelly(cut, tuple(x[:, :1] for x in inputs.values()))
            told.append(described(read))
        names = [p.name for p in read.with_role("input")]
        given = dict(zip(names, inputs.values(), strict=True))
    samples = {k: v.numpy() for k, v in given.items()} if isinstance(given, dict) else given.numpy()
    onto_chip(stages, read, Samples(samples), quick=options.quick)


def described(net: Network) -> str:
    """Layers, weights and neurons."""
    weights = sum(p.weight.data.size for p in net.projections) / 1e6
    neurons = sum(size(p.shape) for p in net.populations if p.role != "input")
    return f"{len(net.projections)} layers, {weights:.2f} M weights, {neurons:,} neurons"


def second_order() -> Recipe:
    """SBC at 90 % and 4 bits."""
    return Recipe(
        name="modules",
        guard="off",  # its weights are random
        passes=(
            Prune(sparsity=0.9, method="sbc", scope="layer", search="rounds"),
            Quantize(method="sbc", bits=4, per="channel", clip="minmax"),
        ),
    )


def by_magnitude() -> Recipe:
    """As many weights and bits, in a moment."""
    passes = (Prune(sparsity=0.9, scope="layer"), Quantize(bits=4, per="channel"))
    return Recipe(name="modules", guard="off", passes=passes)


def onto_chip(stages: Stages, net: Network, samples: Samples, *, quick: bool = False) -> None:
    """Second order, lower, place, check, certify."""
    chip = load_target("loihi2")
    chips = chip.chips(BOARD)
    with stages("magnitude" if quick else "second order") as told:
        recipe = by_magnitude() if quick else second_order()
        net = snndeploy.compress(net, recipe=recipe, calibration=samples).network
        left = sum(p.weight.alive for p in net.projections) / 1e6
        told.append(f"{left:.2f} M weights left, 4 bits")
    with stages("lower") as told:
        program = lower(net, chip, inputs=InputCoding.named("binary"))
        told.append(f"{len(program.groups)} groups")
    with stages("place") as told:
        placement = place_program(program, chip, chips)
        told.append(f"{len(placement.cores):,} cores of {placement.chips:,} chips")
    with stages("check") as told:
        findings = check_program(program, placement, chip, chips)
        errors = [f"{f.code}: {f.message}" for f in findings if f.severity == "error"]
        told.append("fits" if fits(findings) else "; ".join(errors)[:300])
    del program, placement, findings
    with tempfile.TemporaryDirectory() as folder, using(Limits(memory=12 << 30, model_s=3600.0)):
        bundle = Path(folder) / "net.snnb"
        with stages("compile") as told:
            compiled = snndeploy.compile(
                net, target=chip, recipe=None, board=BOARD, calibration=samples.first(1)
            )
            told.append("lowered, placed, checked and run once more")
        with stages("write") as told:
            write_bundle(bundle, bundle_of(compiled, samples.first(1)), version="0")
            told.append(f"{sum(f.stat().st_size for f in bundle.iterdir()) / 2**20:,.0f} MiB")
        del compiled
        with stages("certify") as told:
            found = certificate_of(bundle)
            if found["certified"]:
                told.append(f"certified, {len(found['proved'])} kinds of statements proved")
            else:
                told.append(f"not certified: {found['refused'] or found['contradiction']}")


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = ("sew18", "sew152", "sdt")
    parser.add_argument("--model", nargs="+", choices=names, default=list(names))
    parser.add_argument("--whole", action="store_true", help="every stage, to Hala Point")
    parser.add_argument("--quick", action="store_true", help="with --whole: by magnitude instead")
    parser.add_argument("--sample", action="store_true", help="one layer of each shape")
    parser.add_argument("--samples", type=int, default=2)
    parser.add_argument("--size", type=int, default=64, help="pixels")
    options = parser.parse_args()
    without_torchvision()
    for name in options.model:
        (whole if options.whole else run)(name, options)


if __name__ == "__main__":
    main()
