"""Programs as folders that need nothing but Lava: what is in them, and that they run by themselves."""

from __future__ import annotations

import ast
import dataclasses
import itertools
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nir
import numpy as np
import pytest

from snndeploy import compile, read_network
from snndeploy.bundle import read_bundle
from snndeploy.data import Samples
from snndeploy.demo import FOLDER, calibration
from snndeploy.demo import digits as demo_digits
from snndeploy.errors import BackendMissing, UsageError
from snndeploy.ir.program import Program
from snndeploy.ir.step import (
    CHOICES,
    LOIHI,
    IntegerParameters,
    IntegerState,
    NeuronRule,
    step_integer,
)
from snndeploy.pipeline.bundles import golden_of
from snndeploy.recipe import load_recipe
from snndeploy.simulate.integer.engine import run_integer
from snndeploy.simulate.lava.env import LavaEnv
from snndeploy.simulate.lava.standalone import FILES, SCRIPT, standalone_files, write_standalone
from snndeploy.simulate.lava.standalone.rules import HELPERS, step_source
from tests.support import commands
from tests.support.conformance_programs import DELAYED, UNDELAYED, make, pack, random_inputs
from tests.support.nir_graphs import chain, lif
from tests.support.random_deltas import random_deltas
from tests.support.random_resonators import random_resonators

STEPS = 7
RULES = [
    NeuronRule(**dict(zip(CHOICES, values, strict=True)), max_spikes=most)
    for values in itertools.product(*CHOICES.values())
    for most in ((None, 3) if "many" in values else (None,))
]
LARGE = 2**23


def folder(place: Path, program: Program, samples: int = 2, seed: int = 0) -> Path:
    """The folder of a program with a golden run on random inputs."""
    inputs = random_inputs(program, STEPS, samples, seed)
    spikes = run_integer(program, inputs).spikes
    golden = {f"input.{name}": x for name, x in inputs.items()}
    golden |= {f"spikes.{g.name}": spikes[g.name] for g in program.on_chip}
    return write_standalone(place / "lava", program, golden)


