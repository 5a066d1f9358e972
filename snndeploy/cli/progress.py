"""Progress on standard error: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from ..passes.base import Observer, PassEvent

_SECONDS_BETWEEN_LINES = 10.0


def pass_progress() -> Observer:
    """An observer that names each pass as it starts."""

    def observe(event: PassEvent) -> None:
        if event.kind == "start":
            click.echo(f"pass {event.index}/{event.total}  {event.name}", err=True)

    return observe


@contextmanager
def progress_bar(label: str) -> Iterator[Callable[[int, int], None]]:
    """Yield ``update(done, total)``; it draws a bar on a terminal, and rare lines elsewhere."""
    if not sys.stderr.isatty():
        last = time.monotonic()

        def line(done: int, total: int) -> None:
            nonlocal last
            if time.monotonic() - last > _SECONDS_BETWEEN_LINES:
                last = time.monotonic()
                click.echo(f"{label}  {done}/{total}", err=True)

        yield line
        return

    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(label, total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)
