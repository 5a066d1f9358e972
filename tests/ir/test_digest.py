"""Digests: every field counts, names and order do not, and depth costs no more than width."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snndeploy.ir.arrays import frozen
from snndeploy.ir.digest.content import content_digest
from snndeploy.ir.digest.graph import LabelledEdge, graph_digest
from snndeploy.ir.digest.samples import SampleDigest
from snndeploy.ir.graded.delta import DeltaRule
from snndeploy.ir.graded.resonator import ResonatorRule
from snndeploy.ir.network import Network, Population, Projection, Source
from snndeploy.ir.neurons import Neuron
from snndeploy.ir.ops import Conv, Dense, Pointwise, Reshape, SumPool
from snndeploy.ir.program import CompartmentGroup, Program, SynapseGroup, SynapseSource
from snndeploy.ir.step import LOIHI, Arithmetic
from snndeploy.ir.weights import Weight
from tests.support.builders import inputs, lif, project
from tests.support.chains import chain

PROVENANCE = {
    (Population, "kept"),  # where kernels were removed in the trained network
    (Network, "notes"),  # for people
    (Program, "differing"),  # measured on it
    (Network, "findings"),  # what reading had to assume, not what it came to
    (CompartmentGroup, "route"),  # how the chip realises what the other fields say, in words
    (Program, "headroom"),  # what is known of the program, not what it is
    (Program, "rounding"),
    (Program, "findings"),
}
"""Fields that are no content."""
NAMES = {(Population, "name"), (Projection, "name")}
"""Fields that the digest of a network does not see: questions have no names. (Those by which its parts
refer to each other count as edges, see the tests of graphs below.)"""

SAMPLES: dict[type, Any] = {
    Neuron: Neuron.create((4,), leak=0.5, syn_leak=0.5, threshold=1.0, v_floor=-1.0, max_spikes=3),
    Population: Population("a", (4,), Neuron.create((4,), leak=0.5, threshold=1.0)),
    Source: Source("a"),
    Weight: Weight(np.ones((2, 2), np.int8), frozen(0.5), 4, np.eye(2, dtype=bool), "symmetric"),
    Projection: project("w", "a", "b", Dense(4, 4), np.eye(4)),
    Arithmetic: LOIHI,
    SynapseSource: SynapseSource("a", frozen(1)),
    SynapseGroup: SynapseGroup(
        name="w",
        sources=(SynapseSource("in", frozen(1)),),
        target="n",
        ops=(Dense(2, 2),),
        mantissa=frozen(np.eye(2, dtype=np.int64)),
        exponent=0,
        sign_mode="mixed",
        weight_bits=8,
    ),
    CompartmentGroup: CompartmentGroup(
        name="n", shape=(2,), role="output", kind="custom", depth=1, max_spikes=1
    ),
    DeltaRule: DeltaRule(form="delta"),
    ResonatorRule: ResonatorRule(form="phase", sin=3, cos=5),
    Dense: Dense(2, 3),
    Conv: Conv(2, 1, (3, 3), (1, 1), ((1, 1),) * 2, (1, 1)),
    Pointwise: Pointwise((4,)),
    SumPool: SumPool((2, 2), (2, 2)),
    Reshape: Reshape((4,)),
}
SAMPLES[Network] = chain(2)
SAMPLES[Program] = Program(
    target="t",
    arithmetic=LOIHI,
    groups=(SAMPLES[CompartmentGroup],),
    synapses=(SAMPLES[SynapseGroup],),
)
FIELDS = [(cls, f.name) for cls in SAMPLES for f in dataclasses.fields(cls)]


def another(value: Any) -> Any:
    """Some other value of the same kind."""
    if isinstance(value, np.ndarray):
        return frozen(~value if value.dtype == bool else value + 1)
    if isinstance(value, str):
        return value + "x"
    if isinstance(value, tuple):
        return (*value[1:], another(value[0])) if value else (1,)
    if dataclasses.is_dataclass(value):
        (first, *_) = dataclasses.fields(value)
        return bypass(value, first.name, another(getattr(value, first.name)))
    if isinstance(value, dict):
        return {**value, "new": "x"}
    return frozen(1.0) if value is None else value + 1


def bypass(value: Any, name: str, new: Any) -> Any:
    """A copy with one field set, past every check."""
    copy = object.__new__(type(value))
    for f in dataclasses.fields(value):
        object.__setattr__(copy, f.name, getattr(value, f.name))
    object.__setattr__(copy, name, new)
    return copy


@pytest.mark.parametrize(
    ("cls", "name"), FIELDS, ids=[f"{cls.__name__}.{name}" for cls, name in FIELDS]
)
def test_every_field_counts(cls: type, name: str) -> None:
    """By introspection: a field that is added later is tested the day it is added."""
    value = SAMPLES[cls]
    changed = bypass(value, name, another(getattr(value, name)))
    assert content_digest(value) == content_digest(bypass(value, name, getattr(value, name)))
    assert (content_digest(changed) == content_digest(value)) == ((cls, name) in PROVENANCE)


def test_fields_without_content_are_those() -> None:
    found = {
        (cls, f.name)
        for cls in SAMPLES
        for f in dataclasses.fields(cls)
        if not f.metadata.get("content", True)
    }
    assert found == PROVENANCE


def in_network(cls: type, name: str) -> tuple[Network, Network]:
    """A network, and the same with one field of one part changed."""
    neuron = SAMPLES[Neuron]
    parts = [inputs((4,)), Population("a", (4,), neuron), Population("b", (4,), neuron, "output")]
    weight = Weight(np.ones((4, 4), np.int8), frozen(0.5), 4, np.eye(4, dtype=bool))
    middle = Projection("w", (Source("a"),), "b", (Dense(4, 4),), weight)
    first = project("in", "input", "a", Dense(4, 4), np.eye(4))
    base = Network(tuple(parts), (first, middle))
    owner: dict[type, Any] = {
        Neuron: neuron,
        Population: parts[1],
        Projection: middle,
        Weight: weight,
        Source: middle.sources[0],
        Dense: middle.ops[0],
    }
    value = owner[cls]
    new = bypass(value, name, another(getattr(value, name)))
    if cls is Neuron:
        new = bypass(parts[1], "neuron", new)
    if isinstance(new, Population):
        return base, dataclasses.replace(base, populations=(parts[0], new, parts[2]))
    if cls is Weight:
        new = bypass(middle, "weight", new)
    if cls is Source:
        new = bypass(middle, "sources", (new,))
    if cls is Dense:
        new = bypass(middle, "ops", (new,))
    return base, dataclasses.replace(base, projections=(first, new))


IN_NETWORK = [
    (cls, f.name)
    for cls in (Neuron, Population, Projection, Weight, Source, Dense)
    for f in dataclasses.fields(cls)
    if (cls, f.name)
    not in {
        (Population, "name"),
        (Projection, "sources"),
        (Projection, "target"),
        (Source, "population"),
    }
]
"""All but those that name a part, which cannot change alone."""


@pytest.mark.parametrize(
    ("cls", "name"), IN_NETWORK, ids=[f"{cls.__name__}.{name}" for cls, name in IN_NETWORK]
)
def test_every_field_counts_in_a_network(cls: type, name: str) -> None:
    base, changed = in_network(cls, name)
    assert (base.digest == changed.digest) == ((cls, name) in PROVENANCE | NAMES)


def test_parts_that_run_together_do_not() -> None:
    assert content_digest(("a", "bc")) != content_digest(("ab", "c"))
    assert content_digest((1,)) != content_digest((1.0,)) != content_digest((True,))
    assert content_digest(None) != content_digest("None")
    with pytest.raises(TypeError, match="set has no digest"):
        content_digest({1})


@pytest.mark.parametrize("dtype", ["f4", ">f8", "i2", ">i4", "u1", "?"])
def test_arrays_are_hashed_by_kind_shape_and_values(
    dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However large they are, and however they lie in memory: in pieces, or in one."""
    values = np.array([[0, 1, -3, 2], [-0.0, 5, 1, 0], [1, 1, 0, 4]]).astype(dtype)
    little = np.dtype(dtype).newbyteorder("<")
    parts = (
        b"array",
        str(little).encode(),
        b"(3, 4)",
        np.where(values == 0, 0, values).astype(little).tobytes(),
    )
    framed = b"".join(len(part).to_bytes(8, "little") + part for part in parts)
    expected = hashlib.sha256(framed).hexdigest()
    for piece in (1, 5, 12, 13):
        monkeypatch.setattr("snndeploy.ir.digest.content._PIECE", piece)
        assert content_digest(values) == expected
        assert content_digest(np.asfortranarray(values)) == expected
        assert content_digest(np.repeat(values, 2, axis=1)[:, ::2]) == expected
    assert content_digest(np.zeros((0, 3), dtype)) != content_digest(np.zeros((3, 0), dtype))


