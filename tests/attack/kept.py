"""Pieces of a campaign that are kept: what was interrupted goes on."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class OutOfTime(Exception):
    """The time given to a campaign is over: what is kept is counted, what is not is not begun."""


@dataclass(frozen=True)
class Pieces:
    """Where finished pieces are kept, and until when (`time.time`) another is begun."""

    folder: Path | None = None
    ends: float = float("inf")

    def __call__(self, name: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What a piece came to: from its file if that is there, else by doing it.

        Raises:
            OutOfTime: it was not done, and no time is left to begin it.
        """
        place = None if self.folder is None else self.folder / f"{name}.json"
        if place is not None and place.exists():
            kept: dict[str, Any] = json.loads(place.read_text(encoding="utf-8"))
            return kept
        if time.time() > self.ends:
            raise OutOfTime(name)
        done = work()
        if place is not None:
            place.parent.mkdir(parents=True, exist_ok=True)
            beside = place.with_suffix(".new")
            beside.write_text(json.dumps(done), encoding="utf-8")
            beside.replace(place)
        return done
