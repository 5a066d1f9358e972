"""Four bits and a fifth of the weights: in one shot, and trained on under the chip's rounding.

``python run.py`` uses the demo's digits network and part of its digits to train on; it prints the
accuracies on the others as JSON.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import snndeploy
from snndeploy.demo import FOLDER, digits
from snndeploy.passes.prune import Prune
from snndeploy.passes.quantization.quantize import Quantize

HERE = Path(__file__).parent
HOW: dict[str, Any] = {"frontend": "snntorch", "semantics": {"reset": "zero"}}
ONE_SHOT = snndeploy.Recipe(
    name="one-shot",
    guard="warn",
    passes=(Prune(sparsity=0.8, scope="global"), Quantize(bits=4, clip="mse")),
)
TRAIN, SEEN, TEST = 250, 50, 150


def main() -> dict[str, Any]:
    """Compile the network both ways, and run both on digits that no pass saw."""
    samples = digits()
    train, choose = samples.part(0, TRAIN), samples.part(TRAIN, SEEN)
    test = samples.part(TRAIN + SEEN, TEST)
    plain = snndeploy.compile(
        FOLDER / "digits.nir", target="loihi2", recipe=ONE_SHOT, calibration=choose, **HOW
    )
    tuned = snndeploy.finetune(
        FOLDER / "digits.nir", train, recipe=HERE / "recipe.toml", validation=choose, **HOW
    )
    accuracy: dict[str, float] = {}
    for name, compiled in (("one shot", plain), ("trained on", tuned)):
        bundle = snndeploy.bundle_of(compiled, test.first(2))
        run = snndeploy.verify_bundle(bundle, ["float", "integer"], lambda _: test)
        accuracy["as trained"] = 100 * run["accuracy"]["float"]
        accuracy[name] = 100 * run["accuracy"]["integer"]
    widths = sorted({s.weight_bits for s in tuned.program.synapses})
    return {"fits": tuned.fits, "bits": widths, "accuracy": accuracy}


if __name__ == "__main__":
    print(json.dumps(main(), indent=2))
