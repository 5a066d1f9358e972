"""Neurons whose messages are numbers: what they do in a step."""
