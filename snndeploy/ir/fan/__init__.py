"""Who hears whom: sources and synapses of a box."""
