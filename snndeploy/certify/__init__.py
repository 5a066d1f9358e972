"""A separate checker of bundles: it proves again, from the files alone, what a compiler says of them.

It imports NumPy and the standard library, and nothing of the compiler. Read it in this order: `files`
and `form` (what a bundle may be), `numbers` (the integers are the network's), `linear` and `engine`
(what they compute), `bounds` (how large states become), `placed` and `counting` (where it all is).
"""

from __future__ import annotations

from math import prod
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from .bounds import bounds, worst_inputs
from .engine import legs, run
from .files import Contradiction, need, read
from .form import Refused, chain
from .linear import weight_shape, weighted
from .numbers import check_numbers
from .placed import check_cores, check_partition, check_registers

__all__ = ["Contradiction", "Refused", "certify"]

WORK = 2e11
"""Multiplications that the golden run may take; with more, fewer of its samples are run."""
_LOIHI = "24 wrap saturate multiply 12 1 6 32"
ARITHMETIC = {"loihi1": _LOIHI, "loihi2": _LOIHI}
"""What the registers of a family of chips are: bits, overflow of u and v, decay, its bits, …"""
NOT_CHECKED = (
    "what compression did to the trained network (its accuracy): run `snndeploy verify` with data",
    "whether the chip is what target.toml says; each number there has its source and certainty",
    "estimates of time and energy",
)


def certify(folder: str | Path) -> dict[str, Any]:
    """Check a bundle.

    Returns:
        ``certified``; ``proved``, ``not_proved`` and ``not_checked`` as sentences; ``bounds`` of every
        group; and ``contradiction`` (file, where, what, stated, found), None where there is none.

    Raises:
        Refused: this is no bundle that can be read, or one that is larger than what is checked.
    """
    told: dict[str, Any] = {"certified": False, "proved": [], "not_proved": []}
    told.update(not_checked=list(NOT_CHECKED), bounds={}, contradiction=None)
    try:
        with np.errstate(all="ignore"):
            _check(read(folder), told)
        told["certified"] = True
    except Contradiction as found:
        told["contradiction"] = found.record
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise Refused(f"does not have the form of a bundle ({error!r})"[:300]) from None
    except (MemoryError, RecursionError):
        raise Refused("is larger than this machine can check") from None
    return told


def _check(bundle: Any, told: dict[str, Any]) -> None:
    program, target, proved = bundle.program, bundle.target, told["proved"]
    proved.append(f"files: all {len(bundle.manifest['files'])} are those of the manifest (SHA-256)")
    _structure(program)
    family = str(target.get("family", target.get("memory_model")))
    _agreement(bundle, family)
    if "compressed" in bundle.networks:
        error = check_numbers(program, bundle.networks["compressed"], told)
        weights = sum(s.mantissa.size for s in program.synapses)
        proved.append(
            f"numbers: all {weights:,} weights, and every leak, threshold, bias and delay are those of "
            f"the compressed network, within the stated rounding (weights: {error:.2%} of the largest)"
        )
        proved.append("time: depths are the longest paths, delays those of the network")
    else:
        told["not_checked"].append("the integers against a network: the bundle holds none")
    cores = check_partition(program, bundle.placement, target, str(bundle.report["board"]))
    stated = bundle.report["cores"]["used"]
    need(stated == cores, "report.json", "cores", "used", stated, cores)
    proved.append(f"placement: every neuron, with its synapses, is on exactly one of {cores} cores")
    if family in ARITHMETIC:
        check_registers(program, target)
        most = check_cores(program, bundle.placement, target, family)
        name, share = max(most.items(), key=lambda item: item[1])
        proved.append(
            f"memory: no core exceeds a limit of {target['name']}; fullest: {name}, {share:.1%}"
        )
        proved.append("registers: every number fits the register that holds it")
    else:
        told["not_checked"].append(f"cores and registers: how chips of family {family} count")
    _headroom(program, told)
    _golden(bundle, told)


