"""What corrections share: populations one after the other, against the uncompressed network."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from ...calibrate.listen import Remembered
from ...calibrate.stream import MAX_MEMORY
from ...errors import PassRefused
from ...ir.arrays import Array
from ...ir.network import Network
from ..base import Pass, PassContext, PassResult


@dataclass(frozen=True, kw_only=True)
class Correction(Pass):
    """A pass that changes neurons, in the order in which spikes pass.

    So each population is measured with the ones before it corrected.
    """

    def run(self, net: Network, ctx: PassContext) -> PassResult:
        """Measure and correct, population after population."""
        inputs = Remembered(ctx.samples(repr(self.name)), MAX_MEMORY // 4)
        source = reference_of(net, ctx)
        metrics: dict[str, Mapping[str, float]] = {}
        current = net
        names = [n for n in net.order if net.population(n).neuron is not None]
        for done, name in enumerate(names):
            ctx.progress("populations", done, len(names))
            incoming = net.incoming(name)
            if incoming:
                current, figures = self.corrected(current, source, name, inputs)
                metrics |= {p.name: figures for p in incoming}
        return PassResult(network=current, modified=current is not net, metrics=metrics)

    @abstractmethod
    def corrected(
        self, net: Network, source: Network, name: str, inputs: Mapping[str, Array]
    ) -> tuple[Network, Mapping[str, float]]:
        """``net`` with population ``name`` corrected towards ``source``, and figures of it."""


def reference_of(net: Network, ctx: PassContext) -> Network:
    """The network before the first pass, which must have the same neurons as ``net``.

    Raises:
        PassRefused: there is none.
    """
    source = ctx.source
    if source is None or [p.shape for p in source.populations] != [
        p.shape for p in net.populations
    ]:
        raise PassRefused(
            "no-reference",
            "there is no uncompressed network of the same shape to compare with",
            hint="run it in a recipe, after passes that keep all neurons",
        )
    return source
