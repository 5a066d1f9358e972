"""The command line as a user meets it: results, exit codes, and what it says when something is wrong."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

from tests.support.commands import FRONTEND, check, code_of, printed, run
from tests.support.nir_graphs import chain, graph, lif, written


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A small network: 6 inputs, 8 hidden, 3 classes."""
    rng = np.random.default_rng(0)
    net = chain(
        6, nir.Linear(rng.normal(size=(8, 6))), lif(8), nir.Linear(rng.normal(size=(3, 8))), lif(3)
    )
    return written(tmp_path, net)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rng = np.random.default_rng(1)
    x = (rng.random((5, 20, 6)) < 0.4).astype(np.uint8)
    np.savez(tmp_path / "data.npz", x=x, y=np.array([0, 1, 2, 0, 1]))
    return tmp_path / "data.npz"


def test_help_lists_the_commands_in_the_order_of_the_work() -> None:
    names = re.findall(r"^  (\w+)  ", check(run("--help"), 0), re.MULTILINE)
    assert names[:5] == ["init", "inspect", "compile", "check", "compare"]


def test_inspect(model: Path) -> None:
    text = check(run("inspect", model, *FRONTEND), 0)
    assert re.search(r"n0 +input +n1 +dense 6->8 +48 +48 .* float64", text)
    assert "11 neurons  72 weights  72 synapses" in text
    assert "frontend: nir" in text
    as_json = json.loads(printed(run("inspect", model, *FRONTEND, "--json")))
    assert as_json["profile"]["name"] == "nir"
    assert as_json["profile"]["why"] == "asked for"
    assert [p["shape"] for p in as_json["populations"]] == [[6], [8], [3]]


def test_compile_report_verify_round(model: Path, data: Path, tmp_path: Path, lava: Any) -> None:
    bundle = tmp_path / "net.snnb"
    text = check(run("compile", model, *FRONTEND, "-o", bundle, "--data", data), 0)
    assert "fits loihi2 (oheo-gulch): 2 of 128 cores" in text
    assert check(run("report", bundle), 0) in text.replace("pass 1/1  quantize\n", "")
    report = json.loads(printed(run("simulate", bundle, "-d", data, "--json")))
    assert report["samples"] == 5
    assert set(report["accuracy"]) == {"integer"}
    assert "verified: every spike is the same" in check(run("verify", bundle), 0)
    assert "fits loihi2" in check(run("check", bundle), 0)
    assert "fits loihi2 (kapoho-point)" in check(run("check", bundle, "--board", "kapoho-point"), 0)


def test_simulate_compares_engines(model: Path, data: Path) -> None:
    words = ("simulate", model, *FRONTEND, "-d", data, "-e", "float,integer", "-n", 3)
    short, text = check(run(*words), 0), check(run("-v", *words), 0)
    assert short.rstrip().splitlines()[-1].startswith("accuracy: float ")  # where eyes are
    assert "not counted" not in short
    assert "NeuroBench" not in short
    assert "3 samples, 20 steps" in text
    assert re.search(r"integer +\d+\.\d% +[\d,]+ of [\d,]+ vs float", text)
    assert "SynOps" in text
    assert "not counted" in text
    assert "NeuroBench" in text


