"""Chains of linear operators, carried out: on integers exactly, on floats in torch."""
