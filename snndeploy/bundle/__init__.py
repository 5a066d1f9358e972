"""Bundles: what one flashes, as a directory that can prove it was not changed."""

from .bundle import FILES, Bundle, read_bundle, refuse_existing, write_bundle

__all__ = ["FILES", "Bundle", "read_bundle", "refuse_existing", "write_bundle"]
