"""A placement still is the program: put together again from its slices, or what is wrong is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import snndeploy
from snndeploy.chip import load_target
from snndeploy.demo import FOLDER
from snndeploy.ir.arrays import Array, frozen
from snndeploy.ir.placement import Bounds, Placement, Slice
from snndeploy.ir.program import Program
from snndeploy.mapping import place_program, validate_placement
from snndeploy.mapping.count.memory import Memory
from tests.support.builders import ZOO
from tests.support.commands import code_of
from tests.support.mapping_programs import cnn, mlp, with_synapses
from tests.support.random_programs import random_program, small_chip
from tests.support.recount import Recount

TARGETS = {name: load_target(name) for name in ("loihi1", "loihi2", "loihi2-spec", "tiny")}


def wrong(program: Program, placement: Placement) -> list[tuple[str, str, str]]:
    return [(f.code, f.where, f.message) for f in validate_placement(program, placement)]


SEEDS = [range(12), pytest.param(range(12, 200), marks=pytest.mark.slow)]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("seeds", SEEDS, ids=["few", "200"])
def test_random_programs_are_placed_whole(target: str, seeds: range) -> None:
    """200 programs on four targets, on the chip as it is and on one that is cut down."""
    for seed in seeds:
        program = random_program(seed)
        chip = TARGETS[target]
        for small in (chip, small_chip(chip, seed)) if seed % 4 == 0 else (chip,):
            placement = place_program(program, small, effort="low")
            assert validate_placement(program, placement, small) == (), seed


@pytest.mark.parametrize("target", ["loihi1", "loihi2", "tiny"])
@pytest.mark.parametrize("factory", ZOO, ids=lambda f: f.__name__)
def test_lowered_networks_are_placed_whole(target: str, factory: Any) -> None:
    compiled = snndeploy.compile(factory(), target="loihi2", recipe=None)
    placement = place_program(compiled.program, TARGETS[target])
    assert validate_placement(compiled.program, placement) == ()


def test_the_demo_network_is_placed_whole() -> None:
    compiled = snndeploy.compile(
        FOLDER / "digits.nir", recipe="digits", frontend="snntorch", semantics={"reset": "zero"}
    )
    assert validate_placement(compiled.program, compiled.placement) == ()


@pytest.mark.slow
@pytest.mark.parametrize("file", ["paper/cnn_sinabs.nir", "paper/braille_noDelay_bias_zero.nir"])
def test_real_networks_are_placed_whole(file: str, shared_data: Path) -> None:
    how = {"reset": "zero", "reset_timing": "immediate", "dt": 1e-4} if "braille" in file else {}
    compiled = snndeploy.compile(
        shared_data / "nir_models" / file, semantics=how, frontend="norse" if how else None
    )
    for name in ("loihi1", "loihi2"):
        placement = place_program(compiled.program, TARGETS[name], 8)
        assert validate_placement(compiled.program, placement) == ()


@pytest.mark.slow
@pytest.mark.parametrize("file", ["mnist_784-128-64-10.net", "pilotnet_lif.net", "tiny.net"])
def test_files_of_integers_are_placed_whole(file: str, shared_data: Path) -> None:
    from snndeploy.pipeline import place_file

    loaded = place_file(shared_data / "nir_models/lava_dl" / file)
    assert validate_placement(loaded.program, loaded.placement) == ()


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("seeds", SEEDS, ids=["few", "200"])
def test_counted_memory_is_what_listing_every_synapse_gives(target: str, seeds: range) -> None:
    """An independent recount of every core; nothing exceeds a limit where the whole chip is there."""
    for seed in seeds:
        program, chip = random_program(seed), TARGETS[target]
        if seed % 2:
            chip = small_chip(chip, seed)
        placement = place_program(program, chip, effort="low")
        counted = Recount(program, placement, chip).cores()
        for s in placement.slices:
            if len(placement.on_core(s.core)) == 1:
                used = {n: v for n, v in s.resources.items() if n in chip.core}
                assert used == {n: counted[s.core][n] for n in used}, (seed, s)
        if target != "tiny" and not seed % 2:
            over = {
                n for used in counted.values() for n in chip.core if used[n] > chip.core[n].limit
            }
            assert over == set(), seed


def test_missing_doubled_and_foreign_slices_are_told() -> None:
    program = mlp(20, 30, 10)
    placed = place_program(program, TARGETS["tiny"])
    first = placed.slices[0]
    assert wrong(program, replace(placed, slices=placed.slices[1:])) == [
        ("neurons-misplaced", "l1", f"{first.neurons} neurons are on no core, 0 on several")
    ]
    assert wrong(program, replace(placed, slices=(*placed.slices, first))) == [
        ("neurons-misplaced", "l1", f"0 neurons are on no core, {first.neurons} on several")
    ]
    beyond = Slice(group="l1", bounds=((25, 40),), core=0)
    assert wrong(program, replace(placed, slices=(*placed.slices[1:], beyond))) == [
        ("neurons-misplaced", "l1", "((25, 40),) is no box of (30,)")
    ]
    foreign = replace(first, group="l7")
    assert wrong(program, replace(placed, slices=(foreign, *placed.slices[1:])))[0] == (
        "neurons-misplaced",
        "l7",
        "the program has no such group on chip",
    )
    nowhere = replace(first, core=-1)
    assert wrong(program, replace(placed, slices=(nowhere, *placed.slices[1:]))) == [
        ("core-unknown", "l1", "a slice is on core -1")
    ]


def test_delays_beyond_their_field_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A field one bit too narrow for 4 (as 3) loses exactly the synapses' delays that need the bit."""
    program = mlp(4, 3)
    s = program.synapses[0]
    source = replace(s.sources[0], latency=frozen(np.array([1, 2, 3, 4]), np.int64))
    slow = with_synapses(program, s.name, sources=(source,))
    placement = place_program(slow, TARGETS["loihi2"])
    assert wrong(slow, placement) == []
    monkeypatch.setattr("snndeploy.ir.fan.fan.Fan.delay_bits", 1)
    assert wrong(slow, placement) == [
        (
            "delays-misplaced",
            s.name,
            f"2 delays from {source.group} do not fit their field of 1 bits",
        )
    ]


