"""Tables of reports as data: a page shows them, CSV and JSON hold them."""

from .compiled import compiled_listings
from .diff import diff_listings
from .listing import CellValue, Column, Listing, csv_text, tables_record, value_text
from .ran import run_listings
from .seen import core_listing

__all__ = [
    "CellValue",
    "Column",
    "Listing",
    "compiled_listings",
    "core_listing",
    "csv_text",
    "diff_listings",
    "run_listings",
    "tables_record",
    "value_text",
]
