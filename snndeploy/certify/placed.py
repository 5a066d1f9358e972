"""Where neurons are: each on one core of the board, by the slices that the placement lists."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from .counting import Count
from .files import need

FILE = "placement.json"


def check_partition(program: Any, placement: Any, target: Any, board: str) -> int:
    """Every neuron is on exactly one core of the board; returns the number of cores in use."""
    placed = {g.name: np.zeros(g.shape, np.uint8) for g in program.groups if g.kind != "input"}
    for s in placement.slices:
        need(s.group in placed, FILE, s.group, "group of a slice", list(placed), s.group)
        shape = placed[s.group].shape
        inside = len(s.bounds) == len(shape) and all(len(b) == 2 for b in s.bounds)
        inside = inside and all(b[0] < b[1] <= n for b, n in zip(s.bounds, shape, strict=True))
        need(inside, FILE, s.group, "slice", f"a box of {shape}", s.bounds)
        s.box = tuple(slice(*b) for b in s.bounds)
        s.shape = tuple(b[1] - b[0] for b in s.bounds)
        twice = placed[s.group][s.box].any()
        need(not twice, FILE, s.group, "cores of a neuron", "one", f"two, one of them {s.core}")
        placed[s.group][s.box] = 1
    for name, seen in placed.items():
        need(seen.all(), FILE, name, "neurons on cores", seen.size, int(seen.sum()))
    per_chip, stated = target["chip"]["cores"]["limit"], placement.cores_per_chip
    need(stated == per_chip, FILE, "chip", "cores", per_chip, stated)
    named = re.fullmatch(r"(\d{1,9})( chips?)?", board)
    known = named or board in target["boards"]
    need(known, "report.json", "board", "name", list(target["boards"]), board)
    chips = int(named[1]) if named else target["boards"][board]["limit"]
    last = max(s.core for s in placement.slices)
    need(last < chips * per_chip, FILE, board, "cores", chips * per_chip, f"number {last}")
    return len({s.core for s in placement.slices})


def check_cores(program: Any, placement: Any, target: Any, family: str) -> dict[str, float]:
    """Recount every core against the target's limits; returns the fullest share of each resource."""
    count = Count(program, placement, target, family == "loihi2")
    cores: dict[int, dict[str, int]] = {}
    for part in placement.slices:
        used, core = count.part(part), cores.setdefault(part.core, {})
        for name, n in used.items():
            where = f"{part.group} on core {part.core}"
            need(part.resources.get(name, n) == n, FILE, where, name, part.resources.get(name), n)
            before = core.get(name, 0)
            core[name] = max(before, n) if name in ("axon_words", "delay") else before + n
    most: dict[str, float] = {}
    for number, core in cores.items():
        if family == "loihi1":  # all compartments of a core reserve its longest delay
            core["delay_slots"] = core["compartments"] << max(core["delay"], 3)
        for name, limit in ((k, v["limit"]) for k, v in target["core"].items()):
            need(name in core, "target.toml", "core", name, "a known resource", "unknown")
            what = name.replace("_", " ")
            need(core[name] <= limit, FILE, f"core {number}", what, f"<= {limit}", core[name])
            most[what] = max(most.get(what, 0.0), core[name] / max(limit, 1))
    return most


def check_registers(program: Any, target: Any) -> None:
    """Every number against the range of its register, and weights against their field."""
    numeric, synapse = target["numeric"], target["synapse"]
    file, limits = "program.npz", {k: v["limit"] for k, v in numeric.items() if "limit" in v}
    for g in program.groups:
        values = {"decay_max": (g.du, g.dv), "bias_mant_max": (g.bias_mant,)}
        values["bias_exp_max"] = (np.abs(g.bias_exp),)
        values["vth_max"] = (g.vth,) if g.kind in ("lif", "custom") else ()
        for name, arrays in values.items() if g.kind != "input" else ():
            largest = max((int(np.abs(x).max()) for x in arrays), default=0)
            need(largest <= limits[name], file, g.name, name, limits[name], largest)
        need(min(g.du.min(), g.dv.min()) >= 0, file, g.name, "decay", ">= 0", "less")
        neurons, graded = target["neurons"], target["neurons"].get("graded_bits", 0)
        many = g.spikes_per_step == "many"
        uses = {"subtract_reset": g.reset == "subtract", "many_spikes": many}
        uses["v_floor"] = g.v_floor is not None
        lacks = [name for name, used in uses.items() if used and neurons[name] == "none"]
        need(not lacks, file, g.name, "features that the chip lacks", "none", lacks)
        need(g.message_bits <= graded, file, g.name, "message bits", graded, g.message_bits)
    for s in program.synapses:
        low, high = int(s.mantissa.min()), int(s.mantissa.max())
        for name, least, most in (("mantissa", low, high), ("exponent", s.exponent, s.exponent)):
            span = synapse[name]
            inside = span["low"] <= least and most <= span["high"]
            need(inside, file, s.name, name, f"{span['low']}..{span['high']}", f"{least}..{most}")
        longest = max(int(o.latency.max()) for o in s.sources) - 1
        limit = synapse["delay_max"]["limit"]
        need(longest <= limit, file, s.name, "longest delay", limit, longest)
        mixed, used = (
            s.sign_mode == "mixed",
            int(np.bitwise_or.reduce(np.abs(s.mantissa), axis=None)),
        )
        legal = {"excitatory": low >= 0, "inhibitory": high <= 0, "mixed": not used & 1}
        need(legal[s.sign_mode], file, s.name, "signs", s.sign_mode, f"{low}..{high}")
        zeros = max((used & -used).bit_length() - 1, 0)
        bits = max((high >> zeros).bit_length(), (-(low >> zeros) - 1).bit_length()) + mixed
        bits = max(high >> zeros, -(low >> zeros) - 1).bit_length() + mixed
        need(bits <= s.weight_bits, file, s.name, "bits of a weight", s.weight_bits, bits)
        largest = max(synapse["weight"]["widths"])
        need(s.weight_bits <= largest, file, s.name, "bits of a weight", largest, s.weight_bits)
        zero = s.alive is None or not (s.mantissa * ~s.alive).any()
        need(zero, file, s.name, "weights of pruned synapses", 0, "others")