def _structure(program: Any) -> None:
    """Names, shapes and times that everything else relies on."""
    file = "program.npz"
    program.group = {g.name: g for g in program.groups}
    unique = len(program.group) == len(program.groups) > 0
    unique = unique and len({s.name for s in program.synapses}) == len(program.synapses)
    need(unique, file, "program", "names", "unique", "some twice")
    for g in program.groups:
        g.size = prod(g.shape)
        for field in ("scale", "du", "dv", "vth", "bias_mant", "v_floor"):
            shape = np.shape(getattr(g, field) if getattr(g, field) is not None else 0)
            fits = np.broadcast_shapes(shape, g.shape) == g.shape
            need(fits, file, g.name, f"shape of {field}", g.shape, shape)
        need((g.kind == "input") == (g.role == "input"), file, g.name, "kind", g.role, g.kind)
        need(g.kind == "custom" or g.v_floor is None, file, g.name, "floor of v", "none", "some")
    for s in program.synapses:
        need(s.target in program.group and s.sources, file, s.name, "target", "a group", s.target)
        target = program.group[s.target]
        need(
            target.kind not in ("input", "constant"), file, s.name, "target", "neurons", target.kind
        )
        for o in s.sources:
            source = program.group[o.group]
            shapes = chain(s.ops, source.shape)
            source.size = max(source.size, *(prod(shape) for shape in shapes))
            need(shapes[-1] == target.shape, file, s.name, "delivers", target.shape, shapes[-1])
            delay = o.latency - (target.depth - source.depth)
            ok = o.latency.min() >= 1 and delay.min() >= 0 and o.latency.max() < 4096
            need(ok, file, s.name, "latency", "at least the depths between", o.latency.min())
            need(
                np.broadcast_shapes(o.latency.shape, source.shape) == source.shape,
                file,
                s.name,
                "shape of latency",
                source.shape,
                o.latency.shape,
            )
        wanted = weight_shape(s.ops[weighted(s.ops)])
        need(s.mantissa.shape == wanted, file, s.name, "shape of weights", wanted, s.mantissa.shape)
    program.legs = {g.name: list(legs(program, g.name)) for g in program.groups}


def _agreement(bundle: Any, family: str) -> None:
    """What several files say must be one thing."""
    program, report, lock = bundle.program, bundle.report, bundle.lock["compile"]
    name, a = bundle.target["name"], program.arithmetic
    for file, stated in (
        ("program.npz", program.target),
        ("placement.json", bundle.placement.target),
        ("report.json", report["target"]),
        ("lock.toml", lock["target"]),
    ):
        need(stated == name, file, "target", "name", name, stated)
    digest, said = bundle.manifest["program"], report["program"]
    need(said["digest"] == digest, "report.json", "program", "digest", digest, said["digest"])
    depth = max(g.depth for g in program.groups)
    need(said["depth"] == depth, "report.json", "program", "depth", said["depth"], depth)
    need(report["fits"] is True, "report.json", "fits", "verdict", True, report["fits"])
    layers = [(g.name, list(g.shape), g.depth) for g in program.groups if g.kind != "input"]
    stated = [(x["name"], x["shape"], x["depth"]) for x in report["layers"]]
    need(stated == layers, "report.json", "layers", "names, shapes and depths", stated, layers)
    for g in program.groups:
        if g.kind == "input":
            stated, found = (
                lock["inputs"][g.name],
                {"message_bits": g.message_bits, "scale": g.scale},
            )
            need(stated == found, "lock.toml", g.name, "input", stated, found)
    registers = " ".join(str(x) for k, x in vars(a).items() if k != "type")
    need(
        registers == ARITHMETIC.get(family, registers),
        "program.npz",
        "arithmetic",
        f"registers of {family}",
        ARITHMETIC.get(family),
        registers,
    )
    bits = bundle.target["numeric"]["state_bits"]["limit"]
    need(bits == a.state_bits, "program.npz", "arithmetic", "bits of u and v", bits, a.state_bits)


