"""What must hold of every case: engines that agree, and networks that do the same."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from snndeploy import compile, read_network
from snndeploy.bundle import read_bundle, write_bundle
from snndeploy.certify.bounds import bounds
from snndeploy.certify.engine import run as run_checker
from snndeploy.chip import load_target
from snndeploy.data import Samples
from snndeploy.errors import InputError, LoweringRefused
from snndeploy.export import write_nir
from snndeploy.ir.arrays import Array
from snndeploy.ir.network import Network
from snndeploy.ir.program import Program
from snndeploy.ir.text import full_text
from snndeploy.ir.text import read_network as read_text
from snndeploy.lower import encode_inputs, lower
from snndeploy.mapping import validate_placement
from snndeploy.pipeline import bundle_of, certificate_of
from snndeploy.pipeline.compiled import Compiled
from snndeploy.simulate.float.engine import run_float
from snndeploy.simulate.integer.engine import IntegerEngine, run_integer
from snndeploy.simulate.recording import Recording
from tests.fuzz import changed
from tests.fuzz.networks import Case
from tests.fuzz.parts import DoesNotApply
from tests.fuzz.plain import run_plain
from tests.support.checked import checked
from tests.support.conformance_reference import run_reference

Rng = np.random.Generator


class Refused(DoesNotApply):
    """The compiler says that it has no integers for a network; ``code`` says why."""

    def __init__(self, error: LoweringRefused) -> None:
        self.code = error.code
        super().__init__(error.code)


class Subject:
    """A case and what was computed of it, once."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.rng = np.random.default_rng([case.seed, 7])

    @cached_property
    def program(self) -> Program:
        return self.lowered(self.case.network)

    def lowered(self, network: Network) -> Program:
        try:
            return lower(
                network,
                load_target(self.case.target),
                inputs=self.case.coding,
                steps=self.case.steps,
            )
        except LoweringRefused as error:
            raise Refused(error) from None

    @cached_property
    def messages(self) -> dict[str, Array]:
        return self.messages_of(self.program, self.case.data)

    def messages_of(self, program: Program, data: Mapping[str, Array]) -> dict[str, Array]:
        return {g.name: encode_inputs(data[g.name], g) for g in program.groups if g.kind == "input"}

    @cached_property
    def neurons(self) -> list[str]:
        return [g.name for g in self.program.on_chip if g.kind != "constant"]

    @cached_property
    def integer(self) -> Recording:
        return run_integer(self.program, self.messages, record_states=self.neurons)

    def spikes(self, network: Network, data: Mapping[str, Array] | None = None) -> dict[str, Array]:
        """What the integer engine says of another network."""
        program = self.lowered(network)
        return run_integer(program, self.messages_of(program, data or self.case.data)).spikes

    @cached_property
    def real(self) -> Recording:
        data = {n: x.astype(np.float64) for n, x in self.case.data.items()}
        return run_float(self.case.network, data, dtype="float64", record=self.neurons)

    @property
    def exact(self) -> bool:
        return is_exact(self.program)

    @cached_property
    def compiled(self) -> Compiled:
        case = self.case
        samples = None
        if len(case.data) == 1:
            (samples,) = (Samples(x) for x in case.data.values())
        try:
            return compile(
                case.network,
                target=case.target,
                recipe=None,
                inputs=case.coding,
                calibration=samples,
            )
        except LoweringRefused as error:
            raise Refused(error) from None


def is_exact(program: Program) -> bool:
    return all(r.exact for r in program.rounding.values())


def same(found: Mapping[str, Array], wanted: Mapping[str, Array], names: list[str]) -> None:
    for name in names:
        np.testing.assert_array_equal(found[name], wanted[name], err_msg=name)


# --- engines ------------------------------------------------------------------------------------------


