"""A certificate in one line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def certificate_line(told: Mapping[str, Any]) -> str:
    """What a separate checker says of a bundle, in one line."""
    if told["refused"]:
        return f"not certified: it {told['refused']}"
    if not told["certified"]:
        found = told["contradiction"]
        return (
            f"not certified: {found['file']}: {found['where']}: {found['what']}: "
            f"stated {found['stated']}, found {found['found']}"
        )
    registers = [b[register] for b in told["bounds"].values() for register in ("u", "v")]
    if not registers:  # of neurons with rules of their own
        return (
            "certified: a separate checker found every number, delay and core as stated; "
            "head-room and the golden run it did not check"
        )
    proved = sum(r["proved"] for r in registers)
    others = ", and the worst input found is kept for the others" * (proved < len(registers))
    return (
        "certified: a separate checker found every number, delay, core and golden spike as stated; "
        f"head-room is proved for all inputs of {proved} of {len(registers)} registers{others}"
    )
