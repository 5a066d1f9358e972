"""Random networks in all engines, and networks that must do the same: `tests.fuzz.relations`.

The default suite tries 200 cases, `make fuzz` as many as it is told, the slow test 10,000.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import get_args

import pytest

from snndeploy.ir.ops import Op
from snndeploy.ir.step import CHOICES
from tests.fuzz.campaign import Tally, asked_again, fuzz, resumed
from tests.fuzz.networks import KINDS, draw
from tests.fuzz.relations import RELATIONS

CASES, PIECES, LONG = 200, 20, 10_000
COSTLY = ("compiling twice gives one digest", "a bundle is certified and read back")
"""Asked of one case in five here, so that 200 cases take well under a minute."""


_TALLIES: dict[int, Tally] = {}


@pytest.mark.parametrize("piece", range(PIECES))
def test_every_relation_holds(piece: int) -> None:
    seeds = range(piece, CASES, PIECES)
    tally = fuzz(seeds, [name for name in RELATIONS if name not in COSTLY])
    tally += fuzz(seeds[::5], COSTLY)
    _TALLIES[piece] = tally
    assert tally.failures == []


def test_every_relation_says_something_of_enough_cases() -> None:
    """What says nothing of most cases is no test of them."""
    if len(_TALLIES) < PIECES:
        pytest.skip("all pieces are to be run before")
    whole = sum(_TALLIES.values(), Tally())
    for relation in RELATIONS:
        assert whole.held(relation) >= 12, relation


def test_the_cases_have_everything() -> None:
    """Every operator, every option of a neuron, and every kind of connection."""
    seen: Counter[str] = Counter()
    for seed in range(CASES):
        network = draw(seed).network
        inputs, outputs = network.with_role("input"), network.with_role("output")
        seen["several inputs"] += len(inputs) > 1
        seen["several outputs"] += len(outputs) > 1
        seen["one neuron"] += any(p.shape == (1,) for p in network.populations)
        for q in network.projections:
            seen.update(type(op).__name__ for op in q.ops)
            values, sources = q.weight.values(), [s.population for s in q.sources]
            seen["added sources"] += len(sources) > 1
            seen["loop"] += q.target in sources
            seen["delay per neuron"] += any(s.delay.ndim for s in q.sources)
            seen["late bias"] += q.bias is not None
            seen["pruned"] += q.weight.mask is not None
            seen["quantised"] += q.weight.quantized
            seen["step per row"] += q.weight.scale is not None and q.weight.scale.ndim > 0
            seen["nothing but zeros"] += not values.any()
            seen["huge"] += bool((abs(values) > 1e9).any())
            seen["denormal"] += bool(((values != 0) & (abs(values) < 1e-308)).any())
        for n in (p.neuron for p in network.populations if p.neuron is not None):
            seen["readout"] += not n.spiking
            seen.update(list(n.parameters()))
            if n.threshold is not None:
                seen.update(str(getattr(n, name)) for name in CHOICES)
                seen["negative threshold"] += bool((n.threshold < 0).any())
                seen["most spikes"] += n.max_spikes is not None
            seen["no leak"] += bool((n.leak == 1).any())
            seen["no memory"] += bool((n.leak == 0).any())
    wanted = {kind.__name__ for kind in get_args(Op)}
    wanted |= {word for words in CHOICES.values() for word in words}
    wanted |= {"syn_leak", "v_floor", "bias", "drive"}
    assert wanted <= seen.keys()
    assert min(seen.values()) > 0, seen


def test_a_case_is_the_same_every_time() -> None:
    one, other = draw(11), draw(11)
    assert one.network.digest == other.network.digest
    assert [x.tolist() for x in one.data.values()] == [x.tolist() for x in other.data.values()]
    assert {draw(seed).kind for seed in range(3)} == set(KINDS)


def test_a_campaign_goes_on_where_it_stopped(tmp_path: Path) -> None:
    path, some = tmp_path / "tally.json", ["names and order mean nothing"]
    for done in (2, 4, 5, 5):
        assert resumed(path, 0, 5, 2, some).cases == done
    assert resumed(path, 0, 5, 2, some).record() == fuzz(range(5), some).record()
    assert Tally.of(Tally().record()) == Tally()


def test_what_failed_is_asked_again(tmp_path: Path) -> None:
    """A failure that is mended is none any more, and no case is counted twice."""
    path, name = tmp_path / "tally.json", "names and order mean nothing"
    done = fuzz(range(3), [name])
    kind = draw(1).kind
    done.outcomes[name, kind, "held"] -= 1
    done.outcomes[name, kind, "failed"] += 1
    done.failures.append((1, name, "Traceback"))
    path.write_text(json.dumps(done.record()))
    again = asked_again(path)
    assert again == Tally.of(json.loads(path.read_text()))
    assert (again.failures, again.cases) == ([], 3)
    assert again.held(name) == fuzz(range(3), [name]).held(name)


@pytest.mark.slow
@pytest.mark.timeout(24 * 3600)
def test_ten_thousand_cases(tmp_path: Path) -> None:
    """In pieces, that are kept where $SNNDEPLOY_FUZZ says: what was interrupted goes on.

    What failed in those is asked again first.
    """
    path = Path(os.environ.get("SNNDEPLOY_FUZZ", tmp_path / "tally.json"))
    tally = asked_again(path)
    while tally.cases < LONG:
        tally = resumed(path, CASES, LONG, 100)
    assert tally.failures == []
