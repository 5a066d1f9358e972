"""What a pass and each of its options mean, read from where they are declared."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from .base import Pass

_WORDS = {bool: "true or false", int: "integer", float: "number", str: "text"}
_BOUNDS = {"ge": "≥ {}", "gt": "> {}", "le": "≤ {}", "lt": "< {}"}


@dataclass(frozen=True, kw_only=True)
class Option:
    """One option of a pass.

    Attributes:
        name: its key in a recipe.
        type: what TOML holds: ``integer``, ``number``, ``text``, ``list of text``, …
        choices: the values that it (or each of its items) may have; empty where it is no choice.
        bounds: what a number must keep to, as ``≥ 0``.
        required: whether a recipe must give it.
        default: its value otherwise (None where it is required; no option has a None of its own).
        meaning: what it does, in plain text.
    """

    name: str
    type: str
    choices: tuple[Any, ...]
    bounds: tuple[str, ...]
    required: bool
    default: Any
    meaning: str

    @property
    def allowed(self) -> str:
        """Choices or bounds in one line."""
        if self.choices:
            return f"one of {', '.join(map(_toml, self.choices))}"
        return " and ".join(self.bounds)

    @property
    def default_text(self) -> str:
        """The default, or ``required``."""
        return "required" if self.required else _toml(self.default)


@dataclass(frozen=True, kw_only=True)
class PassDescription:
    """A pass for people: ``summary`` is one line, ``details`` the rest of its docstring."""

    name: str
    stage: str
    summary: str
    details: str
    options: tuple[Option, ...]


def describe(cls: type[Pass]) -> PassDescription:
    """Describe a pass without building one (an option may have no default)."""
    summary, _, details = _plain(inspect.cleandoc(cls.__doc__ or "")).partition("\n\n")
    hints = get_type_hints(cls, include_extras=True)
    meanings = _meanings(cls)
    options = []
    for field in dataclasses.fields(cls):
        kind = _kind(hints[field.name])
        default = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        missing = default is dataclasses.MISSING
        options.append(
            Option(
                name=field.name,
                type=kind.word,
                choices=kind.choices,
                bounds=kind.bounds,
                required=missing,
                default=None if missing else default,
                meaning=meanings.get(field.name, ""),
            )
        )
    return PassDescription(
        name=cls.name,
        stage=cls.stage,
        summary=" ".join(summary.split()),
        details=details,
        options=tuple(options),
    )


def _meanings(cls: type) -> dict[str, str]:
    """The strings below the fields of a class; those of its bases where it has none."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(base)))
        except (OSError, TypeError, SyntaxError):  # built in, or shipped without its source
            continue
        body = tree.body[0]
        found.update(_strings(body.body if isinstance(body, ast.ClassDef) else ()))
    return found


def _strings(body: Iterable[ast.stmt]) -> dict[str, str]:
    return {
        field.target.id: _plain(" ".join(below.value.value.split()))
        for field, below in pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(below, ast.Expr)
        and isinstance(below.value, ast.Constant)
        and isinstance(below.value.value, str)
    }


def _plain(text: str) -> str:
    """Code in single backticks, which terminals and Markdown both bear."""
    return text.replace("``", "`")


def _toml(value: Any) -> str:
    """As TOML writes it: JSON writes all that an option can hold alike."""
    return json.dumps(value, ensure_ascii=False)


@dataclass(frozen=True)
class _Kind:
    word: str
    choices: tuple[Any, ...] = ()
    bounds: tuple[str, ...] = ()


def _kind(hint: Any) -> _Kind:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        inner = _kind(arguments[0])
        return dataclasses.replace(inner, bounds=(*inner.bounds, *_bounds(arguments[1:])))
    if origin is Literal:
        return _Kind(_kind(type(arguments[0])).word, choices=arguments)
    if origin is tuple:
        inner = _kind(arguments[0])
        return dataclasses.replace(inner, word=f"list of {inner.word}")
    if isinstance(origin, type) and issubclass(origin, Mapping):
        inner = _kind(arguments[1])
        return dataclasses.replace(inner, word=f"table of {inner.word}")
    return _Kind(_WORDS.get(hint) or str(getattr(hint, "__name__", hint)))


def _bounds(metadata: Iterable[Any]) -> Iterable[str]:
    for constraint in metadata:
        for part in getattr(constraint, "metadata", ()):  # of a pydantic Field
            for name, words in _BOUNDS.items():
                if hasattr(part, name):
                    yield words.format(getattr(part, name))
