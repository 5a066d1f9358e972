"""What a target allows: every rule of the check with its code."""
