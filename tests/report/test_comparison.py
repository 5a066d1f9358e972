"""The page of one network on several chips."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from snndeploy.report import comparison_page
from tests.support.commands import FRONTEND, code_of, network, run

FITS = {
    "target": "loihi2",
    "answer": "fits",
    "why": (),
    "told": (),
    "cores": 3,
    "board_cores": 128,
    "step_ns": (5600.0, 23_700.0),
    "energy_nj": (988.0, 4500.0),
    "accuracy": 0.97,
    "trained": 0.975,
}
REFUSED = {
    **dict.fromkeys(FITS),
    "target": "<b>chip</b>",
    "answer": "refused",
    "why": ("no-form",),
    "told": ("it <i>has</i> none",),
}


def cells(page: str) -> list[list[str]]:
    """Texts of the rows of the table."""
    body = page[page.index("<tbody>") : page.index("</tbody>")]
    rows = re.findall(r"<tr>(.*?)</tr>", body)
    return [
        [re.sub("<[^>]*>", "", cell) for cell in re.findall(r"<t[hd][ >].*?</t[hd]>", row)]
        for row in rows
    ]


def test_each_chip_has_a_row_and_its_reasons() -> None:
    page = comparison_page("net.nir", [FITS, REFUSED])
    assert cells(page) == [
        ["loihi2", "fits", "2.3%", "3 of 128", "5.6…23.7", "0.988…4.5", "97.0%", ""],
        ["&lt;b&gt;chip&lt;/b&gt;", "refused", "", "", "", "", "", "no-form"],
    ]
    assert ">fits loihi2</b>" in page
    assert "As trained, 97.5% of the answers are right." in page
    assert "&lt;b&gt;chip&lt;/b&gt;: refused" in page
    assert "it &lt;i&gt;has&lt;/i&gt; none" in page
    assert "told-0" not in page, "nothing is told of what fits as it is"


def test_where_nothing_fits_the_verdict_is_red() -> None:
    page = comparison_page("net.nir", [REFUSED])
    assert '<b class="error">fits none of them</b>' in page
    assert "on 1 chip<" in page
    assert "As trained" not in page


def test_the_command_writes_it(tmp_path: Path) -> None:
    model, page = network(tmp_path, 6, 8, 4), tmp_path / "chips.html"
    how = (model, *FRONTEND, "--targets", "loihi1,loihi2", "--html", page)
    assert run("compare", *how).exit_code == 0
    assert [row[:2] for row in cells(page.read_text())] == [["loihi1", "fits"], ["loihi2", "fits"]]
    again = run("compare", *how)
    assert (again.exit_code, code_of(again)) == (3, "output-exists")
    assert run("compare", *how, "--force").exit_code == 0


@pytest.mark.parametrize("place", ["no/such/folder/page.html"])
def test_a_place_that_cannot_be_written_is_refused_first(place: str, tmp_path: Path) -> None:
    model = network(tmp_path, 6, 8, 4)
    result = run("compare", model, *FRONTEND, "--targets", "nobody", "--html", tmp_path / place)
    assert "nobody" not in result.output
    assert result.exit_code == 3