def test_a_network_too_large_exits_5_with_every_violation(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    net = chain(
        100,
        nir.Linear(rng.normal(size=(90, 100))),
        lif(90),
        nir.Linear(rng.normal(size=(70, 90))),
        lif(70),
    )
    model, bundle = written(tmp_path, net), tmp_path / "net.snnb"
    result = run("compile", model, *FRONTEND, "--target", "tiny", "-o", bundle)
    text = check(result, 5)
    assert not bundle.exists()
    said = r"error\[does-not-fit\]: \d+ violation\(s\) on tiny \(one\); no bundle was written\n  next: "
    assert re.search(said, text)
    report = json.loads(run("check", model, *FRONTEND, "--target", "tiny", "--json").stdout)
    errors = [f for f in report["findings"] if f["severity"] == "error"]
    assert {"n1", "n3"} <= {f["where"] for f in errors} or any(
        f["resource"] == "cores" for f in errors
    )
    for f in errors:
        assert abs(f["used"]) > abs(f["limit"])
        assert f["rule"]
        assert f["source"]
    assert any(f["fixes"] for f in errors)
    ratios = [f.get("ratio", np.inf) for f in errors]
    assert ratios == sorted(ratios, reverse=True)


def refusal(*arguments: object) -> tuple[int, str]:
    """Exit code and message; nothing that looks like a traceback, and the same content as JSON."""
    result = run(*arguments)
    assert "Traceback" not in result.output
    as_json = run(*arguments, "--json")
    assert as_json.exit_code == result.exit_code
    error = json.loads(as_json.stdout)["error"]
    assert f"error[{error['code']}]" in result.output
    assert error["message"] in result.output
    return result.exit_code, result.output


def test_bad_files(tmp_path: Path, model: Path) -> None:
    missing = refusal("compile", tmp_path / "gone.nir")
    assert missing[0] == 3
    (tmp_path / "text.nir").write_text("not hdf5")
    assert refusal("compile", tmp_path / "text.nir")[0] == 3
    (tmp_path / "half.nir").write_bytes(model.read_bytes()[: model.stat().st_size // 2])
    assert refusal("compile", tmp_path / "half.nir")[0] == 3
    assert list(tmp_path.glob("*.snnb")) == []


def test_bad_networks(tmp_path: Path) -> None:
    infinite = np.full((3, 4), np.inf)
    for name, net in {
        "infinite": chain(4, nir.Linear(infinite), lif(3)),
        "shapes": chain(4, nir.Linear(np.ones((3, 5))), lif(3)),
        "empty": graph({}, [], {}),
    }.items():
        code, text = refusal("compile", written(tmp_path, net, f"{name}.nir"), *FRONTEND)
        assert code == 3, text
        assert f"{name}.nir" in text


def test_bad_recipe_target_engine_board(model: Path, data: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text('[[pass]]\nname = "quantize"\nbitz = 4\n')
    code, text = refusal("compile", model, *FRONTEND, "--recipe", recipe)
    assert code == 3
    assert "did you mean 'bits'?" in text
    code, text = refusal("compile", model, *FRONTEND, "--target", "loihi3")
    assert code == 3
    assert "did you mean 'loihi" in text
    code, text = refusal("compile", model, *FRONTEND, "--board", "oheo")
    assert code == 2
    assert "oheo-gulch" in text
    result = run("simulate", model, *FRONTEND, "-d", data, "-e", "intger")
    assert result.exit_code == 2
    assert "did you mean 'integer'?" in result.output
    code, text = refusal("simulate", model, *FRONTEND)
    assert (code, "give samples with --data" in text) == (2, True)


def test_output_that_exists(model: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "net.snnb"
    check(run("compile", model, *FRONTEND, "-o", bundle), 0)
    code, text = refusal("compile", model, *FRONTEND, "-o", bundle)
    assert code == 3
    assert "--force" in text
    check(run("compile", model, *FRONTEND, "-o", bundle, "--force"), 0)


def test_the_float_engine_needs_the_network(model: Path, data: Path, tmp_path: Path) -> None:
    """Bundles hold it, but for those that were written before they did."""
    import dataclasses

    from snndeploy.bundle import read_bundle, write_bundle

    bundle = tmp_path / "net.snnb"
    check(run("compile", model, *FRONTEND, "-o", bundle), 0)
    check(run("simulate", bundle, "-d", data, "-e", "float,compressed"), 0)
    old = dataclasses.replace(read_bundle(bundle), networks={})
    write_bundle(bundle, old, version="0", force=True)
    assert not (bundle / "network.npz").exists()
    check(run("verify", bundle, "--engines", "integer"), 0)
    check(run("verify", bundle, "--engines", "integer", "-d", data), 0)
    for command in (
        ("verify", bundle, "--engines", "float"),
        ("simulate", bundle, "-d", data, "-e", "float"),
    ):
        assert refusal(*command)[0] == 2
    code, text = refusal("simulate", bundle, "-d", data, "-e", "compressed")
    assert code == 2
    assert "the stage 'compressed' runs a network, and there is only a program here" in text
    assert "compile the .nir file again" in text


def test_a_changed_program_fails_verification(model: Path, tmp_path: Path) -> None:
    """Verification looks at spikes, not only at digests."""
    import dataclasses

    from snndeploy.bundle import read_bundle, write_bundle

    bundle = tmp_path / "net.snnb"
    check(run("compile", model, *FRONTEND, "-o", bundle), 0)
    content = read_bundle(bundle)
    key = next(k for k in content.golden if k.startswith("spikes."))
    golden = {**content.golden, key: 1 - content.golden[key]}
    write_bundle(bundle, dataclasses.replace(content, golden=golden), version="0", force=True)
    result = run("verify", bundle, "--engines", "integer")
    assert result.exit_code == 6
    assert code_of(result) == "spikes-differ"
    assert "first differ in" in result.output


def test_a_bug_of_ours_says_so(monkeypatch: pytest.MonkeyPatch, model: Path) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("boom")

    monkeypatch.setattr("snndeploy.ingest.read_model", broken)
    result = run("inspect", model)
    assert result.exit_code == 1
    match = re.search(r"please report it with (\S+)", result.output)
    assert match
    saved = Path(match[1])
    assert "ZeroDivisionError: boom" in saved.read_text()
    saved.unlink()


def test_targets_passes_doctor() -> None:
    assert "loihi2-spec" in check(run("targets"), 0)
    assert "19." not in check(run("targets", "loihi2", "--json"), 0)
    assert "20000" in check(run("targets", "loihi2"), 0)
    assert "quantize" in check(run("passes"), 0)
    assert "clip: text, one of" in check(run("passes", "quantize"), 0)
    assert json.loads(printed(run("doctor", "--json")))["targets"]


def test_lava_status_without_lava(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("snndeploy.simulate.lava.env.find_lava", lambda: None)
    result = run("lava", "status")
    assert result.exit_code == 7
    assert code_of(result) == "lava-missing"
