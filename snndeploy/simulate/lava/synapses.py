"""Synapse groups as Lava connection processes, each of them exact.

A source that arrives with more than one step's latency goes through `DelayDense` or `DelaySparse`,
whose exponent acts per source and delay, as in the program. `Conv` ignores exponents and wraps at
24 bit, so it is used where the exponent folds into the weights and no sum can reach 23 bits;
everything else is unrolled to one sparse matrix. Every weight is checked to pass Lava's clipping
and truncation unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from ...errors import UsageError
from ...ir.arrays import Array
from ...ir.linear.unroll import unroll
from ...ir.ops import Conv, Dense, chain_shapes
from ...ir.program import CompartmentGroup, Program, SynapseGroup, SynapseSource
from ...ir.step import LOIHI

ConvRoute = Literal["auto", "native", "sparse"]

LONGEST_DELAY = 63
"""Extra steps that lava's delay processes hold."""
_SPARSE_BELOW = 0.25  # fraction of non-zero weights under which Sparse is faster than Dense
_DELAY_DENSE_MAX = 100_000  # DelayDense builds (delays + 1) x weights anew at every step
_CONV_LIMIT = 2**23
_INT8 = 127


@dataclass
class Arrays:
    """Arrays of a job, by key."""

    values: dict[str, Array] = field(default_factory=dict)

    def add(self, array: Array) -> str:
        """Store one and return its key."""
        key = f"p{len(self.values)}"
        self.values[key] = array
        return key


def connections(
    program: Program,
    synapses: SynapseGroup,
    peaks: Mapping[str, int],
    conv: ConvRoute,
    arrays: Arrays,
) -> list[dict[str, Any]]:
    """Specify the processes of ``synapses``: one per source, since exponents act on each one's sum.

    Raises:
        UsageError: the route is ``native``, and a convolution has no exact native form.
        ValueError: weights or delays that lava does not hold; a bug of the lowering.
    """
    _check_weights(synapses)
    stored: dict[str, Any] = {}  # sources share the arrays of one form
    specs = []
    for number, source in enumerate(synapses.sources):
        group = program.group(source.group)
        extra = np.broadcast_to(source.latency, group.shape).reshape(-1) - 1
        if extra.max() > LONGEST_DELAY:
            raise ValueError(f"{synapses.name}: lava delays by {LONGEST_DELAY} steps at most")
        spec = {
            "source": source.group,
            "target": synapses.target,
            "port": _entry(program.group(synapses.target), synapses),
            "message_bits": group.message_bits,
            "exponent": synapses.exponent,
            "sign_mode": synapses.sign_mode,
            "weight_bits": synapses.weight_bits,
        }
        form = _conv_form(program, synapses, source, peaks, conv) if extra.max() == 0 else None
        if form is None:
            form = _matrix_form(program, synapses, extra, graded=group.message_bits > 0)
        for key, values in form.items():
            if isinstance(values, np.ndarray):
                own = f" {number}" if key == "delays" else ""
                known = f"{form['process']} {key}{own}"
                stored.setdefault(known, None)
                if stored[known] is None:
                    stored[known] = arrays.add(values)
                form[key] = stored[known]
        specs.append({**spec, **form})
    return specs


_ENTRIES = ("weights", "rows", "cols", "delays")


def joined(specs: Sequence[Mapping[str, Any]], arrays: Arrays) -> list[dict[str, Any]]:
    """Specifications in which sparse connections that differ in their delays alone are one.

    Each process costs every step its share of messages, and a layer with a delay per synapse is read
    as one synapse group per delay. Lava shifts the sum of each delay on its own, so no two may have
    a delay in common; and a pair of neurons has one entry.
    """
    alike: dict[str, list[dict[str, Any]]] = {}
    for spec in specs:
        sparse = spec["process"] in ("Sparse", "DelaySparse")
        rest = {k: v for k, v in spec.items() if k not in ("process", *_ENTRIES)}
        key = repr(rest) if sparse else f"own {len(alike)}"
        alike.setdefault(key, []).append(dict(spec))
    return [one for same in alike.values() for one in _union(same, arrays)]


def _union(specs: list[dict[str, Any]], arrays: Arrays) -> list[dict[str, Any]]:
    if len(specs) == 1:
        return specs
    parts = [{k: arrays.values[s[k]] for k in _ENTRIES if k in s} for s in specs]
    for part in parts:
        part.setdefault("delays", np.zeros_like(part["cols"]))
    delays = [np.unique(part["delays"]) for part in parts]
    whole = {k: np.concatenate([part[k] for part in parts]) for k in _ENTRIES}
    pairs = whole["rows"] * specs[0]["shape"][1] + whole["cols"]
    apart = [len(np.unique(x)) == len(x) for x in (np.concatenate(delays), pairs)]
    if not all(apart):
        return specs
    held = {k: arrays.add(values) for k, values in whole.items()}
    return [{**specs[0], "process": "DelaySparse", **held}]


def _entry(target: CompartmentGroup, synapses: SynapseGroup) -> str:
    """The port of the target's process."""
    if target.kind != "resonator":
        return "a_in"
    return "a_imag_in" if synapses.port == "imag" else "a_real_in"


