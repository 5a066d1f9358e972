"""What would help: layers that can lose most, fixes, fewer steps."""
