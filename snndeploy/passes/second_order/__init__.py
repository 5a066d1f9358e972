"""Weights of least membrane error under a mask or on a grid: solvers and the layer-by-layer run."""