def float_is_what_a_network_means(s: Subject) -> None:
    """The float engine does what `Neuron` says, but where noise of floating point decides."""
    network, data = s.case.network, s.case.data
    plain = run_plain(network, data)
    real = run_float(network, {n: x.astype(np.float64) for n, x in data.items()}, dtype="float64")
    for sample in range(next(iter(data.values())).shape[1]):
        tied = False
        for t in range(s.case.steps):
            for name in network.order:
                if network.population(name).neuron is None:
                    continue
                found = real.spikes[name][t, sample].reshape(-1)
                wanted = plain.spikes[name][t, sample]
                tied |= s.case.kind != "exact" and bool(plain.ties[name][t, sample].any())
                if network.population(name).neuron.spiking:  # type: ignore[union-attr]
                    equal = bool((found == wanted).all())
                else:
                    noise = plain.noise[name][t, sample]
                    equal = bool((np.abs(found - wanted) <= noise + 1e-300).all())
                if not equal and tied:
                    break
                assert equal, f"{name} at step {t} of sample {sample}: {found} for {wanted}"


def integers_are_one_semantics(s: Subject) -> None:
    """Every route, torch, the plain reference and the checker's engine: one answer, and states."""
    wanted = run_reference(s.program, s.messages)
    for keywords in ({}, {"route": "events"}, {"route": "dense"}, {"device": "cpu"}):
        found = IntegerEngine(s.program, **keywords).run(s.messages, record_states=s.neurons)  # type: ignore[arg-type]
        for kind in ("spikes", "u", "v"):
            same(getattr(found, kind), getattr(wanted, kind), s.neurons)
    if all(abs(q.exponent) < 32 for q in s.program.synapses):  # others fit no chip
        sent, _ = run_checker(checked(s.program), s.messages)
        same(sent, wanted.spikes, s.neurons)
    alone = IntegerEngine(s.program).run(s.messages, batch=1)
    same(alone.spikes, wanted.spikes, s.neurons)


def what_is_called_exact_is(s: Subject) -> None:
    """Where rounding is exact up to a population, and of all that it hears, floats agree.

    Answers of readouts do but for the last bits: floating point rounds each sum of them.
    """
    good = {p.name for p in s.case.network.with_role("input")}
    rounded = {n for n, r in s.program.rounding.items() if not r.exact}
    graph = s.case.network.graph
    import networkx as nx

    good |= {n for n in s.neurons if not ({n} | nx.ancestors(graph, n)) & rounded}
    names = [n for n in s.neurons if n in good]
    if not names:
        raise DoesNotApply("nothing is exact")
    for name in names:
        found, wanted = s.integer.spikes[name], s.real.spikes[name]
        if s.program.group(name).kind == "readout":
            found, most = found / s.program.group(name).scale, np.abs(wanted).max(initial=0.0)
            np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-12 * most, err_msg=name)
            continue
        np.testing.assert_array_equal(found, wanted, err_msg=name)


def registers_stay_within_head_room(s: Subject) -> None:
    """Neither the data nor inputs at their most leave what is stated and what the checker bounds."""
    if any(abs(q.exponent) > 31 for q in s.program.synapses):
        raise DoesNotApply("its exponents fit no chip")
    most = {g.name: g.largest for g in s.program.groups if g.kind == "input"}
    within = {n: np.minimum(np.maximum(x, -most[n]), most[n]) for n, x in s.messages.items()}
    peak = int(np.ceil(s.case.coding.message_peak))
    full = {n: np.full((12, 1, *x.shape[2:]), min(most[n], peak)) for n, x in s.messages.items()}
    found = bounds(checked(s.program))
    unproved = any(r.wraps for r in s.program.headroom.values()) or any(
        f.code == "headroom-unproved" for f in s.program.findings
    )
    for data in (within, full):
        use = run_integer(s.program, data, watch=True).registers
        for name, room in s.program.headroom.items():
            u, v = use[name].u_peak, use[name].v_peak
            if not unproved:
                assert u <= room.u_peak, f"u of {name} reaches {u}, stated {room.u_peak}"
                assert v <= room.v_peak or room.v_peak == room.limit, f"v of {name}: {v}"
                assert use[name].wraps == 0
            if all(b.safe for b in found.values()):
                assert u <= found[name].u.max(), f"u of {name} reaches {u}"
                assert v <= found[name].v.max(), f"v of {name} reaches {v}"


# --- networks that do the same ------------------------------------------------------------------------


