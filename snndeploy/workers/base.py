"""Work as tasks, each named after everything that it follows from, and the process that does them."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

S = TypeVar("S")
A = TypeVar("A")
R = TypeVar("R")


@dataclass(frozen=True, eq=False)
class Shared(Generic[S]):
    """What all tasks of some work need; ``digest`` is of its content."""

    digest: str
    value: S


@dataclass(frozen=True, eq=False)
class Task(Generic[A]):
    """What one task needs beside that; ``digest`` is of its content."""

    digest: str
    argument: A


class Workers(ABC):
    """Those who do tasks."""

    @abstractmethod
    def each(
        self, function: Callable[[S, A], R], shared: Shared[S], tasks: Sequence[Task[A]]
    ) -> Iterator[R]:
        """``function(shared, argument)`` of every task, in the order of the tasks.

        Args:
            function: of a module, and pure: a task whose worker dies is done again elsewhere.
            shared: goes to each worker once.
            tasks: in the order in which results are wanted, which is all that decides over sums.
        """


class Here(Workers):
    """This process, one task after the other."""

    def each(
        self, function: Callable[[S, A], R], shared: Shared[S], tasks: Sequence[Task[A]]
    ) -> Iterator[R]:
        """As they are asked for."""
        for task in tasks:
            yield function(shared.value, task.argument)


HERE = Here()
"""Who computes where nobody else is asked to."""


def digest_of_parts(*parts: object) -> str:
    """A digest of texts and numbers."""
    found = hashlib.sha256()
    for part in parts:
        text = str(part)
        found.update(f"{len(text)} {text}".encode())
    return found.hexdigest()[:32]