@pytest.mark.parametrize("encoding", ["list", "kernel"])
def test_a_forgotten_axon_is_told(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program = mlp(20, 8) if encoding == "list" else cnn(1, 4, extent=8)
    target = TARGETS["loihi2"]
    placement = place_program(program, target)
    reaching = Memory.reaching

    def forgetful(self: Memory, synapses: str, bounds: Bounds) -> tuple[Bounds, Array, Any]:
        region, axons, stored = reaching(self, synapses, bounds)
        assert (stored.encoding == "conv") == (encoding == "kernel") or synapses != "c0->c1"
        axons = axons.copy()
        axons.flat[3] = False
        return region, axons, stored

    monkeypatch.setattr(Memory, "reaching", forgetful)
    first = wrong(program, placement)[0]
    name = program.synapses[0].name
    lost = (
        8 if encoding == "list" else 4 * 6
    )  # a border position reaches 2 x 3 outputs of 4 channels
    total = np.count_nonzero(
        program.synapses[0].mantissa if encoding == "list" else np.ones((4, (3 * 8 - 2) ** 2))
    )
    assert first[:2] == ("synapses-misplaced", name)
    assert first[2].startswith(
        f"{lost} of {total:,} synapses differ from the program, the first from "
    )


def test_verifying_a_bundle_looks_at_its_placement(tmp_path: Path) -> None:
    from click.testing import CliRunner

    from snndeploy.bundle import read_bundle, write_bundle
    from snndeploy.cli import main
    from tests.support.commands import FRONTEND, network

    model, bundle = network(tmp_path, 12, 8, 4), tmp_path / "net.snnb"
    runner = CliRunner()
    assert runner.invoke(main, ["compile", str(model), *FRONTEND, "-o", str(bundle)]).exit_code == 0
    content = read_bundle(bundle)
    short = replace(content.placement, slices=content.placement.slices[1:])
    write_bundle(bundle, replace(content, placement=short), version="0", force=True)
    result = runner.invoke(main, ["verify", str(bundle), "--engines", "integer"])
    assert result.exit_code == 6
    assert code_of(result) == "placement-differs"
    assert "n1: 8 neurons are on no core, 0 on several" in result.output
