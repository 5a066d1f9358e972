"""The arrows in a row: compile a network, run it, and keep it as a bundle."""

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
from .showing.pages import described_report, difference_of, page_of, pictures_of, seen, tables_of
from .torch_modules.compress import CompressedModule, compress_module
from .tuning.search import Tuned, tune

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
