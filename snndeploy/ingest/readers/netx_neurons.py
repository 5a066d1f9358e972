"""Neurons of a ``.net`` file: which of them run, what they are here, and what of them is not obeyed.

CUBA and LOIHI neurons are Lava's ``LIF`` with du = iDecay - 1, dv = vDecay, vth = vThMant, and the bias
shifted left by 6. SDNN neurons are its ``Delta`` in an input block, ``Sigma`` where the field
``sigma_output`` is there (whatever it holds), else ``SigmaDelta``: with the exponents that netx gives
them, which a file cannot say. RF_PHASE and RF_IZHIKEVICH neurons are its ``RF`` and ``RF_IZ``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np

from ...errors import InputError, did_you_mean
from ...ir.arrays import Array, Shape, frozen, parameter, size
from ...ir.finding import Finding
from ...ir.graded.delta import DeltaForm, DeltaRule
from ...ir.graded.resonator import DECAY_BITS, ResonatorForm, ResonatorRule
from ...ir.program import CompartmentGroup
from ...ir.step import LOIHI
from .netx_fields import Layer

SIGMA_DELTA = "SDNN"
GRADED_BITS = 16
"""Of messages of sigma-delta neurons in netx."""
SPIKE_EXP = STATE_EXP = 6
FRACTION = 6
"""Fractional bits of weights, thresholds and biases."""
_BIAS_EXPONENT = 6
_INTEGRATORS = ("CUBA", "LOIHI")
RESONATORS: Mapping[str, ResonatorForm] = {"RF_PHASE": "phase", "RF_IZHIKEVICH": "izhikevich"}
_RUN = (*_INTEGRATORS, SIGMA_DELTA, *RESONATORS)
_NAMED = {
    "ADRF_PHASE": "adaptive resonate-and-fire",
    "ADRF_IZHIKEVICH": "adaptive resonate-and-fire with the reset of Izhikevich",
    "ALIF": "adaptive threshold",
}
"""Neurons that lava-dl writes and that do not run here."""


def refuse_neurons(layer: Layer) -> None:
    """Refuse a layer whose neurons do not run here, whatever else it holds.

    Raises:
        InputError: which neurons they are.
    """
    kind = layer.neuron
    if kind in RESONATORS and layer.kind != "dense":
        raise InputError(
            "netx-block",
            f"{kind} neurons in a block of type {layer.kind!r} are not supported",
            where=layer.where,
            hint="netx runs them behind a dense block alone",
        )
    if not kind or kind in _RUN:
        return
    what = f" ({_NAMED[kind]})" if kind in _NAMED else ""
    raise InputError(
        "netx-neuron",
        f"{kind} neurons{what} are not supported",
        where=layer.where,
        hint="run the file in lava-dl; networks of CUBA, LOIHI, SDNN and RF neurons run here"
        if kind in _NAMED
        else did_you_mean(kind, _RUN),
    )


def neurons(layer: Layer, shape: Shape, depth: int) -> CompartmentGroup:
    """The neurons of a layer, or the accumulator that a layer without any is in netx.

    Raises:
        InputError: a field is missing, or holds what no register does.
    """
    if not layer.neuron:
        # netx accumulates in u (du = -1); v of a neuron without leak holds the same sum
        return CompartmentGroup(
            name=layer.name,
            shape=shape,
            role="hidden",
            kind="readout",
            depth=depth,
            route="adds up what arrives, without spiking",
        )
    if layer.neuron == SIGMA_DELTA:
        return _deltas(layer, shape, depth)
    if layer.neuron in RESONATORS:
        return _resonators(layer, shape, depth)
    i_decay, v_decay, threshold = (
        layer.whole(name, None, "neuron") for name in ("iDecay", "vDecay", "vThMant")
    )
    for name, value in (("iDecay", i_decay), ("vDecay", v_decay)):
        if not 0 <= value <= LOIHI.decay_one:
            raise InputError(
                "netx-range", f"{name} is {value}, outside 0…{LOIHI.decay_one}", where=layer.where
            )
    return CompartmentGroup(
        name=layer.name,
        shape=shape,
        role="hidden",
        kind="lif",
        depth=depth,
        du=frozen(i_decay - 1, np.int64),
        dv=frozen(v_decay, np.int64),
        vth=frozen(threshold, np.int64),
        bias_mant=_bias(layer, shape),
        bias_exp=_BIAS_EXPONENT,
        route="native compartment",
    )


def _bias(layer: Layer, shape: Shape) -> Array:
    bias = layer.integers("bias") if layer.has("bias") else np.zeros(1, np.int64)
    if bias.size == shape[0] and len(shape) > 1:
        bias = bias.reshape(-1, *(1,) * (len(shape) - 1))
    elif bias.size not in (1, size(shape)):
        raise layer.misfit("bias", bias.shape, f"({shape[0]},)")
    else:
        bias = bias.reshape(() if bias.size == 1 else shape)
    return parameter(bias, shape, np.int64)


def _deltas(layer: Layer, shape: Shape, depth: int) -> CompartmentGroup:
    form: DeltaForm = "sigma-delta"
    if layer.kind == "input":
        form = "delta"
    elif layer.of_neuron("sigma_output") is not None:
        form = "sigma"
    bias = _bias(layer, shape)
    if form != "sigma-delta" and bias.any():
        raise InputError(
            "netx-delta-bias",
            f"its {form} neurons have a bias, which neurons of this form do not add",
            where=layer.where,
            hint="add it to the data before they enter" if form == "delta" else "",
        )
    rule = DeltaRule(form=form, spike_exp=SPIKE_EXP, state_exp=STATE_EXP)
    unit = 2.0 ** (2 * FRACTION + SPIKE_EXP)
    return CompartmentGroup(
        name=layer.name,
        shape=shape,
        role="hidden",
        kind="delta",
        depth=depth,
        scale=frozen(unit),
        message_bits=GRADED_BITS,
        vth=frozen(0 if form == "sigma" else layer.whole("vThMant", None, "neuron"), np.int64),
        bias_mant=bias,
        dynamics=rule,
        route=f"{form} neuron (lava's own process; its low {STATE_EXP} bits are not sent)"
        if form != "sigma"
        else "sigma neuron (lava's own process)",
    )


def _resonators(layer: Layer, shape: Shape, depth: int) -> CompartmentGroup:
    threshold, sin, cos = (
        layer.whole(name, None, "neuron") for name in ("vThMant", "sinDecay", "cosDecay")
    )
    left = math.hypot(sin, cos) / (1 << DECAY_BITS)
    if not 0 < left <= 1 or sin == 0:
        raise InputError(
            "netx-range",
            f"sinDecay {sin} and cosDecay {cos} turn a state by no angle, or let it grow",
            where=layer.where,
        )
    return CompartmentGroup(
        name=layer.name,
        shape=shape,
        role="hidden",
        kind="resonator",
        depth=depth,
        vth=frozen(threshold << FRACTION, np.int64),
        dynamics=ResonatorRule(
            form=RESONATORS[layer.neuron],
            **dict(zip(("sin", "cos"), turned(sin, cos), strict=True)),
        ),
        route="resonate-and-fire neuron (lava's own process)",
    )


def turned(sin: int, cos: int) -> tuple[int, int]:
    """The factors that Lava's process has in the end, of those that a file says.

    netx makes a period and a decay of them, and the process takes sine and cosine of these again,
    truncated: about every other pair changes by one on the way (``neuron_params`` in
    ``lava/lib/dl/slayer/neuron/rf.py``, ``lava/proc/rf/process.py``).
    """
    one = 1 << DECAY_BITS
    s, c = np.float64(sin / one), np.float64(cos / one)
    decay = 1 - np.sqrt(s**2 + c**2)
    period = 1 / (np.arctan2(s, c) / 2 / np.pi)
    again = ((1 - decay) * f(np.pi * 2 * 1 / period) for f in (np.sin, np.cos))
    new_sin, new_cos = (int(np.int32(x * one)) for x in again)
    return new_sin, new_cos


def ignored(layer: Layer) -> Iterator[Finding]:
    """What a layer asks for that neither netx nor a program does."""
    asked: list[str] = []
    exponent, delay = layer.of_neuron("weight_exp"), layer.of_neuron("refDelay")
    if exponent is not None and exponent != 0:
        asked.append(f"weights divided by 2^{exponent} (neuron/weight_exp)")
    if layer.of_neuron("gradedSpike") and layer.neuron in _INTEGRATORS:
        asked.append("spikes that carry v (neuron/gradedSpike)")
    if delay is not None and delay != 1:
        asked.append(f"a refractory delay of {delay} steps (neuron/refDelay)")
    if layer.of_neuron("messageBits") is not None:
        asked.append(f"messages of {layer.of_neuron('messageBits')} bits (neuron/messageBits)")
    activation = layer.of_neuron("activation")
    if layer.neuron == SIGMA_DELTA and activation not in (None, "relu"):
        asked.append(f"the activation {activation!r} (neuron/activation): it is relu")
    if layer.of_neuron("sigma_output") is not None and not layer.of_neuron("sigma_output"):
        asked.append("no sigma output (neuron/sigma_output): that the field is there makes it one")
    if layer.neuron in RESONATORS and layer.has("bias") and layer.integers("bias").any():
        asked.append("a bias of resonate-and-fire neurons (bias)")
    for what in asked:
        yield Finding(
            code="netx-ignored",
            severity="warning",
            where=layer.name,
            message=f"the file asks for {what}; as in netx, it is not done, so this may be another "
            "network than the one that was trained",
        )
