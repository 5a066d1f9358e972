"""The arrows in a row: compile a network, run it, and keep it as a bundle."""

from .bundles import bundle_of, check_bundle, report_of, run_bundle, save_bundle, verify_bundle
from .compilation import Compiled, compile
from .run import run_compiled, run_engine

__all__ = [
    "Compiled",
    "bundle_of",
    "check_bundle",
    "compile",
    "report_of",
    "run_bundle",
    "run_compiled",
    "run_engine",
    "save_bundle",
    "verify_bundle",
]
