"""Reports: what was compiled, what it costs and what it gave, as plain data and as a page.

The names load on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import loader

if TYPE_CHECKING:
    from .build import compile_report, finding_record, run_report
    from .certificate import certificate_line
    from .findings import alike, grouped, tried, tried_for_several
    from .listing import (
        Listing,
        compiled_listings,
        core_listing,
        diff_listings,
        run_listings,
        tables_record,
    )
    from .naming import check_names, renamed_record, renamed_sight
    from .page import comparison_page, html_page
    from .pictures import Picture, all_pictures, picture_file, refuse_format, sensitivity_pictures
    from .sight import Sight, sight_of
    from .tables import (
        COUNTED,
        EVENT_COLUMNS,
        answers_text,
        cores_text,
        event_rows,
        events_text,
        judged,
        judged_on,
        neurobench_rows,
        number,
        place,
        rounding_note,
        rounding_text,
        span,
    )

_HOME = {
    ".build": ("compile_report", "finding_record", "run_report"),
    ".certificate": ("certificate_line",),
    ".findings": ("alike", "grouped", "tried", "tried_for_several"),
    ".listing": (
        "Listing",
        "compiled_listings",
        "core_listing",
        "diff_listings",
        "run_listings",
        "tables_record",
    ),
    ".naming": ("check_names", "renamed_record", "renamed_sight"),
    ".page": ("comparison_page", "html_page"),
    ".pictures": (
        "Picture",
        "all_pictures",
        "picture_file",
        "refuse_format",
        "sensitivity_pictures",
    ),
    ".sight": ("Sight", "sight_of"),
    ".tables": (
        "COUNTED",
        "EVENT_COLUMNS",
        "answers_text",
        "cores_text",
        "event_rows",
        "events_text",
        "judged",
        "judged_on",
        "neurobench_rows",
        "number",
        "place",
        "rounding_note",
        "rounding_text",
        "span",
    ),
}

__all__ = [
    "COUNTED",
    "EVENT_COLUMNS",
    "Listing",
    "Picture",
    "Sight",
    "alike",
    "all_pictures",
    "answers_text",
    "certificate_line",
    "check_names",
    "comparison_page",
    "compile_report",
    "compiled_listings",
    "core_listing",
    "cores_text",
    "diff_listings",
    "event_rows",
    "events_text",
    "finding_record",
    "grouped",
    "html_page",
    "judged",
    "judged_on",
    "neurobench_rows",
    "number",
    "picture_file",
    "place",
    "refuse_format",
    "renamed_record",
    "renamed_sight",
    "rounding_note",
    "rounding_text",
    "run_listings",
    "run_report",
    "sensitivity_pictures",
    "sight_of",
    "span",
    "tables_record",
    "tried",
    "tried_for_several",
]


__getattr__ = loader(__name__, _HOME)


def __dir__() -> list[str]:
    return list(__all__)
