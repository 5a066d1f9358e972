"""The demo's digits, by hand: the network that ``train.py`` trained, compressed and held against itself.

``python run.py`` uses what comes with snndeploy, and prints what came of it as JSON.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import snndeploy
from snndeploy.demo import FOLDER, calibration, digits

HERE = Path(__file__).parent


def main() -> dict[str, Any]:
    """Compile, and hold the integers against the trained network."""
    compiled = snndeploy.compile(
        FOLDER / "digits.nir",
        target="loihi2",
        recipe=HERE / "recipe.toml",
        calibration=calibration(),
        frontend="snntorch",
        semantics={"reset": "zero"},
    )
    test = digits().first(100)
    bundle = snndeploy.bundle_of(compiled, test.first(10))
    run = snndeploy.verify_bundle(bundle, ["float", "compressed", "integer"], lambda _: test)
    return {
        "fits": compiled.fits,
        "cores": len(compiled.placement.cores),
        "synapses": snndeploy.report_of(compiled)["passes"][-1]["synapses"],
        "accuracy": {engine: 100 * share for engine, share in run["accuracy"].items()},
    }


if __name__ == "__main__":
    print(json.dumps(main(), indent=2))
