"""A SEW-ResNet and a spike-driven transformer, trained on Fashion-MNIST and compressed as live modules.

    python benchmarks/trained_modules.py [--model sew sdt] [--seeds 0] [--epochs 6] [--json rows.json]

Needs SpikingJelly (2.0.0; ``pip install --no-deps spikingjelly loguru``), in an environment of its own
if need be. ``sew`` is a stem and three of SpikingJelly's SEW blocks (32, 64, 128 channels, ADD) over
4 steps; ``sdt`` is its spike-driven transformer with 64 dimensions, 4 heads and 2 blocks. They train in
bfloat16 where the processor has it, every epoch is kept in ``--cache``, and so is every row of the table
in ``--json``: what was stopped goes on.

Calibration takes 128 training images without labels, in 8 calls; accuracy is that of the 10,000 test
images. ``obc`` and ``sbc`` follow the papers: greedy elimination, budgets by LAMP, dense calibration,
exact weights; rounding per channel on the grid of extremes. ``ours`` are the settings of ``sbc-plus``,
chosen by the answers to calls that were held out. ``magnitude`` takes the smallest weights of all
layers by LAMP, and rounds to nearest. No guard gives anything back.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from modules import without_torchvision
from networks import TASKS, cache_folder, data_folder, raw
from results import Results
from second_order import advantage, spread

import snndeploy
from snndeploy.passes.prune import Prune
from snndeploy.passes.quantization.prune_quantize import PruneQuantize
from snndeploy.passes.quantization.quantize import Quantize
from snndeploy.passes.second_order.budgets import lamp_counts
from snndeploy.recipe import Recipe, load_recipe

MODELS = ("sew", "sdt")
METHODS = ("magnitude", "obc", "sbc", "ours")
STEPS = 4
CALIBRATION, CALLS = 128, 8


def model(name: str) -> Any:
    """Untrained; takes ``(steps, samples, 1, 28, 28)`` and answers ``(samples, 10)``."""
    from spikingjelly.activation_based import functional, layer, neuron, surrogate
    from spikingjelly.activation_based.model import sew_resnet, spike_driven_transformer

    if name == "sdt":
        net: Any = spike_driven_transformer.SpikeDrivenTransformer(
            T=STEPS,
            in_channels=1,
            num_classes=10,
            embed_dims=64,
            num_heads=4,
            depths=2,
            mlp_ratio=2.0,
            pooling_stat="1110",
        )
    else:
        how = {"surrogate_function": surrogate.ATan(), "detach_reset": True}

        def block(n: int, m: int) -> Any:
            down = None
            if n != m:
                down = torch.nn.Sequential(
                    layer.Conv2d(n, m, 1, stride=2, bias=False), layer.BatchNorm2d(m)
                )
            return sew_resnet.BasicBlock(
                n, m, 1 if n == m else 2, down, cnf="ADD", spiking_neuron=neuron.IFNode, **how
            )

        net = Averaged(
            torch.nn.Sequential(
                layer.Conv2d(1, 32, 3, stride=2, padding=1, bias=False),
                layer.BatchNorm2d(32),
                neuron.IFNode(**how),
                block(32, 32),
                block(32, 64),
                block(64, 128),
                layer.AdaptiveAvgPool2d(1),
                layer.Flatten(),
                layer.Linear(128, 10),
            )
        )
    functional.set_step_mode(net, "m")
    return net


class Averaged(torch.nn.Module):
    """The mean answer over time."""

    def __init__(self, body: torch.nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Currents ``(steps, samples, classes)``, averaged."""
        return self.body(x).mean(0)  # type: ignore[no-any-return]


def images(split: str, options: argparse.Namespace) -> tuple[torch.Tensor, torch.Tensor]:
    """Standardised images ``(samples, 1, 28, 28)``, and classes."""
    x, y = raw(TASKS["fashion-conv"], split, options.data, 1)
    x = (x.reshape(-1, 1, 28, 28).astype(np.float32) - 0.286) / 0.353
    return torch.from_numpy(x), torch.from_numpy(y)


