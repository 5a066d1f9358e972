"""Other names for layers and projections, in records and in what is drawn of them.

Files often number their nodes; people know layers by names of their own. Only what is shown changes.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from ..errors import UsageError, did_you_mean
from .sight import Sight

_KEYED = frozenset(
    (
        "differing",
        "total",
        "match",
        "spikes",
        "first",
        "layers",
        "alone",
        "registers",
        "synops",
        "dense_synops",
    )
)
"""What holds records, or numbers, by the name of a layer or projection."""
_SAYING = frozenset(("name", "where", "target", "layer", "output", "source", "projection"))
_TOGETHER = re.compile(r"( \+ |, )")
"""What stands between layers in the place of a finding."""
_LISTING = frozenset(("sources", "layers", "outputs", "not_compared", "groups"))


def check_names(names: Mapping[str, str], report: Mapping[str, Any], where: str) -> None:
    """Refuse names for what is not there, and two things of one name.

    Raises:
        UsageError: a name is unknown, or would be another's.
    """
    known = [layer["name"] for layer in report["layers"]]
    known += [name for s in report["synapses"] for name in (s["name"], *s["sources"])]
    for name in names:
        if name not in known:
            raise UsageError(
                "name-unknown",
                f"there is no layer or projection {name!r}",
                where=where,
                hint=did_you_mean(name, known),
            )
    shown = [names.get(name, name) for name in dict.fromkeys(known)]
    twice = next((name for name in shown if shown.count(name) > 1), None)
    if twice is not None:
        raise UsageError(
            "name-twice",
            f"two things would be called {twice!r}",
            where=where,
            hint="name each apart",
        )


def renamed_record(data: Any, names: Mapping[str, str], key: str = "") -> Any:
    """A report of a compilation or a run with other names, wherever it names layers or projections."""
    if isinstance(data, Mapping):
        return {
            names.get(k, k) if key in _KEYED else k: renamed_record(v, names, k)
            for k, v in data.items()
        }
    if isinstance(data, (list, tuple)):
        return [
            names.get(v, v)
            if isinstance(v, str) and key in _LISTING
            else renamed_record(v, names, key)
            for v in data
        ]
    if isinstance(data, str) and key in _SAYING:
        if key == "where":  # of several layers together
            return "".join(names.get(part, part) for part in _TOGETHER.split(data))
        return names.get(data, data)
    return data


def renamed_sight(sight: Sight, names: Mapping[str, str]) -> Sight:
    """What is drawn, with other names."""

    def called(name: str) -> str:
        return names.get(name, name)

    replace = dataclasses.replace
    cores = tuple(replace(c, layers=tuple(map(called, c.layers))) for c in sight.mesh.cores)
    return replace(
        sight,
        nodes=tuple(replace(n, name=called(n.name)) for n in sight.nodes),
        edges=tuple(
            replace(e, source=called(e.source), target=called(e.target)) for e in sight.edges
        ),
        mesh=replace(sight.mesh, cores=cores),
        codes=tuple(replace(c, projection=called(c.projection)) for c in sight.codes),
        trains=tuple(replace(t, name=called(t.name)) for t in sight.trains),
    )
