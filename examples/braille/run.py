"""A recurrent network that reads Braille with a robot's finger, from the NIR paper.

``python run.py braille_noDelay_bias_zero.nir braille.npz`` compiles it for Loihi 2, runs the trained
network and the integers on letters that calibration did not see, and prints what came of it as JSON. The
README says where both files are from.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import snndeploy

HERE = Path(__file__).parent


def main(model: Path, data: Path, samples: int = 40) -> dict[str, Any]:
    """Compile, and hold the integers against the trained network."""
    network = snndeploy.read_network(model)
    shape = network.population("input").shape
    seen = snndeploy.load_samples(data, shape, samples=40)
    test = snndeploy.load_samples(data, shape, skip=100, samples=samples)
    compiled = snndeploy.compile(
        network, target="loihi2", recipe=HERE / "recipe.toml", calibration=seen
    )
    bundle = snndeploy.bundle_of(compiled, test.first(1))
    run = snndeploy.verify_bundle(bundle, ["float", "compressed", "integer"], lambda _: test)
    loops = [p.name for p in network.projections if p.target in {s.population for s in p.sources}]
    return {
        "fits": compiled.fits,
        "cores": len(compiled.placement.cores),
        "loops": loops,
        "accuracy": {engine: 100 * share for engine, share in run["accuracy"].items()},
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    given = parser.parse_args()
    print(json.dumps(main(given.model, given.data), indent=2))
