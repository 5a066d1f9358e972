"""What is proved about a lowered group: how far its states go, and whether integers do the same."""
