"""The cores in use on their chips, coloured by how full they are or by the messages they handle."""

from __future__ import annotations

from collections.abc import Iterator

from ..listing.compiled import layer_anchor
from ..sight import CoreTile, Mesh
from .picture import APART, NEUTRAL, SCALE, Picture, field, tooltip, values

_ABREAST = 4
"""Chips side by side."""
_LEAST = 6
"""Places in a row, so that a chip of few cores is not drawn as a wall."""
_ON_CORE = 6
"""Layers of a core that are named."""
_EMPTY = 4000
"""Cores not in use that are drawn."""


def mesh_pictures(mesh: Mesh, layers: tuple[str, ...]) -> Iterator[Picture]:
    """The mesh by fill, and by messages where a run gave them."""
    rows = {name: i for i, name in enumerate(layers)}
    chips = sorted({tile.chip for tile in mesh.cores})
    corner = {
        chip: (i % _ABREAST * (mesh.columns + 1), i // _ABREAST * (mesh.rows + 1))
        for i, chip in enumerate(chips)
    }
    tiles = [_tile(tile, corner[tile.chip], rows) for tile in mesh.cores]
    fullest = max(mesh.cores, key=lambda tile: tile.fill)
    yield _picture(
        mesh,
        corner,
        tiles,
        name="mesh",
        title="Cores, by fill",
        alt=(
            f"{len(mesh.cores)} cores on {len(chips)} chips; the fullest, core {fullest.core}, uses "
            f"{fullest.fill:.1%} of its {fullest.resource.replace('_', ' ')}. The table of cores has "
            "the same numbers."
        ),
        colour="fill",
        what="share of the limit that is used most",
        most=1.0,
    )
    if any(tile.received is not None for tile in mesh.cores):
        busiest = max(mesh.cores, key=_handled)
        yield _picture(
            mesh,
            corner,
            tiles,
            name="traffic",
            title="Cores, by messages",
            alt=(
                f"Messages in and out of each core in a mean step of the golden run; the busiest, core "
                f"{busiest.core}, handles {_handled(busiest):,.3g}."
            ),
            colour="messages",
            what="messages in and out, a step",
            most=max(_handled(busiest), 1e-9),
        )


def _handled(tile: CoreTile) -> float:
    return (tile.received or 0.0) + (tile.sent or 0.0)


def _tile(tile: CoreTile, corner: tuple[int, int], rows: dict[str, int]) -> dict[str, object]:
    named = ", ".join(tile.layers[:_ON_CORE])
    if len(tile.layers) > _ON_CORE:
        named += f" and {len(tile.layers) - _ON_CORE} more"
    first = tile.layers[0]
    return {
        "core": tile.core,
        "chip": tile.chip,
        "layers": named,
        "neurons": tile.neurons,
        "fill": round(tile.fill, 4),
        "by": tile.resource.replace("_", " "),
        "messages": round(_handled(tile), 4),
        "x": corner[0] + tile.column,
        "y": corner[1] + tile.row,
        "link": f"#{layer_anchor(rows[first])}" if first in rows else "",
    }


def _picture(
    mesh: Mesh,
    corner: dict[int, tuple[int, int]],
    tiles: list[dict[str, object]],
    *,
    name: str,
    title: str,
    alt: str,
    colour: str,
    what: str,
    most: float,
) -> Picture:
    across = min(len(corner), _ABREAST) * (mesh.columns + 1) - 1
    down = -(-len(corner) // _ABREAST) * (mesh.rows + 1) - 1
    used = {(tile["x"], tile["y"]) for tile in tiles}
    empty = [
        {"x": x + i, "y": y + j}
        for x, y in corner.values()
        for j in range(mesh.rows)
        for i in range(mesh.columns)
        if (x + i, y + j) not in used
    ][:_EMPTY]
    cell = {
        "x": field(
            "x",
            "quantitative",
            scale={"domain": [0, max(across, _LEAST)], "nice": False},
            axis=None,
        ),
        "x2": {"field": "right"},
        "y": field(
            "y",
            "quantitative",
            scale={"domain": [0, down], "reverse": True, "nice": False},
            axis=None,
        ),
        "y2": {"field": "below"},
    }
    ends = [
        {"calculate": "datum.x + 0.94", "as": "right"},
        {"calculate": "datum.y + 0.94", "as": "below"},
    ]
    shade = field(
        colour,
        "quantitative",
        what,
        scale={"domain": [0, most], "range": list(SCALE), "clamp": True},
        legend={
            "gradientLength": 220,
            **({"values": [0, 0.25, 0.5, 0.75, 1]} if colour == "fill" else {"tickCount": 4}),
            "titleLimit": 320,
            "format": ".0%" if colour == "fill" else ".3~g",
        },
    )
    if colour == "fill":
        shade = {"condition": {"test": "datum.fill > 1", "value": APART}, **shade}
    spec = {
        "height": min(560, max(40, down * 26)),
        "layer": [
            {
                "data": values(empty),
                "transform": ends,
                "mark": {"type": "rect", "color": NEUTRAL, "opacity": 0.14, "cornerRadius": 2},
                "encoding": cell,
            },
            {
                "data": values(tiles),
                "name": "core",
                "transform": ends,
                "mark": {"type": "rect", "cornerRadius": 2, "cursor": "pointer"},
                "encoding": {
                    **cell,
                    "color": shade,
                    "tooltip": tooltip(
                        core="core",
                        chip="chip",
                        layers="on it",
                        neurons=("neurons", ","),
                        fill=("fill", ".1%"),
                        by="filled by",
                        messages=("messages a step", ",.3~g"),
                    ),
                },
            },
        ],
    }
    return Picture(
        name=name,
        group="mesh",
        title=title,
        alt=alt,
        spec=spec,
        note="Grey cores are not in use. A click on a core leads to its first layer."
        + (" Red is beyond the limit." if colour == "fill" else ""),
        wide=across > 40,
    )
