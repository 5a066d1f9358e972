"""Families: found by name, refused with a reason, and a new one is a folder and a target file."""

from __future__ import annotations

import dataclasses
import re
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest

import snndeploy
from snndeploy.bundle import read_bundle
from snndeploy.chip import Target, dump_target, families, family_of, load_target, parse_target
from snndeploy.chip.families import GROUP, family_class, family_names
from snndeploy.errors import LoweringRefused, TargetError
from snndeploy.ir.network import Network
from snndeploy.ir.ops import Dense
from snndeploy.ir.program import Program
from snndeploy.ir.step import LOIHI
from snndeploy.ir.weights import Weight
from snndeploy.lower import lower
from snndeploy.mapping import check_program, place_program, validate_placement
from snndeploy.simulate.integer.engine import run_integer
from tests.support import fictional_family
from tests.support.builders import conv_net, inputs, lif, project
from tests.support.commands import FRONTEND, check, network, run

FLAT = Path(fictional_family.__file__).with_name("flat.toml")
PACKAGE = Path(snndeploy.__file__).parent


@pytest.fixture
def flat(monkeypatch: pytest.MonkeyPatch) -> Target:
    """The fictional chip, its family installed as a package would install it."""
    plug_in(monkeypatch, "tests.support.fictional_family:Flat")
    load_target.cache_clear()
    return load_target(str(FLAT))


def plug_in(monkeypatch: pytest.MonkeyPatch, value: str, name: str = "flat") -> None:
    points = [EntryPoint(name, value, GROUP)]
    monkeypatch.setattr(families, "entry_points", lambda group: points if group == GROUP else [])


def dense(codes: np.ndarray, step: float = 1 / 16, **neuron: object) -> Network:
    """One layer of quantised weights between an input and leaky outputs."""
    weight = Weight(codes, np.asarray(step), 8)
    return Network(
        (inputs((codes.shape[1],)), lif("out", (codes.shape[0],), "output", **neuron)),
        (project("w", "input", "out", Dense(*codes.shape), weight),),
    ).verify()


# Names


def test_names_and_classes() -> None:
    assert family_names() == ["loihi1", "loihi2", "xylo"]
    for name in family_names():
        assert family_class(name).name == name


def test_an_unknown_family(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text('inherits = "tiny"\nname = "x"\nfamily = "loihi3"')
    with pytest.raises(TargetError) as caught:
        load_target(tmp_path / "x.toml")
    assert caught.value.code == "family-unknown"
    assert str(caught.value).startswith(
        "there is no family of chips 'loihi3'\n  next: did you mean"
    )


def test_two_packages_with_one_family(monkeypatch: pytest.MonkeyPatch) -> None:
    plug_in(monkeypatch, "mine:Loihi2", "loihi2")
    with pytest.raises(TargetError) as caught:
        family_names()
    assert caught.value.code == "family-duplicate"
    assert "snndeploy.chip.families.loihi2:Loihi2 and mine:Loihi2" in caught.value.message


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("no_such_module:Flat", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("pathlib:Path", "<class 'pathlib.Path'> is not a subclass of Family"),
        ("snndeploy.chip.families.loihi1:Loihi1", "it calls itself 'loihi1'"),
    ],
)
def test_a_broken_family(monkeypatch: pytest.MonkeyPatch, value: str, why: str) -> None:
    plug_in(monkeypatch, value)
    with pytest.raises(TargetError) as caught:
        family_class("flat")
    assert caught.value.code == "family-broken"
    assert caught.value.message.endswith(f"cannot be used: {why}")


def test_a_target_of_before_is_told_what_to_rename() -> None:
    text = dump_target(load_target("tiny")).replace("family =", "memory_model =")
    with pytest.raises(TargetError) as caught:
        parse_target(text, "old.toml")
    assert caught.value.code == "target-schema"
    assert str(caught.value) == (
        "old.toml:memory_model: unknown key 'memory_model'; the family of a chip is named by "
        '\'family\'\n  next: write family = "loihi2" instead of memory_model = "loihi2"'
    )


