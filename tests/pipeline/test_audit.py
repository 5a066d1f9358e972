"""``check`` and ``verify`` of a bundle find out for themselves what it records."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import snndeploy
from snndeploy.bundle import Bundle, read_bundle, write_bundle
from snndeploy.cli import main
from snndeploy.pipeline.accounts.audit import audit, stale_target
from tests.support.builders import conv_net
from tests.support.commands import code_of


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


@pytest.fixture(scope="module")
def whole() -> Bundle:
    return snndeploy.bundle_of(snndeploy.compile(conv_net(seed=7), recipe="default"))


def test_a_bundle_as_it_was_written_has_nothing_untrue(whole: Bundle) -> None:
    found = audit(whole)
    assert (found.misplaced, found.untrue) == ((), ())
    assert found.placement.slices == whole.placement.slices
    assert not [f for f in found.budgets if f.severity == "error"]


def other_program(b: Bundle) -> Bundle:
    return replace(b, program=replace(b.program, target="elsewhere"))


def other_count(b: Bundle) -> Bundle:
    first, *rest = b.placement.slices
    fewer = replace(first, resources={**first.resources, "synapse_words": 1})
    return replace(b, placement=replace(b.placement, slices=(fewer, *rest)))


def lost_slice(b: Bundle) -> Bundle:
    return replace(b, placement=replace(b.placement, slices=b.placement.slices[1:]))


def all_on_one_core(b: Bundle) -> Bundle:
    """Every record agrees with the placement, and it takes more groups than this core has."""
    slices = tuple(replace(s, core=0) for s in b.placement.slices)
    core = {**b.target.core, "groups": b.target.core["groups"].model_copy(update={"limit": 1})}
    target = b.target.model_copy(update={"core": core})
    return replace(b, placement=replace(b.placement, slices=slices), target=target)


def said_of_cores(b: Bundle) -> Bundle:
    return replace(b, report={**b.report, "cores": {**b.report["cores"], "used": 1}})


def other_network(b: Bundle) -> Bundle:
    networks = {**b.networks, "compressed": conv_net(seed=8)}
    return replace(b, networks=networks)


CASES: dict[Callable[[Bundle], Bundle], tuple[str, str]] = {
    other_program: ("digest-differs", "bundle-differs"),
    other_count: ("resources-differ", "bundle-differs"),
    lost_slice: ("neurons-misplaced", "placement-differs"),
    all_on_one_core: ("core-groups", "bundle-differs"),
    said_of_cores: ("report-differs", "bundle-differs"),
    other_network: ("digest-differs", "bundle-differs"),
}


@pytest.mark.parametrize("change", CASES)
def test_what_is_not_so_is_found(
    whole: Bundle, tmp_path: Path, change: Callable[[Bundle], Bundle]
) -> None:
    """Each bundle is written with a manifest that fits it, so no digest of a file tells."""
    code, failure = CASES[change]
    place = write_bundle(tmp_path / "net.snnb", change(whole), version="0")
    checked = run("check", place, "--json")
    assert checked.exit_code == 5, checked.output
    report = json.loads(checked.stdout)
    assert report["fits"] is False
    assert code in [f["code"] for f in report["findings"] if f["severity"] == "error"]
    verified = run("verify", place, "--engines", "integer", "--json")
    assert verified.exit_code == 6, verified.output
    assert json.loads(verified.stdout)["error"]["code"] == failure


def test_targets_that_are_not_the_same(whole: Bundle) -> None:
    (told,) = (f for f in audit(other_program(whole)).untrue if f.where == "program.npz")
    assert (told.code, told.severity) == ("target-differs", "error")
    assert stale_target(whole) is None
    few = whole.target.chip.cores.model_copy(update={"limit": 127})
    other = whole.target.model_copy(
        update={"chip": whole.target.chip.model_copy(update={"cores": few})}
    )
    note = stale_target(replace(whole, target=other))
    assert note is not None
    assert (note.code, note.severity) == ("target-changed", "note")


def test_a_program_that_is_not_the_manifests(whole: Bundle, tmp_path: Path) -> None:
    place = write_bundle(tmp_path / "net.snnb", whole, version="0")
    manifest: dict[str, Any] = json.loads((place / "manifest.json").read_text())
    (place / "manifest.json").write_text(json.dumps({**manifest, "program": "0" * 64}))
    result = run("check", place)
    assert (result.exit_code, code_of(result)) == (3, "bundle-damaged")
    assert read_bundle(write_bundle(tmp_path / "b.snnb", whole, version="0")).networks


def test_neurons_of_another_family_are_refused(whole: Bundle, tmp_path: Path) -> None:
    """A reset by subtraction is a program on Loihi 2 and two compartments on Loihi."""
    place = write_bundle(tmp_path / "net.snnb", whole, version="0")
    for more in ((), ("--fix", tmp_path / "r.toml")):
        result = run("check", place, "--target", "loihi1", *more)
        assert (result.exit_code, code_of(result)) == (2, "target-family")
        assert "next: compile the .nir file again" in result.stderr
    assert run("check", place, "--target", "loihi2-spec").exit_code == 0
