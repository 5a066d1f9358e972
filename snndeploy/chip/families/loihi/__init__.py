"""What Loihi and Loihi 2 have in common: registers, neuron features, lists of synapses in words.

Not a family itself; `loihi1` and `loihi2` are.
"""

from __future__ import annotations

MANTISSA_BITS = 8
"""Bits of a weight mantissa, beside the sign where both signs occur (lava-nc, ``weightutils.py``)."""
EVEN_MANTISSA_BITS = MANTISSA_BITS - 1
"""A mantissa of mixed sign is even, -256 … 254: twice an odd code of at most 127 fits it."""
