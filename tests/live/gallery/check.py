"""Runs inside an environment with one framework: every piece of its gallery, read and run.

Usage: python -m tests.live.gallery.check FRAMEWORK [--lava] [--golden FOLDER] [NAME...]. Prints, for
each piece, what differs from the framework (float, and integer where integers hold its parameters) or,
on Lava, from the integer engine, and the spikes compared, as JSON.
"""

from __future__ import annotations

import importlib
import json
import sys
import traceback
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

import snndeploy
from snndeploy.chip import load_target
from snndeploy.errors import SnnDeployError
from snndeploy.ir.codec import SharedArrays, encode
from snndeploy.ir.network import Network
from snndeploy.lower import lower
from snndeploy.simulate.float.engine import run_float
from snndeploy.simulate.integer.engine import run_integer
from tests.live.gallery.piece import Piece


def checked(name: str, framework: str, piece: Piece, *, lava: bool) -> dict[str, Any]:
    """What differs, for one piece."""
    read = getattr(snndeploy, f"from_{framework}")
    frames = piece.frames()
    tensors = [torch.tensor(f) for f in frames.values()]
    module = importlib.import_module(f"tests.live.gallery.of_{framework}")
    untouched = getattr(module, "witness", lambda: lambda: True)()
    network = read(piece.module, piece.sample(tensors))
    if not untouched():
        raise AssertionError("reading a module changed the states of another")
    with torch.no_grad():
        theirs = [t.numpy() for t in piece.run(piece.module, tensors)]
    ours = run_float(network, frames)
    found: dict[str, Any] = {
        "name": name,
        "shapes": {p.name: list(p.shape) for p in network.with_role("input")},
        "float": {},
        "spikes": {p.name: int(ours.spikes[p.name].sum()) for p in network.populations if p.neuron},
        "findings": [f.code for f in network.findings],
    }
    for output, expected in zip(piece.outputs, theirs, strict=True):
        if output:
            found["float"][output] = differing(network, output, expected, ours.spikes[output])
    if piece.exact or lava:
        program = lower(network, load_target("loihi2"))
        counts = {n: f.astype(np.int32) for n, f in frames.items()}
        integer = run_integer(program, counts)
        if piece.exact:
            found["integer"] = unequal(network, ours.spikes, integer.spikes)
        if lava:
            from snndeploy.simulate.lava.engine import run_lava

            run = run_lava(program, counts)
            found["lava"] = {
                p: int((run.spikes[p] != integer.spikes[p]).sum())
                for p in integer.spikes
                if p in run.spikes
            }
    return found


def differing(network: Network, name: str, theirs: Any, ours: Any) -> int:
    """Values that differ; what is summed over time is compared with our sum."""
    if theirs.size != ours.size:
        ours = ours.sum(0)
    theirs = theirs.reshape(ours.shape)
    neuron = network.population(name).neuron
    if neuron is not None and neuron.spiking:
        return int((theirs != ours).sum())
    return int((~np.isclose(theirs, ours, rtol=1e-5, atol=1e-6)).sum())


def unequal(network: Network, ours: Any, integer: Any) -> dict[str, int]:
    """Spikes of each population that another engine gives otherwise."""
    spiking = [p.name for p in network.populations if p.neuron is not None and p.neuron.spiking]
    return {name: int((ours[name] != integer[name]).sum()) for name in spiking}


def golden(framework: str, piece: Piece, name: str, folder: Path) -> None:
    """Write the network that was read, and what the framework answered."""
    frames = piece.frames()
    tensors = [torch.tensor(f) for f in frames.values()]
    network = getattr(snndeploy, f"from_{framework}")(piece.module, piece.sample(tensors))
    with torch.no_grad():
        theirs = piece.run(piece.module, tensors)
    arrays = SharedArrays()
    told = json.dumps(encode(network, arrays))
    answers = {f"answer:{o}": t.numpy() for o, t in zip(piece.outputs, theirs, strict=True) if o}
    inputs = {f"input:{n}": f.astype(np.uint8) for n, f in frames.items()}
    path = folder / f"{framework}-{name.replace(' ', '-').replace(',', '')}.npz"
    np.savez_compressed(path, network=told, **arrays, **inputs, **answers)


def main(framework: str, *options: str) -> None:
    warnings.simplefilter("ignore")
    module = importlib.import_module(f"tests.live.gallery.of_{framework}")
    words = [o for o in options if not o.startswith("-")]
    folder = Path(words.pop(0)) if "--golden" in options else None
    results = []
    for name, make in module.pieces().items():
        if words and name not in words:
            continue
        torch.manual_seed(len(name))
        piece = make()
        try:
            results.append(checked(name, framework, piece, lava="--lava" in options))
            if folder is not None:
                torch.manual_seed(len(name))
                golden(framework, make(), name, folder)  # not one that has run
        except SnnDeployError as error:
            results.append(
                {
                    "name": name,
                    "error": f"{error.code}: {error.message} [{error.where}] {error.hint}",
                }
            )
        except Exception:
            results.append({"name": name, "error": traceback.format_exc()})
    print(json.dumps(results))  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