def run(place: Path, lava: LavaEnv, *options: str) -> tuple[int, str]:
    """Run a folder's script: nothing of ours can be imported, nor anything beside the script."""
    done = subprocess.run(
        [lava.python, "-I", place / SCRIPT, *options],
        cwd="/",
        env={"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("floor", [False, True])
@pytest.mark.parametrize("rule", RULES, ids=lambda r: "-".join(map(str, dataclasses.astuple(r))))
def test_a_written_rule_steps_as_the_engines_do(rule: NeuronRule, floor: bool) -> None:
    names: dict[str, Any] = {"np": np}
    exec(HELPERS + step_source(rule, "step", floor=floor), names)
    rng = np.random.default_rng(0)
    n = 400
    spread = np.array([200, 4000, LARGE])[rng.integers(3, size=n)]
    p = IntegerParameters(
        du=rng.integers(0, 4097, n),
        dv=rng.integers(0, 4097, n),
        threshold=rng.integers(-5, 120, n) << 6,
        bias=rng.integers(-3000, 3000, n),
        v_floor=-rng.integers(0, 4000, n) if floor else None,
    )
    state = IntegerState(
        rng.integers(-spread, spread), rng.integers(-spread, spread), rng.integers(0, 4, n)
    )
    own = (state.u, state.v, state.fired)
    held = SimpleNamespace(**vars(p))
    for _ in range(6):
        a = rng.integers(-spread, spread) * rng.integers(0, 3, n)
        spikes = step_integer(rule, LOIHI, p, state, a)
        u, v, fired = names["step"](held, *own, a)
        np.testing.assert_array_equal(fired, spikes)
        np.testing.assert_array_equal(u, state.u)
        np.testing.assert_array_equal(v, state.v)
        own = (u, v, fired)


def spiking(program: Program) -> list[Any]:
    return [g for g in program.on_chip if g.kind != "constant"]


@pytest.mark.lava
@pytest.mark.slow
@pytest.mark.parametrize(
    ("features", "seed", "wild"),
    [(list(UNDELAYED), 0, False), (list(UNDELAYED)[::2], 1, True), (list(DELAYED), 0, False)],
)
def test_every_kind_of_program_runs_alone(
    features: list[str], seed: int, wild: bool, tmp_path: Path, lava: LavaEnv
) -> None:
    program = pack([make(feature, seed + i, wild=wild) for i, feature in enumerate(features)])
    code, told = run(folder(tmp_path, program), lava)
    assert code == 0, told
    groups = spiking(program)
    places = sum(STEPS * 2 * int(np.prod(g.shape)) for g in groups)
    assert told.startswith(f"equal in {places} places of {len(groups)} layers")


def test_resonators_are_refused() -> None:
    """A script would build integrators of them."""
    with pytest.raises(UsageError, match="no place for resonate-and-fire") as caught:
        standalone_files(random_resonators(0), {})
    assert caught.value.code == "export-lava"
    assert "simulate --engine lava" in caught.value.hint


@pytest.mark.lava
@pytest.mark.slow
@pytest.mark.parametrize("together", [True, False])
def test_sigma_delta_networks_run_alone(together: bool, tmp_path: Path, lava: LavaEnv) -> None:
    """All forms, in the chip's time (every sample a run) and in that of the sample."""
    drawn = (random_deltas(seed) for seed in range(60))
    chosen = [p for p in drawn if (len({g.depth for g in p.on_chip}) == 1) == together][:6]
    program = pack(chosen)
    place = folder(tmp_path, program)
    code, told = run(place, lava)
    assert code == 0, told
    forms = {g.dynamics.form for g in program.on_chip}  # type: ignore[union-attr]
    assert forms == {"delta", "sigma-delta", "sigma"}
    assert told.startswith("equal in ")
    assert f"of {len(program.on_chip)} layers" in told
    code, told = run(place, lava, "--hw")
    assert code == 4
    assert "starts with a sample" in told


def digits(_: Path) -> tuple[Program, Samples | None]:
    network = read_network(FOLDER / "digits.nir")
    compiled = compile(network, recipe=load_recipe("digits"), calibration=calibration())
    return compiled.program, demo_digits()


def braille(data: Path) -> tuple[Program, Samples | None]:
    network = read_network(data / "nir_models/paper/braille_noDelay_bias_zero.nir")
    with np.load(data / "nir_models/braille/braille_unique.npz", allow_pickle=False) as stored:
        x = stored["x"][:3].swapaxes(0, 1)
    return compile(network, recipe=None).program, Samples(x)


def residual(data: Path) -> tuple[Program, Samples | None]:
    network = read_network(data / "nir_exports/spikingjelly_residual_add.nir")
    return compile(network, recipe=None).program, None


def readout(_: Path) -> tuple[Program, Samples | None]:
    rng = np.random.default_rng(0)
    nodes = [nir.Linear(rng.normal(size=(9, 6))), lif(9), nir.Linear(rng.normal(size=(3, 9)))]
    leaky = nir.LI(tau=np.full(3, 2e-2), r=np.full(3, 20.0), v_leak=np.zeros(3))
    network = read_network(chain(6, *nodes, leaky), "nir", dt=1e-3)
    return compile(network, recipe=None).program, None


@pytest.mark.lava
@pytest.mark.parametrize("model", [digits, braille, residual, readout])
def test_networks_run_alone(
    model: Callable[[Path], tuple[Program, Samples | None]],
    tmp_path: Path,
    lava: LavaEnv,
    shared_data: Path,
) -> None:
    """Every layer's spikes (a readout's v), with nothing of this package in reach."""
    program, samples = model(shared_data)
    golden = golden_of(program, samples)
    assert all(golden[f"spikes.{g.name}"].any() for g in spiking(program))
    code, told = run(write_standalone(tmp_path / "lava", program, golden), lava)
    assert code == 0, told
    places = sum(golden[f"spikes.{g.name}"].size for g in spiking(program))
    assert told.startswith(f"equal in {places} places of {len(spiking(program))} layers")
    kinds = {g.kind for g in program.groups}
    assert ("readout" in kinds) == (model is readout)
    text = (tmp_path / "lava" / SCRIPT).read_text()
    assert ("SAMPLES_IN_A_ROW = False" in text) == (model is braille)


@pytest.mark.lava
def test_a_difference_is_told_and_ends_with_6(tmp_path: Path, lava: LavaEnv) -> None:
    program = make("dense", 0)
    place = folder(tmp_path, program)
    with np.load(place / "golden.npz", allow_pickle=False) as stored:
        golden = {name: array.copy() for name, array in stored.items()}
    was = int(golden["spikes.a"][3, 1, 2])
    golden["spikes.a"][3, 1, 2] = was + 1
    np.savez(place / "golden.npz", **golden)
    code, told = run(place, lava)
    assert code == 6
    assert told.startswith(
        "NOT EQUAL: 1 of 98 places of a differ; the first: step 3 of sample 1, neuron 2:"
    )
    assert f" {was}, recorded is {was + 1}" in told


@pytest.mark.lava
def test_other_inputs_give_what_the_engine_gives(tmp_path: Path, lava: LavaEnv) -> None:
    program = make("two_inputs", 0)
    place = folder(tmp_path, program)
    inputs = random_inputs(program, 5, 3, 9)
    np.savez(tmp_path / "in.npz", **inputs)
    options = ("--data", str(tmp_path / "in.npz"), "--save", str(tmp_path / "out.npz"))
    assert run(place, lava, *options, "--samples", "2") == (0, "")
    expected = run_integer(program, {n: x[:, :2] for n, x in inputs.items()}).spikes
    with np.load(tmp_path / "out.npz", allow_pickle=False) as found:
        assert set(found) == {g.name for g in spiking(program)}
        for name in found:
            np.testing.assert_array_equal(found[name], expected[name])
    np.savez(tmp_path / "in.npz", left=inputs["left"])
    code, told = run(place, lava, *options)
    assert code != 0
    assert "needed are arrays named ['left', 'right']" in told


@pytest.mark.lava
@pytest.mark.parametrize(
    ("feature", "code", "reason"),
    [
        ("dense", 7, "Intel's extension of Lava for Loihi is not installed in this Python"),
        (
            "custom subtract immediate one",
            4,
            "a cannot run on a board: its neurons need a program of",
        ),
        ("pool_overlap", 4, "a cannot run on a board: its connection joins two neurons several"),
        ("loop", 4, "b cannot run on a board: it could spike before a sample reaches it"),
    ],
)
def test_a_board_is_refused_with_the_reason(
    feature: str, code: int, reason: str, tmp_path: Path, lava: LavaEnv
) -> None:
    found = run(folder(tmp_path, make(feature, 0)), lava, "--hw")
    assert found[0] == code
    assert reason in found[1]


def test_one_sample_at_a_time_needs_no_reset(tmp_path: Path) -> None:
    """A run begins at rest, and Lava's plain neurons are the ones that a board is sure to have."""
    program = next(
        p for p in (make("recurrent", s) for s in range(9)) if not p.group("a").bias.any()
    )
    text = (folder(tmp_path, program) / SCRIPT).read_text()
    assert re.search(r"p\['a'\] = LIF\(", text)
    assert "OWN = {}" in text


def test_the_script_imports_nothing_but_lava_and_what_lava_brings(tmp_path: Path) -> None:
    program = pack([make(feature, 0) for feature in (*UNDELAYED, *DELAYED)])
    text = (folder(tmp_path, program) / SCRIPT).read_text()
    names = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(str(node.module))
    own = {name.partition(".")[0] for name in names} - set(sys.stdlib_module_names)
    assert own == {"lava", "numpy", "scipy"}
    assert {name for name in names if name.startswith("scipy")} == {"scipy.sparse"}
    assert not re.search(r"snndeploy|@@", text.replace("snndeploy compiled", ""))


def test_names_cannot_become_code(tmp_path: Path) -> None:
    program = make("loop", 0)
    evil = {
        "a": 'a"""\nimport os\n#',
        "b": "b'];raise SystemExit(9);['ü\U0001f600",
        "in": "a/../b|c`",
    }
    text = standalone_files(renamed(program, evil), golden_of(renamed(program, evil), None))
    script = text[SCRIPT].decode()
    assert {n.value for n in ast.walk(ast.parse(script)) if isinstance(n, ast.Constant)} >= set(
        evil.values()
    )
    assert not any(
        isinstance(n, ast.Raise) and "9" in ast.unparse(n) for n in ast.walk(ast.parse(script))
    )
    assert script.isascii()
    assert "import os\n#" not in script
    rows = [
        r for r in text["README.md"].decode().splitlines() if r.startswith("| `") and " yes |" in r
    ]
    assert all(row.count("|") == 5 for row in rows)


def renamed(program: Program, names: dict[str, str]) -> Program:
    def of(name: str) -> str:
        return names.get(name, name)

    groups = tuple(dataclasses.replace(g, name=of(g.name)) for g in program.groups)
    synapses = tuple(
        dataclasses.replace(
            s,
            target=of(s.target),
            sources=tuple(dataclasses.replace(o, group=of(o.group)) for o in s.sources),
        )
        for s in program.synapses
    )
    return dataclasses.replace(program, groups=groups, synapses=synapses)


def test_another_arithmetic_than_lavas(tmp_path: Path) -> None:
    program = make("dense", 0)
    other = dataclasses.replace(program.arithmetic, state_bits=16)
    program = dataclasses.replace(program, arithmetic=other)
    with pytest.raises(BackendMissing) as caught:
        standalone_files(program, golden_of(make("dense", 0), None))
    assert caught.value.code == "lava-arithmetic"


def test_command(tmp_path: Path) -> None:
    model = commands.network(tmp_path, 6, 5, 4)
    place = tmp_path / "lava"
    arguments = ("export", model, "--frontend", "nir", "--dt", "0.001", "--to", "lava", "-o", place)
    result = commands.run(*arguments)
    commands.check(result, 0)
    assert {file.name for file in place.iterdir()} == FILES
    assert commands.code_of(commands.run(*arguments)) == "output-exists"
    commands.check(commands.run(*arguments, "--force"), 0)
    bundle = tmp_path / "a.snnb"
    commands.check(commands.run("compile", model, *arguments[2:6], "-o", bundle), 0)
    commands.check(commands.run("export", bundle, "--to", "lava", "-o", place, "--force"), 0)
    assert (place / "golden.npz").read_bytes() == (bundle / "golden.npz").read_bytes()
    assert read_bundle(bundle).program.digest in (place / "README.md").read_text()
    (place / "mine.txt").touch()
    result = commands.run(*arguments, "--force")
    assert commands.code_of(result) == "output-foreign-files"
    result = commands.run(*arguments[:-1], bundle, "--force")
    assert commands.code_of(result) == "output-not-bundle"
    assert "it exists and is not a folder that this command wrote" in result.stderr
