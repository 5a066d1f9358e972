"""Neurons given back what compression took from them: biases, thresholds."""
