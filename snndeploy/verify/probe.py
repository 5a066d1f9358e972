"""Find the semantics under which a model reproduces what its framework computed.

All frontends are tried first, then the nearest ones, and those whose traces the file shows, with one
answer changed after the other, as long as that brings the run nearer to the trace. Where none is
exact, neurons may differ from each other: then answers are changed for single nodes. Profiles that
make the same network are run once.
"""

from __future__ import annotations

import glob
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..ingest import PRESETS, choose_profile, fingerprint, preset, read_raw
from ..ingest.normal_form.normalise import normalise
from ..ingest.readers.raw import RawGraph, RawNode
from ..ir.arrays import Array
from ..ir.network import Network
from ..simulate.float.engine import run_float
from .compare import Divergence
from .trace import Trace, fitted_trace, read_trace

_ROUNDS, _BEAM = 4, 3
_DTS = (1e-4, 1e-3, 1.0, 1e-6)
_ANSWERS: Mapping[str, tuple[Any, ...]] = {
    "reset": ("zero", "subtract", "none"),
    "reset_timing": ("immediate", "next-step", "snntorch-immediate", "snntorch-delayed"),
    "compare": (">", ">="),
    "spikes_per_step": ("one", "many"),
    "integrator": ("euler", "exp"),
    "input_gain": ("ode", "unit", "norse", "rockpool"),
    "if_gain": ("dt", "unit"),
    "v_floor": (None, "minus-threshold"),
    "v_init": ("zero", "v_reset", "v_leak"),
    "recurrent_delay": ("spikes", "nirtorch"),
    "layer_delay": (0, 1),
    "max_spikes": (None, 1),
    "dt": _DTS,
}
_OF_NODES = ("reset", "reset_timing", "compare", "spikes_per_step", "v_floor", "max_spikes")
_MOST_NODES = 12
"""Of more nodes it is not tried which one differs."""
_MOST_FLOORS = 2
"""Networks often have a floor of v as far below zero as their one threshold is above."""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One profile, and how far its run is from the trace.

    ``overrides`` are answers that differ from the frontend's, those of one node under ``node:field``.
    ``differing`` counts places (step, sample, neuron) per recorded population; ``layer`` and ``first``
    are the earliest difference (values: the framework's, ours). ``recognised`` says whether the
    file's parameters show the frontend's traces. A profile under which the model
    cannot be read has its ``error`` instead.
    """

    frontend: str
    overrides: tuple[tuple[str, Any], ...] = ()
    recognised: bool = False
    differing: Mapping[str, int] | None = None
    total: int = 0
    layer: str = ""
    first: Divergence | None = None
    error: str = ""

    @property
    def exact(self) -> bool:
        return self.differing is not None and not any(self.differing.values())

    @property
    def distance(self) -> tuple[int, int, bool, int]:
        """For ranking: places that differ, fewest overrides, recognised, the frontends' order."""
        wrong = 1 << 62 if self.differing is None else sum(self.differing.values())
        order = list(PRESETS).index(self.frontend)
        return wrong, len(self.overrides), not self.recognised, order


@dataclass(frozen=True, kw_only=True)
class Probe:
    """The best attempt, other frontends that are exact as they are, the rest, and what was ignored."""

    best: Attempt
    also: tuple[str, ...]
    attempts: tuple[Attempt, ...]
    ignored: tuple[str, ...]

    @property
    def exact(self) -> bool:
        return self.best.exact


def probe(
    model: str | Path | Any,
    trace: str | Path | Mapping[str, Array],
    frontend: str | None = None,
    **fixed: object,
) -> Probe:
    """Find the profile under which ``model`` reproduces ``trace`` exactly, or comes nearest.

    Args:
        model: path of a NIR file, or a ``nir.NIRGraph``.
        trace: ``.npz`` file, or its arrays: ``input`` (steps, samples, *shape), ``output`` and any
            ``layer_<node>``, as the framework computed them. The axis of samples may be left out.
        frontend: the framework, where it is known and not searched.
        **fixed: fields of the profile that are known and not searched.

    Raises:
        UsageError: there is no such frontend.
        InputError: the model or the trace cannot be used, or no profile can read the model.
    """
    raw = read_raw(model)
    where = str(trace) if isinstance(trace, (str, Path)) else "trace"
    arrays = read_trace(trace) if isinstance(trace, (str, Path)) else trace
    search = _ProbeSearch(raw, arrays, where, fixed)
    names = tuple(PRESETS) if frontend is None else (preset(frontend).name,)
    attempts = [search.attempt(name, ()) for name in names]
    tried = sorted(attempts, key=lambda a: a.distance)
    if tried[0].differing is None:
        raise InputError(
            "probe-unreadable",
            "no frontend can read the model: " + tried[0].error,
            where=raw.source,
        )
    beam = _likeliest(tried)
    for _ in range(_ROUNDS):
        if tried[0].exact:
            break
        found = [search.attempt(a.frontend, o) for a in beam for o in search.changed(a)]
        nearer = [a for a in found if a.differing is not None]
        tried = sorted([*tried, *nearer], key=lambda a: a.distance)
        if _likeliest(tried) == beam:
            break
        beam = _likeliest(tried)
    if not tried[0].exact:
        tried = _by_nodes(search, tried, fixed)
    also = [a.frontend for a in attempts if a.exact and a is not tried[0]]
    return Probe(best=tried[0], also=tuple(also), attempts=tuple(tried), ignored=search.ignored)


def _likeliest(tried: list[Attempt]) -> list[Attempt]:
    """What to go on from: the nearest, and the nearest of each framework that the file shows.

    A profile that keeps the network silent is as far from the trace as any other such.
    """
    shown = {a.frontend: a for a in reversed(tried) if a.recognised}
    return [*tried[:_BEAM], *(a for a in shown.values() if a not in tried[:_BEAM])]


def _by_nodes(
    search: _ProbeSearch, tried: list[Attempt], fixed: Mapping[str, object]
) -> list[Attempt]:
    """More attempts, with answers changed for single nodes of the likeliest profiles."""
    nodes = [n.name for n in search.raw.neurons()]
    if not 1 < len(nodes) <= _MOST_NODES:
        return tried
    for _ in range(_ROUNDS):
        likely = {a.frontend: a for a in reversed(tried) if a.recognised}
        start = [tried[0], *(a for a in likely.values() if a is not tried[0])][:_BEAM]
        found = [
            search.attempt(a.frontend, (*a.overrides, (f"{node}:{key}", answer)))
            for a in start
            for node in nodes
            for key in _OF_NODES
            if key not in fixed and f"{node}:{key}" not in dict(a.overrides)
            for answer in search.answers[key]
        ]
        nearer = [a for a in found if a.distance[0] < tried[0].distance[0]]
        tried = sorted([*tried, *nearer], key=lambda a: a.distance)
        if not nearer or tried[0].exact:
            break
    return tried


class _ProbeSearch:
    """Runs attempts; the same network is run once."""

    def __init__(
        self, raw: RawGraph, arrays: Mapping[str, Array], where: str, fixed: Mapping[str, object]
    ) -> None:
        self.raw = raw
        self.arrays = arrays
        self.where = where
        self.fixed = fixed
        self.ignored: tuple[str, ...] = ()
        floors = sorted({-float(v) for n in raw.neurons() for v in _thresholds(n)})
        answers = {"v_floor": (*_ANSWERS["v_floor"], *floors[:_MOST_FLOORS])}
        self.answers: Mapping[str, tuple[Any, ...]] = {**_ANSWERS, **answers}
        self._candidates = {c.frontend: c.dt for c in fingerprint(raw)}
        self._known: dict[str, tuple[dict[str, int], int, str, Divergence | None]] = {}

    def changed(self, attempt: Attempt) -> Iterator[tuple[tuple[str, Any], ...]]:
        """The attempt's overrides with one more answer."""
        given = dict(attempt.overrides)
        for key, answers in self.answers.items():
            if key in self.fixed or key in given:
                continue
            for answer in answers:
                if answer != getattr(PRESETS[attempt.frontend], key):
                    yield (*attempt.overrides, (key, answer))

    def attempt(self, frontend: str, overrides: tuple[tuple[str, Any], ...]) -> Attempt:
        """Read the model with a profile, run the trace's input and compare."""
        try:
            network, overrides = self._network(frontend, overrides)
        except InputError as error:
            return Attempt(frontend=frontend, overrides=overrides, error=error.message)
        trace = fitted_trace(self.arrays, network, self.where)
        self.ignored = trace.ignored
        if network.digest not in self._known:
            self._known[network.digest] = _compared(network, trace)
        differing, total, layer, first = self._known[network.digest]
        return Attempt(
            frontend=frontend,
            overrides=overrides,
            differing=differing,
            total=total,
            layer=layer,
            first=first,
            recognised=frontend in self._candidates,
        )

    def _network(
        self, frontend: str, overrides: tuple[tuple[str, Any], ...]
    ) -> tuple[Network, tuple[tuple[str, Any], ...]]:
        """The network under a profile; where only dt is unknown, with the likeliest one."""
        local: dict[str, dict[str, object]] = {}
        for field, answer in overrides:
            node, of_one, key = field.rpartition(":")
            if of_one:
                local.setdefault(glob.escape(node), {})[key] = answer
        general = tuple((k, v) for k, v in overrides if ":" not in k)
        options = {**dict(general), **self.fixed}
        try:
            profile, why = choose_profile(self.raw, frontend, options)
        except InputError as error:
            if error.code != "dt-unknown":
                raise
            known = [dt for dt in self._candidates.values() if dt is not None]
            dt = ("dt", known[0] if known else _DTS[1])
            overrides = (*overrides, dt)
            profile, why = choose_profile(
                self.raw, frontend, {**dict((*general, dt)), **self.fixed}
            )
        return normalise(self.raw, profile, why, local), overrides


def _thresholds(node: RawNode) -> Array:
    """Its different thresholds."""
    found: Array = np.unique(np.asarray(node.fields.get("v_threshold", ()), float))
    return found


def _compared(network: Network, trace: Trace) -> tuple[dict[str, int], int, str, Divergence | None]:
    """Differing places per population, all places, and the earliest difference with its layer."""
    with np.errstate(invalid="ignore", over="ignore"):  # wrong profiles may diverge
        run = run_float(network, trace.inputs)
    differing: dict[str, int] = {}
    firsts: list[tuple[int, int, str, Divergence]] = []
    for name, expected in trace.emitted.items():
        ours = run.spikes[name].reshape(expected.shape)
        places = np.argwhere(ours != expected)
        differing[name] = len(places)
        if len(places):
            step, sample, neuron = (int(i) for i in places[0])
            values = (float(expected[step, sample, neuron]), float(ours[step, sample, neuron]))
            at = Divergence(step=step, sample=sample, neuron=neuron, values=values)
            firsts.append((step, network.order.index(name), name, at))
    total = sum(a.size for a in trace.emitted.values())
    if not firsts:
        return differing, total, "", None
    _, _, layer, first = min(firsts, key=lambda f: f[:2])
    return differing, total, layer, first
