"""What ``--data`` and its kind name: one place, or one for each input of a network."""

from __future__ import annotations

import os
from typing import TypeAlias

import click

Files: TypeAlias = "str | dict[str, str] | None"
"""What ``--data`` names: one file, or one for each of several inputs."""


def files_named(
    context: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> Files:
    """One place of samples, or NAME=FILE for each input of a network."""
    del context
    if len(values) == 1 and ("=" not in values[0] or os.path.exists(values[0])):
        return values[0]
    files: dict[str, str] = {}
    for value in values:
        name, equals, file = value.partition("=")
        if not (equals and name and file):
            raise click.BadParameter(
                f"{value!r} is not NAME=FILE, which several {parameter.opts[-1]} have to be"
            )
        if name in files:
            raise click.BadParameter(f"there are two files for the input {name!r}")
        files[name] = file
    return files or None


def files_told(files: Files) -> str:
    """The same in words."""
    if isinstance(files, dict):
        return ", ".join(f"{name}={file}" for name, file in files.items())
    return files or ""
