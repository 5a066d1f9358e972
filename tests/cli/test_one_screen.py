"""What a check says fits a screen, the verdict last; -v tells the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from snndeploy.cli.show.render import print_findings
from tests.support.commands import network, printed, run

SCREEN = 30


@pytest.mark.parametrize("target", ["loihi1", "loihi2"])
def test_a_check_fits_a_screen(target: str, tmp_path: Path) -> None:
    """Twenty layers, of which ten are shown; notes by their names, warnings by a line each."""
    model = network(tmp_path, *[6] * 21)
    options = ("check", model, "-t", target, "--frontend", "nir", "--dt", "1e-3")
    brief, whole = printed(run(*options)), printed(run("-v", *options))
    lines = brief.splitlines()
    assert len(lines) <= SCREEN < len(whole.splitlines())
    assert "and 10 more layers" in brief
    assert "operators" in whole
    assert "operators" not in brief
    assert "note[answers-not-measured]" in whole
    assert "note[" not in brief
    assert "answers-not-measured" in brief  # its name says what -v would tell
    assert "warning[assumed]" in brief
    assert "  try: --reset" in whole
    assert "  try: --reset" not in brief
    assert lines[-1].startswith(f"fits {target} (")
    assert [": 20 of " in line for line in lines if line.startswith("fits ")] == [True]


def test_a_warning_is_told_though_a_note_has_its_code(capsys: pytest.CaptureFixture[str]) -> None:
    """What is only named is chosen by its severity."""
    same = {"code": "answers-differ", "message": "they do", "where": "recipe", "fixes": []}
    print_findings([{**same, "severity": s} for s in ("note", "warning", "error")], brief=True)
    told = capsys.readouterr().out.splitlines()
    assert told[:2] == [f"{s}[answers-differ] recipe: they do" for s in ("warning", "error")]
    assert told[2].startswith("a note (answers-differ): ")
