"""What a bundle says of itself held against what it holds, and what compression bought."""
