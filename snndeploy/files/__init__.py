"""The one door to disk: files are read whole and within limits, and written whole or not at all."""

from .parts import scratch
from .read import Unreadable, is_regular, read_bytes, read_text
from .write import refuse_taken, refuse_taken_folder, unwritable, write_file, write_folder

__all__ = [
    "Unreadable",
    "is_regular",
    "read_bytes",
    "read_text",
    "refuse_taken",
    "refuse_taken_folder",
    "scratch",
    "unwritable",
    "write_file",
    "write_folder",
]
