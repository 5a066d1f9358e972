"""Chips whose neurons take spike after spike in turn: order counts, and nothing may be summed first."""
