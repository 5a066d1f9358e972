"""Which output's answers are held against the labels, and whether it can have given them."""

from __future__ import annotations

from collections.abc import Mapping

from ..data import Samples
from ..errors import InputError, UsageError, did_you_mean
from ..ir.answers import UNLABELLED, classes
from ..ir.arrays import size
from ..ir.program import Program


def judged_output(program: Program, samples: Samples, wanted: str | None = None) -> str:
    """The name of the output that answers: the one asked for, else the first.

    Raises:
        UsageError: there is no such output.
        InputError: a label is no class of it, or target values are not as many as its neurons.
    """
    outputs = {g.name: size(g.shape) for g in program.groups if g.role == "output"}
    name = next(iter(outputs)) if wanted is None else wanted
    if name not in outputs:
        raise UsageError(
            "output-unknown",
            f"there is no output {name!r}",
            where="--output",
            hint=did_you_mean(name, outputs),
        )
    refuse_labels(samples, name, outputs)
    targets = samples.targets
    if targets is not None and targets.shape[1] != outputs[name]:
        raise InputError(
            "targets-shape",
            f"there are {targets.shape[1]} target values per sample, and {outputs[name]} neurons in "
            f"the output {name!r}",
            hint="give one value per neuron, or name another output with --output",
        )
    return name


def refuse_labels(
    samples: Samples,
    name: str,
    outputs: Mapping[str, int],
    where: str = "",
    option: str = "--output",
) -> None:
    """Refuse labels that are no classes of the output ``name``.

    Args:
        samples: with or without labels.
        name: the output that is judged.
        outputs: neurons of every output.
        where: for the message.
        option: by which another output is chosen.

    Raises:
        InputError: a label is below 0, or not below the number of the output's neurons.
    """
    labels = samples.labels
    if labels is not None and labels.ndim > 1:
        labels = labels[labels != UNLABELLED]
    if labels is None or not len(labels):
        return
    low, high = int(labels.min()), int(labels.max())
    if low >= 0 and high < classes(outputs[name]):
        return
    others = [n for n, neurons in outputs.items() if low >= 0 and high < classes(neurons)]
    one_based = low == 1 and high == outputs[name] > 1
    raise InputError(
        "labels-range",
        f"the labels go from {low} to {high}, the output {name!r} has the classes 0 to "
        f"{classes(outputs[name]) - 1}",
        where=where,
        hint=f"they may belong to another output: {option} {others[0]}"
        if others
        else "labels count from 0, one output neuron each"
        + (": subtract 1 from all of them" if one_based else ""),
    )
