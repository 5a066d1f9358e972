"""Where in a user's code an operation stands."""

from __future__ import annotations

import ast
import linecache
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_OURS = str(Path(__file__).parents[1])


@dataclass(frozen=True)
class CodeSpot:
    """A line of a user's code, and the layer that ran.

    Attributes:
        layer: name of the module whose ``forward`` was running.
        file: of the line, empty where no line of the user's was found.
        line: its number.
        text: what stands there.
        name: the name that its result gets there.
    """

    layer: str = ""
    file: str = ""
    line: int = 0
    text: str = ""
    name: str = ""

    def __str__(self) -> str:
        told = []
        if self.name:
            told.append(f"tensor {self.name!r}")
        if self.layer:
            told.append(f"in layer {self.layer!r}")
        if self.file:
            told.append(f"({Path(self.file).name}:{self.line}: {self.text})")
        return " ".join(told) or "a tensor"


def spot(layer: str, foreign: Sequence[str]) -> CodeSpot:
    """The innermost line of the user's: not ours, and in none of the ``foreign`` folders."""
    frame = sys._getframe(1)
    outside = False
    while frame is not None:
        file = frame.f_code.co_filename
        ours = file.startswith(_OURS)
        if ours and outside:
            break  # where we called the module
        outside = outside or not ours
        if not ours and not file.startswith((*foreign, "<")):
            text = linecache.getline(file, frame.f_lineno).strip()
            return CodeSpot(layer, file, frame.f_lineno, text, _assigned(text))
        frame = frame.f_back  # type: ignore[assignment]
    return CodeSpot(layer)


def _assigned(text: str) -> str:
    """The first name that a line assigns to."""
    try:
        statement = ast.parse(text).body[0]
    except (SyntaxError, IndexError):
        return ""
    targets = getattr(statement, "targets", None) or [getattr(statement, "target", None)]
    names = [n.id for t in targets if t is not None for n in ast.walk(t) if isinstance(n, ast.Name)]
    return names[0] if names else ""
