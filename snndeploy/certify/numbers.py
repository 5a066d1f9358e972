"""Whether the integers are the network's numbers, within the rounding that the program states."""

from __future__ import annotations

from typing import Any

import numpy as np

from .files import need
from .linear import pull, weight_shape, weighted

_NOISE = 1e-9
"""Relative difference that comes from computing in floating point."""
_HALF_CODE = 0.5 / 127
"""Rounding of weights that were not quantised, relative to the largest: half a step of 8 bits."""


def _near(file: str, where: str, what: str, found: Any, wanted: Any, within: Any) -> None:
    """``found`` must be ``wanted``, no further off than ``within``; names the worst if it is not."""
    found, wanted, within = np.broadcast_arrays(*np.atleast_1d(found, wanted, within))
    worst = np.unravel_index(np.argmax(np.abs(found - wanted) - within), found.shape)
    close = abs(found[worst] - wanted[worst]) <= within[worst] + _NOISE * abs(wanted[worst])
    at = f"{what} at {[int(i) for i in worst]}"
    need(close, file, where, at, f"{wanted[worst]:g} (+- {within[worst]:g})", f"{found[worst]:g}")


def check_numbers(program: Any, network: Any, told: dict[str, Any]) -> float:
    """Compare a program with its network; returns the largest stated error of a weight."""
    populations = {p.name: p for p in network.populations}
    projections = {p.name: p for p in network.projections}
    constant = {f"{name}.always" for name in populations}
    extra = [g for g in program.groups if g.name not in populations]
    ours = [g.name for g in extra if g.kind == "constant" and g.name in constant]
    need(
        len(extra) == len(ours), "program.npz", "groups", "names", list(populations), program.group
    )
    _depths(program, network)
    for p in network.populations:
        need(p.name in program.group, "program.npz", p.name, "group", "one per population", "none")
        group = program.group[p.name]
        for field in ("shape", "role"):
            stated, found = getattr(p, field), getattr(group, field)
            need(stated == found, "program.npz", p.name, field, stated, found)
        is_input = group.kind == "input"
        need(is_input == (p.neuron is None), "program.npz", p.name, "kind", p.role, group.kind)
        if p.neuron is None:
            continue
        arriving = [q for q in network.projections if q.target == p.name]
        bias = p.neuron.bias + sum(0 if q.bias is None else q.bias for q in arriving)
        _neuron(program, p, group, bias, told)
        known = {s.name: s for s in program.synapses if s.target == p.name}
        if p.neuron.syn_leak is not None and np.any(bias):
            s = known.pop(f"{p.name}.bias", None)
            need(s is not None, "program.npz", p.name, "synapses of its bias", "some", "none")
            values = np.broadcast_to(bias, p.shape).reshape(-1, 1)
            source, behind = s.sources[0], program.group[s.sources[0].group]
            late = int(source.latency.max()) + behind.depth - group.depth
            wanted, found = (
                (f"{p.name}.always", 1, ["Dense", "Reshape"], 0),
                (behind.name, len(s.sources), [op.type for op in s.ops], late),
            )
            need(
                wanted == found,
                "program.npz",
                s.name,
                "source, sources, operators and delay",
                wanted,
                found,
            )
            _synapses(program, s, values, None, True, 0.0)
        names = [q.name for q in arriving]
        need(
            sorted(known) == sorted(names), "program.npz", p.name, "projections", names, list(known)
        )
        for q in arriving:
            _projection(program, q, known[q.name])
    return max((program.rounding[p].weight for p in program.rounding), default=0.0)


def _depths(program: Any, network: Any) -> None:
    """Depths are the longest paths: each projection takes a step, less its delay in the network."""
    depth = {p.name: int(p.neuron is not None) for p in network.populations}
    for _ in range(len(depth) + 1):
        for q in network.projections:
            for o in q.sources:
                least = depth[o.population] + 1 - int(o.delay.min())
                depth[q.target] = max(depth[q.target], least)
    for name, steps in depth.items():
        found = program.group[name].depth if name in program.group else None
        need(found == steps, "program.npz", name, "depth (longest path)", steps, found)


