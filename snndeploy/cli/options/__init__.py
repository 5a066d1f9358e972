"""Options that several commands share: how they are declared, what was given, and compiling by them."""

from .compiling import compile_locked, compile_model
from .declared import (
    cluster_option,
    compile_options,
    data_options,
    guard_options,
    json_option,
    resume_options,
    semantics_options,
    target_options,
)
from .files import Files, files_named, files_told
from .given import admitted, given_options, read_weighed, required, samples_of, semantics_of

__all__ = [
    "Files",
    "admitted",
    "cluster_option",
    "compile_locked",
    "compile_model",
    "compile_options",
    "data_options",
    "files_named",
    "files_told",
    "given_options",
    "guard_options",
    "json_option",
    "read_weighed",
    "required",
    "resume_options",
    "samples_of",
    "semantics_of",
    "semantics_options",
    "target_options",
]
