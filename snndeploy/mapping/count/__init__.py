"""What a slice takes of a core: neurons, synapses in their encodings, axons."""