def permuting_channels_permutes_spikes(s: Subject) -> None:
    network, name, order = changed.first_that_applies(
        s.case.network, s.rng, lambda n, p: changed.permuted(n, p, s.rng)
    )
    wanted = {**s.integer.spikes, name: s.integer.spikes[name][:, :, order]}
    same(s.spikes(network), wanted, s.neurons)


def splitting_a_layer_changes_nothing(s: Subject) -> None:
    if not s.exact:
        raise DoesNotApply("parts may be rounded differently")
    network, name = changed.first_that_applies(
        s.case.network, s.rng, lambda n, p: changed.split(n, p, s.rng)
    )
    program = s.lowered(network)
    if not is_exact(program):
        raise DoesNotApply("a part is not exact")
    found = dict(run_integer(program, s.messages_of(program, s.case.data)).spikes)
    if s.program.group(name).kind == "readout":
        scales = [program.group(f"{name}~{x}").scale for x in "ab"]
        if {float(x.max()) for x in (*scales, s.program.group(name).scale)} != {
            float(scales[0].min())
        }:
            raise DoesNotApply("the answers are in other units")
    found[name] = np.concatenate([found[f"{name}~a"], found[f"{name}~b"]], axis=2)
    compare_units(s, program, found, [n for n in s.neurons if n != name])
    np.testing.assert_array_equal(found[name], s.integer.spikes[name])


def compare_units(
    s: Subject, program: Program, found: Mapping[str, Array], names: list[str]
) -> None:
    """Spikes as they are, answers of readouts in the network's units."""
    for name in names:
        one, other = found[name], s.integer.spikes[name]
        if s.program.group(name).kind == "readout":
            one, other = one / program.group(name).scale, other / s.program.group(name).scale
        np.testing.assert_array_equal(one, other, err_msg=name)


def silent_neurons_change_nothing(s: Subject) -> None:
    network, name = changed.first_that_applies(
        s.case.network, s.rng, lambda n, p: changed.joined_by_silent(n, p, s.rng, heard=s.exact)
    )
    program = s.lowered(network)
    if s.exact and not is_exact(program):
        raise DoesNotApply("head-room for one more leaves no exact scale")
    if not s.exact and any(
        s.program.group(n).scale.max() != program.group(n).scale.max() for n in s.neurons
    ):
        raise DoesNotApply("with one more, another projection decides the scale")
    found = dict(run_integer(program, s.messages_of(program, s.case.data)).spikes)
    assert not found[name][:, :, -1].any()
    found[name] = found[name][:, :, :-1]
    compare_units(s, program, found, [n for n in s.neurons if n != name])
    np.testing.assert_array_equal(found[name], s.integer.spikes[name])


LATE = 3


def a_delay_on_every_path_delays_all_spikes(s: Subject) -> None:
    """Of neurons that do nothing by themselves; and so does an input that comes later."""
    network = changed.unbiased(s.case.network)
    program = s.lowered(network)
    data = s.messages_of(program, s.case.data)
    wait = {n: np.zeros((LATE, *x.shape[1:]), np.int64) for n, x in data.items()}
    idle = run_integer(program, wait, record_states=s.neurons)
    if any(x.any() for n in s.neurons for x in (idle.spikes[n], idle.v[n])):
        raise DoesNotApply("neurons act by themselves")
    before = {n: np.concatenate([wait[n], x]) for n, x in data.items()}
    after = {n: np.concatenate([x, wait[n]]) for n, x in data.items()}
    waited = s.lowered(changed.later(network, LATE))
    runs = (run_integer(program, before), run_integer(waited, after))
    wanted = run_integer(program, data).spikes
    for run in runs:
        for name in s.neurons:
            assert not run.spikes[name][:LATE].any(), name
        same({n: x[LATE:] for n, x in run.spikes.items()}, wanted, s.neurons)


def a_scaled_layer_does_the_same(s: Subject) -> None:
    """All weights, thresholds and biases of a population times a power of two."""
    power = int(s.rng.integers(-3, 4))
    network = changed.first_that_applies(
        s.case.network, s.rng, lambda n, p: changed.scaled(n, p, power)
    )
    same(s.spikes(network), s.integer.spikes, s.neurons)


