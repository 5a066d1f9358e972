"""Tables as data: what CSV holds, and what a page makes of a value."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest

from snndeploy.report import grouped, tried, tried_for_several
from snndeploy.report.listing import Column, Listing, value_text
from snndeploy.report.listing.listing import listing
from snndeploy.report.page.markup import cell_html, script_data, table

COLUMNS = (
    Column(key="name", title="name"),
    Column(key="n", title="how many"),
    Column(key="ns", title="time, ns", form=",.0f"),
)


def some(*rows: tuple[Any, ...]) -> Listing:
    return listing("some", "Some", COLUMNS, rows)


def test_csv_has_numbers_as_numbers_and_ranges_as_two() -> None:
    text = some(("a, b", 1234, (1.5, 2.0)), ("c", None, (3.0, 3.0))).csv()
    assert text == 'name,n,ns_low,ns_high\n"a, b",1234,1.5,2.0\nc,,3.0,3.0\n'


def test_an_empty_table_has_its_titles() -> None:
    assert some().csv() == "name,n,ns\n"


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx"])
def test_a_name_is_no_formula(name: str) -> None:
    rows = list(csv.reader(io.StringIO(some((name, -5, None)).csv())))
    assert rows[1] == [f"'{name}", "-5", ""]


@pytest.mark.parametrize(
    ("value", "form", "text"),
    [
        (1234567, ",", "1,234,567"),
        (0.1234, "bar", "12.3%"),
        ((1.0, 2000.0), ",.0f", "1…2,000"),
        ((5.0, 5.0), ",.0f", "5"),
        (None, ",", ""),
        ("<b>", "bar", "<b>"),
    ],
)
def test_values_as_people_read_them(value: Any, form: str, text: str) -> None:
    assert value_text(value, form) == text


def test_bars_end_at_the_whole_and_are_red_beyond() -> None:
    assert '<span class="bar"><i style="width:50.0%">' in cell_html(0.5, "bar")
    beyond = cell_html(1.5, "bar")
    assert '<span class="bar full"><i style="width:100.0%"></i></span>150.0%' in beyond
    assert cell_html("<i>", ",") == "&lt;i&gt;"


def test_cells_sort_by_their_number_and_tell_their_column() -> None:
    text = table(some(("a", 1234, (7.0, 9.0))))
    assert '<th scope="row">a</th>' in text
    assert '<td data-by="1234" class="num">1,234</td>' in text
    assert '<td data-by="7" class="num">7…<wbr>9</td>' in text


def test_json_in_a_script_cannot_end_it() -> None:
    text = script_data({"</script>": "<!-- & \u2028"})
    assert not set(text) & {"<", ">", "&", "\u2028"}
    assert json.loads(text) == {"</script>": "<!-- & \u2028"}


def test_findings_that_differ_in_their_place_alone_stand_together() -> None:
    first = {"severity": "error", "code": "a", "where": "x", "message": "1", "fixes": []}
    second = {**first, "where": "y", "message": "2"}
    others = [{**first, "code": "b"}, {**first, "rule": "r"}]
    assert grouped([first, others[0], second, others[1]]) == [
        [first, second],
        *([o] for o in others),
    ]


def test_what_was_tried_is_said_once_and_where() -> None:
    one, other, both = ({"text": f"prune {x}", "effect": "this rule holds"} for x in "abc")
    idle = {"text": "not tried", "effect": ""}
    group = [
        {"code": "x", "where": "p", "fixes": [one, idle, both]},
        {"code": "x", "where": "q", "fixes": [other, both]},
    ]
    assert tried(group) == [
        "try at p: prune a: this rule holds",
        "try: prune c: this rule holds",
        "try at q: prune b: this rule holds",
    ]
    several = tried_for_several([group, [{"code": "y", "where": "r", "fixes": [both]}]])
    assert several == {
        "prune c: this rule holds": "try, for all of these: prune c: each rule holds"
    }
    assert "try: prune c: this rule holds" not in tried(group, several)
    third = [{"code": "z", "where": "s", "fixes": [one]}]
    assert tried_for_several([third, group, [{**group[1], "code": "y"}]]) == {
        "prune a: this rule holds": "try, for z, x: prune a: each rule holds",
        "prune b: this rule holds": "try, for x, y: prune b: each rule holds",
        "prune c: this rule holds": "try, for x, y: prune c: each rule holds",
    }
