"""Compression passes: frozen options, a pure ``run``, and promises that the runner checks."""
