"""A page in a real browser: nothing fails or is fetched, tables sort, cores tell and lead, phones do.

Needs playwright and a Chromium (``$CHROMIUM``, or ``chromium`` on the path).
"""

from __future__ import annotations

import itertools
import os
import re
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


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of digits that a chip cannot hold."""
    compiled = snndeploy.compile(
        FOLDER / "digits.nir",
        target="xylo-a2",
        tell_all=True,
        frontend="snntorch",
        semantics={"reset": "zero"},
    )
    path = tmp_path_factory.mktemp("refused") / "digits.html"
    path.write_text(
        snndeploy.page_of(compiled, name="a_name_without_an_end_" * 4), encoding="utf-8"
    )
    return path


@pytest.mark.parametrize("width", [1440, 390])
def test_what_does_not_fit_opens_too(browser: Any, refused: Path, width: int) -> None:
    window, wrong = opened(browser, refused, width)
    assert wrong == []
    assert window.evaluate("document.documentElement.scrollWidth") == width
    assert window.locator(".badge.error").inner_text() == "Does not fit"
    assert window.locator("section").first.get_attribute("id") == "findings-error"


def contrast(a: str, b: str) -> float:
    """Of two colours as a browser gives them, as WCAG 2 counts it."""

    def luminance(colour: str) -> float:
        parts = [int(part) / 255 for part in re.findall(r"[0-9]+", colour)[:3]]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


_COLOURS = """() => {
  const back = (e) => {
    for (; e; e = e.parentElement) {
      const colour = getComputedStyle(e).backgroundColor;
      if (!/, 0\\)$/.test(colour)) return colour;
    }
  };
  const words = document.querySelectorAll(
    "h1, h2, .badge b, .soft, dt, dd small, nav a, thead button, tbody th, td, summary");
  const shown = [...words].filter((e) => e.offsetParent && e.textContent.trim());
  const pairs = shown.map((e) => [getComputedStyle(e).color, back(e)]);
  for (const text of document.querySelectorAll(".plot :is(.role-axis-label, .role-legend-label) text"))
    pairs.push([getComputedStyle(text).fill, back(text)]);
  return pairs;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_can_be_told_from_what_is_behind_them(
    browser: Any, page: Path, refused: Path, scheme: str
) -> None:
    for one in (page, refused):
        window, _ = opened(browser, one, 1440, scheme)
        pairs = {tuple(pair) for pair in window.evaluate(_COLOURS)}
        assert len(pairs) > 3
        assert {pair for pair in pairs if contrast(*pair) < 4.5} == set()


_BEYOND = """() => [...document.querySelectorAll(".plot")].flatMap((plot) => {
  const card = plot.closest("section").getBoundingClientRect();
  return [...plot.querySelectorAll("text")]
    .filter((text) => text.getBoundingClientRect().right > card.right)
    .map((text) => text.textContent);
})"""


def test_no_word_of_a_picture_is_cut_off_on_a_phone(browser: Any, page: Path) -> None:
    window, _ = opened(browser, page, 390)
    assert window.evaluate(_BEYOND) == []
    sizes = window.evaluate(
        "[...document.querySelectorAll('.plot text')].map(e => parseFloat(getComputedStyle(e).fontSize))"
    )
    assert min(sizes) >= 11


def test_cards_are_ordered_on_a_phone(browser: Any, page: Path) -> None:
    window, _ = opened(browser, page, 390)
    layers = window.locator("section#layers")
    names = layers.locator("table").first.locator("tbody tr th")
    order = layers.locator(".sorter select").first
    for choice, wanted in (
        ("neurons, most first", ["1", "4", "8"]),
        ("neurons, least first", ["8", "4", "1"]),
        ("as given", ["1", "4", "8"]),
    ):
        order.select_option(choice)
        assert names.all_inner_texts() == wanted
    assert not layers.locator("thead").first.is_visible()
    first = layers.locator("table").first.locator("tbody td").nth(1)
    said = first.evaluate("e => [getComputedStyle(e, '::before').content, e.getAttribute('role')]")
    assert said == ['"neurons"', "cell"]
    assert window.get_by_role("rowheader", name="8", exact=True).count() > 1
    cells = layers.locator("table").first.locator("tbody td")
    assert set(cells.evaluate_all("all => all.map(e => getComputedStyle(e).paddingLeft)")) == {
        "0px"
    }


def test_it_is_read_by_keyboard_and_in_its_order(browser: Any, page: Path) -> None:
    """Links, titles and folds are reached by the key, and headings go down by one."""
    window, _ = opened(browser, page, 1440)
    levels = window.evaluate("[...document.querySelectorAll('h1,h2,h3')].map(e => +e.tagName[1])")
    assert levels[0] == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))
    assert window.locator(".plot:not([aria-label])").count() == 0
    reached = []
    for _ in range(window.locator("nav a").count() + 3):
        window.keyboard.press("Tab")
        reached.append(window.evaluate("document.activeElement.tagName"))
    assert set(reached) == {"A", "BUTTON"}
    window.locator("section#layers thead button", has_text="neurons").focus()
    window.keyboard.press("Enter")
    assert window.locator("section#layers th[aria-sort=ascending]").count() == 1
    fold = window.locator("section#provenance details").first
    fold.locator("summary").focus()
    window.keyboard.press("Enter")
    assert fold.get_attribute("open") is not None
    assert fold.locator("dd").first.is_visible()


def test_contents_and_layers_of_the_graph_lead_on(browser: Any, page: Path) -> None:
    window, _ = opened(browser, page, 1440)
    window.locator("nav a", has_text="Weight codes").click()
    window.wait_for_function("location.hash == '#codes'")
    box = window.locator("#picture-network .mark-rect.box_marks path").last
    box.hover()  # in its middle, where its words are
    told = window.locator("#vg-tooltip-element.visible")
    told.wait_for()
    assert "on the chip" in told.inner_text()
    box.click()
    window.wait_for_function("location.hash.startsWith('#layer-')")
    assert window.locator("tr:target").count() == 1


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
