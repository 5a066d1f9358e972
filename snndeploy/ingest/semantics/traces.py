"""The traces that exporters leave in a file's parameters, by which their framework is recognised.

No exporter writes its name or its time step, but each shows in how it converts: snnTorch exports
r = tau / dt, SpikingJelly r = 1 / dt for IF neurons, Rockpool r = tau exp(-dt/tau) / dt, Sinabs
counts time in steps, Norse multiplies tau by dt (norse issue 411).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from ...ir.arrays import Array
from ..readers.raw import RawGraph, RawNode

_CLOSE = 1e-5
NORSE_BUG_TAU = 1e-4
"""Largest tau that Norse's exporter leaves of one in seconds, which it multiplies by dt."""
_SNNTORCH_DT = 1e-4
SPIKINGJELLY_DT = 1e-4
"""Default of SpikingJelly's exporter."""
NORSE_DT_SQUARED = 1e-6
"""What undoes the factor dt in Norse's time constants, with the default dt of its exporter, 1e-3."""


@dataclass(frozen=True)
class Candidate:
    """A frontend whose traces the file shows, the time step it implies, and the trace itself.

    ``dt_assumed`` tells that the file shows no trace of dt, which is the exporter's default.
    """

    frontend: str
    dt: float | None
    why: str
    dt_assumed: bool = False


def fingerprint(raw: RawGraph) -> tuple[Candidate, ...]:
    """Every frontend whose traces all neurons of the file show."""
    if not raw.neurons():
        return ()
    found = (rule(raw) for rule in _RULES)
    return tuple(candidate for candidate in found if candidate is not None)


def _close(a: Array | float, b: Array | float) -> bool:
    return bool(np.allclose(a, b, rtol=_CLOSE, atol=0))


def _common(values: Iterable[Array]) -> float | None:
    """The one positive value that all arrays hold, in its shortest decimal form; else None."""
    flat = np.concatenate([np.asarray(v, dtype=np.float64).reshape(-1) for v in values])
    if flat.size == 0 or not (np.isfinite(flat) & (flat > 0)).all():
        return None
    middle = float(np.median(flat))
    if not _close(flat, middle):
        return None
    for digits in range(1, 7):
        rounded = float(f"{middle:.{digits}g}")
        if _close(rounded, middle):
            return rounded
    return middle


def _kinds(raw: RawGraph) -> set[str]:
    return {n.kind for n in raw.nodes.values()}


def _tau(node: RawNode) -> Array:
    return node.array("tau_mem" if node.kind.startswith("Cuba") else "tau").astype(np.float64)


def _leaky(raw: RawGraph) -> list[RawNode]:
    return [n for n in raw.neurons() if n.kind in ("LI", "LIF", "CubaLI", "CubaLIF")]


def _holds(raw: RawGraph, name: str, value: float) -> bool:
    """Whether the parameter is ``value`` wherever a neuron has it."""
    return all((n.array(name) == value).all() for n in raw.neurons() if n.has(name))


def ratio_dt(raw: RawGraph) -> float | None:
    """The dt for which r = tau / dt and w_in = tau_syn / dt in leaky nodes, r = 1 / dt in IF.

    A factor of 1 says nothing about dt: it is what exporters write that do not fold dt into it.
    """
    pairs = [(_tau(n), n.array("r")) for n in _leaky(raw)]
    pairs += [(n.array("tau_syn"), n.array("w_in")) for n in _leaky(raw) if n.has("w_in")]
    pairs += [(np.ones(()), n.array("r")) for n in raw.neurons() if n.kind in ("I", "IF")]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = [np.ravel(tau / factor) for tau, factor in pairs if not (factor == 1).all()]
    # integrators, whose tau and r are both infinite, say nothing about dt
    return _common(ratio[~np.isnan(ratio)] for ratio in ratios) if ratios else None


def told_dt(raw: RawGraph, frontend: str) -> float | None:
    """The time step that the parameters of a file from ``frontend`` show; None where none do."""
    same = [c for c in fingerprint(raw) if c.frontend == frontend and not c.dt_assumed]
    return next((c.dt for c in same if c.dt is not None), ratio_dt(raw))


def _double_neurons(raw: RawGraph) -> bool:
    """Neuron parameters in float64 beside weights in float32: they were not torch parameters."""
    neurons = {
        n.fields[k].dtype  # type: ignore[union-attr]
        for n in raw.neurons()
        for k in ("r", "v_threshold")
        if n.has(k)
    }
    weights = {n.array("weight").dtype for n in raw.nodes.values() if n.has("weight")}
    return neurons == {np.dtype(np.float64)} and weights == {np.dtype(np.float32)}


def recurrent(raw: RawGraph) -> bool:
    """Whether a neuron hears itself, by whatever way."""
    import networkx as nx

    return not nx.is_directed_acyclic_graph(nx.DiGraph(raw.edges))


def _snntorch(raw: RawGraph) -> Candidate | None:
    if {n.kind for n in raw.neurons()} - {"LIF", "CubaLIF"} or _kinds(raw) & {
        "SumPool2d",
        "Conv1d",
    }:
        return None
    exact = all(_close(n.array("r") * _SNNTORCH_DT, _tau(n)) for n in _leaky(raw))
    if not exact or not _holds(raw, "v_leak", 0.0) or not _holds(raw, "v_reset", 0.0):
        return None
    if _double_neurons(raw) and not recurrent(raw):
        return None
    return Candidate("snntorch", _SNNTORCH_DT, "r = tau / dt with snnTorch's fixed dt 1e-4")


