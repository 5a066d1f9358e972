"""What a module does, read from one run: signals, the operations on them, and steps in time."""
