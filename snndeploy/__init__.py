"""snndeploy: take a trained spiking neural network to neuromorphic hardware, smaller and proven.

The public names load on first use, so that ``import snndeploy`` stays fast.
"""

from __future__ import annotations
