"""The first pages of the docs do what they say, with the real frameworks."""

from __future__ import annotations

import re
import shlex
from importlib.util import find_spec
from pathlib import Path

import nir
import pytest
from click.testing import CliRunner

from snndeploy.cli import main
from tests.support.chains import nir_chain

pytestmark = pytest.mark.filterwarnings("ignore")  # the frameworks' own

PAGES = Path(__file__).parents[2] / "docs" / "start"
NEEDS = {
    "snntorch": "snntorch",
    "norse": "norse",
    "sinabs": "sinabs",
    "spikingjelly": "spikingjelly",
    "rockpool": "rockpool",
    "lava-dl": "snndeploy",  # without lava-dl its file is one of ours
    "files": "snndeploy",
}
BLOCK = re.compile(r"^```(python|sh)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def commands(block: str) -> list[list[str]]:
    """The commands of a shell block, each in words without the program's name."""
    lines = [shlex.split(line) for line in block.replace("\\\n", " ").splitlines() if line]
    assert all(line[0] == "snndeploy" for line in lines)
    return [line[1:] for line in lines]


def test_every_page_is_known() -> None:
    assert {page.stem for page in PAGES.glob("*.md")} == set(NEEDS)


@pytest.mark.parametrize("page", NEEDS)
def test_the_page_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its blocks in order, Python in one namespace, in an empty folder."""
    pytest.importorskip(NEEDS[page], reason=f"{page} is not installed")
    monkeypatch.chdir(tmp_path)
    if page == "files":
        nir.write("mine.nir", nir_chain(2))
    written_here = page == "lava-dl" and not (find_spec("lava") and find_spec("lava.lib"))
    if written_here:
        made = ["export", "model.nir", "--to", "netx", "-o", "mine.net", "--frontend", "norse"]
        nir.write("model.nir", nir_chain(2))
        assert CliRunner().invoke(main, [*made, "--dt", "1e-3"]).exit_code == 0
    names: dict[str, object] = {}
    for language, text in BLOCK.findall((PAGES / f"{page}.md").read_text(encoding="utf-8")):
        if language == "python":
            if written_here:
                continue
            exec(compile(text, page, "exec"), names)  # the page's own code, as a reader runs it
            continue
        for words in commands(text):
            result = CliRunner().invoke(main, words)
            assert result.exit_code == 0, (words, result.output)