def test_a_target_without_a_family() -> None:
    text = dump_target(load_target("tiny")).replace('family = "loihi2"\n', "")
    with pytest.raises(TargetError) as caught:
        parse_target(text, "t.toml")
    assert caught.value.message == "it does not say which family of chips it belongs to"


@pytest.mark.parametrize(
    ("name", "text", "where"),
    [
        ("loihi2", "[synapse.entry_synapses]\nlimit = 64", "synapse.entry_synapses"),
        ("loihi2", "[axons.out_discrete]\nlimit = 1", "axons.out_discrete"),
        ("loihi1", "[axons.in_kernel]\nlimit = 2", "axons.in_kernel"),
        ("loihi1", "[neurons]\nprogram_words = 2", "neurons.program_words"),
    ],
)
def test_a_key_that_only_another_family_reads(
    tmp_path: Path, name: str, text: str, where: str
) -> None:
    (tmp_path / "x.toml").write_text(f'inherits = "{name}"\nname = "x"\n{text}')
    with pytest.raises(TargetError) as caught:
        load_target(tmp_path / "x.toml")
    assert caught.value.where.endswith(f"x.toml:{where}")
    assert f"unknown key {where.partition('.')[2]!r}; " in caught.value.message


def test_no_room_but_its_own_names_a_family() -> None:
    """A comparison with a family's name is a two-way if on an open set."""
    names = "|".join(family_names())
    asked = re.compile(rf"(==|!=|\bin\b|case)\s*\(?\s*[\"']({names})[\"']")
    asking = [p for p in PACKAGE.rglob("*.py") if asked.search(p.read_text(encoding="utf-8"))]
    # the separate checker derives everything once more, without a family of ours
    assert [p for p in asking if p.parent.name != "certify"] == []


# A Loihi-shaped chip: one target file


def child(tmp_path: Path, text: str) -> Target:
    (tmp_path / "x.toml").write_text(f'inherits = "loihi2"\nname = "x"\n{text}')
    return load_target(tmp_path / "x.toml")


def narrow(tmp_path: Path, bits: int) -> Target:
    return child(tmp_path, f"[numeric.state_bits]\nlimit = {bits}")


def test_registers_of_16_bits_are_obeyed(tmp_path: Path) -> None:
    target = narrow(tmp_path, 16)
    net = dense(np.random.default_rng(0).integers(-127, 128, (5, 20)))
    wide, program = lower(net, load_target("loihi2")), lower(net, target)
    assert wide.arithmetic == LOIHI
    assert program.arithmetic == dataclasses.replace(LOIHI, state_bits=16)
    assert float(program.group("out").scale) < float(wide.group("out").scale)
    assert (family_of(load_target("loihi2")).judge, family_of(target).judge) == ("lava", None)
    room = program.headroom["out"]
    assert room.limit == 2**15 - 1
    x = np.random.default_rng(1).integers(0, 2, (40, 8, 20))
    ran = run_integer(program, {"input": x}, record_states=["out"])
    proved = not any(f.code == "headroom-unproved" for f in program.findings)
    assert proved == (room.u_peak <= room.limit)
    assert np.abs(ran.v["out"]).max() <= room.limit
    assert np.abs(ran.u["out"]).max() <= min(room.u_peak, 2**15)
    assert check_program(wide, place_program(wide, target), target)[0].code == "arithmetic"


def test_16_bits_that_are_too_few_are_not_called_proved(tmp_path: Path) -> None:
    """1,000 inputs of full weight beside a threshold that needs resolution."""
    net = dense(np.full((2, 1000), 127), step=1 / 127)
    program = lower(net, narrow(tmp_path, 16))
    assert program.headroom["out"].wraps
    (finding,) = [f for f in program.findings if f.code == "headroom-unproved"]
    assert finding.rule == "The synaptic state must not exceed its 16-bit register."
    assert not lower(net, load_target("loihi2")).headroom["out"].wraps


