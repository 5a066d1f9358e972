"""All checks of a bundle in a row, each with the sentence that says what it proved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .cores import check_cores, check_partition, check_registers
from .engine import NATIVE, TAUGHT, by_target, chain, legs, shift, weight_shape, weighted
from .files import HELD, At, BundleRefused, Contradiction, allow, read
from .headroom import check_headroom
from .rounding import check_numbers
from .runs import check_golden
from .turns import check_xylo

LATEST = 4095
"""Steps that a spike may take to arrive: what a run keeps of its past, and so its time, has an end."""
_LOIHI = "24 wrap saturate multiply 12 1 6 32 summed free"
_XYLO = "16 saturate-full saturate-full floor-shift 15 0 0 32 in-turn held"
ARITHMETIC = {"loihi1": _LOIHI, "loihi2": _LOIHI, "xylo": _XYLO}
"""The registers of a family of chips: bits, overflow of u and v, decay, its bits and offset, …"""


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
        BundleRefused: this is no bundle that can be read, or one that is larger than what is checked.
    """
    told: dict[str, Any] = {"certified": False, "contradiction": None, "proved": []}
    told.update(not_proved=[], not_checked=list(NOT_CHECKED), bounds={})
    try:
        with np.errstate(all="ignore"):
            check(read(Path(folder)), told)
        told["certified"] = True
    except Contradiction as found:
        told["contradiction"] = found.record
    except BundleRefused:
        raise
    except Exception as error:  # whatever it trips over is no bundle: it is never certified
        why = " ".join(f"{type(error).__name__}: {error}".split())
        raise BundleRefused(f"cannot be read as a bundle ({why})"[:300]) from None
    return told


def check(bundle: Any, told: dict[str, Any]) -> None:
    """Fill in what is proved, or raise the first contradiction."""
    program, target, proved = bundle.program, bundle.target, told["proved"].append
    proved(f"files: all {len(bundle.manifest['files'])} are those of the manifest (SHA-256)")
    structure(program)
    family = str(target["family"])
    _agreement(bundle, family)
    if bundle.network is not None:
        error = check_numbers(program, bundle.network, told)
        weights = sum(s.mantissa.size for s in program.synapses)
        numbers = f"all {weights:,} weights, and all leaks, thresholds and biases, are those of the"
        within = f"within the stated rounding (weights: {error:.2%} of the largest)"
        proved(f"numbers: {numbers} compressed network, {within}")
        proved("time: depths are the longest paths, delays those of the network")
    else:
        told["not_checked"].append("the integers against a network: the bundle holds none")
    cores = check_partition(program, bundle.placement, target, str(bundle.report["board"]))
    At("report.json", "cores").same("used", bundle.report["cores"]["used"], cores)
    proved(f"placement: every neuron, with its synapses, is on exactly one of {cores} cores")
    if family in ARITHMETIC:
        check_registers(program, target)
        if family == "xylo":
            most = check_xylo(program, bundle.placement, target)
        else:
            most = check_cores(program, bundle.placement, target, family)
        name = max(most, key=lambda name: most[name])
        proved("registers: every number fits the register that holds it")
        proved(f"memory: every core is within {target['name']}; fullest: {name}, {most[name]:.1%}")
    else:
        told["not_checked"].append(f"cores and registers: how chips of family {family} count")
    if any(g.kind in ("delta", "resonator") for g in program.groups):
        told["not_checked"].append("head-room and the golden run: neurons with rules of their own")
        return
    check_headroom(program, bundle.worst, told)
    check_golden(program, bundle.golden, told)


def structure(program: Any) -> None:
    """Names, shapes and times that everything else relies on."""
    a, program.group = program.arithmetic, {g.name: g for g in program.groups}
    names = len(program.group), len({s.name for s in program.synapses})
    At("program.npz", "program").same("names", names, (len(program.groups), len(program.synapses)))
    for g in program.groups:
        at = At("program.npz", g.name)
        for field in ("scale", "du", "dv", "vth", "bias_mant", *HELD):
            shape = np.shape(0 if getattr(g, field) is None else getattr(g, field))
            at.same(f"shape of {field}", g.shape, np.broadcast_shapes(shape, g.shape))
        g.decay_u, g.theta = g.du + a.u_decay_offset, g.vth << a.state_shift
        g.bias = shift(g.bias_mant, g.bias_exp)
        at.same("input", g.role == "input", g.kind == "input")
        unknown = [name for name in HELD if getattr(g, name) is not None and name not in TAUGHT]
        allow(not unknown, f"has neurons with {unknown}, which this checker cannot step")
        counts = g.kind == "input" or g.spikes_per_step == "many"
        at.need(counts or not g.max_spikes, "most spikes", "none: it spikes once", g.max_spikes)
        if g.kind != "custom":
            only = {**NATIVE, **dict.fromkeys(HELD)}
            at.same(f"options of {g.kind}", only, {option: getattr(g, option) for option in only})
    for s in program.synapses:
        target, at = program.group[s.target], At("program.npz", s.name)
        at.need(s.sources and target.kind not in ("input", "constant"), "ends", "neurons", "others")
        at.need(not s.port or target.kind == "resonator", "port", "one of its target", s.port)
        at.same("shape of weights", weight_shape(s.ops[weighted(s.ops)]), s.mantissa.shape)
        for o in s.sources:
            source, shape = program.group[o.group], program.group[o.group].shape
            at.same("delivers", target.shape, chain(s.ops, shape)[-1])
            at.within("latency", max(1, target.depth - source.depth), o.latency, LATEST)
            at.same("shape of latency", shape, np.broadcast_shapes(o.latency.shape, shape))
    program.into = by_target(program.synapses, program.group)
    program.legs = {g.name: list(legs(program, g)) for g in program.groups}


def _agreement(bundle: Any, family: str) -> None:
    """What several files say must be one thing."""
    program, report, lock = bundle.program, bundle.report, bundle.lock["compile"]
    layers = [(g.name, list(g.shape), g.depth) for g in program.groups if g.kind != "input"]
    registers = " ".join(str(x) for k, x in vars(program.arithmetic).items() if k != "type")
    name, bits = bundle.target["name"], bundle.target["numeric"]["state_bits"]
    stated = [(x["name"], x["shape"], x["depth"]) for x in report["layers"]]
    for file, what, one, other in (
        ("program.npz", "target", name, program.target),
        ("placement.json", "target", name, bundle.placement.target),
        ("report.json", "target", name, report["target"]),
        ("lock.toml", "target", name, lock["target"]),
        ("report.json", "digest", bundle.manifest["program"], report["program"]["digest"]),
        ("report.json", "depth", report["program"]["depth"], max(g.depth for g in program.groups)),
        ("report.json", "fits", True, report["fits"]),
        ("report.json", "layers, shapes and depths", stated, layers),
        ("program.npz", f"registers of {family}", ARITHMETIC.get(family, registers), registers),
        ("program.npz", "bits of u and v", bits, program.arithmetic.state_bits),
    ):
        At(file, "program").same(what, one, other)
    for g in (g for g in program.groups if g.kind == "input"):
        found = {"message_bits": g.message_bits, "scale": float(g.scale.reshape(()))}
        At("lock.toml", g.name).same("input", lock["inputs"][g.name], found)