def _neuron(program: Any, p: Any, group: Any, bias: Any, told: dict[str, Any]) -> None:
    neuron, arithmetic, where = p.neuron, program.arithmetic, p.name
    file, scale, stated = "program.npz", group.scale, program.rounding.get(p.name)
    need(stated is not None, file, where, "rounding", "stated", "missing")
    need((scale > 0).all(), file, where, "scale", "positive", scale.min())
    options = ("reset", "reset_timing", "spikes_per_step")
    plain = {"compare": ">", **dict(zip(options, ("zero", "immediate", "one"), strict=True))}
    if neuron.threshold is None:
        kinds, wanted = ("readout",), plain
    else:
        native = all(getattr(neuron, o) == plain[o] for o in options) and neuron.v_floor is None
        kinds = ("lif", "custom") if native else ("custom",)
        wanted = {o: getattr(neuron, o) for o in plain} if group.kind == "custom" else plain
    need(group.kind in kinds, file, where, "kind of neuron", kinds, group.kind)
    for option, value in wanted.items():
        need(getattr(group, option) == value, file, where, option, value, getattr(group, option))
    many = neuron.max_spikes if wanted["spikes_per_step"] == "many" else None
    need(group.max_spikes == many, file, where, "most spikes", many, group.max_spikes)
    need((neuron.v_init == 0).all(), file, where, "initial v", 0, neuron.v_init.max())
    for what, d, leak, offset, error in (
        ("leak of v", group.dv, neuron.leak, 0, stated.leak),
        ("leak of u", group.du, neuron.syn_leak, arithmetic.u_decay_offset, stated.syn_leak),
    ):
        one = 1 << arithmetic.decay_bits
        kept = 0.5 ** (d + offset) if arithmetic.decay == "shift" else 1 - (d + offset) / one
        kept = 1 - kept if arithmetic.decay == "shift" else kept
        nearest = np.where((d <= 0) | (d >= one - 1), 1.0, 0.5) / one
        within = error if arithmetic.decay == "shift" else np.minimum(error, nearest)
        _near(file, where, what, kept, 0.0 if leak is None else leak, within + _NOISE)
    unit = 2.0**arithmetic.state_shift
    theta = np.ones(()) if neuron.threshold is None else neuron.threshold
    if neuron.threshold is not None:
        got = (group.vth + int(group.kind == "lif" and neuron.compare == ">=")) * unit
        strict = group.kind == "lif" and neuron.compare == ">="
        within = np.minimum(stated.threshold * np.abs(theta) * scale, (1.5 if strict else 1) * unit)
        # Where v holds whole units only, no v lies between a threshold and the next unit below.
        exact = (neuron.leak == 1) & (group.kind == "lif")
        off = np.where(exact & ~_whole(group, arithmetic), np.abs(got - theta * scale), 0)
        if (off > within).any():
            told["not_proved"].append(
                f"threshold of {where}: up to {off.max():.0f} of {got.max():.0f} units from the network's, "
                "more than the stated rounding"
            )
        within = np.where(exact, unit, within)
        _near(file, where, "threshold", got, theta * scale, within)
    at_once = neuron.drive + (bias if neuron.syn_leak is None else 0.0)
    held = group.bias_mant * 2.0**group.bias_exp
    within = np.minimum(stated.bias * np.abs(theta) * scale, 2.0 ** max(group.bias_exp, 0) / 2)
    _near(file, where, "bias", held, at_once * scale, within)
    if neuron.v_floor is not None or group.v_floor is not None:
        both = neuron.v_floor is not None and group.v_floor is not None
        need(both, file, where, "floor of v", neuron.v_floor, group.v_floor)
        _near(file, where, "floor of v", group.v_floor, neuron.v_floor * scale, 0.5)


def _whole(group: Any, arithmetic: Any) -> Any:
    """Whether v is always a multiple of the unit of weights: nothing leaks, nothing else is added."""
    unit = 1 << arithmetic.state_shift
    bias = group.bias_mant * 2.0**group.bias_exp
    forgets = group.du + arithmetic.u_decay_offset == 1 << arithmetic.decay_bits
    return (group.dv == 0) & (arithmetic.decay == "multiply") & forgets & (bias % unit == 0)


