"""A data set ten times as long takes no more memory, whatever file it is in."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import snndeploy
from snndeploy.ir.network import Network, Projection, Source
from snndeploy.ir.ops import Dense
from snndeploy.ir.weights import Weight
from tests.support.builders import inputs, lif

STEPS, PLACES, SAMPLES = 20, 1024, 10_000
SCRIPT = """
import sys
from snndeploy.cli import main
main(sys.argv[1:], standalone_mode=False)
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(int(status["VmHWM"].split()[0]))
"""


def trains() -> np.ndarray:
    """200 MB of spikes, as many as a network of this size would take at once."""
    rng = np.random.default_rng(0)
    return np.resize(rng.random((500, STEPS, PLACES)) < 0.02, (SAMPLES, STEPS, PLACES)).view(
        np.uint8
    )


def events() -> dict[str, np.ndarray]:
    """400 events per recording, within 20 ms."""
    rng = np.random.default_rng(0)
    n = 400 * SAMPLES
    return {
        "x": rng.integers(0, 32, n, np.uint8),
        "y": rng.integers(0, 32, n, np.uint8),
        "t": rng.integers(0, 20_000, n, np.uint32),
        "offset": np.arange(0, n + 1, 400),
    }


FILES: dict[str, tuple[Callable[[Path], None], tuple[str, ...]]] = {
    "x.npy": (lambda path: np.save(path, trains()), ()),
    "stored.npz": (lambda path: np.savez(path, x=trains()), ()),
    "packed.npz": (lambda path: np.savez_compressed(path, x=trains()), ()),
    "events.npz": (
        lambda path: np.savez_compressed(path, **events()),
        ("--bin-ms", "1", "--steps", "20", "--frames", "binary", "--sensor", "1,32,32"),
    ),
}


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's peak memory")
@pytest.mark.parametrize("name", FILES)
def test_peak_memory_does_not_grow_with_the_samples(tmp_path: Path, name: str) -> None:
    weight = np.random.default_rng(1).integers(-127, 128, (10, PLACES)) / 128
    readout = lif("output", (10,), "output", threshold=2.0)
    projection = Projection("w", (Source("input"),), "output", (Dense(10, PLACES),), Weight(weight))
    network = Network((inputs((PLACES,)), readout), (projection,))
    compiled = snndeploy.compile(network, recipe=None)
    bundle = snndeploy.save_bundle(tmp_path / "net.snnb", snndeploy.bundle_of(compiled))
    write, options = FILES[name]
    write(tmp_path / name)

    def peak(samples: int) -> int:
        """Kilobytes at most resident while that many samples run."""
        command = ["simulate", str(bundle), "--data", str(tmp_path / name), *options]
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, *command, "--samples", str(samples), "--json"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert f'"samples": {samples}' in done.stdout
        return int(done.stdout.splitlines()[-1])

    few, many = peak(SAMPLES // 10), peak(SAMPLES)
    assert many <= 1.1 * few, f"{few} kB for {SAMPLES // 10} samples, {many} kB for {SAMPLES}"
