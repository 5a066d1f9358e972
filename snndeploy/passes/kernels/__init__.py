"""Structured compression: whole kernels and neurons, scored, removed, compensated."""
