"""Reports: what was compiled, what it costs and what it gave, as plain data and as a page."""

from .build import compile_report, finding_record, run_report
from .html import html_page
from .tables import (
    COUNTED,
    EVENT_COLUMNS,
    cores_text,
    event_rows,
    events_text,
    judged_on,
    neurobench_rows,
    number,
    place,
    span,
)

__all__ = [
    "COUNTED",
    "EVENT_COLUMNS",
    "compile_report",
    "cores_text",
    "event_rows",
    "events_text",
    "finding_record",
    "html_page",
    "judged_on",
    "neurobench_rows",
    "number",
    "place",
    "run_report",
    "span",
]
