"""The experiments of ``training.py``: passes by name, with as many epochs of training in each."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from snndeploy.passes.base import Pass
from snndeploy.passes.kernels.remove_kernels import RemoveKernels
from snndeploy.passes.prune import Prune
from snndeploy.passes.quantization.quantize import Quantize
from snndeploy.passes.training.admm import Admm
from snndeploy.passes.training.finetune import FineTune
from snndeploy.passes.training.train_steps import TrainSteps

TARGET = "loihi2"
SPARSITIES = (0.9, 0.95, 0.98)
SECOND_ORDER: Mapping[str, Any] = {
    "method": "sbc",
    "scope": "lamp",
    "kernels": ("membrane", "long"),
    "asymmetry": (0.0, 1.0),
    "choose": "output",
    "sequential": True,
}
"""The recipe ``sbc-plus`` without its quantisation."""
SECOND_ORDER_CODES: Mapping[str, Any] = {
    **{name: value for name, value in SECOND_ORDER.items() if name != "scope"},
    "per": "channel",
    "clip": "hessian",
    "grid": "loihi",
    "refine": 2,
}
"""…and its quantisation alone."""
SWEPT = (8, 6, 5, 4, 3, 2)
"""Bits for a network that was pruned in space and time."""


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Passes, and whether they need kernels to work on."""

    passes: tuple[Pass, ...] = ()
    conv: bool = False


def experiments(epochs: int, learning: Mapping[str, Any]) -> dict[str, Experiment]:
    """Every experiment trains for ``epochs`` altogether, with the options ``learning``.

    ADMM spends three eighths of them on its iterations and the rest on retraining (of 8 epochs, five
    on iterations were worse); what trains in several stages shares them out. So rows can be compared.
    """
    pulls = max(1, round(epochs * 3 / 8))
    rest = max(1, epochs - pulls)
    half = max(1, epochs // 2)
    admm = {**learning, "iterations": pulls, "epochs": rest}
    ft = FineTune(**learning, epochs=epochs)
    found: dict[str, Experiment] = {"dense": Experiment()}

    def add(name: str, *passes: Pass, conv: bool = False) -> None:
        found[name] = Experiment(passes=passes, conv=conv)

    for sparsity in SPARSITIES:
        percent = f"{100 * sparsity:g}"
        magnitude = Prune(sparsity=sparsity, scope="global")
        second = Prune(sparsity=sparsity, **SECOND_ORDER)
        add(f"magnitude-{percent}", magnitude)
        add(f"magnitude-{percent}+ft", magnitude, ft)
        add(f"second-order-{percent}", second)
        add(f"second-order-{percent}+ft", second, ft)
        add(f"admm-{percent}", Admm(sparsity=sparsity, scope="lamp", **admm))
        within = Admm(sparsity=sparsity, scope="lamp", projections_per_epoch=4, **admm)
        add(f"admm-{percent}-within", within)
    # the published budget, and as much for what it is measured against
    paper = {**learning, "iterations": 30, "epochs": 30, "growth": 1.3}
    add("admm-90-published", Admm(sparsity=0.9, scope="lamp", **paper))
    longer = FineTune(**learning, epochs=60)
    add("magnitude-90+ft-published", Prune(sparsity=0.9, scope="lamp"), longer)
    # 2^b levels: 2 bits are four of them; three (ternary) are log2(3) = 1.58 bits
    widths = {
        "4bit": (4, "uniform"),
        "3bit": (3, "uniform"),
        "2bit": (2, "odd"),
        "1.58bit": (2, "uniform"),
        "1bit": (1, "uniform"),
    }
    for name, (bits, levels) in widths.items():
        add(f"admm-{name}", Admm(bits=bits, levels=levels, **admm))  # type: ignore[arg-type]
        if levels == "uniform":
            aware = FineTune(**learning, bits=bits, grid="loihi", aware=TARGET, epochs=epochs)
            add(f"rtn-{name}", Quantize(bits=bits, share="target"))
            add(f"aware-{name}", aware)
    add("admm-95+4bit", Admm(sparsity=0.95, scope="lamp", bits=4, **admm))
    # the paper trains with the mean; ours takes the percentile from 4 bits on
    for bits, fit in itertools.product((8, 4, 2), ("mean", "percentile")):
        on_levels: dict[str, Any] = {
            **learning,
            "bits": bits,
            "grid": "rescaw",
            "per": "channel",
            "exempt": ("first", "last"),
            "fit": fit,
        }
        add(
            f"qp-snn-{bits}bit-50-{fit}",
            FineTune(**on_levels, keep="real", epochs=half),
            RemoveKernels(kinds=("conv",), ratio=0.5, score="svs", fold="weights"),
            FineTune(**on_levels, epochs=epochs - half),
            conv=True,
        )
    for variance in (0.99, 0.999):
        narrow = RemoveKernels(kinds=("conv", "dense"), variance=variance, score="pca")
        add(f"pca-{100 * variance:g}+ft", narrow, ft)
        add(
            f"pca-{100 * variance:g}+restart",
            narrow,
            FineTune(**learning, restart=True, epochs=epochs),
        )
    for halvings in (1, 2, 3):
        stage = max(1, epochs // halvings)
        options = {**learning, "halvings": halvings, "epochs": stage}
        add(f"steps-halved-{halvings}", TrainSteps(**options))
        if halvings > 1:
            add(f"steps-halved-{halvings}-direct", TrainSteps(**options, direct=True))
    quarter = max(1, epochs // 4)
    pruned: tuple[Pass, ...] = (
        RemoveKernels(kinds=("conv", "dense"), variance=0.999, score="pca"),
        FineTune(**learning, epochs=quarter),
        TrainSteps(**learning, halvings=2, epochs=quarter),
    )
    add("spatio-temporal-real", *pruned)
    for bits in SWEPT:  # after training, as published, and by second order
        add(f"spatio-temporal-{bits}bit", *pruned, Quantize(bits=bits, clip="mse", share="target"))
        second_order = Quantize(bits=bits, **SECOND_ORDER_CODES)
        add(f"spatio-temporal-{bits}bit-second-order", *pruned, second_order)
    add(
        "spatio-temporal",
        *pruned,
        Quantize(bits=5, clip="mse", share="target"),
        FineTune(**learning, epochs=max(1, epochs - 3 * quarter)),
    )
    for ratio in (0.5, 0.25):
        add(
            f"synops-{100 * ratio:g}",
            FineTune(**learning, activity=10.0, synops_ratio=ratio, epochs=epochs),
        )
    return found
