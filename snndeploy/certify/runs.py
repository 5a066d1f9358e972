"""Runs that a bundle recorded, on the checker's own engines."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from .engine import chain, run, weight_shape
from .files import At, allow
from .turns import run_in_turn

WORK, MEMORY = 2e11, 1 << 26
"""Multiplications and messages that the golden run may take; with more, fewer samples are run."""


def engine(program: Any, inputs: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What groups emit, and how large u and v become: (u or v, steps, samples)."""
    return (run_in_turn if program.arithmetic.arrival == "in-turn" else run)(program, inputs)


def given(
    program: Any, file: str, arrays: Any, *, every: bool = False
) -> tuple[dict[str, Any], int, int, int]:
    """Inputs by group, steps, samples, multiplications of a sample: few enough, or of ``every`` one."""
    inputs = {g.name: arrays[f"input.{g.name}"] for g in program.groups if g.kind == "input"}
    steps, samples = next(iter(inputs.values())).shape[:2]
    for g, x in ((program.group[name], x) for name, x in inputs.items()):
        at, most = At(file, f"input.{g.name}"), (1 << max(g.message_bits - 1, 0)) - 1
        most = min(most, g.message_peak or most)
        at.same("shape", (steps, samples, *g.shape), x.shape)
        at.within("messages", 0 if g.max_spikes else -most, x, most if g.message_bits else 1)
    work = sum(_work(leg) for found in program.legs.values() for leg in found) * steps
    allow(work <= WORK * 50, f"takes {work:.0e} multiplications per sample: more than is checked")
    too_many = every and work * samples > WORK * 50
    allow(not too_many, "keeps more worst inputs than are replayed")
    return inputs, steps, samples, work


def check_golden(program: Any, golden: Any, told: dict[str, Any]) -> None:
    """The recorded spikes are those of the checker's own engine."""
    inputs, steps, samples, work = given(program, "golden.npz", golden)
    for g in (g for g in program.groups if g.kind != "input"):
        what = f"spikes.{g.name}"
        At("golden.npz", what).same("shape", (steps, samples, *g.shape), golden[what].shape)
    values = steps * sum(prod(g.shape) for g in program.groups)
    ran = max(1, min(samples, int(WORK / max(work, 1)), MEMORY // values))
    for name, x in engine(program, {name: x[:, :ran] for name, x in inputs.items()})[0].items():
        stated = golden[f"spikes.{name}"][:, :ran]
        for i in map(tuple, np.argwhere(stated != x)[:1]):
            where = f"step, sample, neuron {[int(n) for n in i]}"
            At("golden.npz", name).same(where, stated[i], x[i])
    what = f"{steps} steps of {ran} samples (of {samples}) give every recorded spike"
    told["proved"].append(f"golden run: {what} on the checker's own engine")
    spiking = [g.name for g in program.groups if g.kind in ("lif", "custom")]
    if silent := [name for name in spiking if not golden[f"spikes.{name}"].any()]:
        told["not_checked"].append(f"spikes of {', '.join(silent)}: silent in the golden run")


def _work(leg: Any) -> int:
    """Multiplications of a step."""
    total, ops = 0, leg.synapses.ops
    for op, shape in zip(ops, chain(ops, leg.source.shape)[1:], strict=True):
        row = (weight_shape(op) or ())[1:] if op.type in ("Dense", "Conv") else ()
        total += prod(shape) * prod(op.kernel if op.type == "SumPool" else row)
    return total
