"""How alike two networks answer: measured on samples, without labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..ir.answers import smoothed
from ..ir.arrays import Array
from ..ir.network import Network
from .stream import stream

TELLING = 15
"""Fewer samples than so many tell little about others: where 15 are answered alike, one in five others
may not be (with 95 % confidence)."""


@dataclass(frozen=True, kw_only=True)
class Fidelity:
    """How a compressed network's answers compare with those of the network as it was trained.

    Attributes:
        agreement: share of samples that both answer alike (the output that emits most; of a single
            output neuron, an equal count).
        divergence: mean Kullback-Leibler divergence of softened answers per sample, nats, see
            `Reference`.
        spread: standard error of that mean.
        changed: share of answers that are others beyond doubt: their share less its standard error. 0
            for outputs of a single neuron, whose count is no answer out of several. Made-up samples do
            not count: of two spliced ones the answer is often a close call.
        samples: how many were compared.
        held_out: whether no pass has seen them.
        made_up: how many of them were made up of the others.
    """

    agreement: float
    divergence: float
    spread: float
    changed: float
    samples: int
    held_out: bool
    made_up: int = 0

    @property
    def bound(self) -> float:
        """What limits are about: the divergence and one standard error, or ``changed`` if more.

        The fewer samples there are, the less is dared. Where most answers are close calls, they can
        change at little divergence; so a limit of 0.05 is one of 5 % of the answers, too.
        """
        return max(self.divergence + self.spread, self.changed)

    def __str__(self) -> str:
        given = f"{self.samples - self.made_up} {kind_of_samples(self.held_out)}"
        if self.made_up:
            given += f" and {self.made_up} made up of them"
        return (
            f"{self.agreement:.1%} of {given} answered alike, divergence "
            f"{self.divergence:.3g} ± {self.spread:.2g} nats"
        )


def kind_of_samples(held_out: bool) -> str:
    """What those are called on which answers are compared."""
    return "held-out samples" if held_out else "samples (the ones it was fitted to)"


class Reference:
    """What the network as it was trained answers to some samples, computed once.

    Output counts become probabilities by a softmax whose temperature is half of the reference's
    standard deviation, so close calls of the reference count little and clear ones much. An output of
    a single neuron is compared over the samples. Where a network is made for fewer steps (its note
    ``steps``), it gets so many, and its counts are scaled to the reference's.

    Args:
        network: as it was trained.
        inputs: per input population ``(steps, samples, *shape)``.
        held_out: whether no pass sees these samples.
        made_up: how many of them, the last ones, were made up of the others.
        values: whether outputs are values to be met: then which neuron emits most is no answer.
        window: where every step has an answer of its own, over how many steps it is smoothed (0: one
            answer per sample). Steps are compared then, and their errors averaged over each sample.
    """

    def __init__(
        self,
        network: Network,
        inputs: Mapping[str, Array],
        *,
        held_out: bool = True,
        made_up: int = 0,
        values: bool = False,
        window: int = 0,
    ) -> None:
        self.inputs = inputs
        self.held_out = held_out
        self.made_up = made_up
        self.window = window
        self.counts, self.steps = _counts(network, inputs, window)
        self._answers = () if values else tuple(self.counts.values())

    def __len__(self) -> int:
        return len(next(iter(self.counts.values())))

    @property
    def silent(self) -> bool:
        """Whether the network answers none of the samples: then every silent network is alike."""
        return not any(counts.any() for counts in self.counts.values())

    @property
    def given(self) -> int:
        """How many samples are real."""
        return len(self) - self.made_up

    @property
    def one_sided(self) -> tuple[int, int] | None:
        """As `one_sided`, of the first output of which it is true."""
        found = (one_sided(counts[: self.given]) for counts in self._answers)
        return next((f for f in found if f is not None), None)

    @property
    def heard(self) -> tuple[int, int]:
        """As `heard`, among the real samples and of the output with the least share of its answers."""
        found = (heard(counts[: self.given]) for counts in self._answers)
        return min(found, key=lambda pair: pair[0] / pair[1], default=(1, 1))

    @property
    def unheard(self) -> bool:
        """Whether samples are few, and fewer than half of the answers occur among them."""
        got, all_of_them = self.heard
        return self.given < TELLING and got < all_of_them / 2

    def fidelity(self, network: Network) -> Fidelity:
        """Run ``network`` on the samples and compare."""
        mine, steps = _counts(network, self.inputs, self.window)
        if self.window:
            wanted = {name: counts[:, :steps] for name, counts in self.counts.items()}
        else:
            wanted = self.counts
            mine = {name: counts * (self.steps / steps) for name, counts in mine.items()}
        return compared(wanted, mine, held_out=self.held_out, made_up=self.made_up)

    def divergence(self, network: Network) -> float:
        """Mean divergence of the answers of ``network``, nats per sample."""
        return self.fidelity(network).divergence

    def bound(self, network: Network) -> float:
        """The same and its standard error."""
        return self.fidelity(network).bound


def one_sided(counts: Array) -> tuple[int, int] | None:
    """As `heard`, where hardly any answers are: one, or a quarter of as many at random (None: else)."""
    got, neurons = heard(counts)
    expected = neurons * (1 - (1 - 1 / neurons) ** (counts.size // neurons))
    return (got, neurons) if neurons > 1 and got <= max(1, expected / 4) else None


def heard(counts: Array) -> tuple[int, int]:
    """How many answers are given, and how many there are.

    ``counts`` are ``(samples, neurons)``, or ``(samples, steps, neurons)``.
    """
    return len(np.unique(counts.argmax(axis=-1))), counts.shape[-1]


def compared(
    wanted: Mapping[str, Array],
    found: Mapping[str, Array],
    *,
    held_out: bool = True,
    made_up: int = 0,
) -> Fidelity:
    """How alike counts ``(samples, neurons)``, or ``(samples, steps, neurons)``, of each output are."""
    per_sample, alike, changed = [], [], []
    for name, counts in wanted.items():
        neurons = counts.shape[-1]
        a, b = (x.reshape(-1, neurons) for x in (counts, found[name]))
        rows = _divergences(a, b)
        per_sample.append(rows if neurons == 1 else rows.reshape(len(counts), -1).mean(axis=1))
        if neurons == 1:
            alike.append(np.isclose(a, b)[:, 0].mean())
        else:
            same = a.argmax(axis=1) == b.argmax(axis=1)
            alike.append(same.mean())
            real = len(counts) - made_up
            changed.append(beyond_doubt(same[: real * (len(a) // len(counts))].mean(), real))
    return Fidelity(
        agreement=float(np.mean(alike)),
        divergence=float(np.mean([d.mean() for d in per_sample])),
        spread=float(np.mean([d.std() / max(1, len(d)) ** 0.5 for d in per_sample])),
        changed=float(max([0.0, *changed])),
        samples=len(next(iter(wanted.values()))),
        held_out=held_out,
        made_up=made_up,
    )


def beyond_doubt(alike: float, samples: int) -> float:
    """Share of answers that are others beyond doubt, where ``alike`` is that of the same ones.

    It is their share less its standard error over so many samples, and may be below 0.
    """
    others = 1 - alike
    return float(others - (others * alike / max(1, samples)) ** 0.5)


def _divergences(wanted: Array, found: Array) -> Array:
    if wanted.shape[1] == 1:
        wanted, found = wanted.T, found.T
    temperature = wanted.std() / 2 or 1.0
    p, q = (_log_softmax(counts / temperature) for counts in (wanted, found))
    return np.asarray((np.exp(p) * (p - q)).sum(axis=1))


def _log_softmax(values: Array) -> Array:
    moved = values - values.max(axis=1, keepdims=True)
    return np.asarray(moved - np.log(np.exp(moved).sum(axis=1, keepdims=True)))


def _counts(net: Network, inputs: Mapping[str, Array], window: int) -> tuple[dict[str, Array], int]:
    """Sum over time of what each output emitted, (samples, neurons) float64, and the steps.

    With a ``window``, the sums over so many steps behind each: (samples, steps, neurons).
    """
    steps = int(net.notes.get("steps", 0)) or len(next(iter(inputs.values())))
    names = [p.name for p in net.with_role("output")]

    def summed(emitted: Array) -> Array:
        flat = emitted.reshape(*emitted.shape[:2], -1)
        if window:
            return smoothed(flat, window).swapaxes(0, 1)
        return np.asarray(flat.sum(axis=0, dtype=np.float64))

    parts = [
        {n: summed(chunk.recording.spikes[n]) for n in names}
        for chunk in stream(net, {name: x[:steps] for name, x in inputs.items()})
    ]
    counts = {n: np.concatenate([p[n] for p in parts]) for n in names}
    return counts, min(steps, len(next(iter(inputs.values()))))
