"""Names of a package that load on first use, so that importing it stays fast."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any


def loader(package: str, home: Mapping[str, Sequence[str]]) -> Callable[[str], Any]:
    """The ``__getattr__`` of a package.

    Args:
        package: its ``__name__``.
        home: names, by the module that they come from (relative to the package).

    Returns:
        A function that finds a name, keeps it in the package, and raises AttributeError for others.
    """
    module_of = {name: module for module, names in home.items() for name in names}

    def load(name: str) -> Any:
        if name not in module_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        found = getattr(import_module(module_of[name], package), name)
        setattr(sys.modules[package], name, found)
        return found

    return load
