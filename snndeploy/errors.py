"""One tree of errors: what went wrong, where, and what to do next.

Every error that a user can cause is a `SnnDeployError` with a stable ``code``. The CLI turns the class
into an exit code; tests trigger every code and snapshot its text.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar


class SnnDeployError(Exception):
    """Base of everything snndeploy raises on purpose.

    Args:
        code: stable kebab-case identifier, e.g. ``"weight-not-finite"``.
        message: what is wrong, in one sentence.
        where: file, ``file:key``, layer or option the sentence is about.
        hint: the next step the user can take.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, code: str, message: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.where = where
        self.hint = hint

    def record(self) -> dict[str, str]:
        """The error as plain data."""
        return {name: getattr(self, name) for name in ("code", "message", "where", "hint")}

    def __reduce__(self) -> tuple[Any, ...]:
        """As itself, also from another process."""
        return _again, (type(self), self.record())

    def __str__(self) -> str:
        head = f"{self.where}: {self.message}" if self.where else self.message
        return f"{head}\n  next: {self.hint}" if self.hint else head


def _again(kind: type[SnnDeployError], record: dict[str, str]) -> SnnDeployError:
    return kind(**record)


class UsageError(SnnDeployError):
    """The call itself is wrong: an option's value, or options that contradict each other."""

    exit_code = 2


class InputError(SnnDeployError):
    """A model, data set, bundle or output location cannot be used."""

    exit_code = 3


class RecipeError(InputError):
    """A recipe names an unknown pass or option, or a pattern that matches nothing."""


class TargetError(InputError):
    """A target file is unknown or malformed."""


class PassRefused(SnnDeployError):
    """A pass cannot run on this network."""

    exit_code = 4


class LoweringRefused(SnnDeployError):
    """The network has no exact or declared integer form on this target."""

    exit_code = 4


class DoesNotFit(SnnDeployError):
    """The placed program exceeds the target's budgets."""

    exit_code = 5


class VerificationFailed(SnnDeployError):
    """Two engines that must agree do not, or accuracy fell by more than was allowed."""

    exit_code = 6


class BackendMissing(SnnDeployError):
    """A simulator or library that this command needs is not installed or not working."""

    exit_code = 7


def nearest_name(name: str, candidates: Sequence[str]) -> str | None:
    """Return the candidate that is nearly ``name``, if there is one."""
    # comparing takes as long as the product of both lengths
    near = difflib.get_close_matches(name[:80], candidates, n=1, cutoff=0.6)
    return near[0] if near else None


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """Return ``"did you mean 'x'?"`` for the nearest candidate, else the list of candidates."""
    known = sorted(candidates)
    near = nearest_name(name, known)
    if near is not None:
        return f"did you mean {near!r}?"
    return f"known: {', '.join(known)}" if known else "there are none"
