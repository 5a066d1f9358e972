"""What rounding to integers will do to spikes, measured on a few samples when a network is compiled."""

from __future__ import annotations

from ...data import Samples
from ...ir.arrays import size
from ...ir.finding import Finding
from ...ir.network import Network
from ...ir.program import Program
from ...verify.compare import compare, merge
from ..run import run_engine

_SAMPLES = 32
_VALUES = 1 << 24
"""Places (step, sample, neuron) that are run: what takes a second or two."""
_TOLD = 0.005
"""Share of a layer's spikes from which it is worth a line."""


def spikes_that_differ(network: Network, program: Program, samples: Samples) -> dict[str, float]:
    """Share of each layer's spikes that are not the network's own in the integer engine.

    Of all spikes that either has; what `simulate` calls 1 - match, for the first few samples. Layers
    are not isolated: what one gets wrong, those behind it hear. Empty where one sample is too much.

    Args:
        network: that was lowered (after all passes).
        program: its integers.
        samples: data to run it on.
    """
    neurons = sum(size(g.shape) for g in program.groups)
    count = min(_SAMPLES, len(samples), _VALUES // max(1, neurons * samples.steps))
    if not count:
        return {}
    found, done = None, 0
    for part in samples.batches(count):
        float_run = run_engine("compressed", part, network=network)
        integer_run = run_engine("integer", part, program=program)
        new = compare(float_run, integer_run, ("compressed", "integer"))
        found = new if found is None else merge(found, new, done)
        done += len(part)
        if done >= count:
            break
    assert found is not None
    spiking = [g.name for g in program.on_chip if g.rule is not None and g.name in found.match]
    return {name: 1.0 - found.match[name] for name in spiking}


def told(differing: dict[str, float]) -> tuple[Finding, ...]:
    """The layers in which rounding is seen."""
    felt = {name: share for name, share in differing.items() if share >= _TOLD}
    if not felt:
        return ()
    listed = ", ".join(f"{name} {share:.1%}" for name, share in felt.items())
    return (
        Finding(
            code="spikes-rounded",
            severity="note",
            where="rounding",
            message=f"rounding to integers changes about so many spikes on the data: {listed}",
        ),
    )