def _spikingjelly(raw: RawGraph) -> Candidate | None:
    stored = all(n.has("v_reset") for n in raw.neurons())
    others = {n.kind for n in raw.neurons()} - {"IF", "LIF", "CubaLIF"}
    if others or not stored or not _double_neurons(raw) or "SumPool2d" in _kinds(raw):
        return None
    dt = ratio_dt(raw)
    if dt is not None and dt < 1:
        return Candidate("spikingjelly", dt, "float64 neurons with r = tau / dt, or 1 / dt for IF")
    # decay_input: tau = dt * tau(steps) with r = 1 hides dt; names as torch.fx traces a Sequential
    traced = all(re.fullmatch(r"_\d+", n.name) for n in raw.neurons())
    steps = [_tau(n) / SPIKINGJELLY_DT for n in raw.neurons() if n.kind == "LIF"]
    if traced and steps and all(((s >= 1) & (s < 1e3)).all() for s in steps):
        why = "float64 neurons, r = 1, traced names"
        return Candidate("spikingjelly", SPIKINGJELLY_DT, why, dt_assumed=True)
    return None


def _sinabs(raw: RawGraph) -> Candidate | None:
    strange = {"Linear", "AvgPool2d", "Scale", "Delay", "Threshold"}
    if {n.kind for n in raw.neurons()} - {"IF", "LIF", "LI"} or _kinds(raw) & strange:
        return None
    if not _holds(raw, "r", 1.0) or not _holds(raw, "v_leak", 0.0) or _double_neurons(raw):
        return None
    if any((_tau(n) < 1).any() for n in _leaky(raw)):
        return None
    return Candidate("sinabs", 1.0, "r = 1 and time constants in steps")


def _norse(raw: RawGraph) -> Candidate | None:
    if {n.kind for n in raw.neurons()} - {"IF", "LIF", "LI", "CubaLIF"}:
        return None
    if _kinds(raw) & {"Flatten", "AvgPool2d", "SumPool2d", "Conv1d", "Scale", "Delay"}:
        return None  # its exporter cannot write these
    if not _holds(raw, "r", 1.0) or not _holds(raw, "w_in", 1.0) or _double_neurons(raw):
        return None
    taus = [_tau(n) for n in _leaky(raw)]
    if not taus:
        return Candidate("norse", None, "IF neurons with r = 1")
    if all((tau <= NORSE_BUG_TAU).all() for tau in taus):
        why = "r = 1 and tau multiplied by dt (norse issue 411)"
        return Candidate("norse", NORSE_DT_SQUARED, why, dt_assumed=True)
    if all((tau < 1).all() for tau in taus):
        return Candidate("norse", None, "r = 1 and time constants in seconds")
    return None


def _literal(raw: RawGraph) -> Candidate | None:
    """R = 1 and seconds: Nengo and hand-written graphs look like this, and older Norse files too."""
    leaky = _leaky(raw)
    plain = bool(leaky) and _holds(raw, "r", 1.0) and not _double_neurons(raw)
    if not plain or not all(((_tau(n) > NORSE_BUG_TAU) & (_tau(n) < 1)).all() for n in leaky):
        return None
    return Candidate("nir", None, "r = 1 and time constants in seconds")


def _rockpool(raw: RawGraph) -> Candidate | None:
    neurons = raw.neurons()
    if {n.kind for n in neurons} - {"LIF", "CubaLIF"} or not _holds(raw, "w_in", 1.0):
        return None
    both = [np.broadcast_arrays(n.array("r").astype(np.float64), _tau(n)) for n in neurons]
    r, tau = (np.concatenate([x.reshape(-1) for x in values]) for values in zip(*both, strict=True))
    if not (r > 0).all():
        return None
    # r = exp(-x) / x with x = dt / tau; the right side falls with x, so bisect
    lows, highs = np.full(r.shape, 1e-9), np.full(r.shape, 50.0)
    for _ in range(80):
        middle = np.sqrt(lows * highs)
        above = np.exp(-middle) / middle > r
        lows, highs = np.where(above, middle, lows), np.where(above, highs, middle)
    dt = _common([tau * lows])
    if dt is None or dt != float(f"{dt:.2g}") or dt >= 1:
        return None
    return Candidate("rockpool", dt, "r = tau exp(-dt / tau) / dt")


def _spyx(raw: RawGraph) -> Candidate | None:
    if {n.kind for n in raw.neurons()} - {"LIF", "LI"}:
        return None
    if any(((n.array("r") >= 1) | (n.array("r") <= 0)).any() for n in raw.neurons()):
        return None
    dt = _common([_tau(n) * (1 - n.array("r")) for n in raw.neurons()])
    return None if dt is None else Candidate("spyx", dt, "r = beta and tau = dt / (1 - beta)")


_RULES: tuple[Callable[[RawGraph], Candidate | None], ...] = (
    _snntorch,
    _spikingjelly,
    _sinabs,
    _norse,
    _literal,
    _rockpool,
    _spyx,
)