def timed(x: torch.Tensor) -> torch.Tensor:
    """The image at each step."""
    return x.unsqueeze(0).repeat(STEPS, 1, 1, 1, 1)


def accuracy(net: Any, x: torch.Tensor, y: torch.Tensor) -> float:
    """In %."""
    from spikingjelly.activation_based import functional

    right = 0
    with torch.no_grad():
        for low in range(0, len(y), 250):
            functional.reset_net(net)
            right += int((net(timed(x[low : low + 250])).argmax(1) == y[low : low + 250]).sum())
    return 100 * right / len(y)


def trained(name: str, seed: int, options: argparse.Namespace) -> Any:
    """From the cache, or trained from where the cache has it."""
    from spikingjelly.activation_based import functional

    torch.manual_seed(seed)
    net = model(name)
    x, y = images("train", options)
    batches = len(y) // options.batch
    best = torch.optim.AdamW(net.parameters(), lr=options.rate, weight_decay=0.02)
    rates = torch.optim.lr_scheduler.OneCycleLR(
        best, options.rate, total_steps=options.epochs * batches
    )
    path = options.cache / f"{name}-{seed}.pt"
    first = 0
    if path.exists():
        state = torch.load(path, weights_only=True)
        for part, kept in zip((net, best, rates), state["parts"], strict=True):
            part.load_state_dict(kept)
        first = state["epoch"]
    for epoch in range(first, options.epochs):
        began = time.perf_counter()
        stream = torch.Generator().manual_seed(1000 * seed + epoch)
        order = torch.randperm(len(y), generator=stream)
        total = 0.0
        net.train()
        for b in range(batches):
            chosen = order[b * options.batch : (b + 1) * options.batch]
            part = moved(x[chosen], stream)
            with torch.autocast("cpu", torch.bfloat16):
                answer = net(timed(part))
            loss = torch.nn.functional.cross_entropy(answer.float(), y[chosen])
            best.zero_grad()
            loss.backward()
            best.step()
            rates.step()
            functional.reset_net(net)
            total += loss.item()
        state = {"parts": [p.state_dict() for p in (net, best, rates)], "epoch": epoch + 1}
        kept_part = path.with_suffix(".part")
        torch.save(state, kept_part)
        kept_part.replace(path)
        print(
            f"{name} {seed}, epoch {epoch + 1}/{options.epochs}: loss {total / batches:.4f}, "
            f"{time.perf_counter() - began:.0f} s",
            flush=True,
        )
    return net.eval()


def moved(x: torch.Tensor, stream: torch.Generator) -> torch.Tensor:
    """Half of the images mirrored, all moved by up to two pixels."""
    mirrored = torch.rand(len(x), 1, 1, 1, generator=stream) < 0.5
    x = torch.where(mirrored, x.flip(3), x)
    dy, dx = (int(v) for v in torch.randint(0, 5, (2,), generator=stream))
    wide = torch.nn.functional.pad(x, (2, 2, 2, 2), value=-0.81)
    return wide[:, :, dy : dy + 28, dx : dx + 28]


def recipe(method: str, sparsity: float | None, bits: int | None) -> Recipe:
    """A method at an amount; no guard."""
    steps: list[Any] = []
    if method == "ours":
        step = load_recipe("sbc-plus").passes[0]
        assert isinstance(step, PruneQuantize)
        prune, quantize = step.parts()
        if sparsity is not None and bits is not None:
            steps.append(replace(step, sparsity=sparsity, bits=bits))
        elif sparsity is not None:
            steps.append(replace(prune, sparsity=sparsity))
        else:
            steps.append(replace(quantize, bits=bits))
    else:
        if sparsity is not None:
            steps.append(Prune(sparsity=sparsity, method=method, scope="lamp"))  # type: ignore[arg-type]
        if bits is not None:
            how = {"obc": "gptq", "sbc": "sbc"}[method]
            steps.append(Quantize(bits=bits, method=how, per="channel", clip="minmax"))  # type: ignore[arg-type]
    return Recipe(name=method, guard="off", passes=tuple(steps))


