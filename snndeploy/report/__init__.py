"""Reports: what was compiled, what it costs and what it gave, as plain data and as a page."""

from .build import compile_report, finding_record, run_report
from .html import html_page

__all__ = ["compile_report", "finding_record", "html_page", "run_report"]
