"""The one door to disk: files are read whole and within limits, and written whole or not at all."""

from .parts import scratch
from .read import Unreadable, is_regular, nearest, read_bytes, read_text
from .write import (
    make_folder,
    refuse_folder,
    refuse_taken,
    refuse_taken_folder,
    unwritable,
    write_file,
    write_files,
    write_folder,
)

__all__ = [
    "Unreadable",
    "is_regular",
    "make_folder",
    "nearest",
    "read_bytes",
    "read_text",
    "refuse_folder",
    "refuse_taken",
    "refuse_taken_folder",
    "scratch",
    "unwritable",
    "write_file",
    "write_files",
    "write_folder",
]
