"""What a slice takes of its core on Loihi and Loihi 2, counted anew from the definitions.

They are those of docs/explanation/mapping.md: each slice stores each projection in the way that takes
the smallest share of whatever it takes most of. Synapses are counted by reading operators backwards.
"""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple

import numpy as np

from .form import chain
from .linear import pull


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
        self.core = {name: max(limit["limit"], 1) for name, limit in target["core"].items()}
        self.header = target["synapse"]["header_bits"]["limit"]
        self.into = {
            g.name: [s for s in program.synapses if s.target == g.name] for g in program.groups
        }
        self.ways: dict[int, list[StoredAs]] = {}
        self.out: dict[str, list[tuple[int, StoredAs]]] = {g.name: [] for g in program.groups}
        self.per_chip = placement.cores_per_chip
        for part in placement.slices:
            ways = self.ways[id(part)] = [self._way(s, part) for s in self.into[part.group]]
            for s, way in zip(self.into[part.group], ways, strict=True):
                for name in {o.group for o in s.sources}:
                    self.out[name].append((part.core // self.per_chip, way))

    def part(self, part: Any) -> dict[str, int]:
        """What one slice takes."""
        group, ways, n = self.program.group[part.group], self.ways[id(part)], prod(part.shape)
        words, axons = sum(w.words for w in ways), sum(w.axons for w in ways)
        if self.two:
            model, (entries, routes) = self.target["neurons"], self._map(part, group)
            state = n * model.get("program_words" if group.kind == "custom" else "words", 1)
            return {
                "neurons": n,
                "groups": 1,
                "axon_in": axons,
                "synapse_words": words,
                "axon_map": entries,
                "axon_mem": routes,
                "pool_words": 1 + state + axons + words + entries + routes,
            }
        twice = self._twice(part)
        off, chip = self.target["axons"]["out_off_chip"]["limit"], part.core // self.per_chip
        slots = sum(
            (w.slots + off * (c != chip)) * w.heard[part.box].sum() for c, w in self.out[group.name]
        )
        longest = [int(o.latency.max()) - 1 for s in self.into[group.name] for o in s.sources]
        return {
            "compartments": -(-(n + twice) // 4) * 4,
            "synapse_words": words + twice,
            "axon_words": max((w.longest for w in ways), default=0),
            "in_axons": axons + twice,
            "out_axons": twice + int(slots),
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
        entries = kernels.size if each else places.size if ways else 0
        return entries, int(places[places > 1].sum())

    def _way(self, s: Any, part: Any) -> StoredAs:
        synapse, axons, n = self.target["synapse"], self.target["axons"], len(s.sources)
        shape, mine = (
            self.program.group[s.sources[0].group].shape,
            np.zeros((1, *self.program.group[s.target].shape)),
        )
        mine[(0, *part.box)] = 1
        full = pull(s.ops, np.ones(s.mantissa.shape), mine, shape)[0].astype(np.int64)
        kept = pull(s.ops, (s.mantissa != 0) * 1.0, mine, shape)[0].astype(np.int64)
        latencies = {int(x) for o in s.sources for x in np.unique(o.latency)}
        copies = len({(o.latency.shape, o.latency.tobytes()) for o in s.sources})
        entry = _width(synapse["weight"], s.weight_bits) + (max(latencies) - 1).bit_length()
        index = _width(synapse["index"], max(prod(part.shape) - 1, 1).bit_length())
        dense = self._lists(full, entry + index * self.two, index * (not self.two))
        found = [(dense, full), (self._lists(kept, entry + index, 0), kept)]
        if (
            "skip" in synapse
            and s.ops[-1].type == "Dense"
            and len({op.type for op in s.ops} - {"Dense", "Reshape"}) == 0
        ):
            lists = s.mantissa[part.box[0]] != 0
            runs = [self._runs(lists, entry + k, index, 1 << k) for k in synapse["skip"]["widths"]]
            found.append((min(runs, key=np.sum), kept))
        slots = 1 if self.two else axons["out_discrete"]["limit"]
        ways = [
            StoredAs(
                False, int(w.sum()) * copies, int(w.max()), int((c > 0).sum()) * n, slots, c > 0
            )
            for w, c in found
        ]
        if (
            s.ops[-1].type == "Conv"
            and {op.type for op in s.ops[:-1]} <= {"SumPool"}
            and full.any()
        ):
            repeat = len(latencies)
            if self.two:
                words, longest = self._kernel2(s, part, entry)
                ways.append(
                    StoredAs(
                        True, words * repeat, longest, axons["in_kernel"]["limit"] * n, 1, full > 0
                    )
                )
            else:
                lists, places = self._kernels1(s, part, entry + index, kept, full)
                repeat *= -(-prod(part.shape[1:]) // synapse["base_count"]["limit"])
                padded, longest = int(lists.max(axis=0).sum()) * len(lists), int(lists.max())
                slots = axons["out_population"]["limit"]
                ways.append(StoredAs(True, padded * repeat, longest, places * n, slots, full > 0))
                slots, heard = axons["out_discrete"]["limit"], int((full > 0).sum())
                ways.append(
                    StoredAs(True, int(lists.sum()) * repeat, longest, heard * n, slots, full > 0)
                )
        return min(ways, key=lambda way: self._cost(way, part, len(self.into[s.target])))

    def _cost(self, way: StoredAs, part: Any, parts: int) -> tuple[Any, ...]:
        core = self.core
        if self.two:
            return (
                max((way.words + way.axons) / core["synapse_words"], way.axons / core["axon_in"]),
            )
        room = [(core[k] - self._twice(part)) // parts for k in ("synapse_words", "in_axons")]
        over = way.words > room[0] or way.axons > room[1] or way.longest > core["axon_words"]
        sent = way.slots * int(way.heard.sum())
        shares = (
            way.words / core["synapse_words"],
            way.axons / core["in_axons"],
            sent / core["out_axons"],
        )
        return over, max(shares), sum(shares)

    def _lists(self, counts: Any, entry: int, index: int) -> Any:
        """Words of lists; Loihi starts an entry with a header every 64 synapses, Loihi 2 has one."""
        headers = 1 if self.two else -(-counts // self.target["synapse"]["entry_synapses"]["limit"])
        return np.where(counts > 0, -(-(counts * entry + headers * (self.header + index)) // 64), 0)

    def _runs(self, lists: Any, entry: int, index: int, step: int) -> Any:
        """Words of lists that store how far the next target is; a longer step starts an entry."""
        most = self.target["synapse"]["entry_synapses"]["limit"]
        words = []
        for column in lists.T:
            targets = np.flatnonzero(column)
            starts = np.flatnonzero(np.diff(targets, prepend=-step) >= step)
            entries = sum(-(-n // most) for n in np.diff(starts, append=len(targets)).tolist())
            words.append(-(-(len(targets) * entry + entries * (self.header + index)) // 64))
        return np.array(words)

    def _kernel2(self, s: Any, part: Any, entry: int) -> tuple[int, int]:
        """A kernel of Loihi 2: a row of output channels per input channel and tap, with the pooling."""
        op, (low, high) = s.ops[-1], part.bounds[0]
        inputs, size = op.in_channels // op.groups, op.out_channels // op.groups
        rows = inputs * prod(len(_offsets(s.ops, axis)) for axis in range(len(op.kernel)))
        sizes = [min(high, g + size) - max(low, g) for g in range(low // size * size, high, size)]
        each = [-(-(n * (entry + 1) + self.header) // 64) for n in sizes]
        return rows * sum(each), sum(each) // len(each)

    def _kernels1(self, s: Any, part: Any, entry: int, kept: Any, full: Any) -> tuple[Any, int]:
        """Loihi: words of the lists (channel, border case), and the source places that are heard.

        Positions that are cut off alike at the border share the lists of all their channels.
        """
        heard = full.reshape(len(full), -1).any(axis=1)
        reach = [_reach(s.ops, kept.shape, axis, b) for axis, b in enumerate(part.bounds[1:])]
        first = [np.unique(r, axis=0, return_index=True)[1] for r in reach]
        cases = [np.array([i for i in f if r[i].any()]) for f, r in zip(first, reach, strict=True)]
        counts = kept[heard][(slice(None), *np.ix_(*cases))].reshape(int(heard.sum()), -1)
        return self._lists(counts, entry, 0), prod(int(r.any(axis=1).sum()) for r in reach)


def _reach(ops: Any, shape: tuple[int, ...], axis: int, outputs: Any) -> Any:
    """How often each tap connects each source along an axis (source, tap) to a range of outputs."""
    op, lengths = ops[-1], [before[1 + axis] for before in chain(ops, shape)[:-1]]
    reach = np.zeros((lengths[-1], op.kernel[axis]), np.int64)
    for out, tap in np.ndindex(outputs[1] - outputs[0], op.kernel[axis]):
        place = (out + outputs[0]) * op.stride[axis] + tap * op.dilation[axis] - op.padding[axis][0]
        if 0 <= place < len(reach):
            reach[place, tap] += 1
    for pool, length in zip(ops[-2::-1], lengths[-2::-1], strict=True):
        behind, reach = reach, np.zeros((length, reach.shape[1]), np.int64)
        for place, taps in enumerate(behind):
            start = place * pool.stride[axis] - pool.padding[axis]
            reach[max(start, 0) : max(start + pool.kernel[axis], 0)] += taps
    return reach


def _offsets(ops: Any, axis: int) -> set[int]:
    """Where the taps of one axis fall among the sources, relative to the first."""
    offsets = {tap * ops[-1].dilation[axis] for tap in range(ops[-1].kernel[axis])}
    for pool in ops[-2::-1]:
        offsets = {o * pool.stride[axis] + i for o in offsets for i in range(pool.kernel[axis])}
    return offsets


def _profiles(part: Any, group: Any, *fields: Any) -> int:
    """Different values of some registers within a slice."""
    columns = [np.broadcast_to(x, group.shape)[part.box].reshape(-1) for x in fields]
    return len(np.unique(np.stack(columns), axis=1).T)


def _width(field: Any, bits: int) -> int:
    """The narrowest legal width of at least ``bits``."""
    return int(min((w for w in field["widths"] if w >= bits), default=bits))
