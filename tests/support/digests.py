"""``python -m tests.support.digests < JOBS``: what compiling gives, for another Python to compare.

A job is a name, a NIR file, options of `compile`, and the samples to calibrate on, if there are any. It
needs nothing that the package does not need.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from snndeploy.data import load_samples
from snndeploy.errors import SnnDeployError
from snndeploy.ingest import read_network
from snndeploy.pipeline import compile


def digest(model: str, options: dict[str, Any], data: str | None) -> dict[str, str]:
    """The digests of the network read and of the program, or the code of the refusal."""
    try:
        network = read_network(model, options.pop("frontend", None))
        samples = None
        if data is not None:
            samples = load_samples(data, network.with_role("input")[0].shape)
        program = compile(network, calibration=samples, **options).program
    except SnnDeployError as error:
        return {"refused": error.code}
    return {"network": network.digest, "program": program.digest}


if __name__ == "__main__":
    jobs = json.load(sys.stdin)
    found = {name: digest(*job) for name, job in jobs.items()}
    json.dump(found, sys.stdout)
