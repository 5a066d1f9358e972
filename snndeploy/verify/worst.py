"""The worst inputs that a search finds for accumulators whose head-room is not proved.

An interval bound is a theorem or nothing. Where it is nothing, an input that takes the register far is a
fact that anybody can replay. The search is seeded and does a fixed amount of work: one program, one
answer, on every machine.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..certify.bounds import bounds
from ..certify.checks import structure
from ..certify.engine import pull
from ..certify.files import shaped
from ..certify.runs import engine
from ..ir.arrays import Array, size
from ..ir.codec import SharedArrays, encode
from ..ir.program import DYNAMICS, Program
from ..simulate.integer.engine import run_integer

Register = Literal["u", "v"]
Place = tuple[str, Register]
"""A register of a group."""
REGISTERS: tuple[Register, Register] = ("u", "v")

STEPS = 32
"""Length of the inputs that are tried: slow leaks fill up, and a bundle stays small. Programs of
more than a million neurons get fewer."""
_ROUNDS = 12
"""Batches of changed inputs that are tried, at the most."""
_BATCH = 16
_WORK = 1e8
"""Operations of the whole search, a fraction of a second; where programs are large, less is tried."""
_CALL = 1e5
"""What a step of a group costs for each tap of its kernels, however few neurons it has."""
_VALUES = 1 << 25
"""Values of all steps, groups and inputs of a batch together: some hundred megabytes."""
_COMPARED = 3e4
"""Spikes over single synapses that are run on the integer engine, too, where a chip takes them in turn:
what watches registers there goes through them one by one."""
_SOUGHT = 24
"""Registers that inputs are changed for, at the most; of others the best of those inputs is kept."""


@dataclass(frozen=True, eq=False)
class WorstFound:
    """Inputs ``(steps, runs, *shape)`` by group, and what they do: ``(run, step, magnitude)``.

    The magnitude is that of u or v before it is put into its register, and the largest up to the step
    in which it does not fit for the first time: what follows comes of that.
    """

    inputs: Mapping[str, Array]
    reached: Mapping[Place, tuple[int, int, int]]

    def arrays(self) -> dict[str, Array]:
        """As a bundle keeps them: ``input.<group>``, ``u.<group>`` and ``v.<group>``."""
        told = {f"{r}.{name}": np.array(x, np.int64) for (name, r), x in self.reached.items()}
        return {**{f"input.{name}": _small(x) for name, x in self.inputs.items()}, **told}


def worst_found(program: Program, seed: int = 0) -> WorstFound | None:
    """Search inputs that take registers far whose head-room is not proved; None where all is proved.

    None, too, of neurons with rules of their own, whose registers the checker does not look at.

    First guesses are inputs at their most and their least, and those that push the neuron with the
    largest bound, followed backwards through the synapses. They are then changed, some inputs in some
    steps at a time, and what goes further is kept.
    """
    if _all_proved(program) or any(g.kind in DYNAMICS for g in program.groups):
        return None
    arrays = SharedArrays()
    read = shaped(json.loads(json.dumps(encode(program, arrays))), "Program", arrays)
    structure(read)
    found = bounds(read)
    limit = program.arithmetic.state_max
    unproved: list[Place] = [
        (name, register)
        for name, b in found.items()
        for register in REGISTERS
        if not b.safe or (register == "v" and int(b.v.max()) > limit)
    ]
    if not unproved or not any(g.kind == "input" for g in program.groups):
        return None
    sought, neurons = unproved[:_SOUGHT], sum(size(g.shape) for g in program.groups)
    steps = min(STEPS, max(1, _VALUES // neurons))
    search = _Search(program, read, found, np.random.default_rng(seed), steps)
    work = steps * sum(_work(program, g.name) for g in program.on_chip)
    rounds = max(1, int(_WORK / work))
    together = min(_BATCH, max(1, _VALUES // (steps * neurons)))
    guesses = _in_batches(search.guesses(sought), together)
    for batch in itertools.islice(guesses, rounds):
        search.judge(batch, sought)
        rounds -= 1
    for i in range(min(_ROUNDS, rounds)):
        best = search.best[sought[i % len(sought)]][1]
        search.judge([search.changed(best) for _ in range(together)], sought)
    return search.result(sought, unproved)


def worst_inputs(program: Program) -> dict[str, Array]:
    """The same as a bundle keeps it: nothing where all is proved."""
    found = worst_found(program)
    return {} if found is None else found.arrays()


def _all_proved(program: Program) -> bool:
    """Whether lowering says so; a certificate has its own bounds, and contradicts where it errs."""
    rooms = [program.headroom.get(g.name) for g in program.on_chip if g.kind != "constant"]
    held = all(r is not None and not r.wraps and r.clip_steps is None for r in rooms)
    return held and not any(f.code == "headroom-unproved" for f in program.findings)


Stimulus = dict[str, Array]
"""One input: ``(steps, *shape)`` by group."""


class _Search:
    def __init__(
        self, program: Program, read: Any, found: Any, rng: np.random.Generator, steps: int
    ) -> None:
        self.program, self.read, self.found, self.rng = program, read, found, rng
        self.steps = steps
        self.ends: dict[str, tuple[int, int]] = {}
        for g in program.groups:
            if g.kind == "input":
                signed = g.message_bits and g.max_spikes is None
                self.ends[g.name] = (-g.largest if signed else 0, g.largest)
        self.best: dict[Place, tuple[int, Stimulus]] = {}

    def guesses(self, sought: list[Place]) -> Iterator[Stimulus]:
        yield self.held({n: np.ones(self.shape(n)) for n in self.ends})
        yield self.held({n: -np.ones(self.shape(n)) for n in self.ends})
        for name, register in sought:
            push = self.push(name, getattr(self.found[name], register))
            for sign in (1, -1):
                toward = self.held({n: sign * x for n, x in push.items()})
                away = self.held({n: -sign * x for n, x in push.items()})
                yield toward
                half = self.steps // 2
                yield {n: np.concatenate([away[n][:half], x[half:]]) for n, x in toward.items()}

    def shape(self, name: str) -> tuple[int, ...]:
        return self.program.group(name).shape

    def held(self, push: Mapping[str, Array]) -> Stimulus:
        """Every input at its most where it is pushed up, else at its least, all the time."""
        return {
            n: np.repeat(
                np.where(x > 0, self.ends[n][1], self.ends[n][0])[None], self.steps, axis=0
            )
            for n, x in push.items()
        }

    def push(self, name: str, bound: Array) -> dict[str, Array]:
        """How much every input adds to the neuron with the largest bound, along all synapses."""
        place = np.zeros((1, *self.shape(name)))
        place.reshape(-1)[int(np.argmax(bound))] = 1
        push, waiting = {name: place}, [name]
        for target in waiting:
            for leg in self.read.legs[target]:
                if leg.source.name not in push:
                    w = leg.synapses.mantissa.astype(np.float64)
                    back = pull(leg.synapses.ops, w, push[target], leg.source.shape)
                    push[leg.source.name] = back / max(np.abs(back).max(), 1e-30)
                    if leg.source.kind not in ("input", "constant"):
                        waiting.append(leg.source.name)
        nothing = {n: np.zeros((1, *self.shape(n))) for n in self.ends}
        return {n: {**nothing, **push}[n][0] for n in self.ends}

    def changed(self, trains: Stimulus) -> Stimulus:
        """Some inputs in some steps at an end of what they can send, or at rest."""
        rng, found = self.rng, {}
        first, last = np.sort(rng.integers(0, self.steps + 1, 2))
        share = rng.choice([0.1, 0.5, 1.0])
        for name, x in trains.items():
            some = rng.random(x.shape[1:]) < share
            value = rng.choice([*self.ends[name], 0])
            found[name] = np.array(x)
            found[name][first : max(last, first + 1), some] = value
        return found

    def judge(self, batch: list[Stimulus], sought: list[Place]) -> None:
        """Keep what goes further than what is known."""
        inputs = {n: np.stack([t[n] for t in batch], axis=1) for n in self.ends}
        peaks = engine(self.read, inputs)[1]
        for place in sought:
            each = self.magnitudes(peaks, place).max(axis=0)
            i = int(each.argmax())
            if place not in self.best or each[i] > self.best[place][0]:
                self.best[place] = (int(each[i]), batch[i])

    def magnitudes(self, peaks: Mapping[str, Array], place: Place) -> Array:
        """How large a register becomes (step, run), up to where it overflows first."""
        values: Array = peaks[place[0]][REGISTERS.index(place[1])]
        over = values > self.program.arithmetic.state_max
        return values * (np.cumsum(over, axis=0) < 2)

    def result(self, sought: list[Place], unproved: list[Place]) -> WorstFound:
        """The best inputs, each kept once, and what they do to all registers."""
        kept: list[Stimulus] = []
        for place in sought:
            trains = self.best[place][1]
            kept += [] if any(t is trains for t in kept) else [trains]
        inputs = {n: np.stack([t[n] for t in kept], axis=1) for n in self.ends}
        peaks = engine(self.read, inputs)[1]
        if self.steps * _one_by_one(self.program) <= _COMPARED:
            use = run_integer(self.program, inputs, watch=True, record="outputs").registers
            for name, register in unproved:
                most = int(peaks[name][REGISTERS.index(register)].max())
                assert most == getattr(use[name], f"{register}_peak")
        reached: dict[Place, tuple[int, int, int]] = {}
        for place in unproved:
            values = self.magnitudes(peaks, place)
            i = int(values.max(axis=0).argmax())
            step = int(values[:, i].argmax())
            reached[place] = (i, step, int(values[step, i]))
        return WorstFound(inputs, reached)


def _in_batches(trains: Iterator[Stimulus], together: int) -> Iterator[list[Stimulus]]:
    while batch := list(itertools.islice(trains, together)):
        yield batch


def _work(program: Program, name: str) -> float:
    """Operations that a step of a batch takes for one group."""
    total = _CALL
    in_turn = program.arithmetic.arrival == "in-turn"
    for s in program.incoming(name):
        rows = size(program.group(name).shape) / max(1, s.op.weight_rows)
        taps = size(s.mantissa.shape[2:])
        total += len(s.sources) * (s.mantissa.size * max(rows, 1.0) * _BATCH + _CALL * taps)
        if in_turn:  # source neuron after source neuron
            total += sum(_CALL * size(program.group(o.group).shape) for o in s.sources)
    return total


def _one_by_one(program: Program) -> int:
    """Synapses that are looked at one after the other in a step."""
    if program.arithmetic.arrival != "in-turn":
        return 0
    return sum(int(np.count_nonzero(s.mantissa)) * len(s.sources) for s in program.synapses)


def _small(x: Array) -> Array:
    """In the smallest type that holds it."""
    for kind in (np.uint8, np.int8, np.int16, np.int32):
        if np.iinfo(kind).min <= x.min() and x.max() <= np.iinfo(kind).max:
            return x.astype(kind)
    return x
