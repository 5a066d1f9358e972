"""Reports: what was compiled, what it costs and what it gave, as plain data and as a page."""

from .build import compile_report, finding_record, run_report
from .certificate import certificate_line, certificate_panel
from .html import html_page
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

__all__ = [
    "COUNTED",
    "EVENT_COLUMNS",
    "answers_text",
    "certificate_line",
    "certificate_panel",
    "compile_report",
    "cores_text",
    "event_rows",
    "events_text",
    "finding_record",
    "html_page",
    "judged",
    "judged_on",
    "neurobench_rows",
    "number",
    "place",
    "rounding_note",
    "rounding_text",
    "run_report",
    "span",
]
