"""Where neurons are, each on one core of the board; and what cores and registers can hold."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from .counting import Counted
from .files import At

FILE = "placement.json"


def check_partition(program: Any, placement: Any, target: Any, board: str) -> int:
    """Every neuron is on exactly one core of the board; returns the number of cores in use."""
    placed = {g.name: np.zeros(g.shape, np.uint8) for g in program.groups if g.kind != "input"}
    for part in placement.slices:
        at, b = At(FILE, part.group), part.bounds
        at.need(part.group in placed, "group of a slice", list(placed), part.group)
        shape = placed[part.group].shape
        box = len(b) == len(shape) and all(len(ends) == 2 for ends in b)
        box = box and all(low < high <= n for (low, high), n in zip(b, shape, strict=True))
        at.need(box, "slice", f"a box of {shape}", b)
        part.box, part.shape = tuple(slice(*ends) for ends in b), tuple(hi - lo for lo, hi in b)
        twice = placed[part.group][part.box].any()
        at.need(not twice, "cores of a neuron", "one", f"two, one of them {part.core}")
        placed[part.group][part.box] = 1
    for name, seen in placed.items():
        At(FILE, name).same("neurons on cores", seen.size, int(seen.sum()))
    per_chip, at = target["chip"]["cores"]["limit"], At(FILE, board)
    at.same("cores per chip", per_chip, placement.cores_per_chip)
    named = re.fullmatch(r"(\d{1,9})( chips?)?", board)
    chips = int(named[1]) if named else target["boards"][board]["limit"]
    last = max(part.core for part in placement.slices)
    at.need(last < chips * per_chip, "cores", chips * per_chip, f"number {last}")
    return len({part.core for part in placement.slices})


def check_cores(program: Any, placement: Any, target: Any, family: str) -> dict[str, float]:
    """Recount every core against the target's limits; returns the fullest share of each resource."""
    count = Counted(program, placement, target, family == "loihi2")
    cores: dict[int, dict[str, int]] = {}
    for part in placement.slices:
        at, core = At(FILE, f"{part.group} on core {part.core}"), cores.setdefault(part.core, {})
        for name, n in count.part(part).items():
            at.same(name, part.resources.get(name, n), n)
            before = core.get(name, 0)
            core[name] = max(before, n) if name in ("axon_words", "delay") else before + n
    most: dict[str, float] = {}
    for number, core in cores.items():
        if family == "loihi1":  # all compartments of a core reserve its longest delay
            core["delay_slots"] = core["compartments"] << max(core["delay"], 3)
        for name, limit in ((k, v["limit"]) for k, v in target["core"].items()):
            what, used = name.replace("_", " "), core[name]
            At(FILE, f"core {number}").need(used <= limit, what, f"at most {limit}", used)
            most[what] = max(most.get(what, 0.0), used / max(limit, 1))
    return most


def check_registers(program: Any, target: Any) -> None:
    """Every number against the range of its register, and weights against their field."""
    numeric, synapse, neurons = target["numeric"], target["synapse"], target["neurons"]
    for g in (g for g in program.groups if g.kind != "input"):
        at, spiking = At("program.npz", g.name), g.kind in ("lif", "custom")
        values = {"decay_max": (g.du, g.dv), "bias_mant_max": (g.bias_mant,)}
        values |= {"bias_exp_max": (g.bias_exp,), "vth_max": (g.vth,) if spiking else ()}
        for name, arrays in values.items():
            limit, largest = (
                numeric[name]["limit"],
                max((np.abs(x).max() for x in arrays), default=0),
            )
            at.need(largest <= limit, name, limit, largest)
        at.need(min(g.du.min(), g.dv.min()) >= 0, "decay", "at least 0", "less")
        uses = {"subtract_reset": g.reset == "subtract", "v_floor": g.v_floor is not None}
        uses["many_spikes"] = g.spikes_per_step == "many"
        lacks = [name for name, used in uses.items() if used and neurons[name] == "none"]
        at.same("features that the chip lacks", [], lacks)
    for g in program.groups:
        graded = neurons.get("graded_bits", 0)
        At("program.npz", g.name).need(g.message_bits <= graded, "bits", graded, g.message_bits)
    for s in program.synapses:
        at, low, high = At("program.npz", s.name), int(s.mantissa.min()), int(s.mantissa.max())
        for name, ends in (("mantissa", (low, high)), ("exponent", (s.exponent, s.exponent))):
            span = synapse[name]["low"], synapse[name]["high"]
            at.need(span[0] <= ends[0] and ends[1] <= span[1], name, span, ends)
        longest, limit = (
            max(int(o.latency.max()) for o in s.sources) - 1,
            synapse["delay_max"]["limit"],
        )
        at.need(longest <= limit, "longest delay", limit, longest)
        mixed, used = (
            s.sign_mode == "mixed",
            int(np.bitwise_or.reduce(np.abs(s.mantissa), axis=None)),
        )
        legal = {"excitatory": low >= 0, "inhibitory": high <= 0, "mixed": not used & 1}
        at.need(legal[s.sign_mode], "signs", s.sign_mode, f"{low}..{high}")
        zeros, widest = max((used & -used).bit_length() - 1, 0), max(synapse["weight"]["widths"])
        bits = max(high >> zeros, -(low >> zeros) - 1).bit_length() + mixed
        at.need(bits <= s.weight_bits <= widest, "bits of a weight", s.weight_bits, (bits, widest))
        pruned = s.alive is not None and (s.mantissa * ~s.alive).any()
        at.need(not pruned, "weights of pruned synapses", 0, "others")
