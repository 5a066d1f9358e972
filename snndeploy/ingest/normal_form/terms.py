"""Every path of linear nodes between two populations, as sources and a chain of stages."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from ...errors import InputError
from ...ir.arrays import Array, Shape
from ...ir.ops import Conv, Dense, Op, Pointwise, Reshape, SumPool
from ..readers.raw import NEURONS, RawGraph, RawNode
from .linear import LinearStage, delayed, stages

_MAX_TERMS = 256
_FRACTION = 1e-3
_MAX_DELAY = 1 << 20


@dataclass(frozen=True, eq=False)
class Term:
    """Populations whose sum passes through one chain; ``delays`` in steps, one array per source."""

    sources: tuple[str, ...]
    delays: tuple[Array, ...]
    chain: tuple[LinearStage, ...] = ()

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for terms that may share a chain: same weighted nodes, same structure."""
        return tuple(_stage_key(s) for s in self.chain)


def _stage_key(stage: LinearStage) -> tuple[object, ...]:
    single = stage.weight is not None and stage.weight.size == 1
    plain = stage.bias is None and (stage.weight is None or single)
    value = stage.weight.item() if stage.weight is not None and single else None
    return ("" if plain else stage.node, stage.op, stage.in_shape, value, stage.bias_delay)


def is_population(node: RawNode) -> bool:
    """Whether the node becomes a population (outputs may, too)."""
    return node.kind in NEURONS or node.kind == "Input"


class Paths:
    """Collects the terms that arrive at a node, following linear nodes back to populations."""

    def __init__(self, raw: RawGraph, shapes: dict[str, Shape], dt: float | None) -> None:
        self.raw = raw
        self.shapes = shapes
        self.dt = dt
        self._done: dict[str, tuple[Term, ...]] = {}
        self._open: list[str] = []

    def into(self, name: str) -> tuple[Term, ...]:
        """Terms whose sum arrives at the node ``name``, one per in-edge or more."""
        terms: list[Term] = []
        for before in self.raw.before(name):
            if is_population(self.raw.nodes[before]):
                terms.append(Term((before,), (np.zeros((), np.int64),)))
            else:
                terms += self._through(before)
        if len(terms) > _MAX_TERMS:
            raise InputError(
                "linear-paths",
                f"more than {_MAX_TERMS} paths of linear nodes lead here",
                where=self.raw.where(name),
                hint="put neurons between the branches",
            )
        return tuple(terms)

    def _through(self, name: str) -> tuple[Term, ...]:
        """Terms behind the linear node ``name``."""
        if name in self._open:
            loop = " -> ".join([*self._open[self._open.index(name) :], name])
            raise InputError(
                "linear-loop",
                f"a loop without a neuron: {loop}",
                where=self.raw.where(name),
                hint="every loop needs a neuron that holds state",
            )
        if name not in self._done:
            self._open.append(name)
            node = self.raw.nodes[name]
            merged = _merged(self.into(name))
            self._done[name] = tuple(self._extended(node, term) for term in merged)
            self._open.pop()
        return self._done[name]

    def _extended(self, node: RawNode, term: Term) -> Term:
        where = self.raw.where(node.name)
        shape = term.chain[-1].out_shape if term.chain else self.shapes[term.sources[0]]
        if node.kind == "Delay":
            return self._delayed(term, self._steps(node), shape, where)
        return dataclasses.replace(term, chain=term.chain + stages(node, shape, where))

    def _steps(self, node: RawNode) -> Array:
        where = self.raw.where(node.name)
        if self.dt is None:
            raise ValueError("the profile's dt is not filled in")
        steps = node.array("delay").astype(np.float64) / self.dt
        whole = np.round(steps)
        if (
            (whole < 0).any()
            or (whole > _MAX_DELAY).any()
            or (abs(steps - whole) > _FRACTION).any()
        ):
            odd = float(
                steps.flat[(abs(steps - whole) + (whole < 0) + (whole > _MAX_DELAY)).argmax()]
            )
            raise InputError(
                "fractional-delay",
                f"a delay of {odd:g} steps (dt {self.dt:g})",
                where=where,
                hint=f"delays must be whole multiples of dt, from 0 to {_MAX_DELAY:,} steps",
            )
        return whole.astype(np.int64)

    def _delayed(self, term: Term, steps: Array, shape: Shape, where: str) -> Term:
        if (steps == steps.flat[0]).all():
            return later(term, int(steps.flat[0]))
        # one delay per neuron: only where each element still is one source neuron
        if not all(_in_place(s.op) and s.bias is None for s in term.chain):
            raise InputError(
                "delay-behind-weights",
                "delays that differ between neurons follow a weighted node",
                where=where,
                hint="move the Delay in front of the weights, or make it uniform",
            )
        source_shape = self.shapes[term.sources[0]]
        per_source = np.broadcast_to(steps, shape).reshape(source_shape)
        return dataclasses.replace(term, delays=tuple(d + per_source for d in term.delays))


def _in_place(op: Op) -> bool:
    """Whether each value behind ``op`` stands for one value in front of it, in the same order."""
    match op:
        case Reshape() | Pointwise():
            return True
        case Dense() | Conv() | SumPool():
            return False


def later(term: Term, steps: int) -> Term:
    """The term with everything in it, biases included, arriving ``steps`` later."""
    return Term(
        term.sources,
        tuple(d + steps for d in term.delays),
        tuple(delayed(s, steps) for s in term.chain),
    )


def _merged(terms: tuple[Term, ...]) -> tuple[Term, ...]:
    """Add terms with equal chains before the next operator, so that its weight is stored once."""
    groups: dict[tuple[object, ...], Term] = {}
    for term in terms:
        key: tuple[object, ...] = term.key
        while key in groups and set(groups[key].sources) & set(term.sources):
            key = (*key, "again")  # a source twice in one projection would be hard to read
        if key in groups:
            first = groups[key]
            term = Term(first.sources + term.sources, first.delays + term.delays, first.chain)
        groups[key] = term
    return tuple(groups.values())
