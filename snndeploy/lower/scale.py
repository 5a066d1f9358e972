"""Choosing a population's scale: v units per unit of the network.

A projection with integer codes of step ``q`` becomes exact integers when ``scale * q / 64`` is a power
of two. The exponent is then free: the larger, the finer threshold, bias and decay are resolved, until an
accumulator could overflow. Per-channel steps give per-channel scales, absorbed into the thresholds.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import fields

import numpy as np

from ..chip import Family
from ..ir.arrays import Array, Shape, size
from ..ir.neurons import Neuron
from ..ir.ops import Op, chain_shapes, weighted_index, weighted_op
from ..ir.step import Arithmetic, FloatParameters, float_thresholds
from .decays import kept, representable, to_decay
from .incoming import Incoming
from .layout import Layout
from .proofs.headroom import Interval, geometric, resets_below_threshold, v_may_wrap

_SPAN = 32
"""Powers of two that are tried below the one that fills a state."""
_FINE_THRESHOLD = 256
"""A threshold mantissa from here on is rounded by at most 0.2 %: enough, the rest is head-room."""
_SLOWEST_THRESHOLD = 15_000
"""However slow a leak is, head-room needs bits too."""
_COARSEST_THRESHOLD = 32
"""Below this mantissa the rounding (1.6 %) costs more than an unproved head-room."""
_FARTHEST = 2.0**900
"""Steps smaller than that of this scale are subnormal, or nearly: its powers and products still hold."""
_BEYOND = 2000
"""More than any exponent of a finite float: what a weight would need that is infinite at a scale."""
_CALIBRATION_MARGIN = 1.25


def per_weight(values: Array, incoming: Incoming, shape: Shape) -> Array | None:
    """`weight_factors` of a projection that is ready to be scaled."""
    return weight_factors(values, incoming.ops, incoming.source_shape, shape)


def weight_factors(
    values: Array, ops: Sequence[Op], source_shape: Shape, shape: Shape
) -> Array | None:
    """Shape per-neuron ``values`` (broadcastable to ``shape``) to multiply a projection's weight.

    None where a weight feeds neurons of different values, so that no factor per weight exists.
    """
    if values.ndim == 0:
        return values
    i = weighted_index(ops)
    op, after = weighted_op(ops), chain_shapes(ops, source_shape)[i + 1 :]
    if op.one_to_one:
        return values if all(s == shape for s in after) else None
    outputs, trailing = op.weight_shape[0], (1,) * (len(op.weight_shape) - 1)
    if outputs == size(shape):
        return np.broadcast_to(values, shape).reshape(outputs, *trailing)
    per_channel = all(n == 1 for n in values.shape[1:]) and len(values.shape) == len(shape)
    if per_channel and all(s[0] == outputs == shape[0] for s in after):
        return values.reshape(outputs, *trailing)
    return None


def base_scale(
    shape: Shape, incoming: Sequence[Incoming], unit: int, *, one: bool = False
) -> Array:
    """The scale at which the reference projection's codes are integers without a common factor 2.

    The reference is the largest of those whose codes are exact; without one, the largest. Between equal
    ones the step decides, never the order of projections, and one without a weight is asked last. It is
    one number, or one per channel where codes have a step per channel and all projections can follow.
    ``unit`` is what a weight of 1 adds to the state, ``one`` asks for one number in any case. A step
    too small for any threshold to be beside it counts as one that floats can still be divided by.
    """
    return np.asarray(np.minimum(_base_scale(shape, incoming, unit, one=one), _FARTHEST))


def _base_scale(shape: Shape, incoming: Sequence[Incoming], unit: int, *, one: bool) -> Array:
    """The same, which is infinite for subnormal steps."""
    if not incoming:
        return np.asarray(float(unit))
    heard = [i for i in incoming if not i.constant] or incoming
    heard = [i for i in heard if i.codes.codes.any()] or heard
    reference = max(
        heard, key=lambda i: (i.codes.exact, i.codes.codes.size, float(_common_step(i).max()))
    )
    step = _common_step(reference)
    if step.size > 1:
        with np.errstate(over="ignore"):
            per_channel = unit / step.reshape(-1, *(1,) * (len(shape) - 1))
        if (
            not one
            and step.size == shape[0]
            and all(per_weight(per_channel, i, shape) is not None for i in incoming)
        ):
            return per_channel
    return np.asarray(unit / float(step.max()))


def held_beside(base: Array, threshold: Array | None, shape: Shape, largest: float) -> Array:
    """``base`` with a coarser scale for channels whose threshold would be beyond ``largest`` at theirs.

    Such a channel has next to no weights beside its threshold, and its codes become smaller ones, or
    none; it must not stand in the way of all others. Powers of two bring its threshold down to theirs.
    Where all thresholds are beyond, nothing is changed.
    """
    if base.size < 2 or threshold is None:
        return base
    highest = np.broadcast_to(np.abs(threshold), shape).reshape(shape[0], -1).max(axis=1)
    wanted = highest * base.reshape(-1)
    held = wanted[wanted <= largest].max(initial=0.0)
    if not held:
        return base
    over = np.where(wanted > largest, np.ceil(np.log2(np.maximum(wanted, held) / held)), 0.0)
    return np.asarray(base * 2.0 ** -over.reshape(base.shape))


def _common_step(incoming: Incoming) -> Array:
    """The real value of the largest power of two that all codes are multiples of."""
    used = int(np.bitwise_or.reduce(np.abs(incoming.codes.codes), axis=None)) or 1
    return np.asarray(incoming.step * (used & -used))


def real_interval(incoming: Sequence[Incoming], shape: Shape) -> Interval:
    """Worst-case synaptic input per neuron and step, in network units."""
    total = Interval(np.zeros(shape), np.zeros(shape))
    for i in incoming:
        if i.codes.real is not None and i.step.size > 1:  # a step per row of the target
            per_row = i.step.reshape(-1, *(1,) * (len(shape) - 1))
            total = total + i.interval(i.codes.codes) * per_row
            continue
        # Codes are bounded exactly; steps per channel enter the weights as integers over one grid.
        step = float(i.step.max())
        relative = np.ceil(np.abs(i.codes.codes) * (i.step / step)).astype(np.int64)
        total = total + i.interval(np.sign(i.codes.codes) * relative) * step
    return total


def choose_scale(
    shape: Shape,
    neuron: Neuron,
    incoming: Sequence[Incoming],
    family: Family,
    *,
    layout: Layout,
    base: Array,
    steps: int,
    observed: float | None,
) -> Array:
    """Choose ``base * 2**k``.

    In order of preference: the largest for which nothing can overflow or clip within a sample of
    ``steps``; if that rounds to a coarse threshold, the smallest with a fine one for which u cannot wrap
    nor v miss the threshold (inhibition may then clip, and the head-room says after how many steps);
    else the largest such. Where even that is too coarse, the smallest scale that holds the codes and a
    threshold that is not, unproved; and where there is none, the largest that is proved.
    """
    n, arithmetic = family.target.numeric, family.arithmetic
    largest, unit = arithmetic.state_max, 1 << arithmetic.state_shift
    threshold = np.zeros(()) if neuron.threshold is None else neuron.threshold
    highest = np.abs(_highest_threshold(neuron))
    bias = neuron.drive + (neuron.bias if neuron.syn_leak is None else 0.0)
    offset = arithmetic.u_decay_offset
    syn_leak = np.zeros(()) if neuron.syn_leak is None else neuron.syn_leak
    du = to_decay(syn_leak, offset, n.decay_max.limit, arithmetic) + offset
    u = geometric(real_interval(incoming, shape), kept(du, arithmetic))
    if observed is not None:
        seen = np.full(shape, _CALIBRATION_MARGIN * observed)
        u = Interval(np.maximum(u.low, -seen), np.minimum(u.high, seen))
    per_step = Interval(np.minimum(u.low + bias, 0.0), np.maximum(u.high + bias, 0.0))
    lasting = geometric(per_step, _leak(neuron, family))
    reach = np.maximum(u.peak, highest + per_step.high)
    lowest = np.minimum(-lasting.low, -per_step.low * steps)
    largest_v = np.minimum(lasting.high, per_step.high * steps)
    if neuron.threshold is not None and resets_below_threshold(neuron):
        largest_v = np.minimum(largest_v, reach)
    if neuron.v_floor is not None:
        lowest = np.minimum(lowest, np.abs(np.minimum(neuron.v_floor, 0.0)) - per_step.low)
    ever = np.maximum(lowest, largest_v)
    never_wraps = np.maximum(reach, ever) if v_may_wrap(arithmetic) else reach

    def format_holds(scale: Array) -> bool:
        exponents = [_exponent(i, scale, shape, family) for i in incoming]
        top = (scale * np.abs(threshold)).max()
        return (
            top / unit <= n.vth_max.limit
            and (scale * highest).max() <= largest
            and (scale * np.abs(bias)).max() <= n.bias_mant_max.limit << n.bias_exp_max.limit
            and all(e <= layout.exponent_high for e in exponents)
        )

    def proved(scale: Array) -> bool:
        return bool((scale * never_wraps).max() <= largest) and format_holds(scale)

    def resolved(scale: Array) -> bool:
        """Whether a coarse threshold is the right one: all that v is made of is on the grid of v."""
        values = (
            threshold / unit,
            bias,
            np.zeros(()) if neuron.v_floor is None else neuron.v_floor,
        )
        leaks = (neuron.leak, syn_leak)
        return (
            not neuron.beyond()
            and all(i.codes.exact for i in incoming)
            and bool((scale >= base).all())
            and all((_common_step(i).min() * scale >= unit).all() for i in incoming)
            and all(np.isin(leak, (0.0, 1.0)).all() for leak in leaks)
            and all(np.abs(v * scale - np.rint(v * scale)).max() < 1e-9 for v in values)
        )

    def mantissa(scale: Array) -> float:
        return float((scale * np.abs(threshold)).min()) / unit

    top = arithmetic.state_bits
    candidates = [base * 2.0**k for k in range(top, top - _SPAN - 1, -1)]
    # What holds at a scale holds at each smaller one: only the largest is looked for.
    safe = _from_first(candidates, proved)
    never_clips = _from_first(safe, lambda s: bool((s * ever).max() <= largest))
    if layout.largest and (held := safe or _from_first(candidates, format_holds)):
        return (never_clips or held)[0]
    if never_clips and (
        neuron.threshold is None
        or mantissa(never_clips[0]) >= _FINE_THRESHOLD
        or resolved(never_clips[0])
    ):
        return never_clips[0]
    for enough in (_slow_threshold(neuron, arithmetic), _FINE_THRESHOLD):
        fine = safe[: bisect_left(safe, True, key=lambda s: mantissa(s) < enough)]
        if fine:
            return fine[-1]
    if safe and (neuron.threshold is None or mantissa(safe[0]) >= _COARSEST_THRESHOLD):
        return safe[0]
    grid = [s for s in candidates if (s >= base).all() and format_holds(s)]
    fine = [s for s in grid if neuron.threshold is None or mantissa(s) >= _COARSEST_THRESHOLD]
    if fine:
        return fine[-1]
    return (safe or grid[-1:] or candidates[-1:])[0]


def _from_first(scales: list[Array], holds: Callable[[Array], bool]) -> list[Array]:
    """Falling scales from the first that ``holds``, as all smaller ones do."""
    return scales[bisect_left(scales, True, key=holds) :]


def _highest_threshold(neuron: Neuron) -> Array:
    """The most that v is ever compared with, in network units."""
    if neuron.rule is None:
        return np.zeros(())
    p = FloatParameters(**{f.name: getattr(neuron, f.name) for f in fields(FloatParameters)})
    return np.asarray(float_thresholds(neuron.rule, p)[1])


def _slow_threshold(neuron: Neuron, arithmetic: Arithmetic) -> float:
    """The threshold mantissa from which dropped fractions of a slow leak are at most 0.2 % of it."""
    leak = neuron.leak[neuron.leak < 1]
    if not leak.size or representable(leak, arithmetic):
        return _FINE_THRESHOLD
    lost = 512.0 / float(1.0 - leak.max()) / (1 << arithmetic.state_shift)
    return float(min(max(_FINE_THRESHOLD, lost), _SLOWEST_THRESHOLD))


def _leak(neuron: Neuron, family: Family) -> Array:
    """The factor that v keeps: the chip's where that can be far from the trained one."""
    match family.arithmetic.decay:
        case "multiply":
            return neuron.leak
        case "shift" | "floor-shift":
            most = family.target.numeric.decay_max.limit
            return kept(to_decay(neuron.leak, 0, most, family.arithmetic), family.arithmetic)


def _exponent(incoming: Incoming, scale: Array, shape: Shape, family: Family) -> int:
    """Weight exponent that ``scale`` would need."""
    factor = per_weight(scale, incoming, shape)
    step = incoming.step * (float(scale.max()) if factor is None else factor)
    peak = float(np.abs(incoming.codes.codes * step).max())
    peak /= 1 << family.arithmetic.state_shift
    most = family.weights.reach("mixed")[1]
    exponent = np.log2(peak / most) - 1e-12 if peak else 0.0
    return int(np.ceil(min(exponent, _BEYOND)))
