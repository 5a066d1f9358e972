"""All pictures of a compilation, of runs, and of what was seen of a program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..sight import Sight
from .answers import confusion_pictures
from .energy import energy_pictures
from .mesh import mesh_pictures
from .network import network_picture
from .passes import pass_pictures
from .picture import Picture
from .spikes import spike_pictures
from .weights import code_pictures


def all_pictures(
    report: Mapping[str, Any], runs: Sequence[Mapping[str, Any]], sight: Sight | None
) -> tuple[Picture, ...]:
    """The pictures, in the order in which a page shows them."""
    found: list[Picture] = []
    layers = tuple(layer["name"] for layer in report["layers"])
    if sight is not None:
        found.append(network_picture(sight, layers))
        found += mesh_pictures(sight.mesh, layers)
    found += pass_pictures(report["passes"])
    for number, run in enumerate(runs):
        found += confusion_pictures(run, number)
        found += energy_pictures(run, number)
    if sight is not None:
        found += spike_pictures(sight)
        found += code_pictures(sight.codes)
    return tuple(found)
