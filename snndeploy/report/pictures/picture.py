"""One picture: a Vega-Lite specification with its title and what it shows in words."""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...errors import BackendMissing, InputError, UsageError
from ...plain import plain_data, visible

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
"""The version of the specifications' language; it is a name, and nothing is fetched from there."""

TRAINED, COMPILED, APART = "#d97706", "#2f6fed", "#d6455d"
"""Colours of the network as trained, as compiled, and of what differs: apart for the colour-blind."""
NEUTRAL = "#8492ad"
SCALE = ("#dbe6fd", "#8fb0f8", "#2f6fed", "#123a8f")
"""From little to much."""

_CONFIG = {
    "background": None,
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "labelPadding": 5,
    },
    "axisX": {"labelFlush": False, "labelOverlap": "greedy", "labelSeparation": 4},
    "axisBand": {"ticks": False},
    "legend": {
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "orient": "bottom",
        "symbolLimit": 12,
        "symbolStrokeWidth": 2.5,
        "columns": 4,
    },
}
_FILE_WIDTH = 640
FORMATS = (".svg", ".png")


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture.

    Attributes:
        name: as an anchor and in names of files.
        group: which section of a page it belongs to.
        title: for people.
        alt: what it shows, in a sentence with its numbers.
        spec: a Vega-Lite view; data are in it, nothing refers to anything outside.
        note: what one has to know to read it.
        wide: it needs the width of a page.
    """

    name: str
    group: str
    title: str
    alt: str
    spec: Mapping[str, Any]
    note: str = ""
    wide: bool = False

    def whole(self) -> dict[str, Any]:
        """The specification with what all pictures share; names in it are text and nothing else."""
        whole: dict[str, Any] = {
            "$schema": SCHEMA,
            "config": _CONFIG,
            "description": self.alt,
            "width": "container",
            "autosize": {"type": "fit-x", "contains": "padding"},
            **self.spec,
        }
        return dict(plain_data(whole))


def refuse_format(suffix: str) -> None:
    """Refuse files of pictures that cannot be drawn, before anything is made.

    Raises:
        BackendMissing: the library that draws is not installed.
        UsageError: the format is none of `FORMATS`.
    """
    if suffix not in FORMATS:
        raise UsageError(
            "picture-format",
            f"pictures are {' or '.join(FORMATS)}, not {suffix or 'without a suffix'}",
            where="--plot",
            hint="for example --plot net.svg",
        )
    if importlib.util.find_spec("vl_convert") is None:
        raise drawing_missing()


def picture_file(picture: Picture, suffix: str) -> bytes:
    """A picture alone, as SVG or PNG, dark on white.

    Raises:
        BackendMissing: the library that draws is not installed.
        InputError: the library cannot draw it.
        UsageError: the format is another one.
    """
    refuse_format(suffix)
    import vl_convert

    spec = copy.deepcopy(picture.whole())
    spec["width"] = _FILE_WIDTH
    spec["title"] = {"text": visible(picture.title), "anchor": "start"}
    spec["config"]["background"] = "white"
    try:
        if suffix == ".png":
            return bytes(vl_convert.vegalite_to_png(spec, scale=2))
        return str(vl_convert.vegalite_to_svg(spec)).encode()
    except ValueError as error:  # of numbers and names that the library has no picture for
        told = " ".join(str(error).splitlines()[:2])
        raise InputError(
            "picture-undrawn",
            f"it cannot be drawn ({told})",
            where=picture.name,
            hint="its numbers are in the tables: --csv FOLDER; --picture NAME draws another one",
        ) from error


def drawing_missing() -> BackendMissing:
    """The error where pictures are asked for and nothing can draw them."""
    return BackendMissing(
        "drawing-missing",
        "nothing is installed that draws pictures",
        where="--plot",
        hint='pip install "snndeploy[report]"',
    )


def values(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Rows as the data of a view."""
    return {"values": [dict(row) for row in rows]}


def field(name: str, kind: str, title: str | None = None, **more: Any) -> dict[str, Any]:
    """A channel that shows a field of the data: ``kind`` is ``quantitative``, ``nominal``, …"""
    return {"field": name, "type": kind, "title": title, **more}


def tooltip(**titles: str | tuple[str, str]) -> list[dict[str, Any]]:
    """What a pointer is told: titles of fields, with a number's format where there is one."""
    told = []
    for name, title in titles.items():
        if isinstance(title, tuple):
            told.append(
                {"field": name, "type": "quantitative", "title": title[0], "format": title[1]}
            )
        else:
            told.append({"field": name, "type": "nominal", "title": title})
    return told
