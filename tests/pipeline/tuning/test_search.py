"""A search on a small network: what is tried, what is kept, and what a user gets to compile."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import snndeploy
from snndeploy.chip import load_target
from snndeploy.data import Samples
from snndeploy.errors import BackendMissing, InputError, PassRefused, UsageError
from snndeploy.export import write_nir
from snndeploy.ir.network import Network
from snndeploy.passes.base import PassContext
from snndeploy.passes.quantization.quantize import Quantize
from snndeploy.pipeline.tuning.bench import bench_of
from snndeploy.pipeline.tuning.search import BATCH, Tuned, tune
from snndeploy.pipeline.tuning.space import RecipeSpace
from snndeploy.pipeline.tuning.study import TuneStudy
from snndeploy.pipeline.tuning.trial import TrialBench, TrialOutcome
from snndeploy.simulate.float.engine import run_float
from tests.support.builders import conv_net, spikes
from tests.support.commands import code_of, run

HOW: dict[str, Any] = {"target": "loihi2", "trials": 8, "seed": 3}


def samples(net: Network, n: int = 60, steps: int = 6) -> Samples:
    """Random spikes, labelled with what the network answers for most of them."""
    x = spikes(net, steps=steps, samples=n)
    labels = run_float(net, x).predictions("output").copy()
    labels[::10] = (labels[::10] + 1) % 5
    return Samples(x, labels)


@pytest.fixture(scope="module")
def net() -> Network:
    return conv_net()


@pytest.fixture(scope="module")
def data(net: Network) -> Samples:
    return samples(net)


@pytest.fixture(scope="module")
def found(net: Network, data: Samples) -> Tuned:
    return tune(net, data, **HOW)


def plain(outcome: TrialOutcome) -> dict[str, Any]:
    """What of an outcome does not depend on the clock."""
    told = {f.name: getattr(outcome, f.name) for f in dataclasses.fields(outcome)}
    return {**told, "right": outcome.right.tolist(), "seconds": None}


def trials(found: Tuned) -> list[dict[str, Any]]:
    """Trials without their numbers: those that were asked for twice have others."""
    numbers = {o.number: i for i, o in enumerate(found.outcomes)}
    told = []
    for outcome in found.outcomes:
        why = outcome.why
        if why.startswith("same as "):
            why = f"same as {numbers[int(why.split()[-1])]}"
        told.append({**plain(outcome), "number": numbers[outcome.number], "why": why})
    return told


def test_a_search_finds_a_front_that_compiles_to_its_programs(
    net: Network, data: Samples, found: Tuned
) -> None:
    assert len(found.outcomes) == 8
    assert (found.samples, found.seen) == (40, 20)
    trained = run_float(net, data.inputs[:, 20:]).predictions("output")
    assert found.trained == (trained == data.labels[20:]).mean()  # type: ignore[index]
    costs = [m.cost for m in found.front]
    right = [m.right for m in found.front]
    assert costs == sorted(costs)
    assert right == sorted(set(right))
    for member in found.front:
        compiled = snndeploy.compile(
            net,
            target="loihi2",
            recipe=snndeploy.Recipe.from_toml(member.recipe.to_toml()),
            calibration=data,
        )
        assert compiled.program.digest == member.digest
        answers = snndeploy.run_engine(
            "integer", data.part(20, None), program=compiled.program
        ).predictions("output")
        assert member.right == int((answers == data.labels[20:]).sum())  # type: ignore[index]
        assert member.accuracy == member.right / 40
        assert len(compiled.placement.cores) == member.cores
    judged = [o for o in found.outcomes if o.judged]
    best = max(int(o.right.sum()) for o in judged)
    assert right[-1] == best


def test_an_interrupted_search_goes_on_as_if_it_had_not_been(
    net: Network, data: Samples, found: Tuned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = tmp_path / "study.journal"
    calls = 0
    original = TrialBench.tried

    def interrupted(self: TrialBench, *arguments: Any, **more: Any) -> TrialOutcome:
        nonlocal calls
        calls += 1
        if calls in (3, 6):  # in the middle of a batch
            raise KeyboardInterrupt
        return original(self, *arguments, **more)

    monkeypatch.setattr(TrialBench, "tried", interrupted)
    first = tune(net, data, study=study, **HOW)
    assert first.partial
    assert len(first.outcomes) == 2
    with study.open("ab") as file:  # as a killed process leaves it
        file.write(b'{"op_code":4,"wor')
    second = tune(net, data, study=study, **HOW)
    assert second.partial
    assert 2 < len(second.outcomes) < 8
    last = tune(net, data, study=study, **HOW)
    assert not last.partial
    assert trials(last) == trials(found)
    assert [m.digest for m in last.front] == [m.digest for m in found.front]
    before = calls
    again = tune(net, data, study=study, **HOW)
    assert calls == before  # nothing is tried twice
    assert trials(again) == trials(found)


def test_a_study_of_something_else_is_not_continued(
    net: Network, data: Samples, tmp_path: Path
) -> None:
    study = tmp_path / "study.journal"
    tune(net, data, study=study, **{**HOW, "trials": 1})
    with pytest.raises(InputError) as caught:
        tune(net, data.first(59), study=study, **{**HOW, "seed": 4, "cores": 3})
    assert (caught.value.code, caught.value.where) == ("study-differs", str(study))
    assert caught.value.message == "this study began with other samples, limits, seed"


@pytest.mark.parametrize(
    "content",
    [b"text\n", b"[1]\n", b'{"op_code":99}\n', b'{"op_code":0,"worker_id":"x"}\n', b"\xff\xfe\n"],
)
def test_a_damaged_study_is_refused(content: bytes, net: Network, tmp_path: Path) -> None:
    study = tmp_path / "study.journal"
    study.write_bytes(content)
    space = RecipeSpace(network=net, target=load_target("loihi2"), samples=4)
    with pytest.raises(InputError) as caught:
        TuneStudy(study, {"network": net.digest}, space, 0)
    assert (caught.value.code, caught.value.where) == ("study-damaged", str(study))
    assert study.read_bytes() == content


def test_limits_are_kept_and_what_cannot_keep_them_is_not_simulated(
    net: Network, data: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = tune(net, data, target="loihi1", cores=1, trials=BATCH)
    assert all(m.cores == 1 for m in few.front)
    bench = bench_of(net, data, load_target("loihi1"))
    tight = dataclasses.replace(bench, cores=0)
    monkeypatch.setattr("snndeploy.pipeline.tuning.trial.answers_of", None)  # nothing may run
    monkeypatch.setattr("snndeploy.pipeline.tuning.trial.compress", _once(tight))
    outcome = tight.tried(0, tight.space.choice(bits=4, sparsity=0.5))
    assert (outcome.why, outcome.cores, outcome.digest) == ("cannot fit", 1, "")
    wide = dataclasses.replace(bench, floor=None)
    monkeypatch.setattr(TrialBench, "_least_cores", lambda *_: 0)
    monkeypatch.undo()
    monkeypatch.setattr("snndeploy.pipeline.tuning.trial.answers_of", None)
    monkeypatch.setattr(TrialBench, "_least_cores", lambda *_: 0)
    placed = dataclasses.replace(wide, cores=0).tried(0, wide.space.choice(method="magnitude"))
    assert (placed.why, placed.cores) == ("does not fit", 4)  # a core each
    assert len(placed.right) == 0
    same = wide.tried(1, wide.space.choice(method="magnitude"), (), {placed.digest: 0})
    assert same.why == "same as 0"


def _once(bench: TrialBench) -> Any:
    """`compress` for passes that look at nothing: the slow recipe is not run where bounds suffice."""
    from snndeploy.pipeline.compilation import compress

    def checked(*arguments: Any, **options: Any) -> Any:
        assert not any(p.looks for p in options["recipe"].passes)
        return compress(*arguments, **options)

    return checked


def test_a_drop_that_is_allowed_bounds_the_front(net: Network, data: Samples, found: Tuned) -> None:
    bound = tune(net, data, max_drop=5, **HOW)
    assert all(m.drop <= 5 + 1e-6 for m in bound.front)
    assert all(m.drop == pytest.approx(100 * (bound.trained - m.accuracy)) for m in bound.front)
    assert any(o.why in ("below", "surely below") for o in bound.outcomes)


@pytest.mark.parametrize("least", ["time", "energy", "cores"])
def test_other_things_may_be_least(net: Network, data: Samples, least: Any) -> None:
    few = tune(net, data, target="loihi1", least=least, trials=3)
    fields = {"time": "step_ns", "energy": "energy_nj", "cores": "cores"}
    assert few.front
    assert [m.cost for m in few.front] == [getattr(m, fields[least]) for m in few.front]


def test_without_labels_the_trained_answers_are_right(net: Network, data: Samples) -> None:
    few = tune(net, Samples(data.inputs), target="loihi2", trials=2)
    assert few.trained == 1.0
    assert few.front[-1].drop >= 0


def test_refusals(net: Network, data: Samples, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError) as few:
        tune(net, data.first(5))
    assert few.value.code == "tune-samples"
    quantized = Quantize().apply(net, PassContext()).network
    with pytest.raises(PassRefused) as refused:
        tune(quantized, data)
    assert refused.value.code == "already-quantized"
    silent = load_target("loihi2").model_copy(update={"time": None})
    with pytest.raises(UsageError) as unknown:
        tune(net, data, target=silent, least="time")
    assert unknown.value.code == "tune-unknown-cost"
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(BackendMissing) as missing:
        tune(net, data)
    assert (missing.value.code, missing.value.exit_code) == ("optuna-missing", 7)


# --- the command ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def desk(net: Network, data: Samples, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tune")
    write_nir(folder / "net.nir", net)
    np.savez(folder / "val.npz", x=data.inputs.swapaxes(0, 1), y=data.labels)
    return folder


def test_the_recipes_are_written_and_compile_to_the_digest(desk: Path) -> None:
    out = desk / "out"
    options = ("-d", desk / "val.npz", "-t", "loihi2", "--trials", "4")
    result = run("tune", desk / "net.nir", *options, "-o", out, "--study", desk / "s.journal")
    assert result.exit_code == 0, result.output
    report = json.loads((out / "tune.json").read_text())
    assert report["counts"]["tried"] == 4
    names = [f"recipe-{i + 1:02d}.toml" for i in range(len(report["front"]))]
    assert sorted(p.name for p in out.iterdir()) == ["front.csv", *names, "tune.json"]
    lines = (out / "front.csv").read_text().splitlines()
    assert [line.partition(",")[0] for line in lines] == ["recipe", *names]
    bundle = desk / "net.snnb"
    result = run(
        "compile", desk / "net.nir", "-r", out / names[0], *options[:4], "-o", bundle, "--json"
    )
    assert result.exit_code == 0, result.output
    from snndeploy.bundle import read_bundle

    assert read_bundle(bundle).program.digest == report["front"][0]["digest"]
    taken = run("tune", desk / "net.nir", *options, "-o", out)
    assert (taken.exit_code, code_of(taken)) == (3, "output-exists")
    text = run("tune", desk / "net.nir", *options, "--study", desk / "s.journal", "--csv")
    assert text.stdout.splitlines() == lines
    (desk / "file").write_text("")
    no = run("tune", desk / "net.nir", *options, "-o", desk / "file")
    assert (no.exit_code, code_of(no)) == (3, "output-not-folder")


def test_interrupted_on_the_command_line(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = TrialBench.tried

    def interrupted(self: TrialBench, number: int, *arguments: Any) -> TrialOutcome:
        if number == 2:
            raise KeyboardInterrupt
        return original(self, number, *arguments)

    monkeypatch.setattr(TrialBench, "tried", interrupted)
    result = run("tune", desk / "net.nir", "-d", desk / "val.npz", "-o", desk / "part", "--json")
    assert result.exit_code == 130
    report = json.loads(result.stdout)
    assert report["partial"]
    assert report["counts"]["tried"] == 2
    assert (desk / "part" / "recipe-01.toml").exists()
