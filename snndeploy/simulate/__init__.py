"""Engines that run a program: float, integer and Lava."""
