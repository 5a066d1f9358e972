"""Programs whose neurons have all combinations of small numbers, in registers whose ends they meet.

What is compared with ``<`` is met exactly by some of a thousand neurons, and by none of a few.
"""

from __future__ import annotations

from itertools import product

import numpy as np

from snndeploy.ir.arrays import Array, frozen
from snndeploy.ir.ops import Dense
from snndeploy.ir.program import CompartmentGroup, Program, SynapseGroup, SynapseSource
from snndeploy.ir.step import Arithmetic, IntegerState, shifted, step_integer, wrapped
from tests.support.rules import RULES as EVERY
from tests.support.rules import fields_of

SMALL: dict[str, Arithmetic] = {
    name: Arithmetic(
        state_bits=8,
        u_overflow="wrap" if decay == "multiply" else "saturate-full",
        v_overflow=overflow,  # type: ignore[arg-type]
        decay=decay,  # type: ignore[arg-type]
        decay_bits=2 if decay == "multiply" else 3,
        u_decay_offset=int(decay == "multiply"),
        state_shift=int(decay == "multiply"),
        sum_bits=11,
        arrival=arrival,  # type: ignore[arg-type]
        v_step=step,  # type: ignore[arg-type]
    )
    for name, decay, overflow, arrival, step in (
        ("saturating", "multiply", "saturate", "summed", "free"),
        ("wrapping", "multiply", "wrap", "summed", "free"),
        ("shifting", "shift", "saturate", "summed", "free"),
        ("in turn", "floor-shift", "saturate-full", "in-turn", "held"),
    )
}
"""Registers of eight bits, decays of quarters, weights in units of two."""
WEIGHTS = {
    "calm": ((2, 0), (2, -1), (0, -2), (1, 1), (0, 0)),
    "loud": ((30, -30), (2, -1), (-20, 9)),
}
FLOORS = (None, None, -3, 0, 2)
RULES = [r for r in EVERY if r.spikes_per_step == "many" or r.max_spikes is None] * 2
"""Twice all that a program may hold: what spikes once has no other number to keep to."""
CASES = range(len(RULES))


def grid(case: int) -> Program:
    """Two inputs, a group of all combinations, and a few neurons that hear all of them."""
    rng = np.random.default_rng([case, 5])
    rule = RULES[case]
    arithmetic = SMALL[list(SMALL)[int(rng.choice(4, p=(0.5, 0.15, 0.15, 0.2)))]]
    in_turn, multiply = arithmetic.arrival == "in-turn", arithmetic.decay == "multiply"
    loud = bool(rng.random() < 0.25)
    decays = {"du": (0, 1, 3) if multiply else (0, 1, 2), "dv": (0, 1, 2, 4)}
    if loud and multiply:
        decays["du"] = (-1, 1, 3)  # with its offset, a u that never forgets
    thresholds = (1, 3, 20) if rule.spikes_per_step == "many" or in_turn else (-2, 0, 1, 3, 20)
    of = {**decays, "vth": thresholds, "bias_mant": (-1, 0, 1)}
    pairs = WEIGHTS["loud" if loud else "calm"]
    rows = list(product(*of.values(), pairs))
    n = len(rows)
    columns = [frozen(np.array([row[i] for row in rows]), np.int64) for i in range(len(of))]
    held = dict(zip(of, columns, strict=True))
    fields = fields_of(rule) | ({"reset": "subtract", "compare": ">="} if in_turn else {})
    if in_turn:
        fields["reset_timing"] = "immediate"
    floor = FLOORS[int(rng.integers(len(FLOORS)))] if not in_turn else None
    many = rule.spikes_per_step == "many"
    first = CompartmentGroup(
        name="n",
        shape=(n,),
        role="hidden",
        kind="custom",
        depth=1,
        message_bits=8 if many else 0,
        v_floor=None if floor is None else frozen(floor, np.int64),
        **held,
        **fields,
    )
    last = CompartmentGroup(
        name="m",
        shape=(12,),
        role="output",
        kind="readout" if case % 2 else "custom",
        depth=2,
        du=frozen(rng.choice(decays["du"], 12), np.int64),
        dv=frozen(rng.choice(decays["dv"], 12), np.int64),
        vth=frozen(rng.choice((1, 4), 12), np.int64),
        bias_mant=frozen(rng.integers(-2, 3, 12), np.int64),
        **({"compare": ">=", "reset": "subtract"} if in_turn and not case % 2 else {}),
    )
    some = rng.choice((-1, 0, 1, 2), (12, n)) * (rng.random((12, n)) < 4 / n)
    groups = (
        CompartmentGroup(
            name="in",
            shape=(2,),
            role="input",
            kind="input",
            depth=0,
            message_bits=3 if in_turn or case % 5 == 0 else 0,
            message_peak=2 if case % 5 == 0 else None,
            max_spikes=2 if in_turn else None,
        ),
        first,
        last,
    )
    exponent = 0 if in_turn else int(rng.choice((-1, 0, 0)))
    layers = [
        ("in", "n", np.array([row[-1] for row in rows]), 0, 1),
        ("n", "m", some, exponent, int(rng.integers(1, 3))),
    ]
    if case % 7 == 3 and not in_turn:  # a loop, of which little comes back
        back = np.zeros((n, 12), np.int64)
        back[rng.integers(n, size=4), rng.integers(12, size=4)] = 1
        if last.kind == "custom":
            layers.append(("m", "n", back, 0, 2))
    return Program(
        arithmetic=arithmetic,
        target="any",
        groups=groups,
        synapses=tuple(_dense(*layer) for layer in layers),
    ).verify()


