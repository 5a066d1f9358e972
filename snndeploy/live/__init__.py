"""Live modules: a framework's own network, straight to a `Network`, with nothing lost on the way.

Each function uses the framework's own NIR exporter, and reads from the module what NIR does not hold:
reset, comparison, spikes per step, limits. Batch norm is folded first. The frameworks are optional;
only the one asked for is imported. `from_relu` makes a program of a ReLU network without spikes.
"""

from .norse import from_norse
from .relu import from_relu
from .sinabs import from_sinabs
from .snntorch import from_snntorch
from .spikingjelly import from_spikingjelly

__all__ = ["from_norse", "from_relu", "from_sinabs", "from_snntorch", "from_spikingjelly"]