# --- graphs ---------------------------------------------------------------------------------------

OP, EYE = Dense(2, 2), np.eye(2)


def wired(*edges: tuple[str, str] | tuple[str, str, int]) -> Network:
    """Equal layers, wired as told (delay 0 unless given)."""
    names = dict.fromkeys(name for a, b, *_ in edges for name in (a, b))
    populations = [inputs((2,)) if n == "input" else lif(n, (2,)) for n in names]
    projections = [
        project(f"{i}", a, b, OP, EYE, delay=delay[0] if delay else 0)
        for i, (a, b, *delay) in enumerate(edges)
    ]
    return Network(tuple(populations), tuple(projections))


PAIRS: dict[str, tuple[Network, Network]] = {
    "delays on one branch, or on two": (
        wired(("input", "a", 1), ("input", "b"), ("a", "c", 2), ("b", "c")),
        wired(("input", "a", 1), ("input", "b"), ("a", "c"), ("b", "c", 2)),
    ),
    "two chains, or one longer": (
        wired(("input", "a"), ("a", "b"), ("input", "c"), ("c", "d")),
        wired(("input", "a"), ("a", "b"), ("b", "c"), ("input", "d")),
    ),
    "loops of two and four, or of three and three": (
        wired(
            ("input", "a"),
            ("a", "b", 1),
            ("b", "a", 1),
            ("input", "c"),
            ("c", "d", 1),
            ("d", "e", 1),
            ("e", "f", 1),
            ("f", "c", 1),
        ),
        wired(
            ("input", "a"),
            ("a", "b", 1),
            ("b", "c", 1),
            ("c", "a", 1),
            ("input", "d"),
            ("d", "e", 1),
            ("e", "f", 1),
            ("f", "d", 1),
        ),
    ),
    "a shared layer, or one each": (
        wired(("input", "a"), ("a", "b"), ("a", "c")),
        wired(("input", "a"), ("input", "d"), ("a", "b"), ("d", "c")),
    ),
    "twice the same projection, or once": (
        wired(("input", "a"), ("input", "a")),
        wired(("input", "a")),
    ),
}


