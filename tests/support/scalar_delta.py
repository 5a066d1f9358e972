"""One sigma-delta neuron in Python's own numbers: the outside judge of `snndeploy.ir.graded.delta`.

Written from lava-nc's text (``lava/proc/sdn/models.py``), and sharing nothing with the code that runs.
"""

from __future__ import annotations


def int32(x: int) -> int:
    """What numpy's int32 makes of a whole number."""
    return (x + 2**31) % 2**32 - 2**31


class ScalarDelta:
    """A neuron of one of the three forms."""

    def __init__(
        self,
        form: str,
        vth: int,
        bias: int,
        spike_exp: int,
        state_exp: int,
        *,
        relu: bool,
        cumulates: bool,
    ) -> None:
        self.form, self.relu, self.cumulates = form, relu, cumulates
        self.exponent, self.state_exp = spike_exp + state_exp, state_exp
        self.vth, self.bias = int32(vth << self.exponent), int32(bias << self.exponent)
        self.sigma = self.act = self.residue = self.error = 0

    def step(self, a: int) -> int:
        if self.form == "delta":
            x = int32(a << self.exponent)
        else:
            self.sigma = int32(self.sigma + a)
            if self.form == "sigma":
                return self.sigma
            x = int32(self.sigma + self.bias)
            if self.relu and x < 0:
                x = 0
        change = int32(int32(x - self.act) + self.residue)
        if self.cumulates:
            self.error = int32(self.error + change)
        judged = self.error if self.cumulates else change
        size = int32(-judged) if judged < 0 else judged
        sent = change if size >= self.vth else 0
        if sent:
            self.error = 0
        self.residue, self.act = int32(change - sent), x
        return sent >> self.state_exp
