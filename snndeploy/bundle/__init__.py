"""Bundles: what one flashes, as a directory that can prove it was not changed."""

from .bundle import Bundle, read_bundle, write_bundle

__all__ = ["Bundle", "read_bundle", "write_bundle"]
