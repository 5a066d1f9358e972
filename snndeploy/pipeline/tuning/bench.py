"""Setting a search up: who judges, what is right, how much is enough, and what single layers bear."""

from __future__ import annotations

import numpy as np

from ...chip import Target
from ...data import Samples
from ...errors import InputError, PassRefused, UsageError
from ...ir.arrays import size
from ...ir.network import Network
from ...lower import infer_coding
from ..advise.judging import refuse_step_labels, refuse_unfit
from ..advise.sensitivity import Sensitivity, sensitivity
from ..run import answers_of
from .space import RecipeSpace
from .trial import TrialBench, TuneCost

_SEEN = 300
"""Samples that passes see, at most; and one third of all."""
_FEWEST = 6
_MEASURED_ON = 32
"""Samples that single layers are measured on, at most…"""
_PLACES = 1 << 28
"""…and places (step, sample, neuron, change) in all; where one sample is too much, nothing is."""
_SPARSITIES = (0.5, 0.75, 0.9, 0.95)
_BITS = (4, 3, 2)


def bench_of(
    network: Network,
    samples: Samples,
    target: Target,
    *,
    board: str | None = None,
    cores: int | None = None,
    max_drop: float | None = None,
    least: TuneCost = "memory",
    seed: int = 0,
    adapt: bool = False,
) -> TrialBench:
    """All that the trials of a search have in common; arguments are those of `tune`.

    Raises:
        InputError: too few samples; ``labels-per-step``, labels of single steps.
        PassRefused: the network is quantised already.
        UsageError: nothing is known about what is to be least.
    """
    refuse_unfit(network, samples, "tune")
    refuse_step_labels(
        samples,
        "and recipes are judged by an answer per sample",
        "tune",
        "leave the labels out: the answers of the trained network are the right ones then",
    )
    if len(samples) < _FEWEST:
        raise InputError(
            "tune-samples",
            f"{len(samples)} samples are too few to look at some and to judge by others",
            where="tune",
            hint="give some hundreds",
        )
    if any(p.weight.quantized for p in network.projections):
        raise PassRefused(
            "already-quantized",
            "tune is about a real-valued network",
            hint="start from the network as it was trained",
        )
    known = {"time": target.time, "energy": target.energy or target.power}
    if least in known and known[least] is None:
        raise UsageError(
            "tune-unknown-cost",
            f"{target.name} says nothing about {least}",
            where=f"--{least}",
            hint="ask for the least memory, or choose another target",
        )
    seen = min(_SEEN, len(samples) // 3)
    chips = target.chips(board)
    available = chips * target.chip.cores.limit
    space = RecipeSpace(
        network=network,
        target=target,
        samples=seen,
        seed=seed,
        adapt=adapt,
        found=_measured(network, samples.first(seen)),
    )
    output = network.with_role("output")[0].name
    judges = samples.part(seen, None)
    trained = answers_of("float", judges, output, network=network)
    answers = trained if judges.labels is None else judges.labels
    share = float(np.mean(trained == answers))
    return TrialBench(
        space=space,
        chips=chips,
        cores=available if cores is None else min(cores, available),
        samples=samples,
        inputs=infer_coding(x for part in samples.batches() for x in part.values),
        answers=answers,
        least=least,
        objective="cores" if cores is not None or least == "cores" else "speed",
        floor=None if max_drop is None else (share - max_drop / 100) * len(judges) - 1e-9,
        output=output,
        trained=share,
    )


def _measured(network: Network, samples: Samples) -> Sensitivity | None:
    """What pruning and rounding each layer alone costs, on as many samples as take some seconds."""
    layers = sum(not p.op.one_to_one for p in network.projections)
    changes = layers * (len(_SPARSITIES) + len(_BITS))
    neurons = sum(size(p.shape) for p in network.populations)
    count = min(_MEASURED_ON, len(samples), _PLACES // max(1, changes * neurons * samples.steps))
    if not count:
        return None
    few = Samples(samples.first(count).inputs)
    return sensitivity(network, few, ratios=(), bits=_BITS, sparsities=_SPARSITIES)
