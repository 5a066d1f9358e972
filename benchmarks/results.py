"""What a benchmark that takes long found: kept in a file as it comes, and taken from it next time."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Results(dict[str, Any]):
    """Results by name, as the JSON file has them; without a file they last as long as the run.

    ``Results(path)`` reads the file where there is one, and ends the program with the reason where it
    is no JSON object.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        known: Any = {}
        if path is not None and path.exists():
            try:
                known = json.loads(path.read_text(encoding="utf-8"))
            except ValueError as error:
                raise SystemExit(f"{path}: no JSON ({error}); give another file") from None
            if not isinstance(known, dict):
                raise SystemExit(f"{path}: results should have names; give another file")
        super().__init__(known)

    def write(self) -> None:
        """What is known so far; a run that is stopped here leaves the file as it was."""
        if self.path is not None:
            part = self.path.with_name(f"{self.path.name}.part")
            part.write_text(json.dumps(self, indent=1), encoding="utf-8")
            part.replace(self.path)

    def once(self, name: str, compute: Callable[[], Any]) -> Any:
        """The result of this name: computed and written, if it was not known."""
        if name not in self:
            self[name] = compute()
            self.write()
        return self[name]
