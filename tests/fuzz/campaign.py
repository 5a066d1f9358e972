"""Ask many cases of every relation, and count what held, what said nothing and what did not hold."""

from __future__ import annotations

import json
import traceback
import warnings
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tests.fuzz.networks import KINDS, draw
from tests.fuzz.parts import DoesNotApply
from tests.fuzz.relations import RELATIONS, Refused, Subject

HELD, SILENT, FAILED = "held", "did not apply", "failed"


@dataclass
class Tally:
    """Outcomes by relation and kind, refusals by code, and failures in words."""

    cases: int = 0
    outcomes: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[int, str, str]] = field(default_factory=list)

    def held(self, relation: str) -> int:
        return sum(self.outcomes[relation, kind, HELD] for kind in KINDS)

    def __str__(self) -> str:
        width = max(map(len, RELATIONS))
        lines = [f"{'relation':<{width}}" + "".join(f"{k:>17}" for k in KINDS) + "   failed"]
        for relation in RELATIONS:
            parts = [
                f"{self.outcomes[relation, k, HELD]:>7} of "
                f"{sum(self.outcomes[relation, k, end] for end in (HELD, SILENT, FAILED)):>6}"
                for k in KINDS
            ]
            failed = sum(self.outcomes[relation, k, FAILED] for k in KINDS)
            lines.append(f"{relation:<{width}}{'  '.join(parts)}   {failed:>6}")
        told = ", ".join(f"{n} {code}" for code, n in self.refusals.most_common())
        lines.append(f"{self.cases} cases; refused by the compiler: {told or 'none'}")
        return "\n".join(lines)

    def record(self) -> dict[str, Any]:
        return {
            "cases": self.cases,
            "outcomes": [[*k, n] for k, n in self.outcomes.items()],
            "refusals": dict(self.refusals),
            "failures": self.failures,
        }

    @classmethod
    def of(cls, record: dict[str, Any]) -> Tally:
        return cls(
            record["cases"],
            Counter({(a, b, c): n for a, b, c, n in record["outcomes"]}),
            Counter(record["refusals"]),
            [(seed, relation, why) for seed, relation, why in record["failures"]],
        )

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.cases + other.cases,
            self.outcomes + other.outcomes,
            self.refusals + other.refusals,
            self.failures + other.failures,
        )


def fuzz(seeds: Iterable[int], relations: Iterable[str] = RELATIONS) -> Tally:
    """Try the cases of these seeds. Nothing is raised: what fails is in the tally."""
    tally, names = Tally(), list(relations)
    for seed in seeds:
        case = draw(seed)
        subject = Subject(case)
        tally.cases += 1
        refused = False
        for name in names:
            try:
                with warnings.catch_warnings(), np.errstate(all="ignore"):
                    warnings.simplefilter("ignore")
                    RELATIONS[name](subject)
                outcome = HELD
            except DoesNotApply as why:
                outcome = SILENT
                if isinstance(why, Refused) and not refused:
                    tally.refusals[why.code] += 1
                    refused = True
            except Exception:
                outcome = FAILED
                tally.failures.append((seed, name, traceback.format_exc()[-1800:]))
            tally.outcomes[name, case.kind, outcome] += 1
    return tally


def asked_again(path: Path) -> Tally:
    """Ask again what failed in a campaign that is kept in ``path``: it may have been mended since."""
    tally = Tally.of(json.loads(path.read_text())) if path.exists() else Tally()
    failures, tally.failures = tally.failures, []
    for seed, relation, _ in failures:
        tally.outcomes[relation, draw(seed).kind, FAILED] -= 1
        again = fuzz([seed], [relation])
        tally += Tally(0, again.outcomes, Counter(), again.failures)
    path.write_text(json.dumps(tally.record()))
    return tally


def resumed(
    path: Path, first: int, count: int, piece: int, relations: Iterable[str] = RELATIONS
) -> Tally:
    """Go on with a campaign whose tally is kept in ``path``, by one more piece at the most."""
    tally = Tally.of(json.loads(path.read_text())) if path.exists() else Tally()
    left = min(piece, count - tally.cases)
    if left > 0:
        start = first + tally.cases
        tally += fuzz(range(start, start + left), relations)
        path.write_text(json.dumps(tally.record()))
    return tally