def a_scaled_row_does_the_same(s: Subject) -> None:
    """Some channels' weights, thresholds and biases times a power of two."""
    if not s.exact:
        raise DoesNotApply("its weights are rounded with those of others")
    power = int(s.rng.integers(-2, 3))

    def change(n: Network, p: Any) -> Network:
        some = s.rng.permutation(p.shape[0])[: max(1, p.shape[0] // 2)].tolist()
        return changed.scaled(n, p, power, some)

    network = changed.first_that_applies(s.case.network, s.rng, change)
    program = s.lowered(network)
    if not is_exact(program):
        raise DoesNotApply("it is not exact any more")
    readouts = [n for n in s.neurons if s.program.group(n).kind == "readout"]
    found = run_integer(program, s.messages_of(program, s.case.data)).spikes
    same(found, s.integer.spikes, [n for n in s.neurons if n not in readouts])


def unrolling_changes_nothing(s: Subject) -> None:
    """Chains of operators as dense matrices."""
    if not s.exact:
        raise DoesNotApply("rows may be rounded differently")
    program = s.lowered(changed.unrolled(s.case.network))
    if not is_exact(program):
        raise DoesNotApply("a sum of weights is not exact")
    found = run_integer(program, s.messages_of(program, s.case.data)).spikes
    compare_units(s, program, found, s.neurons)


def names_and_order_mean_nothing(s: Subject) -> None:
    network, names = changed.renamed(s.case.network, s.rng)
    assert network.digest == s.case.network.digest
    found = s.spikes(network, {names[n]: x for n, x in s.case.data.items()})
    same({n: found[names[n]] for n in s.neurons}, s.integer.spikes, s.neurons)


# --- files --------------------------------------------------------------------------------------------


def compiling_twice_gives_one_digest(s: Subject) -> None:
    again = Subject(s.case).compiled
    assert again.program.digest == s.compiled.program.digest
    assert again.placement == s.compiled.placement
    assert validate_placement(again.program, again.placement, again.target) == ()


def a_bundle_is_certified_and_read_back(s: Subject) -> None:
    if not s.compiled.fits:
        raise DoesNotApply("it does not fit")
    bundle = bundle_of(s.compiled)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        path = Path(folder) / "net.snnb"
        write_bundle(path, bundle, version="0")
        told = certificate_of(path)
        assert told["certified"], told
        back = read_bundle(path)
    assert back.program.digest == bundle.program.digest
    assert back.program.headroom == bundle.program.headroom
    assert back.program.rounding == bundle.program.rounding
    assert {n: x.digest for n, x in back.networks.items()} == {
        n: x.digest for n, x in bundle.networks.items()
    }
    assert back.placement == bundle.placement
    assert back.golden.keys() == bundle.golden.keys()
    for name, x in back.golden.items():
        np.testing.assert_array_equal(x, bundle.golden[name])


def nir_gives_the_network_back(s: Subject) -> None:
    network = s.case.network
    assert read_text(full_text(network)).digest == network.digest
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        try:
            path = write_nir(Path(folder) / "net.nir", network)
        except InputError as error:
            if error.code != "export-nir":
                raise
            raise DoesNotApply("NIR has no node for it") from None
        assert read_network(path).digest == network.digest


Relation = Callable[[Subject], None]
RELATIONS: dict[str, Relation] = {
    f.__name__.replace("_", " "): f
    for f in (
        float_is_what_a_network_means,
        integers_are_one_semantics,
        what_is_called_exact_is,
        registers_stay_within_head_room,
        permuting_channels_permutes_spikes,
        splitting_a_layer_changes_nothing,
        silent_neurons_change_nothing,
        a_delay_on_every_path_delays_all_spikes,
        a_scaled_layer_does_the_same,
        a_scaled_row_does_the_same,
        unrolling_changes_nothing,
        names_and_order_mean_nothing,
        compiling_twice_gives_one_digest,
        a_bundle_is_certified_and_read_back,
        nir_gives_the_network_back,
    )
}
