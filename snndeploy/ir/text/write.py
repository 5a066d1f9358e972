"""Networks as text."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..arrays import Array
from ..network import Network, Population, Projection
from ..ops import Conv, Dense, Op, Pointwise, Reshape, SumPool

_Spell = Callable[[Array], str]


def number_range(values: Array) -> str:
    """``0.9`` for one value, ``0.85…0.95`` for several."""
    low, high = float(values.min()), float(values.max())
    return f"{low:.6g}" if low == high else f"{low:.6g}…{high:.6g}"


def network_text(network: Network) -> str:
    """Render a network, one line per population and projection."""
    lines = [f"network {network.digest[:16]}"]
    lines += [f"  {_population_line(p, number_range)}" for p in network.populations]
    lines += [f"  {_projection_line(p)}" for p in network.projections]
    return "\n".join(lines) + "\n"


def full_text(network: Network, digits: int = 0) -> str:
    """Render a network with all its numbers, for small ones; `read_network` reads it back.

    A pruned weight is a dot. Below a projection stand its weights, one line per output channel, with
    the channel's scale behind ``×`` where it has one of its own, and then its bias.

    Args:
        network: what to write.
        digits: significant digits of each number; 0 for as many as tell it from all others.
    """

    def number(value: object) -> str:
        text = f"{value:.{digits}g}" if digits else str(value)
        return text.removesuffix(".0")

    def numbers(values: Array) -> str:
        if values.ndim == 0:
            return number(values[()])
        return f"[{' '.join(number(v) for v in values.reshape(-1))}]"

    lines = [_population_line(p, numbers) for p in network.populations]
    for p in network.projections:
        lines += ["", _projection_line(p, numbers), *_weight_lines(p, number)]
    return "\n".join(lines) + "\n"


def _population_line(population: Population, spell: _Spell) -> str:
    head = f"{population.role:<6} {population.name} {population.shape}"
    neuron = population.neuron
    if neuron is None:
        return head
    words = [
        f"{name} {spell(value)}"
        for name, value in neuron.parameters().items()
        if name in ("leak", "threshold", "syn_leak", "v_floor") or value.any()
    ]
    if neuron.spiking:
        timing = "" if neuron.reset_timing == "immediate" else f" ({neuron.reset_timing})"
        words += [f"fires {neuron.compare}", f"reset {neuron.reset}{timing}"]
        if neuron.spikes_per_step == "many":
            words.append("many spikes per step")
        if neuron.max_spikes is not None:
            words.append(f"at most {neuron.max_spikes}")
    return f"{head}  {', '.join(words)}"


def chain_text(ops: tuple[Op, ...]) -> str:
    """Render a chain of operators, e.g. ``sumpool k2 s2, conv 16->32 k3 p1``."""
    return ", ".join(str(op) for op in ops)


def _projection_line(projection: Projection, spell: _Spell | None = None) -> str:
    """One line; with ``spell`` it tells apart what the short form need not."""
    sources = " + ".join(
        s.population + (f"[t-{(spell or number_range)(s.delay)}]" if s.delay.any() else "")
        for s in projection.sources
    )
    weight = projection.weight
    kind = f"{weight.bits} bit" if weight.quantized else str(weight.data.dtype)
    if spell is not None and weight.levels is not None:
        kind += f" {weight.levels}"
    if spell is not None and weight.scale is not None and weight.scale.ndim == 0:
        kind += f" × {spell(weight.scale)}"
    pruned = "" if weight.mask is None else f", {weight.alive}/{weight.data.size} alive"
    bias = "" if projection.bias is None else ", delayed bias"
    chain = chain_text(projection.ops) if spell is None else _full_chain(projection.ops)
    return f"{projection.name}: {sources} -> {projection.target}  {chain}  [{kind}{pruned}{bias}]"


def _full_chain(ops: tuple[Op, ...]) -> str:
    return ", ".join(_full_word(op) for op in ops)


def _full_word(op: Op) -> str:
    """An operator as `read_network` reads it."""
    match op:
        case Pointwise():
            return f"{op} {op.weight_shape}"
        case Reshape():
            return f"reshape {op.shape}"
        case Dense() | Conv() | SumPool():
            return str(op)


def _weight_lines(projection: Projection, number: Callable[[object], str]) -> Iterator[str]:
    weight, bias = projection.weight, projection.bias
    per_row = weight.scale is not None and weight.scale.ndim > 0
    rows = len(weight.data) if weight.data.ndim > 1 or per_row else 1
    data = weight.data.reshape(rows, -1)
    alive = None if weight.mask is None else weight.mask.reshape(rows, -1)
    for i, row in enumerate(data):
        cells = [number(v) if alive is None or alive[i, j] else "." for j, v in enumerate(row)]
        scale = ""
        if per_row and weight.scale is not None:
            scale = f"  × {number(weight.scale.reshape(-1)[i])}"
        yield f"  {' '.join(cells)}{scale}"
    if bias is not None:
        yield f"  bias {bias.shape} {' '.join(number(v) for v in bias.reshape(-1))}"
