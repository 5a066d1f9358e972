"""What is proved: the fewest slices and cores that any cut takes."""
