"""The shapes that flow between nodes, computed here and not taken from the file."""

from __future__ import annotations

from ...errors import InputError
from ...ir.arrays import Shape, size
from ..readers.raw import NEURONS, RawGraph, RawNode
from .linear import out_shape, stages
from .neurons import neuron_shape

MAX_VALUES = 1 << 25
"""Largest number of values that one node may deliver."""


def infer_shapes(raw: RawGraph) -> tuple[dict[str, Shape], tuple[str, ...]]:
    """The shape that every node delivers, without batch and time; and what had to be repaired.

    The shapes in the file are believed only where nothing else says them (the inputs); leading axes
    of length 1 are dropped where the next node has no place for them.

    Raises:
        InputError: shapes that do not fit, naming both nodes.
    """
    shapes: dict[str, Shape] = {}
    warnings: list[str] = []
    for node in raw.nodes.values():
        if node.kind == "Input":
            shapes[node.name] = _input_shape(raw, node, warnings)
        elif node.kind in NEURONS and neuron_shape(node):
            shapes[node.name] = _without_batch(raw, node, warnings)
    _check_sizes(raw, shapes)
    waiting = [n for n in raw.nodes.values() if n.name not in shapes]
    while waiting:
        later = []
        for node in waiting:
            known = [shapes[b] for b in raw.before(node.name) if b in shapes]
            if not known:
                later.append(node)
            elif node.kind in NEURONS or node.kind == "Output":
                shapes[node.name] = known[0]  # single parameters serve all neurons
            else:
                shapes[node.name] = out_shape(node, known[0], raw.where(node.name))
        if len(later) == len(waiting):
            raise InputError(
                "shape-unknown",
                "no input or neuron says how large its signal is",
                where=raw.where(later[0].name),
            )
        waiting = later
        _check_sizes(raw, shapes)
    _check_edges(raw, shapes)
    return shapes, tuple(warnings)


def _check_sizes(raw: RawGraph, shapes: dict[str, Shape]) -> None:
    """Claims cost nothing in a file; the arrays that follow from them would."""
    for name, shape in shapes.items():
        if size(shape) > MAX_VALUES:
            raise InputError(
                "too-large",
                f"it delivers {shape}: {size(shape):,} values, past {MAX_VALUES:,}",
                where=raw.where(name),
                hint="a damaged file? no chip holds as many neurons",
            )


def _input_shape(raw: RawGraph, node: RawNode, warnings: list[str]) -> Shape:
    shape = tuple(int(n) for n in node.array("shape").reshape(-1))
    if min(shape) < 1:
        raise InputError("empty-population", f"its shape is {shape}", where=raw.where(node.name))
    stripped = shape
    readers = [raw.nodes[name] for name in raw.after(node.name)]
    while len(stripped) > 1 and stripped[0] == 1 and not all(_takes(r, stripped) for r in readers):
        stripped = stripped[1:]
    if not all(_takes(r, stripped) for r in readers):
        return shape  # the check of the edges will name what does not fit
    if stripped != shape:
        warnings.append(f"{node.name}: shape {shape} read as {stripped}, without batch axes")
    return stripped


def _takes(node: RawNode, shape: Shape) -> bool:
    if node.kind in NEURONS:
        return neuron_shape(node) in ((), shape)
    try:
        return node.kind == "Output" or bool(out_shape(node, shape, ""))
    except InputError:
        return False


def _without_batch(raw: RawGraph, node: RawNode, warnings: list[str]) -> Shape:
    """A neuron's shape; ``(1, N)`` becomes ``(N,)`` where a 1-d weight leads into or out of it."""
    shape = neuron_shape(node)
    readers = [raw.nodes[name] for name in raw.after(node.name)]
    dense = [
        raw.nodes[n] for n in raw.before(node.name) if raw.nodes[n].kind in ("Affine", "Linear")
    ]
    others = [r for r in readers if r.kind not in NEURONS]
    misfit = bool(dense) or not all(_takes(r, shape) for r in others)
    if len(shape) > 1 and shape[0] == 1 and misfit and all(_takes(r, shape[1:]) for r in others):
        warnings.append(f"{node.name}: shape {shape} read as {shape[1:]}, without batch axes")
        return shape[1:]
    return shape


def _check_edges(raw: RawGraph, shapes: dict[str, Shape]) -> None:
    for name, node in raw.nodes.items():
        for before in raw.before(name):
            arriving = shapes[before]
            if node.kind in NEURONS or node.kind == "Output":
                expected = shapes[name]
            else:
                stages(node, arriving, raw.where(name))
                expected = arriving
                if out_shape(node, arriving, raw.where(name)) != shapes[name]:
                    expected = shapes[raw.before(name)[0]]
            if arriving != expected:
                raise InputError(
                    "shape-mismatch",
                    f"{before!r} delivers {arriving} to this {node.kind}, which has {expected}",
                    where=raw.where(name),
                    hint="a Flatten or a reshape may be missing",
                )
        if node.kind == "Output" and node.has("shape"):
            claimed = tuple(int(n) for n in node.array("shape").reshape(-1))
            if size(claimed) != size(shapes[name]):
                raise InputError(
                    "shape-mismatch",
                    f"it says {claimed}, but {shapes[name]} arrives",
                    where=raw.where(name),
                )
