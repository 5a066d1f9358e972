"""Progress on standard error: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import click

from ...passes.base import Observer, PassEvent

_SECONDS_BETWEEN_LINES = 10.0
_NONE: Mapping[str, float] = {}


def pass_progress() -> Observer:
    """An observer that names each pass as it starts, and says how far a long one is."""
    began = last = time.monotonic()

    def observe(event: PassEvent) -> None:
        nonlocal began, last
        now = time.monotonic()
        if event.kind == "start":
            began = last = now
            click.echo(f"pass {event.index}/{event.total}  {event.name}", err=True)
        elif event.kind == "progress" and event.done and now - last > _SECONDS_BETWEEN_LINES:
            last = now
            left = (now - began) / event.done * (event.of - event.done)
            click.echo(f"  {event.done}/{event.of} {event.what}, about {left:.0f} s left", err=True)

    return observe


@contextmanager
def progress_bar(label: str) -> Iterator[Callable[..., None]]:
    """Yield ``update(done, total, accuracy)``; a bar on a terminal, and rare lines elsewhere.

    ``accuracy`` (per engine) may be left out; the last one given stays.
    """
    start = time.monotonic()
    known = ""

    def status(done: int, accuracy: Mapping[str, float]) -> str:
        nonlocal known
        if accuracy:
            known = ", ".join(f"{engine} {value:.1%}" for engine, value in accuracy.items())
        rate = done / max(time.monotonic() - start, 1e-9)
        return f"{rate:,.0f} samples/s" + (f", {known}" if known else "")

    if not sys.stderr.isatty():
        last = time.monotonic()

        def line(done: int, total: int, accuracy: Mapping[str, float] = _NONE) -> None:
            nonlocal last
            text = status(done, accuracy)
            if time.monotonic() - last > _SECONDS_BETWEEN_LINES:
                last = time.monotonic()
                click.echo(f"{label}  {done}/{total}  {text}", err=True)

        yield line
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

        def bar(done: int, total: int, accuracy: Mapping[str, float] = _NONE) -> None:
            bars.update(task, completed=done, total=total, status=status(done, accuracy))

        yield bar
