"""Bounds on commands, signals, outputs that are checked first, and names that are only text."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import pytest

from snndeploy.cli.show.telling import tell
from snndeploy.ir.finding import Finding, Fix
from snndeploy.limits import Limits, current
from snndeploy.plain import plain
from tests.support.commands import FRONTEND, check, network, printed, run
from tests.support.nir_graphs import chain, lif, written


def code_of(text: str) -> str:
    return text.partition("error[")[2].partition("]")[0]


COMMAND = (sys.executable, "-m", "snndeploy")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return network(tmp_path, 6, 8, 3)


@pytest.fixture
def bundle(model: Path, tmp_path: Path) -> Path:
    check(run("compile", model, *FRONTEND, "-o", tmp_path / "net.snnb"), 0)
    return tmp_path / "net.snnb"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rng = np.random.default_rng(1)
    np.savez(tmp_path / "data.npz", x=(rng.random((5, 20, 6)) < 0.4).astype(np.uint8))
    return tmp_path / "data.npz"


def test_a_command_is_given_its_time(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check(run("inspect", model, *FRONTEND), 0)  # an import must not be what is interrupted

    def endless(*_: object, **__: object) -> None:
        while True:
            time.sleep(0.01)

    monkeypatch.setattr("snndeploy.ingest.read_model", endless)
    began = time.monotonic()
    result = run("--timeout", "0.3", "inspect", model)
    check(result, 3)
    assert time.monotonic() - began < 5
    assert result.stderr == (
        "error[time-limit]: it takes more time than it may\n"
        "  next: give it more: snndeploy --timeout SECONDS COMMAND …\n"
    )
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_command_is_given_its_memory(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hungry(*_: object, **__: object) -> None:
        np.ones(1 << 32)

    before = resource.getrlimit(resource.RLIMIT_DATA)
    monkeypatch.setattr("snndeploy.ingest.read_model", hungry)
    told = json.loads(printed(run("--max-memory", 4096, "inspect", model, "--json"), 3))
    assert told["error"]["code"] == "memory-limit"
    assert resource.getrlimit(resource.RLIMIT_DATA) == before
    assert current() == Limits()


def test_the_size_of_a_model_is_what_the_option_says(tmp_path: Path) -> None:
    path = network(tmp_path, 6, 8, 3)
    with h5py.File(path, "a") as file:
        file["node/nodes/n1/ballast"] = np.zeros((70 << 20) // 8)
    text = check(run("--max-memory", 256, "inspect", path, *FRONTEND), 3)
    assert "error[too-large]" in text
    assert "snndeploy --max-memory MIB" in text


def start(*arguments: object, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


INTERRUPTED = """
import os, signal, sys
module = sys.argv.pop()
class Interrupt:
    def find_spec(self, name, path, target=None):
        if name == module:
            os.kill(os.getpid(), signal.SIGINT)
from snndeploy.__main__ import run
sys.meta_path.insert(0, Interrupt())
run()
"""


@pytest.mark.parametrize(
    ("module", "code", "told"),
    [
        ("click", -signal.SIGINT, ""),
        ("snndeploy.cli.options", -signal.SIGINT, ""),
        ("numpy", 130, "interrupted\n"),
        ("snndeploy.files.hdf5", 130, "interrupted\n"),
    ],
)
def test_an_interrupt_during_the_start_shows_no_traceback(
    model: Path, module: str, code: int, told: str
) -> None:
    """While the command line is loaded there is nothing to say; then it says so."""
    arguments = ["inspect", str(model), *FRONTEND, module]
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (code, "", told)


SLOW = """
import sys, time
from pathlib import Path
import snndeploy.ingest
from snndeploy.files import scratch
def slow(*_, **__):
    with scratch("snndeploy-lava-") as folder:
        print(folder, flush=True)
        time.sleep(60)
