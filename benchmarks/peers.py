"""Other simulators, each in an environment of its own that is made on demand, on our networks."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import findpython
import numpy as np
import platformdirs
from engine_networks import Array, layers_of

from snndeploy.ir.network import Network

_HERE = Path(__file__).parent
_TORCH = ("torch==2.13.0",)
_COMMON = ("numpy", "h5py", "networkx", "nir==1.0.8", "scipy", "tqdm", "loguru")
_PIP = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A simulator: the Python it runs on, and what to install, one call of pip after the other."""

    title: str
    python: tuple[int, int]
    module: str
    install: tuple[tuple[str, ...], ...]
    worker: tuple[str, ...]


def _torch_peer(title: str, requirement: str) -> Peer:
    name = requirement.partition("==")[0]
    # torch first, so that nothing brings another build of it
    steps = (_TORCH, _COMMON, ("--no-deps", "nirtorch==2.6", requirement))
    return Peer(
        title=title, python=(3, 11), module=name, install=steps, worker=("peer_worker.py", name)
    )


PEERS = {
    "snntorch": _torch_peer("snnTorch 1.0.0", "snntorch==1.0.0"),
    "norse": _torch_peer("Norse 1.1.0", "norse==1.1.0"),
    "spikingjelly": _torch_peer("SpikingJelly 2.0.0", "spikingjelly==2.0.0"),
    # its last release, and the newest nengo and NumPy that it works with
    "nengo_loihi": Peer(
        title="nengo-loihi 1.1.0",
        python=(3, 9),
        module="nengo_loihi",
        install=(("nengo-loihi==1.1.0", "nengo==3.2.0", "numpy<1.24"),),
        worker=("nengo_worker.py",),
    ),
    "sana_fe": Peer(
        title="SANA-FE 2.2.9",
        python=(3, 11),
        module="sanafe",
        install=(("sanafe==2.2.9", "pyyaml", "numpy"),),
        worker=("sana_fe_worker.py",),
    ),
}


def default_folder() -> Path:
    """Where environments are kept."""
    return Path(platformdirs.user_cache_dir("snndeploy")) / "benchmark-peers"


def interpreter(name: str, folder: Path) -> Path | None:
    """The peer's Python, installed now if it is not there; None, with a line why, where that fails."""
    peer = PEERS[name]
    python = folder / name / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    probe = [str(python), "-c", f"import {peer.module}"]
    if python.exists() and not subprocess.run(probe, capture_output=True, check=False).returncode:
        return python
    base = findpython.find(*peer.python)
    if base is None:
        print(f"  {peer.title}: left out, it needs Python {peer.python[0]}.{peer.python[1]}")
        return None
    print(f"  installing {peer.title} in {folder / name}", file=sys.stderr)
    steps = [[str(base.executable), "-m", "venv", str(folder / name)]]
    steps += [[str(python), *_PIP, *what] for what in peer.install]
    for step in [*steps, probe]:
        done = subprocess.run(step, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"  {peer.title}: left out ({done.stderr.strip().splitlines()[-1]})")
            return None
    return python


class Worker:
    """A peer with a network, ready to be timed."""

    def __init__(self, peer: Peer, process: subprocess.Popen[str]) -> None:
        self.peer, self._process = peer, process
        self.counts = np.array(self._answer()["counts"])

    def seconds(self, what: str, clock: str) -> float:
        """Time of one run of the ``batch``, or of its first sample (``one``), ``wall`` or ``cpu``."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{what}\n")
        self._process.stdin.flush()
        return float(self._answer()[clock])

    def _answer(self) -> Mapping[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.peer.title} ended with {self._process.wait()}")
        return json.loads(line)  # type: ignore[no-any-return]


@contextlib.contextmanager
def worker(name: str, python: Path, network: Network, x: Array, scratch: Path) -> Iterator[Worker]:
    """A worker for as long as the block lasts."""
    spec, arrays = layers_of(network)
    work = scratch / f"{name}.npz"
    np.savez(work, spec=np.array(json.dumps(spec)), x=x, **arrays)
    script, *arguments = PEERS[name].worker
    command = [str(python), str(_HERE / script), *arguments, str(work)]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            yield Worker(PEERS[name], process)
        finally:
            assert process.stdin is not None
            process.stdin.close()
