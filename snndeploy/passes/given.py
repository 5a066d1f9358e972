"""What a pass is given besides the network: samples, what it trains on, and who is told how it goes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from ..ir.arrays import Array
from ..ir.network import Network
from .metrics import NetworkMetrics


class Calibration(Protocol):
    """Samples that data-driven passes look at.

    ``inputs`` holds one array ``(steps, samples, *shape)`` per input population, ``labels`` the
    classes of the samples, or of their steps, where they are known; see `snndeploy.data.Samples`.
    """

    @property
    def inputs(self) -> Mapping[str, Array]:
        """Spikes (or values) fed to each input population."""

    @property
    def labels(self) -> Array | None:
        """One class per sample, or per step."""

    @property
    def window(self) -> int:
        """Over how many steps answers per step are smoothed."""


def targets_of(samples: Calibration) -> Array | None:
    """Values ``(samples, neurons)`` that the output should emit on average, where there are any.

    Only samples that were given have them; what passes make of samples has classes or nothing.
    """
    found: Array | None = getattr(samples, "targets", None)
    return found


def answers_window(samples: Calibration) -> int:
    """Over how many steps answers are smoothed where each step has one; 0 for an answer per sample."""
    return samples.window if samples.labels is not None and samples.labels.ndim > 1 else 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Training:
    """What training passes train on, and where they keep what they have done so far.

    Args:
        samples: labelled samples to learn from.
        validation: samples to judge by; those learnt from where there are none.
        folder: for a checkpoint after each epoch (None: none are kept).
        resume: go on from the checkpoints in ``folder``.
        device: where torch computes (``"cpu"``, ``"cuda"``, …).
        aware: name of a target whose rounding all training passes include ("": as each one says).
    """

    samples: Calibration
    validation: Calibration | None = None
    folder: Path | None = None
    resume: bool = False
    device: str = "cpu"
    aware: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class PassEvent:
    """What an observer is told.

    ``start`` and ``end`` come once per pass (``network`` is the one before it, then the one after
    it), ``progress`` whenever a pass has something to say: ``done`` of ``of`` units of ``what``, and
    in ``status`` how it goes; an ``end`` has one where an earlier run had kept the result.
    ``index`` counts passes from 1; 0 is a pass that runs on its own.
    """

    kind: Literal["start", "progress", "end"]
    name: str
    index: int = 0
    total: int = 0
    network: Network | None = None
    metrics: NetworkMetrics | None = None
    what: str = ""
    done: int = 0
    of: int = 0
    status: str = ""

    @property
    def label(self) -> str:
        """A file name stem that sorts in running order, e.g. ``002-prune``."""
        return f"{self.index:03d}-{self.name}"


Observer = Callable[[PassEvent], None]
