"""A page in a real browser: nothing fails or is fetched, tables sort, cores tell and lead, phones do.

Needs playwright and a Chromium (``$CHROMIUM``, or ``chromium`` on the path).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import snndeploy
from snndeploy.demo import FOLDER, digits

pytest.importorskip("vl_convert")
pytest.importorskip("playwright")

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or ""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM, reason="there is no Chromium"),
    pytest.mark.filterwarnings("ignore"),
]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the digits, with a run."""
    compiled = snndeploy.compile(
        FOLDER / "digits.nir",
        recipe="digits",
        calibration=digits().first(30),
        frontend="snntorch",
        semantics={"reset": "zero"},
    )
    bundle = snndeploy.bundle_of(compiled, digits().first(4))
    run = snndeploy.verify_bundle(bundle, ["float", "integer"], lambda _: digits().first(20))
    path = tmp_path_factory.mktemp("page") / "digits.html"
    path.write_text(snndeploy.page_of(bundle, [run]), encoding="utf-8")
    return path


@pytest.fixture
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        arguments = ["--no-sandbox", "--disable-gpu"]
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield chromium
        chromium.close()


def opened(browser: Any, page: Path, width: int, scheme: str = "light") -> tuple[Any, list[str]]:
    """The page in a window of so many pixels, and what went wrong or was fetched."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    window, wrong = context.new_page(), []
    window.on("console", lambda m: wrong.append(m.text) if m.type in ("error", "warning") else None)
    window.on("pageerror", lambda error: wrong.append(str(error)))
    window.on(
        "request",
        lambda r: None if r.url.startswith(("file:", "data:", "blob:")) else wrong.append(r.url),
    )
    window.goto(page.as_uri())
    pictures = window.locator(".plot").count()
    window.wait_for_function(f"document.querySelectorAll('.plot svg').length == {pictures}")
    return window, wrong


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (1440, "dark"), (390, "light")])
def test_it_opens_without_a_word_and_within_the_window(
    browser: Any, page: Path, width: int, scheme: str
) -> None:
    window, wrong = opened(browser, page, width, scheme)
    assert wrong == []
    assert window.locator(".plot").count() > 10
    assert window.evaluate("document.documentElement.scrollWidth") == width
    ink, back = (
        int(window.evaluate(f"getComputedStyle(document.body).{name}.match(/[0-9]+/)[0]"))
        for name in ("color", "backgroundColor")
    )
    assert abs(ink - back) > 150  # of red, in 256
    assert (ink < back) == (scheme == "light")


def test_tables_sort_and_a_core_leads_to_its_layer(browser: Any, page: Path) -> None:
    window, _ = opened(browser, page, 1440)
    table = window.locator("section#layers table").first
    names = table.locator("tbody tr th")
    assert names.all_inner_texts() == ["1", "4", "8"]
    for order, wanted in (("ascending", ["8", "4", "1"]), ("descending", ["1", "4", "8"])):
        table.locator("thead button", has_text="neurons").click()
        assert names.all_inner_texts() == wanted
        assert table.locator(f"th[aria-sort={order}]").count() == 1
    core = window.locator("#picture-mesh .mark-rect.core_marks path").last
    core.scroll_into_view_if_needed()
    core.hover()
    told = window.locator("#vg-tooltip-element.visible")
    told.wait_for()
    assert "filled by" in told.inner_text()
    core.click()
    window.wait_for_function("location.hash.startsWith('#layer-')")


def test_it_prints(browser: Any, page: Path, tmp_path: Path) -> None:
    """On a sheet nothing is cut off, and what the mouse told is not there."""
    window, wrong = opened(browser, page, 1440, "dark")
    core = window.locator("#picture-mesh .mark-rect.core_marks path").last
    core.hover()
    told = window.locator("#vg-tooltip-element.visible")
    told.wait_for()
    window.emulate_media(media="print")
    window.set_viewport_size({"width": 680, "height": 980})  # a sheet within its margins
    assert not told.is_visible()
    assert window.evaluate("document.documentElement.scrollWidth") == 680
    cells = "[...document.querySelectorAll('td, th')].map(e => e.getBoundingClientRect().right)"
    assert max(window.evaluate(cells)) <= 680
    back = window.evaluate("getComputedStyle(document.body).backgroundColor")
    assert back == "rgb(255, 255, 255)"
    window.emulate_media(media="screen")
    window.pdf(path=tmp_path / "page.pdf", print_background=True)
    assert (tmp_path / "page.pdf").stat().st_size > 50_000
    assert wrong == []
