"""What people read on a terminal: reports, runs, progress."""
