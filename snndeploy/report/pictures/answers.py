"""Confusion matrices: classes beside answers, as trained and as compiled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from .picture import SCALE, Picture, field, tooltip, values

_MOST_CLASSES = 40
_HOVER: Mapping[str, str | tuple[str, str]] = {
    "is": "class",
    "said": "answer",
    "n": ("samples", ","),
}


def confusion_pictures(run: Mapping[str, Any], number: int = 0) -> Iterator[Picture]:
    """The first and the last stage of a run with labels."""
    labels, answers = run.get("labels"), run["predictions"]
    if not labels or not answers:
        return
    stages = list(dict.fromkeys((next(iter(answers)), list(answers)[-1])))
    classes = sorted({*labels, *(a for stage in stages for a in answers[stage])})
    if len(classes) > _MOST_CLASSES:
        return
    most = 1
    counted = {}
    for stage in stages:
        counts = Counter(zip(labels, answers[stage], strict=False))
        counted[stage] = counts
        most = max(most, *counts.values())
    for turn, (stage, counts) in enumerate(counted.items()):
        rows = [{"is": a, "said": b, "n": n} for (a, b), n in sorted(counts.items())]
        right = sum(n for (a, b), n in counts.items() if a == b)
        yield Picture(
            name=f"confusion-{number}-{turn}",
            group="confusion",
            title=f"Answers, {stage}: {right:,} of {sum(counts.values()):,} right",
            alt=f"Confusion matrix of {stage}: {right} of {sum(counts.values())} samples are right.",
            spec={
                "height": 24 * len(classes),
                "data": values(rows),
                "encoding": {
                    "x": field(
                        "said",
                        "ordinal",
                        "answer",
                        scale={"domain": classes},
                        axis={"labelAngle": 0},
                    ),
                    "y": field("is", "ordinal", "class", scale={"domain": classes}),
                    "tooltip": tooltip(**_HOVER),
                },
                "layer": [
                    {
                        "mark": {"type": "rect", "cornerRadius": 2},
                        "encoding": {
                            "color": field(
                                "n",
                                "quantitative",
                                None,
                                scale={"domain": [0, most], "range": list(SCALE)},
                                legend=None,
                            )
                        },
                    },
                    {
                        "name": "onfill",
                        "mark": {"type": "text", "fontSize": 12},
                        "encoding": {
                            "text": {"field": "n", "type": "quantitative"},
                            "color": {
                                "condition": {"test": f"datum.n > {0.55 * most}", "value": "white"},
                                "value": "#10203f",
                            },
                        },
                    },
                ],
            },
        )