snndeploy.ingest.read_model = slow
sys.argv = ["snndeploy", "inspect", sys.argv[1]]
from snndeploy.__main__ import run
run()
"""


@pytest.mark.parametrize(
    ("number", "code", "told"),
    [(signal.SIGTERM, 143, "terminated"), (signal.SIGINT, 130, "interrupted")],
)
def test_a_signal_removes_what_is_temporary(model: Path, number: int, code: int, told: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SLOW, model],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        folder = Path(process.stdout.readline().strip())
        assert folder.is_dir()
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (code, f"{told}\n")
    assert not folder.exists()


def test_what_a_killed_process_left_is_removed_by_the_next(model: Path, tmp_path: Path) -> None:
    from snndeploy.files import scratch

    temporary = tmp_path / "tmp"
    temporary.mkdir()
    environ = {**os.environ, "TMPDIR": str(temporary)}
    with subprocess.Popen(
        [sys.executable, "-c", SLOW, model], stdout=subprocess.PIPE, text=True, env=environ
    ) as process:
        assert process.stdout is not None
        left = Path(process.stdout.readline().strip())
        assert left.parent == temporary
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("tempfile.tempdir", str(temporary))
            with scratch("snndeploy-lava-"):
                assert left.is_dir()  # it is in use
            process.kill()
            process.wait()
            with scratch("snndeploy-lava-"):
                assert not left.exists()
    assert list(temporary.iterdir()) == []


def test_a_page_is_replaced_only_by_force(bundle: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("mine")
    text = check(run("report", bundle, "--html", page), 3)
    assert "error[output-exists]" in text
    assert "add --force to replace it, or choose another place with --html" in text
    assert page.read_text() == "mine"
    check(run("report", bundle, "--html", page, "--force"), 0)
    assert page.read_text().startswith("<!doctype html>")


def test_the_page_is_written_though_nobody_reads_along(bundle: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    reader, writer = os.pipe()
    os.close(reader)
    process = subprocess.Popen(
        [*COMMAND, "report", str(bundle), "--html", str(page)],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(writer)
    _, said = process.communicate(timeout=120)
    assert "Traceback" not in said
    assert page.read_text().endswith("</html>\n")


def test_outputs_are_tried_before_the_work(
    model: Path, bundle: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("work began")

    for name in ("snndeploy.ingest.read_network", "snndeploy.bundle.read_bundle"):
        monkeypatch.setattr(name, never)
    monkeypatch.setattr("snndeploy.pipeline.opening.read_bundle", never)
    nowhere = tmp_path / "no" / "x"
    a_file = tmp_path / "data.npz" / "x.snnb"
    commands: list[tuple[object, ...]] = [
        ("compile", model, "-o", a_file),
        ("compress", model, "-o", nowhere),
        ("export", model, "--to", "nir", "-o", nowhere),
        ("finetune", model, "-r", "admm", "--train", data, "-o", f"{nowhere}.nir"),
        ("finetune", model, "-r", "admm", "--train", data, "-o", a_file),
        ("sensitivity", model, "-d", data, "--plot", f"{nowhere}.svg"),
        ("sensitivity", model, "-d", data, "--recipe", f"{nowhere}.toml"),
        ("reduce-timesteps", model, "-d", data, "--rescale", "-o", f"{nowhere}.nir"),
        ("check", model, "--fix", f"{nowhere}.toml"),
        ("simulate", bundle, "-d", data, "--html", nowhere),
        ("verify", bundle, "--html", nowhere),
        ("report", bundle, "--html", nowhere),
        ("demo", "-o", a_file),
    ]
    for command in commands:
        text = check(run(*command), 3)
        assert "error[output-unwritable]" in text, command


def test_a_full_disk_leaves_the_old_file_and_says_so(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.nir"
    check(run("export", model, *FRONTEND, "--to", "nir", "-o", out), 0)
    before = out.read_bytes()

    def small() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))

    arguments = ("export", model, *FRONTEND, "--to", "nir", "-o", out, "--force")
    process = start(*arguments, preexec_fn=small)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 3, said
    assert f"error[output-unwritable]: {out}: cannot write here (File too large)" in said
    assert out.read_bytes() == before
    assert [p for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_names_are_text_on_a_terminal(tmp_path: Path) -> None:
    nodes = [nir.Linear(np.eye(3)), lif(3)]
    graph = chain(3, *nodes)
    first = next(n for n in graph.nodes if isinstance(graph.nodes[n], nir.LIF))
    hostile = "\x1b[2J[bold red]x[red]\r\u202e"
    nodes_now = {hostile if n == first else n: node for n, node in graph.nodes.items()}
    edges = [tuple(hostile if n == first else n for n in edge) for edge in graph.edges]
    path = written(tmp_path, nir.NIRGraph(nodes_now, edges, type_check=False))
    text = check(run("inspect", path, *FRONTEND), 0)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert r"\x1b[2J[bold red]x[red]\r\u202e" in text


def test_what_is_told_on_the_way_is_plain(capsys: pytest.CaptureFixture[str]) -> None:
    """Commands whose result is something else tell findings as lines of their own."""
    fix = Fix(action="retry", text="\x1b[1A", effect="\u202e")
    tell([Finding(code="some", severity="warning", where="\x1b[2J", message="a\x07", fixes=(fix,))])
    assert capsys.readouterr().err == ("warning[some] \\x1b[2J: a\\x07\n  try: \\x1b[1A: \\u202e\n")


def test_long_words_are_cut() -> None:
    assert plain("a" * 2001) == "a" * 2000 + "… (2,001 characters)"
    assert len(plain("b" * 50_000_000)) < 3000
    assert plain("x\ty\nz\x00\x9b") == "x\ty\nz\\x00\\x9b"


RECORDS = [
    ("report", "report.json", '{"passes": 3}', "report-damaged"),
    ("report", "report.json", '{"network": []}', "report-damaged"),
    ("report", "report.json", "[]", "bundle-content"),
    ("verify", "report.json", '{"board": 3}', "report-damaged"),
    ("verify", "lock.toml", "[[[", "report-damaged"),
    ("verify", "lock.toml", "network = 3", "report-damaged"),
]


@pytest.mark.parametrize(("command", "name", "content", "code"), RECORDS)
def test_records_that_lack_what_they_have_to_hold(
    bundle: Path, command: str, name: str, content: str, code: str
) -> None:
    import hashlib

    (bundle / name).write_text(content)
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["files"][name] = hashlib.sha256(content.encode()).hexdigest()
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    engines = ("--engines", "integer") if command == "verify" else ()
    text = check(run(command, bundle, *engines), 3)
    assert code_of(text) == code


def test_whoever_stops_reading_is_no_fault_of_ours(model: Path) -> None:
    """``snndeploy inspect … | head -1`` ends well, and says nothing."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "snndeploy", "inspect", str(model), *FRONTEND],
            stdout=writer,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")
