"""Progress on standard error: bars on a terminal, plain lines elsewhere, nothing with -q or --json."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from ...passes.base import Observer, PassEvent
from ...progress import Progress, Scores, silent
from .telling import say, told_progress

_SECONDS_BETWEEN_LINES = 10.0
_SECONDS_IN_SILENCE = 2.0


class _Pace:
    """When a line is due: a while after the work began, then now and then."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self._next = self.began + _SECONDS_IN_SILENCE

    def due(self) -> bool:
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + _SECONDS_BETWEEN_LINES
        return True

    def left(self, done: int, of: int) -> str:
        """How long the rest may take, judged by what is done."""
        if not done:
            return ""
        return f"about {(time.monotonic() - self.began) / done * (of - done):,.0f} s left"


class Bar(NamedTuple):
    """The two things that a bar can be told: how far the work is, and how well it goes."""

    progress: Progress
    scores: Scores


def pass_progress() -> Observer:
    """An observer that names each pass as it starts, and says how far a long one is."""
    if not told_progress():
        return silent
    pace = _Pace()
    checking: float | None = None

    def observe(event: PassEvent) -> None:
        nonlocal pace, checking
        if event.name == "check":
            now = time.monotonic()
            checking = now if checking is None else checking
            if now - checking > _SECONDS_IN_SILENCE:
                say(f"check {event.done + 1}/{event.of}: {event.what}", err=True)
            return
        if event.kind == "start":
            pace = _Pace()
            say(f"pass {event.index}/{event.total}  {event.name}", err=True)
        elif event.kind == "end" and event.status:
            say(f"  {event.status}", err=True)
        elif event.kind == "progress" and event.done and pace.due():
            left = pace.left(event.done, event.of)
            say(f"  {event.done}/{event.of} {event.what}, {left}", err=True)

    return observe


@contextmanager
def progress_bar(label: str, unit: str = "samples") -> Iterator[Bar]:
    """A bar of ``unit`` on a terminal, and rare lines elsewhere; the last scores told stay."""
    if not told_progress():
        yield Bar(silent, silent)
        return
    pace = _Pace()
    known = ""

    def scores(accuracy: Mapping[str, float]) -> None:
        nonlocal known
        known = ", ".join(f"{engine} {value:.1%}" for engine, value in accuracy.items())

    def status(done: int) -> str:
        rate = done / max(time.monotonic() - pace.began, 1e-9)
        fast = f"{rate:,.0f} {unit}/s" if unit == "samples" and done else ""
        return ", ".join(filter(None, (fast, known)))

    if not sys.stderr.isatty():

        def line(done: int, total: int) -> None:
            if pace.due():
                text, left = status(done), pace.left(done, total)
                told = filter(None, (f"{label}  {done}/{total}", unit * (not text), text, left))
                say("  ".join(told), err=True)

        yield Bar(line, scores)
        return

    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[status]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(label, total=None, status="")

        def bar(done: int, total: int) -> None:
            bars.update(task, completed=done, total=total, status=status(done))

        yield Bar(bar, scores)
