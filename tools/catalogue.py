"""What commands take and what errors say, read from the code, for the generated pages."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from snndeploy import errors
from snndeploy.cli import main
from snndeploy.cli.show.help import Command
from snndeploy.errors import SnnDeployError

PACKAGE = Path(__file__).parents[1] / "snndeploy"
CLASSES = {
    name: value
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, SnnDeployError)
}


@dataclass(frozen=True, kw_only=True, order=True)
class CatalogueEntry:
    """An error: ``…`` stands where its text names something."""

    code: str
    exit_code: int
    message: str
    hint: str


def entries() -> list[CatalogueEntry]:
    """Every error that the package raises by its class and a code, once per code and text."""
    found = set()
    for file in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            kind = CLASSES.get(node.func.id)
            if kind is None or len(node.args) < 2 or not isinstance(node.args[0], ast.Constant):
                continue
            hint = next((k.value for k in node.keywords if k.arg == "hint"), None)
            found.add(
                CatalogueEntry(
                    code=str(node.args[0].value),
                    exit_code=kind.exit_code,
                    message=_template(node.args[1]),
                    hint="" if hint is None else _template(hint),
                )
            )
    return sorted(found)


def _template(node: ast.expr) -> str:
    """A text as it stands in the code, with ``…`` for what is put in when it is raised."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(_template(part) for part in parts)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _template(left) + _template(right)
        case _:
            return "…"


@dataclass(frozen=True, kw_only=True)
class CommandEntry:
    """A command: how it is called, what it does, an example, and its options in their order."""

    name: str
    usage: str
    text: str
    example: str
    options: tuple[tuple[str, str], ...]


def commands() -> Iterator[CommandEntry]:
    """All commands in the order of ``snndeploy --help``, those of groups after their group."""
    yield from _commands("snndeploy", main)


def _commands(path: str, command: click.Command) -> Iterator[CommandEntry]:
    context = click.Context(command, info_name=path)
    records = [
        record
        for parameter in command.get_params(context)
        if isinstance(parameter, click.Option)
        and "--help" not in parameter.opts
        and (record := parameter.get_help_record(context)) is not None
    ]
    text = inspect.cleandoc(command.help or "").replace("\b\n", "")
    yield CommandEntry(
        name=path,
        usage=" ".join((path, *command.collect_usage_pieces(context))),
        text=text,
        example=command.example if isinstance(command, Command) else "",
        options=tuple(records),
    )
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            if inner is not None:
                yield from _commands(f"{path} {name}", inner)
