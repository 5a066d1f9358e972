"""What slices took when this was recorded, in every encoding: a change shows, line by line.

`test_counted_twice` says that the numbers are right, by another count of what costs least. Here stands
what else there was to choose from, and what a search believes to be the least.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from snndeploy.chip import family_of, load_target
from snndeploy.chip.counting import neurons_in
from snndeploy.ir.arrays import frozen
from snndeploy.ir.placement import Bounds
from snndeploy.mapping.count.axons import Outgoing, fan_outs, recount
from snndeploy.mapping.count.memory import Memory
from tests.support.mapping_programs import with_group
from tests.support.random_programs import cut_at_random, random_program, small_chip
from tests.support.recorded import Record, fields, text

CHIPS, RANDOM = ("loihi1", "loihi2"), range(14)


def slices(seed: int, chip: str) -> Iterator[str]:
    """All that can be asked of the slices of a random program."""
    rng = np.random.default_rng([seed, 3])
    program, target = random_program(seed), load_target(chip)
    if seed % 4 == 3:
        target = small_chip(target, seed)
    if chip == "loihi1" and seed % 3:  # another price for leaving the chip, or none
        off = target.axons.out_off_chip.model_copy(update={"limit": 3}) if seed % 3 == 1 else None
        axons = target.axons.model_copy(update={"out_off_chip": off})
        target = target.model_copy(update={"axons": axons})
    if seed % 6 == 5:  # registers that differ
        part = program.on_chip[-1]
        some = np.arange(part.shape[0]).reshape(-1, *(1,) * (len(part.shape) - 1)) % 3
        program = with_group(program, part.name, dv=frozen(some), du=frozen(some // 2))
    elif seed % 6 == 1:
        part = program.on_chip[0]
        program = with_group(program, part.name, dv=frozen(np.arange(part.shape[-1]) % 4))
    if seed % 5 == 4:  # on Loihi by a second compartment
        program = with_group(program, program.on_chip[-1].name, reset="subtract", kind="custom")
    placement = cut_at_random(program, rng, together=2)
    memory, family = Memory(program, target), family_of(target)
    counted = recount(memory, placement)
    on_cores: dict[int, list[dict[str, int]]] = {}
    for part, used in zip(placement.slices, counted, strict=True):
        group, n = program.group(part.group), neurons_in(part.bounds)
        on_cores.setdefault(part.core, []).append(dict(used))
        yield f"slice {part.group} {part.bounds} {text(used)}"
        yield f"least {text(memory.least(group, part.bounds))}"
        yield f"axons {family.axons_in(used)} {family.axons_out(used)} {family.updates(used, n)}"
        stored = {}
        for s in memory.into[part.group]:
            fan = memory.fans[s.name]
            into = fan.into(part.bounds)
            stored[s.name] = memory.stored(s.name, part.bounds)
            cost = family.cost(fan, into, n, group, len(memory.into[part.group]))  # type: ignore[attr-defined]
            for way in family.encodings(fan, into, n):
                yield f"way {s.name} {fields(way)} cost={text(cost(way))}"
            yield f"cheapest {s.name} {fields(family.cheapest(fan, into, n))}"
            yield f"slots {s.name} {family.least_slots(fan)}"
        yield f"contents {text(list(family.contents(part.group, used, stored)))}"
    for core, parts in on_cores.items():
        yield f"core {core} {text(family.combined(parts))}"
    boxes: dict[str, list[tuple[Bounds, int]]] = {}
    for part in placement.slices:
        chip_of = part.core // placement.cores_per_chip
        boxes.setdefault(part.group, []).append((part.bounds, chip_of))
    for group in program.on_chip:
        out = Outgoing(memory, group, 0, fan_outs(memory, group.name, boxes))
        cuts = tuple(_cuts(n, int(rng.integers(1, min(n, 4) + 1))) for n in group.shape)
        yield f"grid {group.name} {cuts} {text(out.grid(cuts))}"


def _cuts(n: int, parts: int) -> tuple[tuple[int, int], ...]:
    ends = [n * i // parts for i in range(parts + 1)]
    return tuple(itertools.pairwise(ends))


CASES: dict[str, Callable[[], Iterator[str]]] = {
    f"{chip} {seed}": partial(slices, seed, chip) for seed in RANDOM for chip in CHIPS
}
RECORD = Record(Path(__file__).with_name("recorded.txt"), CASES)


@pytest.mark.parametrize("case", CASES)
def test_it_is_as_it_was(case: str) -> None:
    RECORD.check(case)
