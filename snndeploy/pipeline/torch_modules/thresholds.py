"""What thresholds of a converted network cost and save: answers, events, multiplications."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...brief import brief
from ...data import Samples
from ...ir.arrays import Array, size
from ...ir.program import Program
from ...live.relu import from_relu
from ...lower import encode_inputs
from ...measure.energy import Meter
from ...simulate.integer.engine import run_integer

if TYPE_CHECKING:
    from torch import nn

_AT_ONCE = 1024
"""Frames that the module answers together."""
THRESHOLDS = (0.0, 0.05, 0.1, 0.2, 0.4)


@dataclass(frozen=True, kw_only=True)
class ThresholdPoint:
    """A converted network on samples.

    Attributes:
        threshold: as of `from_relu`.
        agrees: share of the frames that it answers as the module does.
        accuracy: share of the frames answered right; None without labels.
        events: messages per neuron and step, of the encoder and of every layer.
        macs: multiplications, as a share of those that the module does for every frame.
    """

    threshold: float
    agrees: float
    accuracy: float | None
    events: Mapping[str, float]
    macs: float

    __repr__ = brief


def against_thresholds(
    module: nn.Module,
    calibration: Samples,
    judged: Samples,
    thresholds: Sequence[float] = THRESHOLDS,
    **options: Any,
) -> tuple[ThresholdPoint, ...]:
    """Convert with each threshold on one set of samples, and judge on the other.

    Args:
        module: as of `from_relu`.
        calibration: what scales and thresholds are chosen on.
        judged: what is answered; labels are those of whole samples.
        thresholds: to try.
        **options: of `from_relu`.

    Raises:
        InputError: as `from_relu`.
    """
    expected = float_answers(module, judged)
    return tuple(
        judge(from_relu(module, calibration, threshold=t, **options), judged, expected, t)
        for t in thresholds
    )


def float_answers(module: nn.Module, samples: Samples) -> Array:
    """Class that the module answers every frame with: (steps, samples)."""
    import torch

    (x,) = samples.values
    flat = torch.from_numpy(np.ascontiguousarray(x, np.float32)).reshape(-1, *x.shape[2:])
    with torch.no_grad():
        answers = torch.cat([module(part) for part in flat.chunk(-(-len(flat) // _AT_ONCE))])
    return answers.reshape(*x.shape[:2], -1).argmax(-1).numpy()


def judge(program: Program, samples: Samples, expected: Array, threshold: float) -> ThresholdPoint:
    """Run a converted network and count."""
    entry = program.groups[0]
    (x,) = samples.values
    messages = encode_inputs(x, entry)
    run = run_integer(program, messages)
    sums = run.spikes["answers"]
    answers = sums.reshape(*sums.shape[:2], -1).argmax(-1)
    activity = Meter(program).measure(run)
    weighted = [s for s in program.synapses if not s.op.one_to_one]
    done = sum(activity.synops[s.name] for s in weighted)
    macs = sum(_multiplications(program, s.name) for s in weighted)
    frames = activity.steps * activity.samples
    labels = samples.labels
    return ThresholdPoint(
        threshold=threshold,
        agrees=float((answers == expected).mean()),
        accuracy=None if labels is None else float((answers == labels).mean()),
        events={
            g.name: activity.spikes[g.name] / (frames * size(g.shape))
            for g in program.on_chip
            if g.name != "answers"
        },
        macs=done / max(1, macs * frames),
    )


def _multiplications(program: Program, name: str) -> int:
    """Multiplications of a layer for a frame, weights of zero included."""
    (synapses,) = (s for s in program.synapses if s.name == name)
    return size(program.group(synapses.target).shape) * synapses.op.fan_in
