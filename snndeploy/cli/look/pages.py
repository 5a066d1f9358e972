"""The page that several commands can write."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..show.telling import say

if TYPE_CHECKING:
    from ...pipeline import Compiled, Loaded

page_option = click.option(
    "--html", type=click.Path(path_type=Path), help="Write a page to look at, too."
)


def html_option(command: Callable[..., None]) -> Callable[..., None]:
    """The options of a command that can write its result as a page, and nothing else."""
    command = click.option("--force", is_flag=True, help="Replace an existing page.")(command)
    return page_option(command)


def refuse_html(path: Path | None, force: bool) -> None:
    """Refuse a place where the page could not be written, before the work begins."""
    from ...pipeline import refuse_place

    if path is not None:
        refuse_place(path, force, option="--html")


def write_html(
    path: Path | None,
    described: Path | Compiled | Loaded,
    runs: Sequence[Mapping[str, Any]] = (),
    *,
    force: bool,
    report: Mapping[str, Any] | None = None,
    sensitivity: Mapping[str, Any] | None = None,
    names: Mapping[str, str] | None = None,
    placed: bool = True,
    name: str = "",
) -> None:
    """Write the page where one was asked for; see `snndeploy.pipeline.page_of`.

    This comes before anything is printed: who reads along may go away at the first line.
    """
    from ...pipeline import page_of

    if path is None:
        return
    page = page_of(
        described,
        runs,
        report=report,
        sensitivity=sensitivity,
        names=names or {},
        placed=placed,
        name=name,
    )
    save_page(path, page, force=force)


def save_page(path: Path, page: str, *, force: bool) -> None:
    """Write a page and say where."""
    from ...pipeline import write_text

    write_text(path, page, force=force, option="--html")
    say(f"wrote {path}", err=True)
