"""Progress on standard error: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from ...passes.base import Observer, PassEvent
from ...progress import Progress, Scores
from .telling import say

_SECONDS_BETWEEN_LINES = 10.0
_SECONDS_IN_SILENCE = 2.0


class Bar(NamedTuple):
    """The two things that a bar can be told: how far the work is, and how well it goes."""

    progress: Progress
    scores: Scores


def pass_progress() -> Observer:
    """An observer that names each pass as it starts, and says how far a long one is."""
    began = last = time.monotonic()
    checking: float | None = None

    def observe(event: PassEvent) -> None:
        nonlocal began, last, checking
        now = time.monotonic()
        if event.name == "check":
            checking = now if checking is None else checking
            if now - checking > _SECONDS_IN_SILENCE:
                say(f"check {event.done + 1}/{event.of}: {event.what}", err=True)
            return
        if event.kind == "start":
            began = last = now
            say(f"pass {event.index}/{event.total}  {event.name}", err=True)
        elif event.kind == "end" and event.status:
            say(f"  {event.status}", err=True)
        elif event.kind == "progress" and event.done and now - last > _SECONDS_BETWEEN_LINES:
            last = now
            left = (now - began) / event.done * (event.of - event.done)
            say(f"  {event.done}/{event.of} {event.what}, about {left:.0f} s left", err=True)

    return observe


@contextmanager
def progress_bar(label: str, unit: str = "samples") -> Iterator[Bar]:
    """A bar of ``unit`` on a terminal, and rare lines elsewhere; the last scores told stay."""
    start = time.monotonic()
    known = ""

    def scores(accuracy: Mapping[str, float]) -> None:
        nonlocal known
        known = ", ".join(f"{engine} {value:.1%}" for engine, value in accuracy.items())

    def status(done: int) -> str:
        rate = done / max(time.monotonic() - start, 1e-9)
        fast = f"{rate:,.0f} {unit}/s" if unit == "samples" else ""
        return ", ".join(filter(None, (fast, known)))

    if not sys.stderr.isatty():
        last = time.monotonic()

        def line(done: int, total: int) -> None:
            nonlocal last
            text = status(done)
            if time.monotonic() - last > _SECONDS_BETWEEN_LINES:
                last = time.monotonic()
                spent = last - start
                left = f"about {spent / done * (total - done):,.0f} s left" if done else ""
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