def test_a_threshold_beyond_the_states_is_refused(tmp_path: Path) -> None:
    net = dense(np.full((2, 3), 127), step=1e-6, threshold=1e9)
    with pytest.raises(LoweringRefused) as caught:
        lower(net, narrow(tmp_path, 10))
    assert caught.value.code == "states-too-narrow"
    assert "10-bit states of x end at 511" in caught.value.message


def test_a_native_reset_by_subtraction(tmp_path: Path) -> None:
    target = child(tmp_path, '[neurons]\nsubtract_reset = "native"')
    net = dense(np.array([[3, -2], [5, 1]]), reset="subtract")
    program = lower(net, target)
    group = program.group("out")
    assert group.route == "native compartment (reset subtract)"
    assert family_of(target).way(group) == "native"
    assert not [f for f in program.findings if f.code == "neuron-route"]
    placed = place_program(program, target)
    assert check_program(program, placed, target) == ()
    words = {t.name: _neuron_words(program, t) for t in (target, load_target("loihi2"))}
    assert words == {"x": 2, "loihi2": 4}


def _neuron_words(program: Program, target: Target) -> int:
    return sum(s.resources["neuron_words"] for s in place_program(program, target).slices)


def test_a_native_reset_compares_strictly_and_says_so(tmp_path: Path) -> None:
    target = child(tmp_path, '[neurons]\nsubtract_reset = "native"')
    program = lower(dense(np.array([[3, -2]]), reset="subtract", compare=">=", leak=1.0), target)
    group = program.group("out")
    assert group.compare == ">"
    assert (group.vth << 6) == group.scale  # what is subtracted stays right
    assert program.rounding["out"].threshold == pytest.approx(1 / float(group.scale))
    assert [f.code for f in program.findings] == ["compare-approximated"]


def test_a_native_reset_at_once_is_no_late_one(tmp_path: Path) -> None:
    text = '[neurons]\nsubtract_reset = "native"\nmany_spikes = "none"\nv_floor = "none"'
    net = dense(np.array([[3, -2]]), reset="subtract", reset_timing="next-step")
    with pytest.raises(LoweringRefused, match="x has no form for: late reset"):
        lower(net, child(tmp_path, text))


# A new family: one folder, one target file


def reference(program: Program, x: np.ndarray) -> np.ndarray:
    """Spikes of a dense program, neuron by neuron, in 16 bits that saturate and decay by shifts."""

    def decayed(value: int, shift: int) -> int:
        kept = abs(value) - (abs(value) >> shift)
        return kept if value >= 0 else -kept

    def saturated(value: int) -> int:
        return max(-32767, min(32767, value))

    (s,), group = program.synapses, program.group("out")
    du, dv, vth, bias = (
        np.broadcast_to(a, group.shape) for a in (group.du, group.dv, group.vth, group.bias)
    )
    fired = np.zeros((*x.shape[:2], *group.shape), np.int64)
    for sample in range(x.shape[1]):
        for i in range(group.shape[0]):
            u = v = 0
            for t in range(x.shape[0]):
                a = int(s.mantissa[i] @ x[t, sample])
                a = a << s.exponent if s.exponent >= 0 else a >> -s.exponent
                u = saturated(decayed(u, int(du[i])) + a)
                v = saturated(decayed(v, int(dv[i])) + u + int(bias[i]))
                if v > vth[i]:
                    fired[t, sample, i] = 1
                    v = v - int(vth[i]) if group.reset == "subtract" else 0
    return fired


