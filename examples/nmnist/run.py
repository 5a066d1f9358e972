"""The NIR paper's N-MNIST network, which Sinabs trained: from events to the chip's integers.

``python run.py cnn_sinabs.nir nmnist.npz`` compiles it for Loihi 2, runs the trained network and the
integers on the first test digits, and prints what came of it as JSON. The README says where both files
are from.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import snndeploy

HERE = Path(__file__).parent
HOW: dict[str, Any] = {
    "frontend": "sinabs",
    "semantics": {"reset": "subtract", "spikes_per_step": "many", "v_floor": "minus-threshold"},
}
"""What the file does not say of the network, and its authors do."""


def main(model: Path, data: Path, first: int = 1000, samples: int = 4) -> dict[str, Any]:
    """Compile, and hold the integers against the trained network."""
    shape = (
        snndeploy.read_network(model, HOW["frontend"], **HOW["semantics"]).population("input").shape
    )
    events = {"bin_ms": 3.0, "steps": 100}
    seen = snndeploy.load_samples(data, shape, skip=first - 10, samples=10, **events)
    test = snndeploy.load_samples(data, shape, skip=first, samples=samples, **events)
    compiled = snndeploy.compile(
        model, target="loihi2", recipe=HERE / "recipe.toml", calibration=seen, **HOW
    )
    bundle = snndeploy.bundle_of(compiled, test.first(1))
    run = snndeploy.verify_bundle(bundle, ["float", "integer"], lambda _: test)
    return {
        "fits": compiled.fits,
        "cores": len(compiled.placement.cores),
        "layers": {row["layer"]: row["neurons"] for row in _layers(compiled)},
        "accuracy": {engine: 100 * share for engine, share in run["accuracy"].items()},
    }


def _layers(compiled: snndeploy.Compiled) -> list[dict[str, Any]]:
    return list(snndeploy.tables_of(compiled)["layers"].records())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    given = parser.parse_args()
    print(json.dumps(main(given.model, given.data), indent=2))
