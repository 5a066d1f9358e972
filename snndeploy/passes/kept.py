"""Results of finished stages, kept in a folder so that an interrupted command can go on from them.

Each lies in a file named after everything that it follows from, so what is found there is what would be
computed again, and a folder may serve several runs. Results are frozen data; reading them runs no code.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar
from weakref import WeakKeyDictionary

from ..chip import dump_target
from ..errors import InputError, UsageError
from ..files import Unreadable, make_folder, read_bytes, write_file
from ..ir.codec import packed
from ..ir.decoding import unpacked
from ..ir.digest.samples import SampleDigest
from ..ir.finding import Finding
from ..ir.network import Network
from ..limits import current
from .base import Calibration, Pass, PassContext, PassResult, PassRun, ports
from .given import targets_of

T = TypeVar("T")

_DIGITS = 32


@dataclass(frozen=True, kw_only=True, eq=False)
class FinishedPass:
    """What a pass came to, as it is kept; ``network`` is None where it changed nothing."""

    seconds: float
    network: Network | None
    metrics: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()


class Kept:
    """A folder of results.

    Args:
        folder: made if there is none.
        resume: whether to take results that are there; new ones are kept in any case, and taken.

    Raises:
        InputError: the folder cannot be written to.
    """

    def __init__(self, folder: Path, *, resume: bool) -> None:
        self._folder = folder
        self._resume = resume
        self._own: set[str] = set()
        self._digests: WeakKeyDictionary[Calibration, str] = WeakKeyDictionary()
        try:
            make_folder(folder)
        except InputError as error:
            raise self._unwritable(error) from error

    def result(
        self, step: Pass, net: Network, ctx: PassContext, run: Callable[[], PassRun]
    ) -> PassRun:
        """What a pass makes of a network: as it is kept, or by ``run``."""
        training = ctx.training
        seen = () if training is None else (training.samples, training.validation)
        name = self.name(
            ctx.scope.replace("#", "-"),
            step.name,
            repr(step.options()),
            self.network(net),
            "" if ctx.source is None else self.network(ctx.source),
            "" if ctx.target is None else dump_target(ctx.target),
            str(ctx.seed),
            "" if training is None else f"{training.aware} {training.device}",
            *(self.samples(s) for s in (ctx.calibration, *seen)),
        )
        found = self.load(name, FinishedPass)
        if found is not None:
            network = net if found.network is None else self._verified(name, found.network, net)
            result = PassResult(
                network=network,
                modified=found.network is not None,
                metrics=found.metrics,
                findings=found.findings,
            )
            return PassRun(result, found.seconds, taken=True)
        done = run()
        kept = FinishedPass(
            seconds=done.seconds,
            network=done.result.network if done.result.modified else None,
            metrics=done.result.metrics,
            findings=done.result.findings,
        )
        self.save(name, kept)
        return done

    def name(self, what: str, *follows_from: str) -> str:
        """The file of a result: ``what`` it is, and a digest of all that it follows from.

        The versions of what computes are part of that; they decide over the last bit.
        """
        parts = (what, *(version(name) for name in ("snndeploy", "numpy", "torch")), *follows_from)
        digest = hashlib.sha256()
        for part in parts:
            digest.update(f"{len(part)} ".encode() + part.encode())
        return f"{what}-{digest.hexdigest()[:_DIGITS]}.npz"

    def network(self, net: Network) -> str:
        """A network, with the notes that passes go by."""
        return f"{net.digest} {sorted(net.notes.items())}"

    def samples(self, samples: Calibration | None) -> str:
        """Samples and labels; each set is looked at once."""
        if samples is None:
            return ""
        if samples not in self._digests:
            self._digests[samples] = digest_of(samples)
        return self._digests[samples]

    def load(self, name: str, kind: type[T]) -> T | None:
        """A result of this run or an earlier one; None where there is none, or none is to be taken.

        Raises:
            InputError: there is a file that no run has written.
        """
        path = self._folder / name
        taken = self._resume or name in self._own
        if not taken or not os.path.lexists(path):
            return None
        try:
            found = unpacked(read_bytes(path, current().memory), kind)
        except (Unreadable, ValueError, LookupError, TypeError, AttributeError) as error:
            raise self._damaged(path) from error
        except (ArithmeticError, RecursionError, InputError) as error:
            raise self._damaged(path) from error
        return found

    def save(self, name: str, value: object) -> None:
        """Keep a result: complete, or not at all.

        Raises:
            InputError: the folder cannot be written to.
        """
        try:
            write_file(self._folder / name, packed(value), force=True)
            self._own.add(name)
        except InputError as error:
            raise self._unwritable(error) from error

    def _verified(self, name: str, network: Network, before: Network) -> Network:
        try:
            if ports(network) == ports(before):
                return network.verify()
        except (ValueError, LookupError, TypeError, ArithmeticError, InputError) as error:
            raise self._damaged(self._folder / name) from error
        raise self._damaged(self._folder / name)

    def _damaged(self, path: Path) -> InputError:
        return InputError(
            "checkpoint-damaged",
            "the checkpoint cannot be read",
            where=str(path),
            hint="delete it, or run without --resume",
        )

    def _unwritable(self, error: InputError) -> InputError:
        return InputError(
            "checkpoint-unwritable",
            f"checkpoints cannot be written: {error.message}",
            where=str(self._folder),
            hint="choose another folder with --checkpoints",
        )


def kept_in(folder: Path | None, *, resume: bool) -> Kept | None:
    """The results of a folder; None where nothing is to be kept.

    Raises:
        UsageError: there is nothing to resume from.
        InputError: the folder cannot be written to.
    """
    if folder is not None:
        return Kept(folder, resume=resume)
    if resume:
        raise UsageError(
            "resume-folder",
            "there is nothing to resume from",
            hint="name the folder: --checkpoints",
        )
    return None


def digest_of(samples: Calibration) -> str:
    """SHA-256 of samples and labels."""
    digest = SampleDigest()
    digest.add(samples.inputs, samples.labels, samples.window, targets_of(samples))
    return digest.hex()