@pytest.mark.parametrize("case", PAIRS)
def test_different_wiring(case: str) -> None:
    one, other = PAIRS[case]
    assert one.digest != other.digest


def zigzag(nodes: int, first: int) -> list[LabelledEdge]:
    """A path whose edges point forth and back in turn."""
    steps = range(first, first + nodes - 1)
    ends = [(i, i + 1) if (i - first) % 2 else (i + 1, i) for i in steps]
    return [LabelledEdge(a, b, "", True) for a, b in ends]


def test_differences_that_only_zigzags_tell() -> None:
    """Paths of 3 and 7 nodes, or of 5 and 5: no node's ancestors and descendants tell."""
    apart = graph_digest([""] * 10, zigzag(3, 0) + zigzag(7, 3))
    alike = graph_digest([""] * 10, zigzag(5, 0) + zigzag(5, 5))
    assert apart != alike


@st.composite
def renamed(draw: st.DrawFn) -> tuple[Network, Network]:
    """A random network with loops, and a copy under other names and in another order."""
    n = draw(st.integers(1, 7))
    pair = st.tuples(st.integers(0, n), st.integers(1, n), st.integers(0, 2))
    edges = draw(st.lists(pair, min_size=1, max_size=12))
    # within a step from lower to higher numbers only
    edges = [(a, b, d if a < b else d + 1) for a, b, d in edges]
    leaks = draw(st.lists(st.sampled_from([0.5, 0.75]), min_size=n, max_size=n))

    def build(name: Callable[[int], str], order: list[int], wires: list[int]) -> Network:
        populations = [
            inputs((2,), name(0)) if i == 0 else lif(name(i), (2,), leak=leaks[i - 1])
            for i in order
        ]
        projections = [
            project(
                f"{name(0)}{k}", name(edges[k][0]), name(edges[k][1]), OP, EYE, delay=edges[k][2]
            )
            for k in wires
        ]
        return Network(tuple(populations), tuple(projections))

    order = draw(st.permutations(range(n + 1)))
    wires = draw(st.permutations(range(len(edges))))
    new = draw(st.permutations(range(n + 1)))
    plain = build(str, list(range(n + 1)), list(range(len(edges))))
    return plain, build(lambda i: f"x{new[i]}", order, wires)


