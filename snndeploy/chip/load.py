"""Find, merge and validate target files."""

from __future__ import annotations

import os
import re
import typing
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from .. import toml
from ..errors import TargetError, did_you_mean
from ..files import Unreadable, is_regular, read_text
from .families import family_class, family_names
from .schema import ArithmeticModel, Target

M = TypeVar("M", bound=BaseModel)

_NAME = re.compile(r"[\w.+-]+")
_LONGEST_CHAIN = 32


def target_folder() -> Path:
    """The folder that holds the shipped target files (package data, or the checkout's ``targets/``)."""
    package = Path(__file__).parents[1]
    packaged = package / "targets"
    return packaged if packaged.is_dir() else package.parent / "targets"


def target_names() -> list[str]:
    """Names of the shipped targets."""
    return sorted(p.stem for p in target_folder().glob("*.toml"))


@lru_cache
def load_target(name: str | Path) -> Target:
    """Load a shipped target by name, or a target file by path (``….toml``).

    Raises:
        TargetError: unknown name, unreadable file, unknown key or a value of the wrong type.
    """
    return _target(_merged(str(name), Path(), ()), str(name))


@lru_cache
def arithmetic_models() -> tuple[ArithmeticModel, ...]:
    """The shipped models of arithmetic alone (``targets/energy/*.toml``), by name.

    Raises:
        TargetError: a file is malformed.
    """
    return tuple(
        _validated(ArithmeticModel, _parsed(path.read_text(encoding="utf-8"), str(path)), path.name)
        for path in sorted((target_folder() / "energy").glob("*.toml"))
    )


def dump_target(target: Target) -> str:
    """The whole target as TOML, with what it inherited written out."""
    return toml.dumps(target.model_dump(exclude_none=True, exclude={"inherits"}))


def parse_target(text: str, where: str) -> Target:
    """Read back what `dump_target` wrote; ``where`` names the file in errors.

    Raises:
        TargetError: not TOML, an unknown key or a value of the wrong type.
    """
    return _target(_parsed(text, where), where)


def _target(raw: dict[str, Any], where: str) -> Target:
    """Validate a target by the keys that its family reads."""
    for key, value in raw.items():
        if key not in Target.model_fields and isinstance(value, str) and value in family_names():
            raise TargetError(
                "target-schema",
                f"unknown key {key!r}; the family of a chip is named by 'family'",
                where=f"{where}:{key}",
                hint=f'write family = "{value}" instead of {key} = "{value}"',
            )
    name = raw.get("family")
    if not isinstance(name, str):
        raise TargetError(
            "target-schema",
            "it does not say which family of chips it belongs to",
            where=where,
            hint=f"set family to one of {', '.join(family_names())}, or inherit from another target",
        )
    return _validated(family_class(name).tables, raw, where)


def _parsed(text: str, where: str) -> dict[str, Any]:
    try:
        return toml.loads(text)
    except toml.TOMLDecodeError as error:
        raise TargetError("target-syntax", str(error), where=where) from error


def _merged(name: str, folder: Path, chain: tuple[Path, ...]) -> dict[str, Any]:
    """Raw tables of a target file laid over those of the target it inherits from.

    A path in ``inherits`` is relative to the file that says so.
    """
    named = not name.endswith(".toml")
    if named and not _NAME.fullmatch(name):  # a name is not a path
        raise _unknown(name)
    path = target_folder() / f"{name}.toml" if named else folder / name
    if not is_regular(path) and not os.path.lexists(path):
        raise _unknown(name)
    real = Path(os.path.realpath(path))  # links in a circle end where they are
    if real in chain:
        circle = " -> ".join(p.stem for p in (*chain, path))
        raise TargetError(
            "target-cycle", f"targets inherit in a circle: {circle}", where=f"{path.name}:inherits"
        )
    if len(chain) > _LONGEST_CHAIN:
        raise TargetError(
            "target-cycle",
            f"it inherits from more than {_LONGEST_CHAIN} others",
            where=f"{path.name}:inherits",
        )
    try:
        raw = _parsed(read_text(path), str(path))
    except Unreadable as error:
        raise TargetError("target-unreadable", str(error), where=str(path)) from error
    parent = raw.get("inherits")
    if not parent:
        return raw
    return _overlay(_merged(str(parent), path.parent, (*chain, real)), raw)


def _unknown(name: str) -> TargetError:
    return TargetError(
        "target-unknown",
        f"there is no target {name[:200]!r}",
        hint=f"{did_you_mean(name, target_names())} (or give the path of a .toml file)",
    )


def _overlay(base: dict[str, Any], top: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in top.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = _overlay(base[key], value) if both else value
    return merged


def _validated(kind: type[M], raw: dict[str, Any], name: str) -> M:
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        loc = [str(part) for part in first["loc"]]
        where = f"{name}:{'.'.join(loc)}" if loc else name
        hint = "see docs/reference/targets.md for the keys of a target file"
        if first["type"] == "extra_forbidden":
            message = f"unknown key {loc[-1]!r}; {did_you_mean(loc[-1], _keys_at(kind, loc[:-1]))}"
        elif first["type"] == "model_type":
            message = f"{str(first['input'])[:80]!r} is no table"
            hint = f'{loc[-1]} = {{ limit = …, unit = "…", source = "…", certainty = "…" }}: {hint}'
        else:
            text = first["msg"].removeprefix("Value error, ")
            message = f"{text[0].lower()}{text[1:]}"
        raise TargetError("target-schema", message, where=where, hint=hint) from error


def _keys_at(model: type[BaseModel], loc: list[str]) -> list[str]:
    """Keys that the table at ``loc`` of a ``model`` may have."""
    for part in loc:
        if part in model.model_fields:  # else the key of a dict[str, model] already entered
            model = next(_models(model.model_fields[part].annotation), model)
    return list(model.model_fields)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models that a field's type mentions."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in typing.get_args(annotation):
        yield from _models(part)