def _headroom(program: Any, told: dict[str, Any]) -> None:
    limit = (1 << (program.arithmetic.state_bits - 1)) - 1
    least, real = (bounds(program, stated=stated) for stated in (True, False))
    worst: dict[str, tuple[int, str]] = {}
    if not all(b.safe for b in real.values()):
        worst = worst_inputs(program, real)
    for name, b in real.items():
        stated, own = program.headroom.get(name), least[name]
        u, v = int(own.u.max()), int(np.maximum(own.v_high, own.v_low).max())
        file, most = "program.npz", int(np.maximum(b.v_high, b.v_low).max())
        if stated is not None:
            need(stated.limit == limit, file, name, "limit of u and v", limit, stated.limit)
            need(stated.u_peak >= u, file, name, "bound of |u|", stated.u_peak, u)
            need(stated.v_peak >= min(v, limit), file, name, "bound of |v|", stated.v_peak, v)
            steps = limit // max(int(own.drive.max()), 1)
            clips = v <= limit if stated.clip_steps is None else stated.clip_steps <= steps
            need(clips, file, name, "steps until v may clip", stated.clip_steps, steps)
        told["bounds"][name] = {"u": int(b.u.max()), "v": most, "limit": limit, "proved": b.safe}
        clipping = "v never clips" if most <= limit else "v may clip, which only forgets inhibition"
        if b.safe:
            told["proved"].append(
                f"head-room of {name}: |u| <= {int(b.u.max()):,} of {limit:,} whatever arrives; {clipping}"
            )
            continue
        found, what = worst[name]
        told["bounds"][name].update(worst_found=found, worst_input=what)
        why = ""
        if own.safe:
            why = f" (|u| <= {u:,} holds while no neuron sends more than it is stated for)"
        told["not_proved"].append(
            f"head-room of {name}: u may wrap{why}; the worst input that was found reaches {found:,} of "
            f"{limit:,} ({what})"
        )


def _golden(bundle: Any, told: dict[str, Any]) -> None:
    program, golden = bundle.program, bundle.golden
    inputs = {g.name: golden[f"input.{g.name}"] for g in program.groups if g.kind == "input"}
    steps, samples = next(iter(inputs.values())).shape[:2]
    for g in program.groups:
        what = f"{'input' if g.kind == 'input' else 'spikes'}.{g.name}"
        shape = golden[what].shape
        need(shape == (steps, samples, *g.shape), "golden.npz", what, "shape", g.shape, shape)
        if g.kind == "input":
            low, high = int(golden[what].min()), int(golden[what].max())
            most = (1 << (g.message_bits - 1)) - 1 if g.message_bits else 1
            least = -most if g.message_bits else 0
            need(
                least <= low and high <= most,
                "golden.npz",
                what,
                "messages",
                f"{least}..{most}",
                f"{low}..{high}",
            )
    work = sum(_work(leg) for found in program.legs.values() for leg in found) * steps
    if work > WORK * 50:
        raise Refused(f"takes {work:.0e} multiplications per sample, which is more than is checked")
    ran = max(1, min(samples, int(WORK / max(work, 1))))
    for sample in range(0, ran, 8):
        some = slice(sample, min(sample + 8, ran))
        sent, _ = run(program, {name: x[:, some] for name, x in inputs.items()})
        for name, x in sent.items():
            differs = np.argwhere(golden[f"spikes.{name}"][:, some] != x)
            if len(differs):
                at = tuple(int(i) for i in differs[0])
                stated = golden[f"spikes.{name}"][:, some][at]
                raise Contradiction(
                    "golden.npz", name, f"at (step, sample, neuron) {at}", stated, x[at]
                )
    silent = [
        g.name
        for g in program.groups
        if g.kind in ("lif", "custom") and not golden[f"spikes.{g.name}"].any()
    ]
    told["proved"].append(
        f"golden run: {steps} steps of {ran} samples (of {samples}) give every recorded spike on the checker's own engine"
    )
    if silent:
        told["not_checked"].append(f"spikes of {', '.join(silent)}: silent in the golden run")


def _work(leg: Any) -> float:
    """Multiplications of a step."""
    total, shapes = 0.0, chain(leg.synapses.ops, leg.source.shape)
    for op, shape in zip(leg.synapses.ops, shapes[1:], strict=True):
        per = prod(weight_shape(op)[1:]) if op.type in ("Dense", "Conv") else 1
        total += prod(shape) * (prod(op.kernel) if op.type == "SumPool" else per)
    return total
