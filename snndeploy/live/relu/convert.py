"""`from_relu`: a ReLU network in torch as the program of a sigma-delta network."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...chip import Family, Target, family_of, load_target
from ...data import Samples
from ...errors import InputError, LoweringRefused
from ...ir.arrays import Array, frozen, parameter
from ...ir.finding import Finding
from ...ir.graded.delta import Activation, DeltaForm, DeltaRule
from ...ir.ops import Op, Pointwise
from ...ir.program import CompartmentGroup, Program, SynapseGroup, SynapseSource
from ...ir.told.deltas import Starts, told_of_deltas
from ...lower import InputCoding
from .layers import ReluLayer, relu_layers
from .scales import (
    FRACTION,
    MESSAGE_BITS,
    LayerScale,
    Observed,
    input_threshold,
    layer_scales,
    seen_on,
)

if TYPE_CHECKING:
    from torch import nn

_SUM_BITS = 24
"""Of the messages of the last layer, which drop nothing: the whole sum and its bias."""


def from_relu(
    module: nn.Module,
    samples: Samples,
    *,
    threshold: float = 0.2,
    bits: int = 8,
    spike_exp: int = 6,
    target: str | Target = "loihi2",
    starts: Starts = "sample",
) -> Program:
    """Convert a feed-forward ReLU network to a sigma-delta network, without training.

    Weights get ``bits`` bits and an exponent per layer, biases their integers, every layer a factor and
    a threshold that follow from what it does on the samples. An encoder in front sends how the data
    change; behind the last layer, whose messages drop nothing, a group adds up the answers: what it
    sends at a step, over its ``scale``, is what the module answers to the frame of that step.

    Args:
        module: convolutions, linear layers, batch norm, average pools, ReLU and flatten in a row, in
            evaluation mode; it is not changed.
        samples: calibration data; every step is a frame.
        threshold: changes below this times the mean activation of a layer (zeros left out) wait.
        bits: of weights, 2 to 8.
        spike_exp: fractional bits of messages beyond 6; fewer leave room for larger activations.
        target: a chip with graded messages.
        starts: see `Starts`.

    Returns:
        A verified program: place it with `snndeploy.pipeline.place_file`.

    Raises:
        InputError: the module has no such form, or answers otherwise than what was read of it.
        LoweringRefused: ``graded-missing``, the chip has no graded messages.
    """
    chip = target if isinstance(target, Target) else load_target(target)
    family = family_of(chip)
    if not chip.neurons.graded_spikes or family.own_neuron is not None:
        raise LoweringRefused(
            "graded-missing",
            f"{chip.name} sends no numbers, which sigma-delta neurons do",
            where="from_relu",
            hint="convert for loihi2",
        )
    for name, value, low, high in (("bits", bits, 2, 8), ("spike_exp", spike_exp, 0, 9)):
        if not low <= value <= high:
            raise InputError(
                "relu-option", f"{name} is {value}, not {low} to {high}", where="from_relu"
            )
    frames = np.asarray(samples.inputs, np.float32)
    frames = frames.reshape(-1, *frames.shape[2:])
    layers = relu_layers(module, frames)
    seen = seen_on(layers, frames)
    coding = InputCoding(kind="analog", peak=max(seen[0].activation, 1e-6))
    of_input = coding.scale / 2**FRACTION
    scales = layer_scales(
        layers, seen, family, threshold=threshold, bits=bits, spike_exp=spike_exp, of_input=of_input
    )
    built = _Building(family, starts, spike_exp, coding, frames.shape[1:])
    built.encoder(input_threshold(threshold, seen[0], of_input))
    for i, (layer, scale) in enumerate(zip(layers, scales, strict=True)):
        built.layer(layer, scale, last=i == len(layers) - 1, bits=bits)
    built.answers(scales[-1].factor)
    told = (*told_of_deltas(built.groups, built.synapses, starts), *_losses(layers, scales, seen))
    return Program(
        arithmetic=family.arithmetic,
        target=chip.name,
        groups=tuple(built.groups),
        synapses=tuple(built.synapses),
        findings=told,
    ).verify()


class _Building:
    """Groups and synapses as far as they are built."""

    def __init__(
        self,
        family: Family,
        starts: Starts,
        spike_exp: int,
        coding: InputCoding,
        shape: tuple[int, ...],
    ) -> None:
        self.family, self.starts, self.spike_exp = family, starts, spike_exp
        self.groups = [
            CompartmentGroup(
                name="input",
                shape=shape,
                role="input",
                kind="input",
                depth=0,
                message_bits=coding.message_bits,
                scale=frozen(coding.scale),
            )
        ]
        self.synapses: list[SynapseGroup] = []

    def _add(self, group: CompartmentGroup, ops: tuple[Op, ...], **weights: object) -> None:
        source = self.groups[-1]
        behind = source.depth + 1 if self.starts == "sample" or len(self.groups) == 1 else 1
        self.groups.append(dataclasses.replace(group, depth=behind))
        fields = {"exponent": 0, "sign_mode": "mixed", "weight_bits": 8, **weights}
        self.synapses.append(
            SynapseGroup(
                name=f"{group.name}-synapses",
                sources=(SynapseSource(source.name, frozen(1, np.int64)),),
                target=group.name,
                ops=ops,
                **fields,  # type: ignore[arg-type]
            )
        )

    def _neurons(
        self,
        name: str,
        shape: tuple[int, ...],
        form: DeltaForm,
        *,
        threshold: int = 0,
        bias: Array | int = 0,
        factor: float = 1.0,
        whole: bool = False,
        activation: Activation = "relu",
    ) -> CompartmentGroup:
        """Sigma-delta neurons; messages of ``whole`` ones drop nothing."""
        dropped = 0 if whole else FRACTION
        rule = DeltaRule(
            form=form,
            spike_exp=self.spike_exp + FRACTION - dropped,
            state_exp=dropped,
            activation=activation,
        )
        return CompartmentGroup(
            name=name,
            shape=shape,
            role="output" if form == "sigma" else "hidden",
            kind="delta",
            depth=0,
            message_bits=_SUM_BITS if whole else MESSAGE_BITS,
            scale=frozen(factor * 2.0 ** (2 * FRACTION + self.spike_exp)),
            vth=frozen(threshold, np.int64),
            bias_mant=parameter(bias, shape, np.int64),
            dynamics=rule,
            route=f"{form} neuron (lava's own process)",
        )

    def encoder(self, threshold: int) -> None:
        """Sends how the data change."""
        shape = self.groups[0].shape
        self._add(
            self._neurons("encoder", shape, "delta", threshold=threshold),
            (Pointwise(shape),),
            mantissa=frozen(1, np.int64),
            sign_mode="excitatory",
        )

    def layer(self, layer: ReluLayer, scale: LayerScale, *, last: bool, bits: int) -> None:
        """One layer of the network."""
        bias = scale.bias.reshape(-1, *(1,) * (len(layer.shape) - 1))
        self._add(
            self._neurons(
                layer.name,
                layer.shape,
                "sigma-delta",
                threshold=scale.threshold,
                bias=bias,
                factor=scale.factor,
                whole=last,
                activation="relu" if layer.relu else "unit",
            ),
            layer.ops,
            mantissa=frozen(scale.mantissa, np.int64),
            exponent=scale.exponent,
            weight_bits=bits,
        )

    def answers(self, factor: float) -> None:
        """Adds up what the last layer tells."""
        shape = self.groups[-1].shape
        self._add(
            self._neurons("answers", shape, "sigma", factor=factor, whole=True),
            (Pointwise(shape),),
            mantissa=frozen(1, np.int64),
            sign_mode="excitatory",
        )


def _losses(
    layers: Sequence[ReluLayer], scales: Sequence[LayerScale], seen: Sequence[Observed]
) -> tuple[Finding, ...]:
    """What was chosen for every layer, in one note each."""
    return tuple(
        Finding(
            code="relu-layer-scaled",
            severity="note",
            where=layer.name,
            message=f"activations up to {here.activation:.4g} on the samples, held times "
            f"{scale.factor:.4g}; weights of exponent {scale.exponent}; changes of less than "
            f"{scale.threshold / 2**FRACTION / scale.factor:.3g} wait",
        )
        for layer, scale, here in zip(layers, scales, seen[1:], strict=True)
    )
