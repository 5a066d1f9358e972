"""The float engine: a network in torch, step for step what its neurons document."""