def _matrix_form(
    program: Program, synapses: SynapseGroup, extra: Array, *, graded: bool
) -> dict[str, Any]:
    """The synapses as a dense or a sparse matrix, with delays where some are longer than a step."""
    delayed = extra.max() > 0
    plain = [op for op in synapses.ops if not op.is_view]
    weights = synapses.mantissa
    if len(plain) == 1 and isinstance(plain[0], Dense):
        full = np.count_nonzero(weights) >= _SPARSE_BELOW * weights.size
        if full and not delayed:
            return {"process": "Dense", "weights": weights}
        # DelayDense sums graded messages in 64 bit, all others in lava's (and the program's) 32.
        if full and not graded and weights.size * (extra.max() + 1) <= _DELAY_DENSE_MAX:
            return {"process": "DelayDense", "weights": weights, "delays": extra}
    matrix = unroll(synapses.ops, weights, program.source_shape(synapses))
    legal = np.array_equal(_as_lava_stores(matrix.values, synapses), matrix.values)
    form = {
        "process": ("" if legal else "Multi") + ("DelaySparse" if delayed else "Sparse"),
        "weights": matrix.values,
        "rows": matrix.rows,
        "cols": matrix.cols,
        "shape": list(matrix.shape),
    }
    return {**form, "delays": extra[matrix.cols]} if delayed else form


def _conv_form(
    program: Program,
    synapses: SynapseGroup,
    source: SynapseSource,
    peaks: Mapping[str, int],
    route: ConvRoute,
) -> dict[str, Any] | None:
    """The synapses as lava's `Conv`, or None where that is not wanted or not exact."""
    if route == "sparse" or not isinstance(synapses.op, Conv):
        return None
    weights = _folded(synapses)
    reason = _not_native(program, synapses, source, peaks, weights)
    if reason:
        if route == "native":
            raise UsageError(
                "conv-not-native",
                f"lava's Conv cannot run it exactly: {reason}",
                where=f"projection {synapses.name}",
                hint="use the route auto or sparse",
            )
        return None
    shapes = chain_shapes(synapses.ops, program.source_shape(synapses))
    op = synapses.op
    return {
        "process": "Conv",
        "weights": weights,
        "in_shape": list(shapes[synapses.ops.index(op)]),
        "padding": [before for before, _ in op.padding],
        "stride": list(op.stride),
        "dilation": list(op.dilation),
        "groups": op.groups,
    }


def _folded(synapses: SynapseGroup) -> Array | None:
    """Weights times 2**exponent, or None where that is not an integer."""
    mantissa = synapses.mantissa.astype(np.int64)
    if synapses.exponent >= 0:
        return mantissa << synapses.exponent if synapses.exponent < 32 else None
    unit = 1 << -synapses.exponent
    return mantissa // unit if not (mantissa % unit).any() else None


def _not_native(
    program: Program,
    synapses: SynapseGroup,
    source: SynapseSource,
    peaks: Mapping[str, int],
    weights: Array | None,
) -> str:
    """Why lava's `Conv` would not compute exactly this ('' if it would)."""
    op = synapses.op
    if not isinstance(op, Conv) or len(op.kernel) != 2:
        return "it is not a two-dimensional convolution"
    if any(not (o is op or o.is_view) for o in synapses.ops):
        return "its chain holds more than the convolution"
    if any(before != after for before, after in op.padding):
        return "its padding is not symmetric"
    small = (*op.kernel, *op.stride, *op.dilation, *(p for p, _ in op.padding), op.groups)
    if max(small) > _INT8:
        return f"Lava holds its kernel, stride and groups in 8 bit, and {max(small)} is more"
    if weights is None:
        return f"its exponent {synapses.exponent} does not fold into integer weights"
    message = _largest_message(program.group(source.group), peaks)
    if int(np.abs(weights).reshape(op.out_channels, -1).sum(1).max()) * message >= _CONV_LIMIT:
        return "its sums could exceed 24 bit"
    return ""


def _largest_message(group: CompartmentGroup, peaks: Mapping[str, int]) -> int:
    if group.message_bits == 0 or group.kind == "constant":
        return 1
    if group.kind == "delta":  # nothing clips them to the width of the field
        return 1 << 31
    if group.kind == "input":
        return peaks.get(group.name, 2**group.message_bits)
    if group.spikes_per_step == "one":
        return 1
    most = LOIHI.state_max // max(int(group.vth.min()) << LOIHI.state_shift, 1)
    return most if group.max_spikes is None else min(most, group.max_spikes)


def _as_lava_stores(weights: Array, synapses: SynapseGroup) -> Array:
    """``weights`` after lava's clipping and truncation (``lava/utils/weightutils.py``)."""
    mixed = synapses.sign_mode == "mixed"
    sign = -1 if synapses.sign_mode == "inhibitory" else 1
    dropped = 8 - synapses.weight_bits + mixed
    if dropped < 0:
        raise ValueError(f"{synapses.name}: lava has no {synapses.weight_bits}-bit weights")
    clipped = np.clip(sign * weights, -256 if mixed else 0, 255)
    return np.asarray(sign * ((clipped >> dropped) << dropped))


def _check_weights(synapses: SynapseGroup) -> None:
    stored = _as_lava_stores(synapses.mantissa, synapses)
    wrong = stored != synapses.mantissa
    if wrong.any():
        raise ValueError(
            f"{synapses.name}: lava would store weight {synapses.mantissa[wrong][0]} as "
            f"{stored[wrong][0]} ({synapses.sign_mode}, {synapses.weight_bits} bit)"
        )
