"""The smallest case that still fails: what a fault is looked at in, and kept as."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np

from snndeploy.errors import SnnDeployError
from snndeploy.ir.network import Network, Population, Projection
from snndeploy.ir.neurons import Neuron
from snndeploy.ir.text import full_text
from tests.fuzz.networks import Case
from tests.fuzz.parts import DoesNotApply, with_parts
from tests.fuzz.relations import RELATIONS, Subject


def fails(case: Case, relation: str) -> bool:
    """Whether the relation does not hold; a case that it says nothing of does not fail."""
    try:
        with np.errstate(all="ignore"):
            RELATIONS[relation](Subject(case))
    except DoesNotApply:
        return False
    except Exception:
        return True
    return False


def shrink(case: Case, still: Callable[[Case], bool]) -> Case:
    """Leave out and simplify whatever can be, as long as the case is ``still`` one to look at."""
    while True:
        for smaller in _smaller(case):
            if still(smaller):
                case = smaller
                break
        else:
            return case


def told(case: Case) -> str:
    """A case in words: its network in full, and its data."""
    data = "\n".join(f"{name} {x.dtype} {x.tolist()}" for name, x in case.data.items())
    return f"{case.target}\n{full_text(case.network)}\n{data}"


def _smaller(case: Case) -> Iterator[Case]:
    for network in _networks(case.network):
        try:
            names = {p.name for p in network.with_role("input")}
            data = {n: x for n, x in case.data.items() if n in names}
            yield case.changed(network.verify(), data)
        except (SnnDeployError, DoesNotApply, ValueError, StopIteration):
            continue
    steps, samples = next(iter(case.data.values())).shape[:2]
    if samples > 1:
        for i in range(samples):
            yield case.changed(case.network, {n: x[:, i : i + 1] for n, x in case.data.items()})
    if steps > 1:
        yield case.changed(case.network, {n: x[:-1] for n, x in case.data.items()})
        yield case.changed(case.network, {n: x[1:] for n, x in case.data.items()})
    for name, x in case.data.items():
        if x.any():
            yield case.changed(case.network, {**case.data, name: x * 0})


def _networks(network: Network) -> Iterator[Network]:
    for p in network.populations:
        yield _without(network, p)
    for q in network.projections:
        yield dataclasses.replace(
            network, projections=tuple(o for o in network.projections if o is not q)
        )
    for p in network.populations:
        for i in range(p.shape[0]) if p.neuron is not None and p.shape[0] > 1 else ():
            others = [j for j in range(p.shape[0]) if j != i]
            try:
                yield with_parts(network, p.name, {p.name: others})
            except (DoesNotApply, SnnDeployError, ValueError):
                break
    for q in network.projections:
        for simpler in _projections(q):
            yield network.replace(projections=[simpler])
    for p in network.populations:
        for neuron in _neurons(p) if p.neuron is not None else ():
            yield network.replace([dataclasses.replace(p, neuron=neuron)])


def _without(network: Network, p: Population) -> Network:
    projections = tuple(
        q
        for q in network.projections
        if q.target != p.name and p.name not in {s.population for s in q.sources}
    )
    left = [o for o in network.populations if o is not p]
    if left and not any(o.role == "output" for o in left) and left[-1].role != "input":
        left[-1] = dataclasses.replace(left[-1], role="output")
    return dataclasses.replace(network, populations=tuple(left), projections=projections)


def _projections(q: Projection) -> Iterator[Projection]:
    if q.bias is not None:
        yield dataclasses.replace(q, bias=None)
    if len(q.sources) > 1:
        for s in q.sources:
            yield dataclasses.replace(q, sources=(s,))
    w = q.weight
    if w.mask is not None:
        yield dataclasses.replace(q, weight=dataclasses.replace(w, mask=None))
    for i in np.flatnonzero(w.data)[:12]:
        data = np.array(w.data)
        data.reshape(-1)[i] = 0
        yield dataclasses.replace(q, weight=dataclasses.replace(w, data=data))


def _neurons(p: Population) -> Iterator[Neuron]:
    """Options at their defaults, and parameters that are one for all."""
    assert p.neuron is not None
    plain = Neuron.create(p.shape, leak=1.0, threshold=1.0)
    for f in dataclasses.fields(Neuron):
        value, default = getattr(p.neuron, f.name), getattr(plain, f.name)
        if isinstance(value, np.ndarray) and value.ndim:
            yield p.neuron.changed(p.shape, **{f.name: value.reshape(-1)[0]})
        if f.name != "threshold" and not np.array_equal(value, default):
            yield p.neuron.changed(p.shape, **{f.name: default})
