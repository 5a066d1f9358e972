"""Every bundle that is right is certified, and the counts are those of other counts."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

import snndeploy
from snndeploy.certify import certify
from snndeploy.certify.cores import check_cores, check_partition, check_registers
from snndeploy.certify.files import plain
from snndeploy.chip import load_target
from snndeploy.errors import LoweringRefused
from snndeploy.ir.program import Program
from snndeploy.mapping import place_program
from tests.support.checked import bundle_of_program, checked, checked_placement, folder_of
from tests.support.framework_cases import CASES
from tests.support.mapping_programs import cnn, mlp, with_group
from tests.support.miscompiled import compiled_to, networks
from tests.support.random_programs import random_program
from tests.support.recount import Recount

TARGETS = ("loihi1", "loihi2", "loihi2-spec")


@pytest.mark.parametrize("name", ["dense", "off the grid", "recurrent", "many_spikes"])
def test_a_certificate_says_what_was_proved(name: str, tmp_path: Path) -> None:
    told = certify(compiled_to(tmp_path, name, "loihi2"))
    assert told["certified"]
    assert told["contradiction"] is None
    kinds = [line.partition(":")[0].split(" of ")[0] for line in told["proved"]]
    fixed = ["files", "numbers", "time", "placement", "registers", "memory"]
    assert kinds[:6] == fixed
    assert kinds[-1] == "golden run"
    assert len(told["not_checked"]) == 3
    assert set(told["bounds"]) == {
        p.name for p in networks()[name].populations if p.role != "input"
    }
    registers = [b[register] for b in told["bounds"].values() for register in "uv"]
    unproved = [r for r in registers if not r["proved"]]
    assert all(0 < r["reached"] <= r["bound"] for r in unproved)
    assert all(r["reached"] is None for r in registers if r["proved"])
    assert len(unproved) == sum(line.startswith("head-room") for line in told["not_proved"])
    lines = [*told["proved"], *told["not_proved"]]
    assert len(registers) == sum(line.startswith("head-room") for line in lines)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("chip", TARGETS)
def test_cores_are_counted_as_the_slow_count_does(seed: int, chip: str) -> None:
    counted_as_the_slow_count_does(random_program(seed), chip)


@pytest.mark.parametrize("chip", TARGETS)
@pytest.mark.parametrize("net", [mlp(5, 4, 3, density=0.0), cnn(2, 3, extent=6, density=0.0)])
def test_spikes_that_nobody_hears_are_counted_as_the_slow_count_does(
    net: Program, chip: str
) -> None:
    counted_as_the_slow_count_does(net, chip)


def counted_as_the_slow_count_does(program: Program, chip: str) -> None:
    target = load_target(chip)
    placement = place_program(program, target)
    slow = Recount(program, placement, target).cores()
    read, placed = checked(program), checked_placement(placement)
    rules = plain(target.model_dump(exclude_none=True))
    check_partition(read, placed, rules, "1000000")
    for name, limit in rules["core"].items():  # what is counted is compared, not whether it fits
        rules["core"][name] = max(limit, 1)
    over = {
        n
        for core in slow.values()
        for n in core
        if core[n] > target.core[n].limit
        if n in target.core
    }
    if over:
        pytest.skip("the program does not fit, which other tests look at")
    most = check_cores(read, placed, rules, target.family)
    for name, share in most.items():
        key = name.replace(" ", "_")
        assert share == max(core[key] for core in slow.values()) / target.core[key].limit, name


@pytest.mark.parametrize("seed", range(12))
def test_programs_that_come_from_no_network_are_certified(seed: int, tmp_path: Path) -> None:
    import dataclasses

    target = load_target("loihi2")
    program = dataclasses.replace(random_program(seed), target=target.name)
    bundle = bundle_of_program(program, target)
    if bundle is None:
        pytest.skip("it does not fit")
    told = certify(folder_of(bundle, tmp_path / "net.snnb"))
    assert told["contradiction"] is None
    assert "the integers against a network: the bundle holds none" in told["not_checked"]


def test_a_register_that_overflows_is_a_contradiction() -> None:
    program, target = random_program(0), load_target("loihi2")
    from snndeploy.ir.arrays import frozen

    name = program.on_chip[0].name
    wrong = with_group(program, name, vth=frozen(1 << 18))
    check_registers(checked(program), plain(target.model_dump(exclude_none=True)))
    with pytest.raises(Exception, match=r"vth_max: stated 0\.\.131071, found 262144"):
        check_registers(checked(wrong), plain(target.model_dump(exclude_none=True)))


@pytest.mark.parametrize("chip", TARGETS[:2])
@pytest.mark.parametrize("case", CASES)
def test_exports_of_every_framework(
    case: str, chip: str, shared_data: Path, tmp_path: Path
) -> None:
    frontend, semantics = CASES[case]
    model = shared_data / "nir_exports" / f"{case}.nir"
    try:
        compiled = snndeploy.compile(
            model, target=chip, recipe=None, frontend=frontend, semantics=semantics
        )
    except LoweringRefused:
        pytest.skip("the chip has no form for its neurons")
    if not compiled.fits:
        pytest.skip("it does not fit")
    path = snndeploy.save_bundle(tmp_path / "net.snnb", snndeploy.bundle_of(compiled))
    assert certify(path)["certified"]


def test_the_cnn_of_sinabs_takes_less_than_ten_seconds(shared_data: Path, tmp_path: Path) -> None:
    model = shared_data / "nir_models" / "paper" / "cnn_sinabs.nir"
    compiled = snndeploy.compile(model, target="loihi2", recipe=None)
    path = snndeploy.save_bundle(tmp_path / "net.snnb", snndeploy.bundle_of(compiled))
    began = time.process_time()
    told = certify(path)
    assert time.process_time() - began < 10
    assert told["certified"]
    # Neurons that may spike any number of times wrap the layers behind: a witness, not a proof.
    bounds, limit = told["bounds"], told["bounds"]["3"]["limit"]
    assert [name for name, b in bounds.items() if b["u"]["proved"]] == ["1"]
    assert bounds["3"]["u"]["bound"] == compiled.program.headroom["3"].u_peak > limit
    assert bounds["6"]["u"]["reached"] > limit
