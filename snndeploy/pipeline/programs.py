"""Files that hold an integer program already: placed, checked, and kept as a bundle."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import toml
from ..bundle import Bundle
from ..chip import Target, load_target
from ..data import Samples
from ..ingest import read_netx
from ..ir.finding import Finding
from ..ir.placement import Placement
from ..ir.program import Program
from ..mapping import check_program, fits, place_program, summarise
from ..report import compile_report
from .bundles import golden_of


@dataclass(frozen=True, kw_only=True, eq=False)
class Loaded:
    """A program from a file, placed on a target; ``findings`` are those of reading and of the check."""

    source: str
    program: Program
    placement: Placement
    target: Target
    board: str
    findings: tuple[Finding, ...]

    @property
    def fits(self) -> bool:
        """Whether no check found an error."""
        return fits(self.findings)


def holds_program(path: str | Path) -> bool:
    """Whether a file holds integers that need neither semantics nor compression (``.net``)."""
    return Path(path).suffix == ".net"


def place_file(
    path: str | Path, target: str | Path | Target = "loihi2", board: str | None = None
) -> Loaded:
    """Read a ``.net`` file, place it and check it.

    Raises:
        SnnDeployError: the file, target or board is bad. Violated budgets are in ``findings``.
    """
    chip = target if isinstance(target, Target) else load_target(target)
    chips = chip.chips(board)
    program = read_netx(path, chip.name)
    placement = place_program(program, chip, chips=chips)
    checked = check_program(program, placement, chip, chips=chips)
    return Loaded(
        source=str(path),
        program=program,
        placement=placement,
        target=chip,
        board=chip.board(board),
        findings=(*checked, *program.findings),
    )


def loaded_report(loaded: Loaded) -> dict[str, Any]:
    """The report of a file that was placed, in the form of a compilation's."""
    target = loaded.target
    return compile_report(
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


def loaded_bundle(loaded: Loaded, samples: Samples | None = None) -> Bundle:
    """A bundle of a file that was placed."""
    lock = {
        "network": {"digest": loaded.program.digest, **_notes(loaded)},
        "compile": {"target": loaded.target.name, "board": loaded.board},
    }
    return Bundle(
        program=loaded.program,
        placement=loaded.placement,
        target=loaded.target,
        lock=toml.dumps(lock),
        report=loaded_report(loaded),
        golden=golden_of(loaded.program, samples),
    )


def _notes(loaded: Loaded) -> dict[str, str]:
    return {"frontend": "netx", "why": "the file holds Loihi's integers", "source": loaded.source}
