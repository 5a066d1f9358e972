"""Content digests: whatever a field says counts, names and order do not."""
