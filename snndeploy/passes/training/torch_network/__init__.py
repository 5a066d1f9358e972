"""A network as a torch module, with gradients through its spikes."""