def by_magnitude(net: Any, sparsity: float | None, bits: int | None) -> Any:
    """The smallest weights of all layers by LAMP; what stays is rounded per channel, to nearest."""
    found = copy.deepcopy(net)
    weights = [
        m.weight for m in found.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)
    ]
    weights = [w for w in weights if w.ndim > 1]
    with torch.no_grad():
        if sparsity is not None:
            total = sum(w.numel() for w in weights)
            counts = lamp_counts([w.abs().numpy() for w in weights], round(sparsity * total))
            for w, count in zip(weights, counts, strict=True):
                if count:
                    w[w.abs() <= w.abs().flatten().kthvalue(int(count)).values] = 0
        if bits is not None:
            most = 2 ** (bits - 1) - 1
            for w in weights:
                step = w.abs().flatten(1).amax(1).clamp_min(1e-12) / most
                step = step.reshape(-1, *(1,) * (w.ndim - 1))
                w.copy_((w / step).round().clamp(-most, most) * step)
    return found


def makers(
    net: Any, calls: list[torch.Tensor], options: argparse.Namespace
) -> Iterator[tuple[str, str, Callable[[], tuple[Any, float]]]]:
    """Rows: what is done, by which method, and how; with the share of weights that are gone."""
    amounts: list[tuple[float | None, int | None]] = [(s, None) for s in options.sparsity]
    amounts += [(None, b) for b in options.bits]
    amounts.append((0.9, 4))
    for sparsity, bits in amounts:
        told = [] if sparsity is None else [f"{sparsity:.0%} pruned"]
        told += [] if bits is None else [f"{bits} bits"]
        for method in options.methods:

            def make(m: str = method, s: float | None = sparsity, b: int | None = bits) -> Any:
                if m == "magnitude":
                    return by_magnitude(net, s, b)
                return snndeploy.compress_module(net, calls, recipe(m, s, b)).module

            yield ", ".join(told), method, make


def main() -> None:
    """Train what is not trained, fill the table, print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--data", type=Path, default=data_folder())
    parser.add_argument("--cache", type=Path, default=cache_folder())
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rate", type=float, default=5e-3)
    parser.add_argument("--sparsity", nargs="*", type=float, default=[0.8, 0.9, 0.95])
    parser.add_argument("--bits", nargs="*", type=int, default=[4, 3, 2])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--json", type=Path, help="keep the rows here, and take those that it has")
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    without_torchvision()
    rows = Results(options.json)
    x, y = images("test", options)
    for name in options.model:
        for seed in options.seeds:
            net = trained(name, seed, options)
            calls = list(images("train", options)[0][:CALIBRATION].split(CALIBRATION // CALLS))
            calls = [timed(c) for c in calls]
            rows_of = [("as trained", "", lambda net=net: net), *makers(net, calls, options)]
            for what, method, make in rows_of:
                key = f"{name}|{what}|{method}"
                if str(seed) in rows.get(key, {}):
                    continue
                began = time.process_time()
                found = make()
                spent = time.process_time() - began
                right = accuracy(found, x, y)
                rows.setdefault(key, {})[str(seed)] = right
                print(f"{key} {seed}: {right:.2f}, {spent:.0f} s", flush=True)
                rows.write()
    print("\n| network | | method | right, % | ours is better by |\n|---|---|---|---|---|")
    for key, right_of in rows.items():
        name, what, method = key.split("|")
        mine = rows.get(f"{name}|{what}|ours", {})
        both = sorted(set(mine) & set(right_of))
        better = ""
        if both and method != "ours":
            better = advantage([(mine[s],) for s in both], [(right_of[s],) for s in both])
        print(f"| {name} | {what} | {method} | {spread(list(right_of.values()), 1)} | {better} |")


if __name__ == "__main__":
    main()