def _projection(program: Any, q: Any, s: Any) -> None:
    stated, found = [o.population for o in q.sources], [o.group for o in s.sources]
    need(stated == found, "program.npz", s.name, "sources", stated, found)
    for o, source in zip(q.sources, s.sources, strict=True):
        shape = program.group[source.group].shape
        depth = program.group[s.target].depth - program.group[source.group].depth
        delay = np.broadcast_to(source.latency, shape) - depth
        _near("program.npz", s.name, "delay", delay, np.broadcast_to(o.delay, shape), 0)
    simple = [{**vars(op), "weight_shape": 0} for op in s.ops]
    trained = [{**vars(op), "weight_shape": 0} for op in q.ops]
    need(simple == trained, "program.npz", s.name, "operators", trained, simple)
    w, mask = q.weight, q.weight.mask
    values = w.data * (1.0 if w.scale is None else w.scale)
    need(
        mask is None or not values[~mask].any(), "network.npz", s.name, "pruned weights", 0, "some"
    )
    need(
        (mask is None and s.alive is None) or np.array_equal(*np.broadcast_arrays(mask, s.alive)),
        "program.npz",
        s.name,
        "pruned synapses",
        "those of the network",
        "others",
    )
    _synapses(program, s, values, w.scale, False, program.rounding[s.target].weight)


def _synapses(
    program: Any, s: Any, values: Any, quantised: Any, constant: bool, stated: float
) -> None:
    """Weights in units of the state against the network's, times the scale of what they reach."""
    place, target = weighted(s.ops), program.group[s.target]
    shape = program.group[s.sources[0].group].shape
    need(
        values.shape == weight_shape(s.ops[place]) or s.ops[place].type == "Pointwise",
        "network.npz",
        s.name,
        "weights",
        weight_shape(s.ops[place]),
        values.shape,
    )
    first = program.group[s.sources[0].group]
    factor = _factors(s, place, shape, target, s.name) / (
        first.scale if first.kind == "input" else 1
    )
    wanted = np.broadcast_to(values, s.mantissa.shape) * factor
    unit = 2.0 ** (s.exponent + program.arithmetic.state_shift)
    peak = np.abs(values).max() * factor.max()
    half = unit * (1.0 if s.sign_mode == "mixed" else 0.5)
    within = half + (0.0 if quantised is not None else _HALF_CODE * peak)
    if not constant:
        within = min(within, stated * peak)
    _near("program.npz", s.name, "weight", s.mantissa * unit, wanted, within)


def _factors(s: Any, place: int, shape: Any, target: Any, name: str) -> Any:
    """The scale of the neurons that each weight feeds, in the form of the weights."""
    if target.scale.size == 1:
        return np.full((1,) * s.mantissa.ndim, float(target.scale.reshape(())))
    from .form import chain

    after, behind = s.ops[place + 1 :], chain(s.ops[: place + 1], shape)[-1]
    scale = np.broadcast_to(target.scale, target.shape)[None].astype(np.float64)
    counts = np.maximum(pull(after, np.ones(1), np.ones_like(scale), behind), 1)
    mean = pull(after, np.ones(1), scale, behind) / counts
    square = pull(after, np.ones(1), scale**2, behind) / counts
    op, w = s.ops[place], s.mantissa
    if op.type == "Pointwise":
        full = np.broadcast_to(np.arange(w.size).reshape(w.shape), behind).reshape(-1)
        rows = np.stack(
            [np.bincount(full, x.reshape(-1)) / np.bincount(full) for x in (mean, square)]
        )
    else:
        rows = np.stack([x.reshape(behind[0], -1).mean(1) for x in (mean, square)])
    alike = rows[1] - rows[0] ** 2 <= _NOISE * rows[1]
    need(alike.all(), "program.npz", name, "scale of what one weight feeds", "one", "several")
    return rows[0].reshape(w.shape if op.type == "Pointwise" else (-1,) + (1,) * (w.ndim - 1))