@given(renamed())
@settings(max_examples=150, deadline=None)
def test_names_and_order_do_not_count(pair: tuple[Network, Network]) -> None:
    assert pair[0].digest == pair[1].digest


@pytest.mark.parametrize("options", [{}, {"delay": 1}, {"back": True}], ids=str)
def test_a_thousand_equal_layers(options: dict[str, Any]) -> None:
    """In less than a second, which counts CPU time so that a busy machine does not matter."""
    network, shorter = chain(1000, **options), chain(999, **options)
    started = time.process_time()
    digest = network.digest
    assert time.process_time() - started < 1
    assert digest != shorter.digest


X = np.arange(24, dtype=np.float32).reshape(4, 2, 3)
"""(steps, samples, neurons)"""
UNLIKE: dict[str, tuple[Any, ...]] = {
    "values": (X + 1,),
    "types": (X.astype(np.float64),),
    "shapes": (X.reshape(4, 1, 6),),
    "names": ({"left": X},),
    "which input is which": ({"left": X, "right": X + 1},),
    "inputs exchanged": ({"left": X + 1, "right": X},),
    "labels": (X, np.array([0, 1])),
    "other labels": (X, np.array([1, 0])),
    "a label per step": (X, np.array([[0, 1], [1, 0]])),
    "a window": (X, np.array([[0, 1], [1, 0]]), 2),
    "target values": (X, None, 1, np.array([[0.0], [1.0]])),
    "other target values": (X, None, 1, np.array([[1.0], [0.0]])),
}
"""Samples that differ from ``X``, and from each other, in one thing."""


def test_samples_that_differ_in_anything_have_other_digests() -> None:
    digests = [SampleDigest().add(*given).hex() for given in ((X,), *UNLIKE.values())]
    assert len(set(digests)) == len(UNLIKE) + 1
    two = SampleDigest().add(X[:, :1]).add(X[:, 1:]).hex()
    assert two not in digests  # batches are told apart


def test_samples_have_the_same_digest_however_they_lie_in_memory() -> None:
    labels = np.array([0, 1])
    expected = SampleDigest().add({"a": X, "b": X[:2]}, labels).hex()
    big, apart = X.astype(">f4"), np.repeat(X, 2, axis=2)[:, :, ::2]
    for x, y in ((big, labels.astype(np.int8)), (apart, labels.astype(">u2"))):
        assert SampleDigest().add({"b": x[:2], "a": x}, y).hex() == expected
    assert SampleDigest().add(X, labels, 1).hex() == SampleDigest().add(X, labels, 9).hex()
    assert SampleDigest().add(X).hex() == (
        "e06f34754f4644146903912f08e5f323a7bacde3ec227d54e91c4c96c05240da"
    )


def test_what_is_the_same_at_every_step_is_read_once() -> None:
    huge = np.broadcast_to(X[:1], (1 << 40, 2, 3))
    assert SampleDigest().add(huge).hex() != SampleDigest().add(huge[:-1]).hex()
