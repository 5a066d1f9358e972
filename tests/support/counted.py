"""Programs small enough to count by hand."""

from __future__ import annotations

import numpy as np

from snndeploy.ir.arrays import frozen
from snndeploy.ir.ops import Conv, Dense
from snndeploy.ir.placement import Placement, Slice
from snndeploy.ir.program import CompartmentGroup, Program, SynapseGroup, SynapseSource
from snndeploy.ir.step import LOIHI
from snndeploy.simulate.recording import Recording


def group(name: str, shape: tuple[int, ...], depth: int, kind: str = "lif") -> CompartmentGroup:
    role = {0: "input"}.get(depth, "hidden")
    return CompartmentGroup(name=name, shape=shape, role=role, kind=kind, depth=depth)  # type: ignore[arg-type]


def synapses(
    name: str, source: str, target: str, op: Dense | Conv, mantissa: np.ndarray
) -> SynapseGroup:
    return SynapseGroup(
        name=name,
        sources=(SynapseSource(source, frozen(1)),),
        target=target,
        ops=(op,),
        mantissa=frozen(mantissa),
        exponent=0,
        sign_mode="mixed",
        weight_bits=8,
    )


def small() -> tuple[Program, Placement, Recording]:
    """in(3) -> a(4) on cores 0 and 9 -> b(2) on core 33; zeros are not synapses that operate."""
    first = np.array([[2, 0, 2], [0, 0, 4], [2, 2, 0], [0, 6, 0]])
    second = np.array([[2, 2, 0, 0], [2, 2, 2, 2]])
    program = Program(
        arithmetic=LOIHI,
        target="loihi1",
        groups=(group("in", (3,), 0, "input"), group("a", (4,), 1), group("b", (2,), 2)),
        synapses=(
            synapses("w0", "in", "a", Dense(4, 3), first),
            synapses("w1", "a", "b", Dense(2, 4), second),
        ),
    )
    placement = Placement(
        target="loihi1",
        cores_per_chip=128,
        slices=(
            Slice(group="a", bounds=((0, 2),), core=0),
            Slice(group="a", bounds=((2, 4),), core=9),
            Slice(group="b", bounds=((0, 2),), core=37),
        ),
    )
    recording = Recording(
        engine="integer",
        spikes={
            "in": np.array([[[1, 0, 1]], [[0, 1, 0]]]),  # 2 steps, 1 sample
            "a": np.array([[[1, 0, 0, 1]], [[1, 0, 0, 0]]]),
            "b": np.array([[[0, 0]], [[1, 0]]]),
        },
    )
    return program, placement, recording
