"""`Finding`: one fact that a check, a pass or the lowering has to tell the user."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]
Certainty = Literal["spec", "code", "tool", "paper", "fit", "inferred", "fictional"]


@dataclass(frozen=True, kw_only=True)
class Fix:
    """A change proposed as data: ``action`` names what to try, ``options`` how, ``effect`` what it gave.

    ``effect`` is filled by running the rule again on the changed program; a fix without it was not
    tried and is not shown.
    """

    action: str
    text: str
    options: tuple[tuple[str, str | int | float], ...] = ()
    effect: str = ""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What was found, where, and by how much it exceeds a limit.

    ``rule`` is the rule's own sentence, ``source`` and ``certainty`` say where its limit comes from.
    """

    code: str
    severity: Severity
    where: str
    message: str
    resource: str = ""
    used: float | None = None
    limit: float | None = None
    unit: str = ""
    rule: str = ""
    source: str = ""
    certainty: Certainty | None = None
    fixes: tuple[Fix, ...] = ()

    @property
    def ratio(self) -> float:
        """How many times the limit is used (0 where there is none)."""
        if self.used is None or self.limit is None:
            return 0.0
        return self.used / self.limit if self.limit else float("inf")
