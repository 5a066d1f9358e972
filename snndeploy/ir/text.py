"""A stable text form for people, diffs and golden tests."""

from __future__ import annotations

from .arrays import Array
from .network import Network, Population, Projection
from .ops import Op


def number_range(values: Array) -> str:
    """``0.9`` for one value, ``0.85…0.95`` for several."""
    low, high = float(values.min()), float(values.max())
    return f"{low:.6g}" if low == high else f"{low:.6g}…{high:.6g}"


def network_text(network: Network) -> str:
    """Render a network, one line per population and projection."""
    lines = [f"network {network.digest[:16]}"]
    lines += [f"  {_population_line(p)}" for p in network.populations]
    lines += [f"  {_projection_line(p)}" for p in network.projections]
    return "\n".join(lines) + "\n"


def _population_line(population: Population) -> str:
    head = f"{population.role:<6} {population.name} {population.shape}"
    neuron = population.neuron
    if neuron is None:
        return head
    words = [
        f"{name} {number_range(value)}"
        for name, value in neuron.parameters().items()
        if name in ("leak", "threshold", "syn_leak", "v_floor") or value.any()
    ]
    if neuron.spiking:
        timing = "" if neuron.reset_timing == "immediate" else f" ({neuron.reset_timing})"
        words += [f"fires {neuron.compare}", f"reset {neuron.reset}{timing}"]
        if neuron.spikes_per_step == "many":
            words.append("many spikes per step")
    return f"{head}  {', '.join(words)}"


def chain_text(ops: tuple[Op, ...]) -> str:
    """Render a chain of operators, e.g. ``sumpool k2 s2, conv 16->32 k3 p1``."""
    return ", ".join(str(op) for op in ops)


def _projection_line(projection: Projection) -> str:
    sources = " + ".join(
        s.population + (f"[t-{number_range(s.delay)}]" if s.delay.any() else "")
        for s in projection.sources
    )
    weight = projection.weight
    kind = f"{weight.bits} bit" if weight.quantized else str(weight.data.dtype)
    pruned = "" if weight.mask is None else f", {weight.alive}/{weight.data.size} alive"
    bias = "" if projection.bias is None else ", delayed bias"
    return (
        f"{projection.name}: {sources} -> {projection.target}  "
        f"{chain_text(projection.ops)}  [{kind}{pruned}{bias}]"
    )
