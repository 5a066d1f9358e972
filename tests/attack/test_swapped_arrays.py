"""Each array of a network and of a program, as an array of every other kind: refused, or computed with.

What is taken is compiled and run: compiled kernels compute addresses with delays and sizes, and read
wherever those lead.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from snndeploy.bundle.content import check_program
from snndeploy.errors import SnnDeployError
from snndeploy.ir.arrays import Array, frozen
from snndeploy.ir.codec import SharedArrays, encode
from snndeploy.ir.decoding import decode
from snndeploy.ir.network import Network, Projection, Source
from snndeploy.ir.ops import Dense
from snndeploy.ir.program import Program
from snndeploy.ir.weights import Weight
from snndeploy.pipeline import compile
from snndeploy.simulate.integer.engine import run_integer
from tests.fuzz.networks import draw
from tests.support.builders import inputs, lif

REFUSALS = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, SnnDeployError)
"""What those who read files take for damage."""
TYPES = ("f8", "f4", "f2", "?", "i1", "u1", "i8", "u8", ">i4", ">f8")
VALUES = (0, -1, 1, 255, 1 << 15, 1 << 40, -(1 << 63), np.nan, np.inf, 1e300, -0.5)


def small() -> Network:
    """Delays and parameters per neuron, a mask, codes with a step per row, a bias, a loop."""
    rng = np.random.default_rng(0)
    codes = Weight(
        rng.integers(-7, 8, (3, 4)).astype(np.int8),
        scale=np.array([[0.1], [0.2], [0.3]]),
        bits=4,
        mask=rng.random((3, 4)) < 0.8,
    )
    late = Source("input", frozen(np.array([0, 2, 1, 0]), np.int64))
    again = Source("n", frozen(1, np.int64))
    neuron = {"leak": np.array([0.5, 0.75, 0.9]), "threshold": np.array([1.0, 0.5, 0.75])}
    return Network(
        (inputs((4,)), lif("n", (3,), "output", **neuron)),
        (
            Projection("in", (late,), "n", (Dense(3, 4),), codes, frozen([0.1, 0.0, -0.1])),
            Projection("loop", (again,), "n", (Dense(3, 3),), Weight(rng.normal(size=(3, 3)) / 4)),
        ),
    ).verify()


def structured(value: object) -> tuple[Any, dict[str, Array]]:
    """What `encode` makes of it, each array at one place."""
    shared, arrays = SharedArrays(), dict[str, Array]()

    def apart(part: Any) -> Any:
        if isinstance(part, list):
            return [apart(item) for item in part]
        if not isinstance(part, dict):
            return part
        if part.keys() == {"array"}:
            arrays[name := f"place {len(arrays)}"] = shared[part["array"]]
            return {"array": name}
        return {key: apart(item) for key, item in part.items()}

    return apart(json.loads(json.dumps(encode(value, shared)))), arrays


def others(array: Array) -> Iterator[tuple[str, Array]]:
    """The same values as another type or shape, and other values."""
    for dtype in TYPES:
        with np.errstate(all="ignore"):
            yield dtype, array.astype(dtype)
    n = array.size
    shapes = [(), (1,), (0,), (7,), (n,), (n + 1,), (1, 1), (1, *array.shape), (*array.shape, 1)]
    for shape in [*shapes, array.shape[::-1]]:
        yield str(shape), np.resize(array, shape)
    for value in VALUES:
        if array.dtype.kind == "f" or isinstance(value, int):
            with contextlib.suppress(OverflowError), np.errstate(over="ignore"):
                other = np.full(array.shape, value, array.dtype)
                yield str(value), other


def swapped(value: Any) -> tuple[int, int, list[str]]:
    """How many were refused and taken, and what ended in neither."""
    structure, arrays = structured(value)
    refused, taken, failed = 0, 0, list[str]()
    for name, array in arrays.items():
        for told, other in others(array):
            try:
                found = decode(structure, {**arrays, name: other}, type(value))
                check_program(found) if isinstance(found, Program) else found.verify()
            except REFUSALS:
                refused += 1
                continue
            taken += 1
            try:
                with np.errstate(all="ignore"):  # floats of any size may be weights
                    run(found)
            except SnnDeployError:
                continue
            except Exception as error:
                failed.append(f"{name} {array.dtype} {array.shape} as {told}: {error!r}")
    return refused, taken, failed


def run(found: Network | Program) -> None:
    if isinstance(found, Network):
        compile(found, recipe=None)
        return
    given = [g for g in found.groups if g.kind == "input"]
    run_integer(found, {g.name: np.ones((6, 1, *g.shape), np.int64) for g in given})


@pytest.mark.parametrize("what", ["network", "program"])
def test_every_array_as_every_other(what: str) -> None:
    value = small() if what == "network" else compile(small(), recipe=None).program
    refused, taken, failed = swapped(value)
    assert failed == []
    assert min(refused, taken) > 100


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(16))
def test_every_array_of_a_random_network(seed: int) -> None:
    network = draw(seed).network
    assert swapped(network)[2] == []
    with contextlib.suppress(SnnDeployError):  # some are refused by the compiler
        assert swapped(compile(network, recipe=None).program)[2] == []
