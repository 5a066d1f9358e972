"""What a bundle says of itself, held against what it holds.

Nothing that a bundle records is taken for granted: digests are computed, slices put together and counted
anew, budgets checked, and the report compared with what that gives.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ... import toml
from ...bundle import Bundle
from ...chip import Target, load_target
from ...errors import TargetError, UsageError
from ...ir.finding import Finding
from ...ir.placement import Placement
from ...mapping import check_program, recounted, summarise, validate_placement
from ...report import compile_report, finding_record
from .recorded import stored_report

_RULE = "a bundle is what it says of itself"


@dataclass(frozen=True, kw_only=True, eq=False)
class Audit:
    """What came of it.

    ``placement`` has its resources counted anew, ``misplaced`` is what of the program its slices do not
    hold, ``untrue`` where the bundle's records are not so, and ``budgets`` the findings of all rules.
    """

    placement: Placement
    board: str
    misplaced: tuple[Finding, ...]
    untrue: tuple[Finding, ...]
    budgets: tuple[Finding, ...]

    @property
    def findings(self) -> tuple[Finding, ...]:
        return (*self.misplaced, *self.untrue, *self.budgets)


def audit(bundle: Bundle, *, fixes: bool = True) -> Audit:
    """Hold a bundle against itself, on its own target and board.

    Args:
        bundle: what to look at; that its files are those of its manifest is for reading to check.
        fixes: whether to try what would help against violated budgets.

    Raises:
        InputError: what it records cannot be read at all.
    """
    with stored_report("report.json"):
        board = str(bundle.report["board"])
        digests = tuple(_digests(bundle))
    misplaced = validate_placement(bundle.program, bundle.placement, bundle.target)
    if misplaced:  # what does not hold the program cannot be counted as the program
        return Audit(
            placement=bundle.placement, board=board, misplaced=misplaced, untrue=digests, budgets=()
        )
    placement = recounted(bundle.program, bundle.placement, bundle.target)
    chips = bundle.target.chips(board)
    budgets = check_program(
        bundle.program, placement, bundle.target, chips=chips, fixes_for=None if fixes else 0
    )
    with stored_report("report.json"):
        records = tuple(_records(bundle, placement, board, budgets))
    return Audit(
        placement=placement, board=board, misplaced=(), untrue=(*digests, *records), budgets=budgets
    )


def _digests(bundle: Bundle) -> Iterator[Finding]:
    """Every digest that is written down, against the content it is of."""
    networks, lock = bundle.networks, toml.loads(bundle.lock)
    is_of: list[tuple[str, str, Any, str]] = [
        ("report.json", "the program", bundle.report["program"]["digest"], bundle.program.digest)
    ]
    if "float" in networks:
        source = networks["float"].digest
        is_of.append(("lock.toml", "the trained network", lock["network"]["digest"], source))
    if "compressed" in networks:
        said = bundle.report["network"]["digest"]
        is_of.append(("report.json", "the network", said, networks["compressed"].digest))
    for where, what, said, found in is_of:
        if said != found:
            yield _untrue(
                "digest-differs", where, f"it was written for {what} {said[:16]}, not {found[:16]}"
            )


def _records(
    bundle: Bundle, placement: Placement, board: str, budgets: tuple[Finding, ...]
) -> Iterator[Finding]:
    """Places, targets and counts that are written down, against what is so."""
    target = bundle.target
    for where, said in (
        ("placement.json", placement.target),
        ("program.npz", bundle.program.target),
        ("report.json", str(bundle.report["target"])),
    ):
        if said != target.name:
            yield _untrue(
                "target-differs", where, f"it is for {said}, target.toml is {target.name}"
            )
    for old, new in zip(bundle.placement.slices, placement.slices, strict=True):
        if dict(old.resources) != dict(new.resources):
            wrong = sorted(
                name
                for name in {*old.resources, *new.resources}
                if old.resources.get(name) != new.resources.get(name)
            )
            yield _untrue(
                "resources-differ",
                new.group,
                f"on core {new.core} it takes other {', '.join(wrong)} than placement.json says: "
                + ", ".join(f"{new.resources.get(n)} for {old.resources.get(n)}" for n in wrong),
            )
            break
    fresh = _report(bundle, placement, target, board, budgets)
    for key in ("fits", "cores", "layers", "synapses"):
        pair = [_comparable(key, report[key]) for report in (bundle.report, fresh)]
        if pair[0] != pair[1]:
            yield _untrue("report-differs", "report.json", f"what it says of {key} is not so")


def _comparable(key: str, value: Any) -> Any:
    """What of a report's entry follows from the placement alone."""
    if key == "cores":
        return {name: value[name] for name in ("used", "limit", "chips")}
    return [_measured(layer) for layer in value] if key == "layers" else value


def _measured(layer: dict[str, Any]) -> dict[str, Any]:
    return {k: layer.get(k) for k in ("name", "shape", "neurons", "cores", "resources")}


def audited_report(bundle: Bundle, found: Audit) -> dict[str, Any]:
    """The report of a bundle on its own target, from the audit.

    What passes and lowering had to say cannot be found out again; it is repeated as it was recorded.
    """
    if found.misplaced:  # nothing can be counted
        records = [finding_record(f) for f in found.findings]
        return {**bundle.report, "fits": False, "findings": records}
    report = _report(bundle, found.placement, bundle.target, found.board, found.findings)
    fresh = {(f["code"], f["where"]) for f in report["findings"]}
    kept = [
        f
        for f in bundle.report["findings"]
        if f["severity"] != "error" and (f["code"], f["where"]) not in fresh
    ]
    report["findings"] += kept
    return report


def _report(
    bundle: Bundle, placement: Placement, target: Target, board: str, findings: tuple[Finding, ...]
) -> dict[str, Any]:
    return compile_report(
        network=bundle.report["network"],
        program=bundle.program,
        summary=summarise(bundle.program, placement, target, findings, target.chips(board)),
        target=target,
        board=board,
        findings=(*findings, *bundle.program.findings),
        passes=bundle.report["passes"],
        recipe=bundle.report["recipe"],
    )


def other_target(bundle: Bundle, target: str | Path) -> Target:
    """The target that a bundle is to be checked against.

    Raises:
        TargetError: there is no such target.
        UsageError: its neurons are not those that the program was lowered to.
    """
    chip = load_target(target)
    if chip.family != bundle.target.family:
        raise UsageError(
            "target-family",
            f"the program's neurons are those of {bundle.target.name} (family "
            f"{bundle.target.family}); {chip.name} is of family {chip.family}",
            where="--target",
            hint=f"compile the .nir file again: snndeploy check MODEL.nir --target {chip.name}",
        )
    return chip


def stale_target(bundle: Bundle) -> Finding | None:
    """A note where the target is not the one of the same name that this version ships."""
    try:
        shipped = load_target(bundle.target.name)
    except TargetError:
        return None
    if shipped == bundle.target:
        return None
    return Finding(
        code="target-changed",
        severity="note",
        where="target.toml",
        message=f"{bundle.target.name} has other numbers in this version of snndeploy; the bundle is "
        "checked against its own",
        rule=_RULE,
    )


def _untrue(code: str, where: str, message: str) -> Finding:
    return Finding(code=code, severity="error", where=where, message=message, rule=_RULE)
