"""The peak of memory while one dense layer is solved from its second moments.

    python benchmarks/moments.py [--inputs 8192] [--rows 4] [--method sweep]

A chain 16 - inputs - rows with random weights; two asymmetries compete, so that moments with the
uncompressed network are summed, too. ``sweep`` rounds to 4 bits, ``rounds`` and ``greedy`` also prune
90 %.
"""

from __future__ import annotations

import argparse
import os
import resource
from dataclasses import dataclass
from typing import Any

import numpy as np
from growth import chain

from snndeploy.ir.ops import Dense
from snndeploy.passes.base import Pass, PassContext
from snndeploy.passes.quantization.prune_quantize import PruneQuantize
from snndeploy.passes.quantization.quantize import Quantize
from snndeploy.passes.second_order.room import solving_bytes

STEPS, SAMPLES = 8, 100
SEVERAL: dict[str, Any] = {"asymmetry": (0.0, 0.5), "sequential": True}
METHODS: dict[str, Pass] = {
    "sweep": Quantize(method="sbc", bits=4, clip="hessian", per="channel", **SEVERAL),
    "rounds": PruneQuantize(sparsity=0.9, search="rounds", scope="layer", **SEVERAL),
    "greedy": PruneQuantize(sparsity=0.9, search="greedy", scope="layer", **SEVERAL),
}


@dataclass(frozen=True, eq=False)
class _Given:
    inputs: dict[str, Any]
    labels: Any = None
    window: int = 1


def main() -> None:
    """Parse options and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=8192)
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--method", choices=METHODS, default="sweep")
    options = parser.parse_args()
    shapes: list[tuple[int, ...]] = [(16,), (options.inputs,), (options.rows,)]
    net = chain([Dense(options.inputs, 16), Dense(options.rows, options.inputs)], shapes)
    x = (np.random.default_rng(0).random((STEPS, SAMPLES, 16)) < 0.3).astype(np.float32)
    METHODS[options.method].apply(net, PassContext(calibration=_Given({"input": x})))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    foretold = solving_bytes(net, (net.projections[1],), compares=True, several=True)
    spent = os.times()
    print(
        f"{options.inputs:,} inputs, {options.rows} rows, {options.method}: peak {peak >> 20:,} MiB, "
        f"of the layer at most {foretold >> 20:,} MiB foretold, "
        f"{spent.user + spent.system:.0f} s of the processor"
    )


if __name__ == "__main__":
    main()
