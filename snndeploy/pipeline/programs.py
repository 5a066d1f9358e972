"""Files that hold an integer program already: placed, checked, and kept as a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .. import toml
from ..bundle import Bundle
from ..chip import Target, load_target
from ..data import Samples
from ..ir.program import Program
from ..ir.step import Compare
from ..ir.told.deltas import Starts
from ..mapping import check_program, place_program, summarise
from ..report import compile_report
from ..verify import worst_inputs
from .accounts.flashing import flashing_record
from .bundles import golden_of
from .compiled import SHARE, Loaded, Objective
from .opening import open_program


def place_file(
    program: str | Path | Program,
    target: str | Path | Target = "loihi2",
    board: str | None = None,
    compare: Compare | None = None,
    *,
    objective: Objective = "speed",
    starts: Starts = "chip",
) -> Loaded:
    """Read a ``.net`` file (or take a program), place it (see `Objective`) and check it.

    ``compare`` and ``starts`` are as of `read_netx`.

    Raises:
        SnnDeployError: the file, target or board is bad. Violated budgets are in ``findings``.
    """
    chip = target if isinstance(target, Target) else load_target(target)
    chips = chip.chips(board)
    held = open_program("compile", program, chip.name, compare, starts)
    placement = place_program(held, chip, chips=chips, share=SHARE[objective])
    checked = check_program(held, placement, chip, chips=chips)
    return Loaded(
        source="" if isinstance(program, Program) else str(program),
        program=held,
        placement=placement,
        target=chip,
        board=chip.board(board),
        findings=(*checked, *held.findings),
    )


def loaded_report(loaded: Loaded) -> dict[str, Any]:
    """The report of a file that was placed, in the form of a compilation's."""
    target = loaded.target
    report = compile_report(
        network={"digest": loaded.program.digest, "notes": _notes(loaded)},
        program=loaded.program,
        summary=summarise(
            loaded.program, loaded.placement, target, loaded.findings, target.chips(loaded.board)
        ),
        target=target,
        board=loaded.board,
        findings=loaded.findings,
        passes=[],
        recipe="none",
    )
    return {**report, "flashing": flashing_record(loaded.program, target, loaded.findings)}


def loaded_bundle(loaded: Loaded, samples: Samples | None = None) -> Bundle:
    """A bundle of a file that was placed."""
    lock = {
        "network": {"digest": loaded.program.digest, **_notes(loaded)},
        "compile": {
            "target": loaded.target.name,
            "board": loaded.board,
            "inputs": {
                g.name: {"message_bits": g.message_bits, "scale": float(g.scale)}
                for g in loaded.program.groups
                if g.kind == "input"
            },
        },
    }
    return Bundle(
        program=loaded.program,
        placement=loaded.placement,
        target=loaded.target,
        lock=toml.dumps(lock),
        report=loaded_report(loaded),
        golden=golden_of(loaded.program, samples),
        worst=worst_inputs(loaded.program),
    )


def _notes(loaded: Loaded) -> dict[str, str]:
    return {"frontend": "netx", "why": "the file holds Loihi's integers", "source": loaded.source}
