"""Lowering for chips that have one kind of neuron, a scale per neuron and a weight shift per block."""
