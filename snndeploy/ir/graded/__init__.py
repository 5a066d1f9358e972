"""Neurons with a rule of their own, most of which send numbers: what they do in a step."""
