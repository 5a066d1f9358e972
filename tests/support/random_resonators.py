"""Random networks with resonate-and-fire neurons, and the rule in Python's numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from snndeploy.ir.arrays import frozen
from snndeploy.ir.graded.resonator import ResonatorRule
from snndeploy.ir.ops import Dense
from snndeploy.ir.program import Program
from tests.support.conformance_programs import Draft

INT = np.int64


def random_resonators(seed: int) -> Program:
    """One or two layers of resonators, some of which hear integrators, loops and delays."""
    d = Draft(seed)
    last = d.input((int(d.rng.integers(2, 7)),))
    width = int(d.groups[0].shape[0])
    if d.rng.random() < 0.3:
        n = int(d.rng.integers(2, 6))
        lif = d.neurons("lif", (n,), 1)
        d.connect(last, lif, Dense(n, width))
        last, width = lif, n
    for layer in range(int(d.rng.integers(1, 3))):
        n, depth = int(d.rng.integers(1, 6)), d.groups[-1].depth + 1
        angle, left = d.rng.uniform(0.05, np.pi), d.rng.uniform(0.5, 1.0)
        decay_bits = int(d.pick(12, 12, 8, 5))
        one = 1 << decay_bits
        rule = ResonatorRule(
            form=d.pick("phase", "izhikevich"),
            sin=int(np.sin(angle) * left * one * d.pick(1, -1)),
            cos=int(np.cos(angle) * left * one),
            state_exp=int(d.pick(0, 3, 6, 6)),
            decay_bits=decay_bits,
        )
        most = 120 * 2.0**rule.state_exp
        name = d.neurons(
            f"rf{layer}",
            (n,),
            depth,
            kind="resonator",
            vth=frozen(int(d.rng.integers(1, most)), INT),
            dynamics=rule,
        )
        parts = [p for p in ("", "imag") if d.rng.random() < 0.85] or [""]
        for port in parts:
            late = int(d.pick(0, 0, 2))
            _into(d, [(last, late)], name, port, Dense(n, width))
        if d.rng.random() < 0.4:
            _into(d, [(name, 1)], name, d.pick("", "imag"), Dense(n, n))
        last, width = name, n
    d.groups[-1] = _as_output(d.groups[-1])
    return d.finish()


def _into(d: Draft, sources: list[tuple[str, Any]], target: str, port: str, op: Dense) -> None:
    import dataclasses

    d.connect(sources, target, op)
    wild = d.rng.random() < 0.15  # drives states to saturate
    exponent = 9 if wild else int(d.rng.integers(-2, 2))
    d.synapses[-1] = dataclasses.replace(
        d.synapses[-1],
        port=port,  # type: ignore[arg-type]
        exponent=exponent,
    )


def _as_output(group: Any) -> Any:
    import dataclasses

    return dataclasses.replace(group, role="output")


class ScalarResonator:
    """One neuron in Python's numbers."""

    def __init__(self, rule: ResonatorRule, threshold: int) -> None:
        self.rule, self.threshold, self.re, self.im = rule, threshold, 0, 0

    def step(self, real: int, imag: int) -> int:
        """Advance by a step; returns whether it spiked."""
        r = self.rule
        re = self._cut(r.cos * self.re) - self._cut(r.sin * self.im) + real * 2**r.state_exp
        im = self._cut(r.sin * self.re) + self._cut(r.cos * self.im) + imag * 2**r.state_exp
        most = 2**23 - 1
        re, im = (max(-most, min(most, x)) for x in (re, im))
        if r.form == "phase":
            spike = re >= self.threshold and im >= 0 > self.im
        else:
            spike = im >= self.threshold
            if spike:
                re, im = 0, self.threshold - 1
        self.re, self.im = re, im
        return int(spike)

    def _cut(self, x: int) -> int:
        size = abs(x) // 2**self.rule.decay_bits
        return size if x >= 0 else -size
