"""Where neurons are, each on one core of the board; and what cores and registers can hold.

What a slice takes of its core on Loihi and Loihi 2 is counted anew from the definitions in
docs/explanation/mapping.md: each slice stores each projection in the way that takes the smallest share
of whatever it takes most of. Synapses are counted by reading operators backwards.
"""

from __future__ import annotations

import re
from math import prod
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from .engine import chain, pull
from .files import HELD, At

FILE = "placement.json"


def check_partition(program: Any, placement: Any, target: Any, board: str) -> int:
    """Every neuron is on exactly one core of the board; returns the number of cores in use."""
    placed = {g.name: np.zeros(g.shape, np.uint8) for g in program.groups if g.kind != "input"}
    for part in placement.slices:
        at, b = At(FILE, part.group), part.bounds
        at.need(part.group in placed, "group of a slice", list(placed), part.group)
        seen = placed[part.group]
        box = len(b) == seen.ndim and all(len(ends) == 2 for ends in b)
        box = box and all(low < high <= n for (low, high), n in zip(b, seen.shape, strict=True))
        at.need(box, "slice", f"a box of {seen.shape}", b)
        part.box, part.shape = tuple(slice(*ends) for ends in b), tuple(hi - lo for lo, hi in b)
        at.need(not seen[part.box].any(), "cores of a neuron", "one", f"{part.core} and another")
        seen[part.box] = 1
    for name, seen in placed.items():
        At(FILE, name).same("neurons on cores", seen.size, int(seen.sum()))
    per_chip, at = target["chip"]["cores"], At(FILE, board)
    at.same("cores per chip", per_chip, placement.cores_per_chip)
    named = re.fullmatch(r"(\d{1,9})( chips?)?", board)
    chips = int(named[1]) if named else target["boards"][board]
    used = {part.core for part in placement.slices}
    at.within("core", 0, max(used), chips * per_chip - 1)
    return len(used)


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
        for name, limit in target["core"].items():
            what, used = name.replace("_", " "), core[name]
            At(FILE, f"core {number}").within(what, 0, used, limit)
            most[what] = max(most.get(what, 0.0), used / max(limit, 1))
    return most


def check_registers(program: Any, target: Any) -> None:
    """Every number against the range of its register, and weights against their field."""
    neurons, synapse, numeric = (target[x] for x in ("neurons", "synapse", "numeric"))
    turns = program.arithmetic.arrival == "in-turn"  # there a sign takes no bit of a weight
    for g in program.groups:
        at = At("program.npz", g.name)
        at.within("bits of a message", 0, g.message_bits, neurons.get("graded_bits", 0))
        if g.kind == "input":
            continue
        own = [name for name in HELD if getattr(g, name) is not None]
        decays = [g.du, g.dv, *(getattr(g, name) for name in own if HELD[name] == "decay")]
        registers = {"decay_max": np.stack(np.broadcast_arrays(*decays)), "vth_max": abs(g.vth)}
        registers |= {"bias_mant_max": abs(g.bias_mant), "bias_exp_max": abs(g.bias_exp)}
        for name, values in registers.items():
            if name != "vth_max" or g.kind in ("lif", "custom"):
                at.within(name, 0, values, numeric[name])
        uses = {"subtract_reset": g.reset == "subtract", **dict.fromkeys(own, True)}
        uses["many_spikes"] = g.spikes_per_step == "many"
        other = neurons["v_floor"]  # takes a program: so does what no target speaks of
        lacks = [name for name, used in uses.items() if used and neurons.get(name, other) == "none"]
        at.same("features that the chip lacks", [], lacks)
    for s in program.synapses:
        at, low, high = At("program.npz", s.name), int(s.mantissa.min()), int(s.mantissa.max())
        for name, found in (("mantissa", (low, high)), ("exponent", s.exponent)):
            at.within(name, synapse[name]["low"], found, synapse[name]["high"])
        longest = max(int(o.latency.max()) for o in s.sources) - 1
        at.within("longest delay", 0, longest, synapse["delay_max"])
        mixed, used = s.sign_mode == "mixed", int(np.bitwise_or.reduce(np.abs(s.mantissa), None))
        legal = {"excitatory": low >= 0, "inhibitory": high <= 0, "mixed": not used & 1 or turns}
        at.need(legal[s.sign_mode], "signs", s.sign_mode, f"{low}..{high}")
        zeros, widest = max((used & -used).bit_length() - 1, 0), max(synapse["weight"]["widths"])
        bits = max(high >> zeros, -(low >> zeros) - 1).bit_length() + mixed
        at.need(bits <= s.weight_bits <= widest, "bits of a weight", s.weight_bits, (bits, widest))
        pruned = s.alive is not None and (s.mantissa * ~s.alive).any()
        at.need(not pruned, "weights of pruned synapses", 0, "others")


