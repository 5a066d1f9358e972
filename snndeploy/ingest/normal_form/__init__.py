"""From a flat graph of a file's nodes to populations and projections."""
