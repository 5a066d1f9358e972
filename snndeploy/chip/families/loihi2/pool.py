"""The pool of words that all of a Loihi 2 core shares."""

from __future__ import annotations

from collections.abc import Mapping

from ...counting import Count


def with_pool(used: Mapping[str, Count]) -> dict[str, Count]:
    """Everything but the count of neurons itself."""
    pool = (
        used["groups"]
        + used["neuron_words"]
        + used["axon_in"]
        + used["synapse_words"]
        + used["axon_map"]
        + used["axon_mem"]
    )
    return {**used, "pool_words": pool}
