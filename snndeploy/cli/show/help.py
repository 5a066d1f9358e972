"""Help that leads: an example first to copy, options under headings, the rare ones last."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

_SECTION = "section"


def section(title: str, *options: Callable[[F], F]) -> Callable[[F], F]:
    """Options that ``--help`` lists under a heading of their own, after those without one."""

    def decorate(function: F) -> F:
        known = list(getattr(function, "__click_params__", ()))
        for option in reversed(options):
            function = option(function)
        for parameter in getattr(function, "__click_params__", ()):
            if parameter not in known:
                vars(parameter).setdefault(_SECTION, title)
        return function

    return decorate


class Command(click.Command):
    """A command with an example, which a test runs, and its options under headings.

    Args:
        example: what a user types, from ``snndeploy`` on.
    """

    def __init__(self, *args: Any, example: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.example = example

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_help_text(ctx, formatter)
        if self.example:
            with formatter.section("Example"):
                formatter.write(f"{'':>{formatter.current_indent}}{self.example}\n")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        titles: dict[str, list[tuple[str, str]]] = {"Options": []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if isinstance(parameter, click.Option) and record is not None:
                titles.setdefault(vars(parameter).get(_SECTION, "Options"), []).append(record)
        for title, records in sorted(titles.items(), key=lambda item: _RANK.get(item[0], 0)):
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


SEMANTICS = "How the network is read (what a file does not say)"
_RANK = {"Options": -1, SEMANTICS: 1}
"""Where a heading stands; the semantics options are needed least and come last."""

command = partial(click.command, cls=Command)
