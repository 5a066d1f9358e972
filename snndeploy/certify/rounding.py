"""Whether the integers are the network's numbers, within the rounding that the program states."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from .engine import NATIVE, by_target, chain, pull, weight_shape, weighted
from .files import HELD, At

_NOISE = 1e-9
"""Relative difference that comes from computing in floating point."""
_HALF_CODE = 0.5 / 127
"""Rounding of weights that were not quantised, relative to the largest: half a step of 8 bits."""


def _near(at: At, what: str, found: Any, wanted: Any, within: Any) -> None:
    """``found`` must be ``wanted``, no further off than ``within``; names the worst if it is not."""
    over = np.abs(found - wanted) - within - _NOISE * (np.abs(wanted) + within)
    if (over > 0).any():
        i = np.unravel_index(np.argmax(over), over.shape)
        got, due, off = (np.broadcast_to(x, over.shape)[i] for x in (found, wanted, within))
        at.need(False, f"{what} at {[int(x) for x in i]}", f"{due:g} (+- {off:g})", f"{got:g}")


def check_numbers(program: Any, network: Any, told: dict[str, Any]) -> float:
    """Compare a program with its network; returns the largest stated error of a weight."""
    names, at = [p.name for p in network.populations], At("program.npz", "groups")
    constants = {g.name for g in program.groups if g.kind == "constant"}
    at.same("names", sorted(names), sorted(set(program.group) - constants))
    at.need(constants <= {f"{name}.always" for name in names}, "constants", names, constants)
    _depths(program, network)
    into = by_target(network.projections, names)
    for p in network.populations:
        group, at = program.group[p.name], At("program.npz", p.name)
        at.same("shape and role", (p.shape, p.role), (group.shape, group.role))
        at.same("input", p.neuron is None, group.kind == "input")
        if p.neuron is None:
            continue
        arriving = into[p.name]
        late = {0: p.neuron.bias}  # by the steps for which it is missing: those of its projection
        for q in (q for q in arriving if q.bias is not None):
            steps = max(int(o.delay.max()) for o in q.sources)
            late[steps] = late.get(steps, 0) + q.bias
        _neuron(program, p, group, late[0], told)
        filtered = p.neuron.syn_leak is not None
        arriving += [_always(p, b, n) for n, b in late.items() if np.any(b) and (n or filtered)]
        found = {s.name: s for s in program.into[p.name]}
        for q in arriving:
            if q.type == "bias" and f"{q.name}-rest" in found:
                found[q.name] = _sum(found[q.name], found.pop(f"{q.name}-rest"))
        at.same("projections", sorted(q.name for q in arriving), sorted(found))
        for q in arriving:
            _projection(program, q, found[q.name])
    return max((r.weight for r in program.rounding.values()), default=0.0)


def _depths(program: Any, network: Any) -> None:
    """Depths are the longest paths: each projection takes a step, less its delay in the network."""
    depth = {p.name: int(p.neuron is not None) for p in network.populations}
    paths = [(q.target, o) for q in network.projections for o in q.sources]
    for _ in depth:
        before = dict(depth)
        for target, o in paths:
            depth[target] = max(depth[target], depth[o.population] + 1 - int(o.delay.min()))
        if depth == before:
            break
    for name, longest in depth.items():
        At("program.npz", name).same("depth (longest path)", longest, program.group[name].depth)


def _neuron(program: Any, p: Any, group: Any, bias: Any, told: dict[str, Any]) -> None:
    neuron, a, scale, stated = p.neuron, program.arithmetic, group.scale, program.rounding[p.name]
    at, unit, one = At("program.npz", p.name), 2.0**a.state_shift, 1 << a.decay_bits
    at.need((scale > 0).all(), "scale", "more than 0", scale.min())
    wanted = {option: getattr(neuron, option) for option in NATIVE}
    plain = all(getattr(neuron, name) is None for name in HELD)
    native = plain and {**wanted, "compare": ">"} == NATIVE
    kinds = ("lif", "custom") if native else ("custom",)
    kinds = kinds if neuron.threshold is not None else ("readout",)
    at.need(group.kind in kinds, "kind of neuron", kinds, group.kind)
    for option, value in wanted.items() if group.kind == "custom" else ():
        at.same(option, value, getattr(group, option))
    many = group.spikes_per_step == "many"
    at.same("most spikes", neuron.max_spikes if many else None, group.max_spikes)
    at.need((neuron.v_init == 0).all(), "initial v", 0, neuron.v_init.max())
    syn_leak = 0.0 if neuron.syn_leak is None else neuron.syn_leak
    # A leak that no constant holds may make up for the half unit that rounding drops from such a v.
    usual = np.inf if neuron.threshold is None else np.mean(np.abs(neuron.threshold) * scale)
    lift = np.where(neuron.leak * one % 1 == 0, 0, 1 / max(float(usual), unit))
    for what, d, leak, error, more in (
        ("leak of v", group.dv, neuron.leak, stated.leak, lift),
        ("leak of u", group.du + a.u_decay_offset, syn_leak, stated.syn_leak, 0),
    ):  # the nearest, or the last that the register holds
        nearest = np.where((d <= 1) | (d >= one - 1), 1.0, 0.5) / one + more
        within = np.minimum(error, nearest) if a.decay == "multiply" else error
        _near(at, what, _kept(d, a), leak, within + _NOISE)
    theta = 1.0 if neuron.threshold is None else np.maximum(np.abs(neuron.threshold), 1e-300)
    if neuron.threshold is not None:
        strict = group.kind == "lif" and neuron.compare == ">="
        got, theta_here = (group.vth + strict) * unit, neuron.threshold * scale
        within = np.minimum(stated.threshold * theta * scale, (1.5 if strict else 1) * unit)
        # Where v holds whole units only, no v lies between a threshold and the next unit below.
        exact = (neuron.leak == 1) & (group.kind == "lif")
        off = np.where(exact & ~_whole(group, a), np.abs(got - theta_here), 0)
        if (off > within + _NOISE * np.abs(theta_here)).any():
            far = f"it is up to {off.max():.0f} of {got.max():.0f} units from the network's"
            why = f"threshold of {p.name}: {far}, which is more than the stated rounding"
            told["not_proved"].append(why)
        _near(at, "threshold", got, theta_here, np.where(exact, unit, within))
    at_once = neuron.drive + (bias if neuron.syn_leak is None else 0.0)
    held, half = group.bias_mant * 2.0**group.bias_exp, 2.0 ** max(group.bias_exp, 0) / 2
    _near(at, "bias", held, at_once * scale, np.minimum(stated.bias * theta * scale, half))
    most = 2 ** (a.state_bits - 1) - 1  # a level beyond what v can hold is its end
    for name, form in HELD.items():
        real, held = getattr(neuron, name), getattr(group, name)
        at.same(name, real is None, held is None)
        if real is not None and form == "level":
            _near(at, name, held, np.clip(real * scale, -most, most), 0.5)
        elif real is not None:  # a step of the constant, or half of the way to the next shift
            pair = (1 - held / one, 1 / one) if a.decay == "multiply" else (_kept(held, a), 0.5)
            _near(at, name, pair[0], real, pair[1] + _NOISE)


def _kept(d: Any, arithmetic: Any) -> Any:
    """The factor that a decay keeps; a shift keeps all where it leaves no bit of a register to take."""
    if arithmetic.decay == "multiply":
        return 1 - d / (1 << arithmetic.decay_bits)
    return np.where(d >= arithmetic.state_bits - 1, 1.0, 1 - 0.5**d)


def _whole(group: Any, arithmetic: Any) -> Any:
    """Whether v is always a multiple of the unit of weights: nothing leaks, nothing else is added."""
    bias = group.bias_mant * 2.0**group.bias_exp % (1 << arithmetic.state_shift)
    forgets = group.du + arithmetic.u_decay_offset == 1 << arithmetic.decay_bits
    return (group.dv == 0) & (arithmetic.decay == "multiply") & forgets & (bias == 0)


def _always(p: Any, bias: Any, late: int) -> SimpleNamespace:
    """A bias that is filtered or late: synapses from a compartment that always spikes."""
    data = np.broadcast_to(bias, p.shape).reshape(-1, 1)
    dense = SimpleNamespace(type="Dense", out_features=len(data), in_features=1)
    ops = [dense, SimpleNamespace(type="Reshape", shape=p.shape)]
    source = SimpleNamespace(population=f"{p.name}.always", delay=np.asarray(late))
    weight = SimpleNamespace(data=data, scale=None, mask=None)
    name = f"{p.name}.bias" + (f"-{late}" if late else "")
    return SimpleNamespace(name=name, type="bias", sources=[source], ops=ops, weight=weight)


def _sum(s: Any, rest: Any) -> Any:
    """Synapses that carry a bias, and others beside them what those lose of it, on the finer grid."""
    at = At("program.npz", rest.name)
    ends, other = ([(o.group, str(o.latency)) for o in x.sources] for x in (s, rest))
    at.same("sources", ends, other)
    at.same("operators", *([vars(op) for op in x.ops] for x in (s, rest)))
    at.need(rest.alive is None, "pruned synapses", "none", "some")
    held = {"mantissa": s.mantissa * 2.0 ** (s.exponent - rest.exponent) + rest.mantissa}
    held |= {"exponent": rest.exponent, "sign_mode": rest.sign_mode}
    return SimpleNamespace(**{**vars(s), **held})


def _projection(program: Any, q: Any, s: Any) -> None:
    """Ends, delays and operators; weights, in units of the state, times the scale of what they reach."""
    at, target = At("program.npz", s.name), program.group[s.target]
    w, mantissa = q.weight, s.mantissa
    sources = [program.group[o.group] for o in s.sources]
    at.same("sources", [o.population for o in q.sources], [g.name for g in sources])
    for o, source, g in zip(q.sources, s.sources, sources, strict=True):
        delay = source.latency - (target.depth - g.depth)
        alike = np.broadcast_to(delay, g.shape) == np.broadcast_to(o.delay, g.shape)
        at.need(alike.all(), "delay", o.delay.tolist(), delay.tolist())
    at.same("operators", *([{**vars(op), "weight_shape": 0} for op in x.ops] for x in (q, s)))
    values = w.data * (1.0 if w.scale is None else w.scale)
    shape = weight_shape(q.ops[weighted(q.ops)])
    At("network.npz", s.name).same("shape of weights", shape, values.shape)
    masks = [np.ones((), bool) if x is None else x for x in (w.mask, s.alive)]
    mask, alive = (np.broadcast_to(x, mantissa.shape) for x in masks)
    at.need((mask == alive).all(), "pruned synapses", "those of the network", "others")
    At("network.npz", s.name).need(not (values * ~mask).any(), "pruned weights", 0, "others")
    scales = {float(g.scale.max()) for g in sources if g.kind == "input"}
    at.need(len(scales) < 2, "scale of its sources", "one", scales)
    late = program.arithmetic.arrival == "in-turn"  # what arrives decays at once
    scale = target.scale / _kept(target.decay_u, program.arithmetic) if late else target.scale
    factor = _factors(s, sources[0].shape, target, at, scale) / (scales.pop() if scales else 1)
    unit = 2.0 ** (s.exponent + program.arithmetic.state_shift)
    peak = np.abs(values).max() * factor.max()
    half = unit * (1.0 if s.sign_mode == "mixed" else 0.5)
    codes = _HALF_CODE if w.scale is None and q.type != "bias" else 0.0
    stated = 1.0 if q.type == "bias" else program.rounding[s.target].weight
    wanted = np.broadcast_to(values, mantissa.shape) * factor
    _near(at, "weight", mantissa * unit, wanted, min(half + codes * peak, stated * peak))


def _factors(s: Any, shape: Any, target: Any, at: At, scale: Any) -> Any:
    """The scale of the neurons that each weight feeds, in the form of the weights."""
    place, w = weighted(s.ops), s.mantissa
    if scale.size == 1:
        return np.full((1,) * w.ndim, float(scale.reshape(())))
    after, behind = s.ops[place + 1 :], chain(s.ops[: place + 1], shape)[-1]
    scale = np.broadcast_to(scale, target.shape)[None].astype(np.float64)
    fed, total, square = (pull(after, np.ones(1), scale**n, behind)[0] for n in range(3))
    # The values behind the operator that one weight, or one row of weights, makes.
    rows = w.shape if s.ops[place].type == "Pointwise" else (len(w), *(1,) * (len(behind) - 1))
    spread = tuple(i for i, n in enumerate((1,) * (len(behind) - len(rows)) + rows) if n == 1)
    n, total, square = (x.sum(axis=spread, keepdims=True) for x in (fed, total, square))
    mean, square = total / np.maximum(n, 1), square / np.maximum(n, 1)
    alike = square - mean**2 <= _NOISE * square
    at.need(alike.all(), "scale of what one weight feeds", "one", "several")
    return mean.reshape(w.shape if mean.size == w.size else (-1,) + (1,) * (w.ndim - 1))
