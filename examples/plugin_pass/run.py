"""A pass of one's own in a recipe, beside the shipped ones.

``python run.py`` runs it on the demo's digits network before the shipped quantisation, and prints as
JSON what is left. A package names it as an entry point (``README.md``), and recipes find it by its name.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

import snndeploy
from snndeploy.demo import FOLDER, digits
from snndeploy.passes.quantization.quantize import Quantize

sys.path.insert(0, str(Path(__file__).parent))

from keep_signs import KeepSigns


def main() -> dict[str, Any]:
    """Magnitudes per layer, and how many of 100 digits stay right."""
    recipe = snndeploy.Recipe(name="signs", guard="off", passes=(KeepSigns(), Quantize(bits=2)))
    compiled = snndeploy.compile(
        FOLDER / "digits.nir", recipe=recipe, frontend="snntorch", semantics={"reset": "zero"}
    )
    samples = digits().first(100)
    run = snndeploy.run_engine("integer", samples, program=compiled.program)
    right = run.predictions() == samples.labels
    return {
        "magnitudes": {
            p.name: len(np.unique(np.abs(p.weight.data))) for p in compiled.network.projections
        },
        "right": int(right.sum()),
        "samples": len(samples),
    }


if __name__ == "__main__":
    print(json.dumps(main(), indent=2))
