"""What would make a program fit, each tried before it is told."""
