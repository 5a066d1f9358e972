"""Programs of the compiler in the form that the separate checker reads them in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from snndeploy.bundle import Bundle
from snndeploy.certify import checks
from snndeploy.certify.files import shaped
from snndeploy.chip import Target
from snndeploy.ir.codec import SharedArrays, encode
from snndeploy.ir.placement import Placement
from snndeploy.ir.program import Program
from snndeploy.mapping import check_program, fits, place_program, summarise
from snndeploy.pipeline.bundles import golden_of
from snndeploy.report import compile_report
from snndeploy.verify import worst_inputs


def checked(program: Program) -> Any:
    """``program`` as the checker holds it, its structure checked."""
    arrays = SharedArrays()
    structure = json.loads(json.dumps(encode(program, arrays)))
    read = shaped(structure, "Program", arrays)
    checks.structure(read)
    return read


def checked_placement(placement: Placement) -> Any:
    """``placement`` as the checker holds it."""
    return shaped(json.loads(json.dumps(encode(placement, SharedArrays()))), "Placement", {})


def bundle_of_program(program: Program, target: Target) -> Bundle | None:
    """A bundle of a program that comes from no network; None where it does not fit the target."""
    placement = place_program(program, target)
    findings = check_program(program, placement, target)
    if not fits(findings):
        return None
    chips = target.chips(None)
    report = compile_report(
        network={"digest": program.digest, "notes": {}},
        program=program,
        summary=summarise(program, placement, target, findings, chips),
        target=target,
        board=target.board(None),
        findings=findings,
        passes=[],
        recipe="none",
    )
    inputs = [g for g in program.groups if g.kind == "input"]
    told = "".join(
        f'[compile.inputs."{g.name}"]\nmessage_bits = {g.message_bits}\nscale = {float(g.scale)}\n'
        for g in inputs
    )
    lock = f'[compile]\ntarget = "{target.name}"\n{told}'
    golden, worst = golden_of(program, None), worst_inputs(program)
    return Bundle(program, placement, target, lock, report, golden, worst=worst)


def folder_of(bundle: Bundle, place: Path) -> Path:
    """Write a bundle."""
    from snndeploy.bundle import write_bundle

    return write_bundle(place, bundle, version="0", force=True)
