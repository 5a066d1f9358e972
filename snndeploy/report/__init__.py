"""Reports: what was compiled, what it costs and what it gave, as plain data."""

from .build import compile_report, finding_record, run_report

__all__ = ["compile_report", "finding_record", "run_report"]