def _dense(source: str, target: str, weights: Array, exponent: int, latency: int) -> SynapseGroup:
    return SynapseGroup(
        name=f"{source}{target}",
        sources=(SynapseSource(source, frozen(latency, np.int64)),),
        target=target,
        ops=(Dense(*weights.shape),),
        mantissa=frozen(weights, np.int64),
        exponent=exponent,
        sign_mode="mixed",
        weight_bits=8,
    )


def trains(program: Program, steps: int = 24, samples: int = 8) -> dict[str, Array]:
    """What its inputs may send: silence, all of it, one side of it, and chance."""
    (group,) = (g for g in program.groups if g.kind == "input")
    rng = np.random.default_rng(3)
    low = -group.largest if group.message_bits and group.max_spikes is None else 0
    most = group.largest if group.max_spikes is None else min(group.largest, group.max_spikes)
    x = rng.integers(low, most + 1, (steps, samples, *group.shape))
    x[:, 0] = most
    x[:, 1] = (most, low)
    x[:, 2] = (low, most)
    x[: steps // 2, 3] = (low, most)
    x[steps // 2 :, 3] = (most, low)
    return {group.name: x.astype(np.int64)}


def reached(program: Program) -> dict[str, dict[str, Array]]:
    """The ends of u and v of each neuron before they are put into registers, and its most spikes.

    By the plain step, for chips that add up all that arrives in a step.
    """
    a, sent = program.arithmetic, trains(program)
    like = next(iter(sent.values())).shape[:2]
    states, seen = {}, {}
    for g in program.on_chip:
        zero = np.zeros((like[1], *g.shape), np.int64)
        states[g.name] = IntegerState(zero, zero, zero)
        sent[g.name] = np.zeros((*like, *g.shape), np.int64)
        seen[g.name] = {end: np.zeros(g.shape) for end in ("u_low", "u_high", "v_low", "v_high")}
    for t, g in product(range(like[0]), sorted(program.on_chip, key=lambda g: g.depth)):
        drive = np.zeros_like(states[g.name].u)
        for s in program.incoming(g.name):
            (o,) = s.sources
            source = program.group(o.group)
            past = t - int(o.latency) + g.depth - source.depth
            if past >= 0:
                x = sent[o.group][past]
                x = x if source.message_bits else np.minimum(x, 1)
                drive += shifted(wrapped(x @ s.mantissa.T, a.sum_bits), s.exponent)
        ends = seen[g.name]

        def see(u: Array, v: Array, ends: dict[str, Array] = ends) -> None:
            for name, x in (("u", u), ("v", v)):
                ends[f"{name}_low"] = np.minimum(ends[f"{name}_low"], x.min(axis=0))
                ends[f"{name}_high"] = np.maximum(ends[f"{name}_high"], x.max(axis=0))

        drive = wrapped(drive, a.sum_bits)
        registers = g.registers(a)
        sent[g.name][t] = step_integer(g.rule, a, registers, states[g.name], drive, see=see)
    return {name: {**ends, "spikes": sent[name].max(axis=(0, 1))} for name, ends in seen.items()}
