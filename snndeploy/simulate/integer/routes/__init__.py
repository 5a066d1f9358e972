"""Routes through a projection: exact products, events, plain sums."""
