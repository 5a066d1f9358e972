"""A stable text form of networks for people, diffs and golden tests: short, or with every number."""

from .read import read_network
from .write import chain_text, full_text, network_text, number_range

__all__ = ["chain_text", "full_text", "network_text", "number_range", "read_network"]
