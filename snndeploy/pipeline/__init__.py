"""The arrows in a row: compile a network, run it, and keep it as a bundle.

The names load on first use: a command that only looks loads nothing that compiles.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import loader

if TYPE_CHECKING:
    from ..files.places import refuse_place, write_text
    from .advise.fixing import Fixing, fix_bundle, fix_model, fix_record
    from .advise.sensitivity import sensitivity
    from .bundles import (
        bundle_of,
        certificate_of,
        check_bundle,
        not_certified,
        report_of,
        run_bundle,
        save_bundle,
        save_certified,
        verify_bundle,
    )
    from .compilation import compile, compress
    from .compiled import Compiled, Loaded
    from .explaining import explain_bundle
    from .finetuning import finetune, finetune_report
    from .inspection import group_record, inspect_program, inspect_report
    from .opening import ModelKind, admit, open_bundle
    from .programs import loaded_bundle, loaded_report, place_file
    from .run import energy, run_compiled, run_engine
    from .showing.pages import (
        described_report,
        difference_of,
        page_of,
        pictures_of,
        seen,
        tables_of,
    )
    from .torch_modules.compress import CompressedModule, compress_module
    from .tuning.search import Tuned, tune

_HOME = {
    "..files.places": ("refuse_place", "write_text"),
    ".advise.fixing": ("Fixing", "fix_bundle", "fix_model", "fix_record"),
    ".advise.sensitivity": ("sensitivity",),
    ".bundles": (
        "bundle_of",
        "certificate_of",
        "check_bundle",
        "not_certified",
        "report_of",
        "run_bundle",
        "save_bundle",
        "save_certified",
        "verify_bundle",
    ),
    ".compilation": ("compile", "compress"),
    ".compiled": ("Compiled", "Loaded"),
    ".explaining": ("explain_bundle",),
    ".finetuning": ("finetune", "finetune_report"),
    ".inspection": ("group_record", "inspect_program", "inspect_report"),
    ".opening": ("ModelKind", "admit", "open_bundle"),
    ".programs": ("loaded_bundle", "loaded_report", "place_file"),
    ".run": ("energy", "run_compiled", "run_engine"),
    ".showing.pages": (
        "described_report",
        "difference_of",
        "page_of",
        "pictures_of",
        "seen",
        "tables_of",
    ),
    ".torch_modules.compress": ("CompressedModule", "compress_module"),
    ".tuning.search": ("Tuned", "tune"),
}

__all__ = [
    "Compiled",
    "CompressedModule",
    "Fixing",
    "Loaded",
    "ModelKind",
    "Tuned",
    "admit",
    "bundle_of",
    "certificate_of",
    "check_bundle",
    "compile",
    "compress",
    "compress_module",
    "described_report",
    "difference_of",
    "energy",
    "explain_bundle",
    "finetune",
    "finetune_report",
    "fix_bundle",
    "fix_model",
    "fix_record",
    "group_record",
    "inspect_program",
    "inspect_report",
    "loaded_bundle",
    "loaded_report",
    "not_certified",
    "open_bundle",
    "page_of",
    "pictures_of",
    "place_file",
    "refuse_place",
    "report_of",
    "run_bundle",
    "run_compiled",
    "run_engine",
    "save_bundle",
    "save_certified",
    "seen",
    "sensitivity",
    "tables_of",
    "tune",
    "verify_bundle",
    "write_text",
]


__getattr__ = loader(__name__, _HOME)


def __dir__() -> list[str]:
    return list(__all__)
