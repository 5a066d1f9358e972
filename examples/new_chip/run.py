"""A chip of one's own: a TOML file that inherits a shipped one and changes a limit.

``python run.py`` compiles the demo's digits network for both, and prints what differs as JSON.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import snndeploy
from snndeploy.demo import FOLDER

SMALL = Path(__file__).parent / "small.toml"


def main() -> dict[str, Any]:
    """Cores taken and available, on the shipped chip and on ours."""
    found = {}
    for target in ("loihi2", str(SMALL)):
        compiled = snndeploy.compile(
            FOLDER / "digits.nir",
            target=target,
            recipe=None,
            frontend="snntorch",
            semantics={"reset": "zero"},
        )
        cores = snndeploy.report_of(compiled)["cores"]
        found[compiled.target.name] = {"used": cores["used"], "limit": cores["limit"]}
    return found


if __name__ == "__main__":
    print(json.dumps(main(), indent=2))
