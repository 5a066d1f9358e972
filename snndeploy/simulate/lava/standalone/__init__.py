"""A program as a folder that runs on Lava without this package: one script, its arrays, a README."""

from .folder import FILES, SCRIPT, refuse_standalone_place, standalone_files, write_standalone

__all__ = ["FILES", "SCRIPT", "refuse_standalone_place", "standalone_files", "write_standalone"]
