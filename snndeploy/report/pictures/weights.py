"""Histograms of weight codes, a picture per projection."""

from __future__ import annotations

from collections.abc import Iterator

from ..sight import CodeCounts
from .picture import COMPILED, Picture, field, tooltip, values

_MOST = 24
_COUNTS = {"tickCount": 4, "format": "~s", "labelExpr": "datum.value ? datum.label : '0'"}
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def power_of_two(exponent: int) -> str:
    """As people write it."""
    return f"2{str(exponent).translate(_RAISED)}"


def code_pictures(codes: tuple[CodeCounts, ...]) -> Iterator[Picture]:
    """How often each code occurs, of the first projections."""
    for number, one in enumerate(codes[:_MOST]):
        total = sum(n for _, _, n in one.bars) + one.zeros
        rows = [{"low": low, "high": high + 1, "n": n} for low, high, n in one.bars]
        apart = f"; {one.zeros:,} of them are 0, which have no bar" if one.zeros else ""
        apart += f"; {one.pruned:,} more were pruned" if one.pruned else ""
        yield Picture(
            name=f"codes-{number}",
            group="codes",
            title=one.projection,
            alt=(
                f"Histogram of the {total:,} weight codes of {one.projection}"
                + (f", from {one.bars[0][0]} to {one.bars[-1][1]}" if one.bars else "")
                + f"{apart}."
            ),
            spec={
                "height": 110,
                "data": values(rows),
                "mark": {"type": "bar", "color": COMPILED, "binSpacing": 1},
                "encoding": {
                    "x": field(
                        "low", "quantitative", "code", bin={"binned": True}, axis={"tickCount": 6}
                    ),
                    "x2": {"field": "high"},
                    "y": field("n", "quantitative", None, axis=_COUNTS),
                    "tooltip": tooltip(low=("code", ","), n=("weights", ",")),
                },
            },
            note=f"{total:,} weights of {one.bits} bits, × {power_of_two(one.exponent)}{apart}",
        )
