"""What a file does not say about how its network is stepped, and how to find out."""
