"""The shapes that flow between nodes, computed here and not taken from the file."""

from __future__ import annotations

from ...errors import InputError
from ...ir.arrays import Shape, size
from ...ir.finding import Finding
from ..readers.raw import NEURONS, RawGraph, RawNode
from .linear import out_shape, stages
from .neurons import neuron_shape

MAX_VALUES = 1 << 25
"""Largest number of values that one node may deliver."""


_AXES = {"Affine": 1, "Linear": 1, "Conv1d": 2, "Conv2d": 3, "SumPool2d": 3, "AvgPool2d": 3}
"""Axes of what these nodes deliver."""


def infer_shapes(raw: RawGraph) -> tuple[dict[str, Shape], tuple[Finding, ...]]:
    """The shape that every node delivers, without batch and time; and what had to be repaired.

    The shapes in the file are believed only where nothing else says them (the inputs); leading axes
    of length 1 are dropped where the next node has no place for them.

    Raises:
        InputError: shapes that do not fit, naming both nodes.
    """
    shapes: dict[str, Shape] = {}
    repaired: list[Finding] = []
    for node in raw.nodes.values():
        if node.kind == "Input":
            shapes[node.name] = _input_shape(raw, node, repaired)
        elif node.kind in NEURONS and neuron_shape(node):
            shapes[node.name] = _without_batch(raw, node, repaired)
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
    return shapes, tuple(repaired)


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


def _input_shape(raw: RawGraph, node: RawNode, repaired: list[Finding]) -> Shape:
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
        repaired.append(_batch(raw, node, shape, stripped))
    return stripped


def _takes(node: RawNode, shape: Shape) -> bool:
    if node.kind in NEURONS:
        return neuron_shape(node) in ((), shape)
    try:
        return node.kind == "Output" or bool(out_shape(node, shape, ""))
    except InputError:
        return False


def _without_batch(raw: RawGraph, node: RawNode, repaired: list[Finding]) -> Shape:
    """A neuron's shape; leading axes of length 1 go where its neighbours have no place for them."""
    shape = stripped = neuron_shape(node)
    readers = [raw.nodes[name] for name in raw.after(node.name)]
    others = [r for r in readers if r.kind not in NEURONS]
    axes = _arriving_axes(raw, node.name, frozenset())

    def misfit(shape: Shape) -> bool:
        return (axes is not None and len(shape) > axes) or not all(_takes(r, shape) for r in others)

    while len(stripped) > 1 and stripped[0] == 1 and misfit(stripped):
        stripped = stripped[1:]
    if stripped == shape or misfit(stripped):
        return shape  # the check of the edges will name what does not fit
    repaired.append(_batch(raw, node, shape, stripped))
    return stripped


def _arriving_axes(raw: RawGraph, name: str, seen: frozenset[str]) -> int | None:
    """How many axes the signals into a node have, where a weight or a pool in front of it says so."""
    for before in raw.before(name):
        node = raw.nodes[before]
        if node.kind in _AXES:
            return _AXES[node.kind]
        if node.kind in ("Scale", "Delay") and before not in seen:
            axes = _arriving_axes(raw, before, seen | {before})
            if axes is not None:
                return axes
    return None


def _batch(raw: RawGraph, node: RawNode, shape: Shape, read: Shape) -> Finding:
    return Finding(
        code="batch-axis",
        severity="note",
        where=raw.where(node.name),
        message=f"shape {shape} read as {read}, without batch axes",
    )


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
