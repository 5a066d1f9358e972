"""Import lava-nc 0.10.0 on every Python it can run on.

Standard library only: this file is run by the interpreter that has lava, which need not have
snndeploy. As a script it is that interpreter's self-check: exit code 0 means that lava imports.
"""

from __future__ import annotations

import dataclasses
import importlib
from typing import Any

# Everything the worker builds programs from; importing it is the self-check.
_MODULES = (
    "lava.magma.core.run_configs",
    "lava.proc.conv.process",
    "lava.proc.dense.process",
    "lava.proc.io.sink",
    "lava.proc.io.source",
    "lava.proc.lif.process",
    "lava.proc.sparse.process",
)


def import_lava() -> None:
    """Make ``import lava...`` work, with one import-time patch where Python needs it.

    lava's ``var_model`` gives dataclass fields a ``ByteEncoder()`` as default. Python 3.11 refuses
    defaults that cannot be hashed, and a dataclass with ``eq`` cannot. So while that one module
    is imported, ``dataclasses.dataclass`` gives the class of that name a hash; nothing is edited on
    disk, and the standard library is as before when this returns. On 3.10 it changes nothing.
    """
    original: Any = dataclasses.dataclass

    def dataclass(cls: Any = None, /, **options: Any) -> Any:
        if cls is None:
            return lambda decorated: dataclass(decorated, **options)
        if cls.__name__ == "ByteEncoder":
            options["unsafe_hash"] = True
        return original(cls, **options)

    patched: Any = dataclass
    dataclasses.dataclass = patched
    try:
        importlib.import_module("lava.magma.compiler.var_model")
    finally:
        dataclasses.dataclass = original


if __name__ == "__main__":
    import_lava()
    for name in _MODULES:
        importlib.import_module(name)
