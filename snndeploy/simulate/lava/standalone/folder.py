"""The folder: the script, its arrays, the golden run and a README."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ....errors import UsageError
from ....files import refuse_taken_folder, write_folder
from ....ir.arrays import Array
from ....ir.codec import npz
from ....ir.program import Program
from .script import Script, script_of, text_of

SCRIPT = "run_on_lava.py"
FILES = frozenset({SCRIPT, "network.npz", "golden.npz", "README.md"})
"""Names of all files of such a folder."""
_README = Path(__file__).with_name("readme.txt")
_KIND = "a folder that this command wrote"
LAVA_VERSION = "0.10.0"


def refuse_standalone_place(path: Path, force: bool) -> None:
    """Refuse a place that `write_standalone` would refuse, before long work begins.

    Raises:
        InputError: see `snndeploy.files.refuse_taken_folder`.
    """
    refuse_taken_folder(path, force, FILES, SCRIPT, kind=_KIND)


def write_standalone(
    path: str | Path, program: Program, golden: Mapping[str, Array], *, force: bool = False
) -> Path:
    """Write ``program`` as a folder that needs nothing but Lava.

    Raises:
        BackendMissing: ``lava-arithmetic``, the program is not in lava's arithmetic.
        InputError: the place is taken or not writable.
    """
    refuse_standalone_place(Path(path), force)
    files = standalone_files(program, golden)
    return write_folder(Path(path), files, force=force, owned=FILES, sign=SCRIPT, kind=_KIND)


def standalone_files(program: Program, golden: Mapping[str, Array]) -> dict[str, bytes]:
    """The files of the folder by name.

    Args:
        program: what to build.
        golden: ``input.<group>`` and ``spikes.<group>``, as a bundle has them.

    Raises:
        BackendMissing: ``lava-arithmetic``, the program is not in lava's arithmetic.
        UsageError: ``export-lava``, resonate-and-fire neurons.
    """
    foreign = [g.name for g in program.groups if g.kind == "resonator"]
    if foreign:
        raise UsageError(
            "export-lava",
            "the folder has no place for resonate-and-fire neurons",
            where=", ".join(foreign),
            hint="on this computer `snndeploy simulate --engine lava` runs them; for a board give the "
            ".net file to netx",
        )
    samples = next(iter(golden.values())).shape[1]
    script = script_of(program, samples)
    text = text_of(script, title=f"Program {program.digest[:12]}", lava=LAVA_VERSION)
    return {
        SCRIPT: text.encode(),
        "network.npz": npz({k: np.ascontiguousarray(v) for k, v in script.arrays.items()}),
        "golden.npz": npz(golden),
        "README.md": _readme(script).encode(),
    }


def _readme(script: Script) -> str:
    program = script.program
    rows = []
    for group in program.groups:
        shape = " x ".join(str(n) for n in group.shape)
        process = script.names.get(group.name, "RingBuffer")
        board = script.reasons.get(group.name, "")
        told = "the host" if process == "RingBuffer" else board or "yes"
        rows.append(f"| {_cell(group.name)} | {shape} | {process} | {told} |")
    return (
        _README.read_text(encoding="utf-8")
        .replace("@@DIGEST@@", program.digest)
        .replace("@@TARGET@@", _cell(program.target))
        .replace("@@LAVA@@", LAVA_VERSION)
        .replace("@@ROWS@@", "\n".join(rows))
    )


def _cell(name: str) -> str:
    """A name in a cell of a table."""
    return "`" + "".join(c if c.isprintable() and c not in "`|" else "_" for c in name) + "`"