@pytest.mark.parametrize("reset", ["zero", "subtract"])
@pytest.mark.parametrize("syn_leak", [None, 0.5])
def test_the_integer_engine_computes_like_the_new_family(
    flat: Target, reset: str, syn_leak: float | None
) -> None:
    codes = np.random.default_rng(2).integers(-110, 128, (6, 30))
    program = lower(
        dense(codes, reset=reset, syn_leak=syn_leak, bias=0.01, leak=0.9, threshold=25.0), flat
    )
    if syn_leak is not None:  # the bias passes the filter: its spikes are another projection
        program = lower(
            dense(codes, reset=reset, syn_leak=syn_leak, leak=0.9, threshold=25.0), flat
        )
    assert (program.arithmetic.state_bits, program.arithmetic.decay) == (16, "shift")
    assert program.group("out").dv == 3
    assert program.rounding["out"].leak == pytest.approx(0.9 - 0.875)
    x = np.random.default_rng(3).integers(0, 2, (30, 5, 30))
    expected = reference(program, x)
    assert 0 < expected.mean() < 1
    ran = run_integer(program, {"input": x}, record_states=["out"])
    np.testing.assert_array_equal(ran.spikes["out"], expected)
    room = program.headroom["out"]
    assert np.abs(ran.u["out"]).max() <= room.u_peak <= 2**15 - 1
    assert not any(f.code == "headroom-unproved" for f in program.findings)


def test_a_bound_under_shifts_is_reached(flat: Target) -> None:
    """A shift keeps all of a state below 2**d, and yet never leads beyond the factor's bound."""
    program = lower(dense(np.array([[1]]), syn_leak=0.875, threshold=1000.0, leak=0.0), flat)
    (s,) = program.synapses
    unit = int(s.mantissa[0, 0]) >> -s.exponent
    assert unit == 2
    ran = run_integer(program, {"input": np.ones((40, 1, 1), np.int64)}, record_states=["out"])
    assert int(ran.u["out"].max()) == program.headroom["out"].u_peak == 8 * unit


def test_the_new_family_counts_bytes_and_names_what_helps(flat: Target) -> None:
    program = lower(dense(np.random.default_rng(4).integers(1, 128, (64, 60))), flat)
    placed = place_program(program, flat)
    assert validate_placement(program, placed, flat) == ()
    assert check_program(program, placed, flat) == ()
    # 64 x 60 weights, a head of 2 bytes per source and core, 6 bytes per neuron.
    cores = len(placed.slices)
    assert sum(s.resources["bytes"] for s in placed.slices) == 3840 + 120 * cores + 6 * 64
    assert placed.search is not None
    assert (placed.search.kind, cores) == ("optimal", 2)
    small = {"bytes": flat.core["bytes"].model_copy(update={"limit": 150})}
    tight = flat.model_copy(update={"core": small})
    found = check_program(program, place_program(program, tight), tight)
    first = next(f for f in found if f.code == "core-bytes")
    assert first.rule == "All that a core holds must fit its one memory."
    assert (first.limit, first.unit) == (150, "bytes")
    assert [fix.text for fix in first.fixes] == ["prune 70% of the weights of all layers"]


def test_the_new_family_from_a_network_to_a_bundle_and_back(flat: Target, tmp_path: Path) -> None:
    compiled = snndeploy.compile(conv_net(), target=FLAT, recipe=None)
    assert compiled.fits
    assert compiled.target == flat
    assert {s.name for s in compiled.program.synapses} == {p.name for p in conv_net().projections}
    assert validate_placement(compiled.program, compiled.placement, flat) == ()

    model = network(tmp_path, 12, 8, 4)
    told = check(run("check", model, *FRONTEND, "--target", FLAT), 0)
    assert "flat" in told
    bundle, page = tmp_path / "net.snnb", tmp_path / "net.html"
    check(run("compile", model, *FRONTEND, "--target", FLAT, "--recipe", "none", "-o", bundle), 0)
    check(run("report", bundle, "--html", page), 0)
    assert all(word in page.read_text(encoding="utf-8") for word in ("flat", "bytes"))
    assert "bytes" in check(run("explain", bundle, "--layer", "n1"), 0)
    assert run("inspect", model, *FRONTEND).exit_code == 0
    assert "integer" in check(run("verify", bundle), 0)
    lava = run("verify", bundle, "--engines", "integer,lava")
    assert "error[lava-arithmetic]" in lava.output
    back = read_bundle(bundle)
    assert back.target == flat.model_copy(update={"inherits": None})
    assert back.program.arithmetic == family_of(flat).arithmetic
