"""Violations of random programs against an independent recount, and fixes that do what they say."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import snndeploy
from snndeploy.chip import Target, load_target
from snndeploy.cli.show.render import print_fix
from snndeploy.data import Samples
from snndeploy.demo import FOLDER, digits
from snndeploy.ir.arrays import Array, frozen
from snndeploy.ir.finding import Finding, Fix
from snndeploy.ir.network import Network, Projection
from snndeploy.ir.ops import Conv, Dense, Reshape
from snndeploy.ir.placement import Placement
from snndeploy.ir.program import Program
from snndeploy.mapping import check_program, place_program, repair
from snndeploy.mapping.fix.plans import membrane_error, plans
from snndeploy.mapping.fix.shrink import neighbourhood
from snndeploy.mapping.fix.suggest import carry_out, may_fit
from snndeploy.mapping.rules.rules import violations
from snndeploy.passes.kernels.remove_kernels import RemoveKernels
from snndeploy.pipeline.advise.fixing import fix_model
from snndeploy.recipe import CalibrationOptions, Recipe
from snndeploy.simulate.float.engine import run_float
from tests.support.builders import chain_net, inputs, lif, project, weights
from tests.support.commands import FRONTEND, code_of, network, run
from tests.support.mapping_programs import cnn, mlp, with_group
from tests.support.random_programs import broken_program, small_chip
from tests.support.recount import Recount

TARGETS = [load_target(n) for n in ("loihi1", "loihi2", "tiny")]
TINY = TARGETS[2]
CODES = {
    "neurons": "core-neurons",
    "compartments": "core-compartments",
    "groups": "core-groups",
    "synapse_words": "synapse-memory",
    "axon_words": "axon-words",
    "axon_in": "input-axons",
    "in_axons": "input-axons",
    "out_axons": "output-axons",
    "axon_map": "axon-map",
    "axon_mem": "axon-memory",
    "pool_words": "core-memory",
    "compartment_profiles": "profiles",
    "threshold_profiles": "profiles",
    "synapse_formats": "profiles",
    "delay_slots": "delay-memory",
}

Breach = tuple[str, str, str, float | None]


def told(f: Finding) -> Breach:
    return f.code, f.where, f.resource, f.used


def core_breaches(program: Program, placement: Placement, target: Target) -> set[Breach]:
    """Per resource and set of groups that share cores: the fullest core beyond its limit."""
    worst: dict[tuple[str, str, str], int] = {}
    for core, used in Recount(program, placement, target).cores().items():
        groups = " + ".join(dict.fromkeys(s.group for s in placement.on_core(core)))
        for name, n in used.items():
            if name in target.core and n > target.core[name].limit:
                key = (CODES[name], groups, name)
                worst[key] = max(worst.get(key, 0), n)
    return {(*key, n) for key, n in worst.items()}


def expected(program: Program, placement: Placement, target: Target, chips: int) -> set[Breach]:
    """Every violation, straight from the numbers."""
    found = core_breaches(program, placement, target)
    cores = len({s.core for s in placement.slices})
    if cores > chips * target.chip.cores.limit:
        found.add(("board", "network", "cores", cores))
    numeric, synapse, ways = target.numeric, target.synapse, target.neurons
    for g in program.groups:
        if g.message_bits and not ways.graded_spikes:
            found.add(("graded-spikes", g.name, "graded_spikes", None))
        elif g.message_bits > ways.graded_bits:
            found.add(("graded-spikes", g.name, "graded_bits", g.message_bits))
        if g.kind == "input":
            continue
        if g.reset == "subtract" and ways.subtract_reset == "none":
            found.add(("subtract-reset", g.name, "subtract_reset", None))

        def peak(*arrays: Array) -> int:
            return max(int(abs(a).max()) for a in arrays)

        for code, resource, value, limit in (
            ("decay", "decay", peak(g.du, g.dv), numeric.decay_max.limit),
            (
                "threshold",
                "threshold",
                0 if g.kind in ("readout", "constant") else peak(g.vth),  # compared with nothing
                numeric.vth_max.limit,
            ),
            ("bias", "bias", peak(g.bias_mant), numeric.bias_mant_max.limit),
            ("bias-exponent", "bias_exponent", g.bias_exp, numeric.bias_exp_max.limit),
        ):
            if value > limit:
                found.add((code, g.name, resource, value))
    for s in program.synapses:
        if s.weight_bits > max(synapse.weight.widths):
            found.add(("weight-bits", s.name, "weight_bits", s.weight_bits))
        for value in (s.exponent,):
            if not synapse.exponent.low <= value <= synapse.exponent.high:
                found.add(("weight-exponent", s.name, "exponent", value))
        if int(s.mantissa.max()) > synapse.mantissa.high:
            found.add(("mantissa", s.name, "mantissa", int(s.mantissa.max())))
        longest = max(int(o.latency.max()) for o in s.sources) - 1
        if longest > synapse.delay_max.limit:
            found.add(("delay", s.name, "delay", longest))
    return found


def overlapping(f: Finding, other: Breach) -> bool:
    return f.code == other[0] and bool(set(f.where.split(" + ")) & set(other[1].split(" + ")))


def assert_fix_holds(fix: Fix, f: Finding, program: Program, target: Target, chips: int) -> None:
    """Carry a fix out, place again, and count everything anew."""
    options = dict(fix.options)
    if fix.action == "board":
        chips = target.chips(str(options["board"]))
    elif fix.action == "target":
        target = load_target(str(options["target"]))
        chips = target.chips()
    else:
        program = carry_out(program, fix).verify()
    placement = place_program(program, target, chips)
    left = [b for b in expected(program, placement, target, chips) if overlapping(f, b)]
    assert left == [], fix.text


def check_one(seed: int, *, fixes: bool) -> tuple[int, int]:
    """Check one random program on a random chip that is too small; (violations, fixes) seen."""
    program = broken_program(seed)
    target = small_chip(TARGETS[seed % 3], seed)
    placement = place_program(program, target, 1, effort="normal" if fixes else "low")
    found = violations(program, placement, target, 1)
    errors = [f for f in found if f.severity == "error"]
    assert {told(f) for f in errors} == expected(program, placement, target, 1), seed
    for f in errors:
        assert f.rule
        assert f.source
        assert f.certainty
    tried = 0
    if fixes and errors:
        worst = check_program(program, placement, target, 1, fixes_for=1)[0]
        for fix in worst.fixes:
            assert_fix_holds(fix, worst, program, target, 1)
            tried += 1
    return len(errors), tried


def test_violations_are_real_and_none_is_missed() -> None:
    seen = [check_one(seed, fixes=seed in (5, 10, 20)) for seed in range(50)]
    assert sum(n > 0 for n, _ in seen) > 30  # most of them do not fit
    assert sum(n for n, _ in seen) > 100
    assert sum(n for _, n in seen) > 5


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("part", range(10))
def test_a_thousand_random_programs(part: int) -> None:
    seen = [check_one(seed, fixes=True) for seed in range(100 * part, 100 * part + 100)]
    assert sum(n > 0 for n, _ in seen) > 60
    assert sum(n for _, n in seen) > 30


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.name)
def test_a_neighbourhood_counts_its_layers_as_the_whole_does(target: Target) -> None:
    program = cnn(2, 6, 8, 4, extent=16)
    whole = {s.bounds: s for s in place_program(program, target, 64).of_group("c2")}
    part = neighbourhood(program, frozenset({"c2"}))
    assert [g.name for g in part.groups] == ["c1", "c2", "c3"]
    assert [s.name for s in part.synapses] == ["c1->c2", "c2->c3"]
    near = {s.bounds: s for s in place_program(part, target, 64).of_group("c2")}
    arriving = "axon_in" if target.family == "loihi2" else "in_axons"
    for bounds in whole.keys() & near.keys():
        assert whole[bounds].resources[arriving] == near[bounds].resources[arriving]


def test_repair_makes_it_fit_and_says_how() -> None:
    program = mlp(50, 40, 40, 4, bits=8)
    done = repair(program, TINY, 1)
    assert done.left == ()
    assert done.fixes
    changed = program
    for fix in done.fixes:
        changed = carry_out(changed, fix)
    assert changed.digest == done.program.digest
    placement = place_program(changed, TINY, 1)
    assert expected(changed, placement, TINY, 1) == set()
    assert repair(done.program, TINY, 1).fixes == ()


def test_repair_gives_up_where_nothing_helps() -> None:
    beyond = with_group(mlp(50, 40, 4), "l1", kind="custom", reset="subtract")
    assert [f.code for f in repair(beyond, TINY, 1).left] == ["subtract-reset"]
    hopeless = repair(mlp(4, 200, bits=2), TINY, 1)  # 200 outputs need 7 cores of 32 neurons
    assert [f.code for f in hopeless.left] == ["board"]


def test_plans_are_possible_and_none_is_gentler_than_another() -> None:
    program = mlp(60, 30, 20, 4, bits=4)
    assert not may_fit(program, TINY, 1)
    found = plans(program, TINY, 1)
    assert found
    assert [p.error for p in found] == sorted(p.error for p in found)
    for plan in found:
        changed = program
        for fix in plan.fixes:
            changed = carry_out(changed, fix)
        assert may_fit(changed, TINY, 1)
        assert plan.error == membrane_error(program, plan.fixes)
        assert not any(other.gentler(plan) for other in found)


def test_membrane_error_counted_by_hand() -> None:
    """Weights 2, 4, 4, 8 (squares: 100): losing the smallest, a channel, and rounding to 3 bits."""
    program = mlp(2, 2, 2)
    first, last = program.synapses
    weight = frozen(np.array([[2, 4], [4, 8]]), np.int64)
    program = replace(
        program, synapses=(replace(first, mantissa=weight), replace(last, mantissa=weight))
    )

    def change(action: str, **options: str | float) -> list[Fix]:
        return [Fix(action=action, text="", options=tuple(options.items()))]

    one = change("prune", layers=first.name, density=0.75)
    assert membrane_error(program, one) == pytest.approx(4 / 100)
    both = change("prune", layers=f"{first.name},{last.name}", density=0.5)
    assert membrane_error(program, both) == pytest.approx(2 * (4 + 16) / 100)
    channel = change("remove-kernels", layers="l1", count=1)  # its weights behind: 2 and 4
    assert membrane_error(program, channel) == pytest.approx((4 + 16) / 100)
    bits = change("quantize", layers=first.name, bits=3)  # steps of 8 / 3 on four weights
    assert membrane_error(program, bits) == pytest.approx(4 * (8 / 3) ** 2 / 12 / 100)
    assert membrane_error(program, []) == 0


def test_what_is_no_change_is_refused() -> None:
    program = mlp(4, 4)
    for fix in (
        Fix(action="board", text="use the board two", options=(("board", "two"),)),
        Fix(action="remove-kernels", text="remove", options=(("layers", "l1"), ("count", 1))),
    ):
        with pytest.raises(ValueError, match="is no change of this program"):
            carry_out(program, fix)


def test_fix_writes_a_recipe_that_compiles_to_something_that_fits(tmp_path: Path) -> None:
    model, out = network(tmp_path, 60, 40, 10), tmp_path / "fits.toml"
    limit = ("--guard", "back-off", "--max-divergence", 0.4)
    result = run("check", model, *FRONTEND, *limit, "-t", "tiny", "--fix", out)
    assert result.exit_code == 0, result.output
    assert f"{out} makes it fit: " in result.output
    assert "compiled with it and checked" in result.output
    recipe = Recipe.from_toml(out)
    assert recipe.passes
    # What a guard gave back would not fit; what it warns of is what was asked for.
    assert (recipe.guard, recipe.max_divergence, recipe.blind) == ("warn", 0.4, False)
    assert run("check", model, *FRONTEND, "-t", "tiny", "-r", out).exit_code == 0
    again = run("check", model, *FRONTEND, "-t", "tiny", "--fix", out)
    assert again.exit_code == 3
    assert "output-exists" in again.output
    as_json = run(
        "check", model, *FRONTEND, *limit, "-t", "tiny", "--fix", out, "--force", "--json"
    )
    report = json.loads(as_json.stdout)
    assert report["fits"] is False
    assert report["fix"]["found"] is True
    assert Recipe.from_toml(report["fix"]["recipe"]) == recipe


def test_an_interrupt_keeps_what_was_found() -> None:
    rng, chip = np.random.default_rng(0), load_target("tiny")
    net = chain_net([weights(rng, (40, 20)), weights(rng, (10, 40))])
    asked = 0

    def compiled(recipe: Recipe) -> snndeploy.Compiled:
        nonlocal asked
        made = snndeploy.compile(net, target=chip, recipe=recipe)
        asked += 1
        if asked > limit:
            raise KeyboardInterrupt
        return made

    first = snndeploy.compile(net, target=chip, recipe=snndeploy.load_recipe("default"))
    assert not first.fits
    limit = 1000
    whole = fix_model(first, compiled)
    assert whole.recipe is not None
    assert (whole.partial, len(whole.tried)) == (False, len(set(whole.tried)))
    limit, asked = asked - 1, 0
    some = fix_model(first, compiled)
    assert some.recipe is not None
    assert some.partial
    assert set(some.tried) <= set(whole.tried)
    limit, asked = 0, 0
    with pytest.raises(KeyboardInterrupt):
        fix_model(first, compiled)


def test_a_loop_is_made_to_fit_a_chip_of_its_own_kind() -> None:
    """On Xylo: fewer hidden neurons, which a loop loses on both its sides, and fewer of its weights."""
    rng = np.random.default_rng(3)
    n, few = 60, load_target("xylo-a2").model_copy(update={"name": "few"})
    core = {**few.core}
    for name, limit in (("hidden_neurons", 50), ("recurrent_entries", 150)):
        core[name] = core[name].model_copy(update={"limit": limit})
    target = few.model_copy(update={"core": core})
    around = np.where(rng.random((n, n)) < 0.08, rng.normal(size=(n, n)), 0)
    net = Network(
        (inputs((6,)), lif("h", (n,)), lif("output", (4,), "output")),
        (
            project("in", "input", "h", Dense(n, 6), rng.normal(size=(n, 6))),
            project("loop", "h", "h", Dense(n, n), around, delay=1),
            project("out", "h", "output", Dense(4, n), rng.normal(size=(4, n))),
        ),
    ).verify()

    def compiled(recipe: Recipe) -> snndeploy.Compiled:
        return snndeploy.compile(net, target=target, recipe=recipe, adapt=True)

    first = compiled(snndeploy.load_recipe("default"))
    assert not first.fits
    fixing = fix_model(first, compiled)
    assert fixing.recipe is not None
    made = compiled(fixing.recipe)
    assert made.fits
    assert made.program.group("h").shape[0] <= 50
    (loop,) = (s for s in made.program.synapses if s.name == "loop")
    assert np.count_nonzero(loop.mantissa) <= 150


def test_fix_for_a_bundle_keeps_what_its_own_recipe_did(tmp_path: Path) -> None:
    model, bundle, out = network(tmp_path, 60, 40, 10), tmp_path / "n.snnb", tmp_path / "fits.toml"
    assert run("compile", model, *FRONTEND, "-o", bundle).exit_code == 0
    result = run("check", bundle, "-t", "tiny", "--fix", out)
    assert result.exit_code == 0, result.output
    assert "the bundle does not hold" in result.output
    names = [p.name for p in Recipe.from_toml(out).passes]
    assert names[-1] == "quantize"
    assert run("check", model, *FRONTEND, "-t", "tiny", "-r", out).exit_code == 0


def test_what_fits_gets_the_recipe_it_has(tmp_path: Path) -> None:
    model, out = network(tmp_path, 10, 8, 4), tmp_path / "same.toml"
    result = run("check", model, *FRONTEND, "--fix", out)
    assert result.exit_code == 0
    assert "it fits as it is, with this recipe" in result.output
    assert Recipe.from_toml(out).name == "default"


def test_no_recipe_makes_it_fit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, out = network(tmp_path, 10, 300), tmp_path / "none.toml"
    result = run("check", model, *FRONTEND, "-t", "tiny", "--fix", out, "--json")
    assert result.exit_code == 5
    assert not out.exists()
    report = json.loads(result.stdout)
    print_fix(report, str(out))
    assert "no recipe was found that makes it fit" in capsys.readouterr().out
    assert report["fix"]["found"] is False
    assert [f["code"] for f in report["fix"]["left"]] == ["board"]


def test_bad_places_for_a_recipe(tmp_path: Path, shared_data: Path) -> None:
    model = network(tmp_path, 10, 8, 4)
    result = run("check", model, *FRONTEND, "--fix", tmp_path / "recipe")
    assert result.exit_code == 2
    assert code_of(result) == "output-suffix"
    assert "next: --fix " in result.output
    result = run("check", model, *FRONTEND, "--fix", tmp_path / "no" / "r.toml")
    assert result.exit_code == 3
    assert code_of(result) == "output-unwritable"
    net = shared_data / "nir_models" / "lava_dl" / "tiny.net"
    result = run("check", net, "--fix", tmp_path / "r.toml")
    assert result.exit_code == 2
    assert code_of(result) == "option-not-obeyed"


LOOK = "snndeploy check … --fix FILE.toml looks for a recipe that fits\n"
IMPOSSIBLE = Path(__file__).parents[1] / "snapshots" / "impossible"


def test_an_impossible_network_is_told_as_recorded(tmp_path: Path) -> None:
    """Exit 5, all violations, as text and as JSON."""
    model = network(tmp_path, 100, 40, 90)
    text = run("-v", "check", model, *FRONTEND, "-t", "tiny")
    as_json = run("check", model, *FRONTEND, "-t", "tiny", "--json")
    assert (text.exit_code, as_json.exit_code) == (5, 5)
    small = run("check", model, *FRONTEND, "-t", "tiny", "--chips", 99)  # more chips do not help
    assert small.exit_code == 5
    assert small.stderr.endswith("violation(s) on tiny (99 chips)\n  next: " + LOOK)
    start = text.stdout.index("error[")  # what comes before tells of the cores that were taken
    findings = json.dumps(json.loads(as_json.stdout)["findings"], indent=1) + "\n"
    for name, content in (("txt", text.stdout[start:]), ("json", findings)):
        recorded = IMPOSSIBLE.with_suffix(f".{name}").read_text(encoding="utf-8")
        assert content.replace(str(model), model.name) == recorded


def narrow(cores: int, **limits: int) -> Target:
    """Loihi 2 with so many cores, and less of some resources."""
    chip = load_target("loihi2")
    core = {
        name: limit.model_copy(update={"limit": limits.get(name, limit.limit)})
        for name, limit in chip.core.items()
    }
    few = chip.chip.cores.model_copy(update={"limit": cores})
    return chip.model_copy(
        update={"core": core, "chip": chip.chip.model_copy(update={"cores": few})}
    )


def residual() -> Network:
    """A block with a way around it, 580 neurons."""
    rng = np.random.default_rng(3)

    def conv(name: str, source: str, target: str, kernel: int, channels: int) -> Projection:
        pad = kernel // 2
        op = Conv(8, channels, (kernel,) * 2, (1, 1), ((pad, pad),) * 2, (1, 1))
        weight = rng.normal(size=op.weight_shape) / np.sqrt(channels * kernel**2)
        return project(name, source, target, op, weight.astype(np.float32) * 2)

    last = (Reshape((288,)), Dense(4, 288))
    return Network(
        (inputs((2, 6, 6)), lif("a", (8, 6, 6)), lif("b", (8, 6, 6)), lif("out", (4,), "output")),
        (
            conv("stem", "input", "a", 3, 2),
            conv("c", "a", "b", 3, 8),
            conv("skip", "input", "b", 1, 2),
            project("fc", "b", "out", last, rng.normal(size=(4, 288)).astype(np.float32) / 8),
        ),
    ).verify()


def test_what_fits_is_ordered_by_answers() -> None:
    """Labels are what one way to remove kernels answers, then what the other does: each gets chosen."""
    network, rng = residual(), np.random.default_rng(0)
    x = (rng.random((8, 60, 2, 6, 6)) < 0.4).astype(np.float32)
    plain = Samples(x)

    def compiled(recipe: Recipe | None) -> snndeploy.Compiled:
        chip = narrow(1, neurons=400)
        return snndeploy.compile(network, recipe=recipe, calibration=plain, target=chip)

    first = compiled(None)
    assert not first.fits
    found = fix_model(first, compiled, plain)
    assert found.recipe is not None
    (removal,) = (p for p in found.recipe.passes if isinstance(p, RemoveKernels))
    assert removal.fold == "weights"
    assert len(found.tried) > 1
    seen = "(passes are fitted to some of them)"
    assert found.ordered.startswith(f"answers on 60 samples {seen}: those of the trained network")
    answers = {}
    for score in ("l1", "rate", "second-order"):
        way = replace(removal, score=score)
        answers[score] = run_float(compiled(Recipe(name="x", passes=(way,))).network, x)
    for score, recorded in answers.items():
        labelled = Samples(x, recorded.predictions("out"))
        fixing = fix_model(first, compiled, labelled)
        assert fixing.recipe is not None
        (chosen,) = (p for p in fixing.recipe.passes if isinstance(p, RemoveKernels))
        assert chosen.score == score
        assert f"chosen by {score}, folded into weights" in fixing.steps
        assert any(line.endswith("100.0% of 60 answers are right") for line in fixing.tried)


def test_what_fits_is_compared_on_samples_that_no_pass_is_fitted_to() -> None:
    """Where there are enough: the labels of the eight that passes see are wrong, and do not count."""
    network, rng = residual(), np.random.default_rng(0)
    x = (rng.random((6, 108, 2, 6, 6)) < 0.4).astype(np.float32)
    labels = run_float(network, x).predictions("out")
    labels[:8] = (labels[:8] + 1) % 4
    chip, samples = narrow(1, neurons=400), Samples(x, labels)

    def compiled(recipe: Recipe) -> snndeploy.Compiled:
        return snndeploy.compile(network, recipe=recipe, calibration=samples, target=chip)

    first = compiled(Recipe(calibration=CalibrationOptions(samples=8)))
    fixing = fix_model(first, compiled, samples, seconds=0)
    which = "answers on 100 samples that no pass is fitted to"
    assert fixing.ordered == f"{which}: right (100.0% before any of this)"


@pytest.mark.slow
def test_what_is_written_keeps_most_answers_of_all_that_fits() -> None:
    """Digits on 3 small cores: fewer kernels at 8 bits keep 91 % of 300 answers; fewer bits and pruning,
    which would leave 10 %, are not tried. The smaller membrane error removes as many kernels."""
    chip = narrow(3, neurons=150, synapse_words=700, pool_words=1000)
    samples = digits().first(300)
    how = {"frontend": "snntorch", "semantics": {"reset": "zero"}, "target": chip}

    def compiled(recipe: Recipe | None) -> snndeploy.Compiled:
        return snndeploy.compile(FOLDER / "digits.nir", recipe=recipe, calibration=samples, **how)

    first, told = compiled(None), list[str]()
    assert not first.fits
    for data, ordered in ((samples, "answers on 300 samples (passes"), (None, "membrane error")):
        fixing = fix_model(first, compiled, data, tell=told.append)
        assert ordered in fixing.ordered
        assert fixing.steps[:2] == ("remove 12 of 16 kernels of 1", "remove 24 of 32 kernels of 4")
        assert fixing.recipe is not None
        assert compiled(fixing.recipe).fits
        assert len(fixing.tried) == (1 if data is None else 3)
    shares = [line.split(": ")[-1] for line in told if "answers are right" in line]
    assert max(shares).startswith("fits, 9")


def test_what_is_tried_is_told_and_ends_in_time() -> None:
    """The worst violations come first; a note says where the time was not enough for all."""
    program, target = mlp(100, 40, 90), load_target("tiny")
    placement = place_program(program, target)
    heard: list[tuple[str, int, int]] = []
    whole = check_program(program, placement, target, tell=lambda *said: heard.append(said))
    errors = [f for f in whole if f.severity == "error"]
    assert len(errors) > 1
    assert [(done, of) for _, done, of in heard] == [(i, len(errors)) for i in range(len(errors))]
    assert heard[0][0] == f"what helps against {errors[0].code} at {errors[0].where}"
    cut = check_program(program, placement, target, seconds=0)
    assert cut[-1].code == "fixes-not-tried"
    assert cut[-1].message.endswith(f"against 1 of {len(errors)} violations")
    assert cut[0].fixes[:1] == whole[0].fixes[:1]
    assert [f.code for f in cut[:-1]] == [f.code for f in whole]
    assert all(f.fixes == () for f in cut[1:-1])
