"""A network that is too large for a chip: what breaks limits, and a recipe that ends it.

``python run.py`` uses the demo's digits network and a fictional chip of four small cores, and prints
what it found as JSON.
"""

from __future__ import annotations

import json
from typing import Any

import snndeploy
from snndeploy.demo import FOLDER

HOW: dict[str, Any] = {
    "target": "tiny",
    "recipe": None,
    "tell_all": True,
    "frontend": "snntorch",
    "semantics": {"reset": "zero"},
}


def main() -> dict[str, Any]:
    """Compile, and say what does not fit."""
    compiled = snndeploy.compile(FOLDER / "digits.nir", **HOW)
    errors = [f for f in compiled.findings if f.severity == "error"]
    return {
        "fits": compiled.fits,
        "rules": sorted({f.code for f in errors}),
        "cores": len(compiled.placement.cores),
    }


if __name__ == "__main__":
    print(json.dumps(main(), indent=2))
