"""Solvers of one layer: least membrane error under a mask or on a grid."""
