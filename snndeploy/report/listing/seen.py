"""The table of cores: what is on each, how full it is, and how many messages it gets and sends."""

from __future__ import annotations

from ..sight import CoreTile
from .listing import Column, Listing, listing

_CORES = (
    Column(key="core", title="core"),
    Column(key="chip", title="chip"),
    Column(key="layers", title="on it"),
    Column(key="neurons", title="neurons"),
    Column(key="fill", title="fill", form="bar"),
    Column(key="resource", title="filled by"),
    Column(key="received", title="messages in, a step", form=",.3g"),
    Column(key="sent", title="out", form=",.3g"),
)


def core_listing(cores: tuple[CoreTile, ...]) -> Listing:
    """All cores in use."""
    rows = [
        (
            c.core,
            c.chip,
            ", ".join(c.layers),
            c.neurons,
            c.fill,
            c.resource.replace("_", " "),
            c.received,
            c.sent,
        )
        for c in cores
    ]
    return listing("cores", "Cores", _CORES, rows)