class StoredAs(NamedTuple):
    """How a slice stores a projection. ``heard`` are the sources that need an axon to it."""

    kernel: bool
    words: int
    longest: int
    axons: int
    slots: int
    heard: Any


class Counted:
    """Counts the slices of a placement."""

    def __init__(self, program: Any, placement: Any, target: Any, two: bool) -> None:
        self.program, self.target, self.two = program, target, two
        self.axons, self.synapse, self.into = target["axons"], target["synapse"], program.into
        self.core = {name: max(limit, 1) for name, limit in target["core"].items()}
        self.header = self.synapse["header_bits"]
        self.most = self.synapse.get("entry_synapses", 1 << 40)
        names = [g.name for g in program.groups]
        self.ways: dict[int, list[StoredAs]] = {}
        self.out: dict[str, list[tuple[int, StoredAs]]] = {name: [] for name in names}
        self.per_chip = placement.cores_per_chip
        for part in placement.slices:
            ways = self.ways[id(part)] = [self._way(s, part) for s in program.into[part.group]]
            for s, way in zip(program.into[part.group], ways, strict=True):
                for name in {o.group for o in s.sources}:
                    self.out[name].append((part.core // self.per_chip, way))

    def part(self, part: Any) -> dict[str, int]:
        """What one slice takes."""
        group, ways, n = self.program.group[part.group], self.ways[id(part)], prod(part.shape)
        words, axons = sum(w.words for w in ways), sum(w.axons for w in ways)
        if self.two:
            model, (entries, routes) = self.target["neurons"], self._map(part, group)
            own = group.kind in ("custom", "resonator")
            state = n * model.get("program_words" if own else "words", 1)
            used = {"neurons": n, "groups": 1, "axon_in": axons, "synapse_words": words}
            pool = 1 + state + axons + words + entries + routes
            return {**used, "axon_map": entries, "axon_mem": routes, "pool_words": pool}
        twice, off, chip = self._twice(part), self.axons["out_off_chip"], part.core // self.per_chip
        out = [(w.slots + off * (c != chip), w.heard[part.box]) for c, w in self.out[group.name]]
        longest = [int(o.latency.max()) - 1 for s in self.into[group.name] for o in s.sources]
        return {
            "compartments": -(-(n + twice) // 4) * 4,
            "synapse_words": words + twice,
            "axon_words": max((w.longest for w in ways), default=0),
            "in_axons": axons + twice,
            "out_axons": twice + sum(slots * int(heard.sum()) for slots, heard in out),
            "compartment_profiles": _profiles(part, group, group.du, group.dv) + (twice > 0),
            "threshold_profiles": _profiles(part, group, group.vth),
            "synapse_formats": len(ways) + (twice > 0),
            "delay": max((d.bit_length() for d in longest), default=0),
        }

    def _twice(self, part: Any) -> int:
        """Second compartments of Loihi, which reset the first by subtraction."""
        subtracts = self.program.group[part.group].reset == "subtract"
        two = self.target["neurons"]["subtract_reset"] == "two-compartments"
        return prod(part.shape) if subtracts and two else 0

    def _map(self, part: Any, group: Any) -> tuple[int, int]:
        """Loihi 2: entries of the axon map, shared by channels in front of kernels, and routes."""
        ways = [w for _, w in self.out[group.name]]
        each = group.role == "output" or any(not w.kernel and w.heard.any() for w in ways)
        kernels = np.zeros(part.shape, np.int64) + sum(w.heard[part.box] for w in ways if w.kernel)
        places = kernels.max(axis=0) if kernels.ndim > 1 else kernels
        entries = kernels.size if each else places.size if any(w.heard.any() for w in ways) else 0
        return entries, int(places[places > 1].sum())

    def _way(self, s: Any, part: Any) -> StoredAs:
        synapse, shape = self.target["synapse"], self.program.group[s.sources[0].group].shape
        mine = np.zeros((1, *self.program.group[s.target].shape))
        mine[(0, *part.box)] = 1
        weights = np.ones(s.mantissa.shape), (s.mantissa != 0) * 1.0
        full, kept = (pull(s.ops, w, mine, shape)[0].astype(np.int64) for w in weights)
        latencies = {int(x) for o in s.sources for x in np.unique(o.latency)}
        copies = len({(o.latency.shape, o.latency.tobytes()) for o in s.sources})
        entry = _width(synapse["weight"], s.weight_bits) + (max(latencies) - 1).bit_length()
        index = _width(synapse["index"], max(prod(part.shape) - 1, 1).bit_length())
        dense = self._lists(full, entry + index * self.two, index * (not self.two))
        found = [(dense, full), (self._lists(kept, entry + index, 0), kept)]
        kinds = [op.type for op in s.ops]
        if "skip" in synapse and kinds[-1] == "Dense" and set(kinds) <= {"Dense", "Reshape"}:
            lists, skips = s.mantissa[part.box[0]] != 0, synapse["skip"]["widths"]
            runs = [self._runs(lists, entry + k, index, 1 << k) for k in skips]
            found.append((min(runs, key=np.sum), kept))
        slots, n = 1 if self.two else self.axons["out_discrete"], len(s.sources)
        ways = []
        for w, counts in found:
            heard = counts > 0
            axons = int(heard.sum()) * n
            ways.append(StoredAs(False, int(w.sum()) * copies, int(w.max()), axons, slots, heard))
        if kinds[-1] == "Conv" and set(kinds[:-1]) <= {"SumPool"} and full.any():
            kernels = self._kernel2 if self.two else self._kernels1
            for words, longest, axons, slots in kernels(s, part, entry, index, kept, full):
                words *= len(latencies)
                ways.append(StoredAs(True, words, longest, axons * n, slots, full > 0))
        return min(ways, key=lambda way: self._cost(way, part, len(self.into[s.target])))

    def _cost(self, way: StoredAs, part: Any, parts: int) -> tuple[Any, ...]:
        core, words, axons = self.core, way.words, way.axons
        if self.two:
            return (max((words + axons) / core["synapse_words"], axons / core["axon_in"]),)
        room = [(core[k] - self._twice(part)) // parts for k in ("synapse_words", "in_axons")]
        over = words > room[0] or axons > room[1] or way.longest > core["axon_words"]
        used = {"synapse_words": words, "in_axons": axons}
        used["out_axons"] = way.slots * int(way.heard.sum())
        shares = [n / core[name] for name, n in used.items()]
        return over, max(shares), sum(shares)

    def _lists(self, counts: Any, entry: int, index: int) -> Any:
        """Words of lists of so many synapses; each entry of a list starts with a header."""
        entries = -(-counts // self.most)
        return -(-(counts * entry + entries * (self.header + index)) // 64)

    def _runs(self, lists: Any, entry: int, index: int, step: int) -> Any:
        """Words of lists that store how far the next target is; a longer step starts an entry."""
        words = []
        for column in lists.T:
            targets = np.flatnonzero(column)
            starts = np.flatnonzero(np.diff(targets, prepend=-step) >= step)
            entries = int((-(-np.diff(starts, append=len(targets)) // self.most)).sum())
            words.append(-(-(len(targets) * entry + entries * (self.header + index)) // 64))
        return np.array(words)

    def _kernel2(self, s: Any, part: Any, entry: int, *_: Any) -> list[tuple[int, ...]]:
        """A kernel of Loihi 2: a row of output channels per input channel and tap, with the pooling."""
        op, (low, high) = s.ops[-1], part.bounds[0]
        rows, size = op.in_channels // op.groups, op.out_channels // op.groups
        for axis in range(len(op.kernel)):
            taps = {tap * op.dilation[axis] for tap in range(op.kernel[axis])}
            for pool in s.ops[-2::-1]:
                stride, width = pool.stride[axis], range(pool.kernel[axis])
                taps = {tap * stride + i for tap in taps for i in width}
            rows *= len(taps)
        sizes = [min(high, g + size) - max(low, g) for g in range(low // size * size, high, size)]
        each = [-(-(n * (entry + 1) + self.header) // 64) for n in sizes]
        return [(rows * sum(each), sum(each) // len(each), self.axons["in_kernel"], 1)]

    def _kernels1(self, s: Any, part: Any, entry: int, index: int, kept: Any, full: Any) -> Any:
        """Loihi: lists by channel and border case, for populations of channels or each neuron.

        Positions that are cut off alike at the border share the lists of all their channels.
        """
        heard = full.reshape(len(full), -1).any(axis=1)
        reach = [_reach(s.ops, kept.shape, axis, b) for axis, b in enumerate(part.bounds[1:])]
        cases = []
        for r in reach:
            first = np.unique(r, axis=0, return_index=True)[1]
            cases.append(first[r[first].any(axis=1)])
        counts = kept[heard][(slice(None), *np.ix_(*cases))].reshape(int(heard.sum()), -1)
        lists, places = self._lists(counts, entry + index, 0), [r.any(axis=1).sum() for r in reach]
        repeat = -(-prod(part.shape[1:]) // self.synapse["base_count"])
        padded, each = int(lists.max(axis=0).sum()) * len(lists), int(lists.sum())
        for words, axons, how in (
            (padded, prod(map(int, places)), "out_population"),
            (each, int((full > 0).sum()), "out_discrete"),
        ):
            yield words * repeat, int(lists.max()), axons, self.axons[how]


def _reach(ops: Any, shape: tuple[int, ...], axis: int, outputs: Any) -> Any:
    """How often each tap connects each source along an axis (source, tap) to a range of outputs."""

    def of_axis(value: Any) -> Any:
        return [value[axis]] if isinstance(value, list) else 1 if type(value) is int else value

    line = [SimpleNamespace(**{k: of_axis(v) for k, v in vars(op).items()}) for op in ops]
    last, taps = chain(line, (1, shape[1 + axis]))[-1][1], np.eye(ops[-1].kernel[axis])
    mine = np.zeros((1, 1, last))
    mine[..., slice(*outputs)] = 1
    reach = [pull(line, tap[None, None], mine, (1, shape[1 + axis]))[0, 0] for tap in taps]
    return np.stack(reach, axis=1).astype(np.int64)


def _profiles(part: Any, group: Any, *fields: Any) -> int:
    """Different values of some registers within a slice."""
    columns = [np.broadcast_to(x, group.shape)[part.box].reshape(-1) for x in fields]
    return len(np.unique(np.stack(columns), axis=1).T)


def _width(field: Any, bits: int) -> int:
    """The narrowest legal width of at least ``bits``."""
    return int(min((w for w in field["widths"] if w >= bits), default=bits))
