"""What a verification found, as plain data."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ..simulate.recording import RegisterUse
from ..verify import Verification, judge


def verification_record(
    verification: Verification, accuracy: Mapping[str, float], samples: int
) -> dict[str, Any]:
    """Pairs of stages with their layers, use of registers, and the verdict."""
    pairs = verification.results()
    return {
        "tau": verification.tau,
        "pairs": [dataclasses.asdict(pair) for pair in pairs],
        "registers": {name: _registers(use) for name, use in verification.registers.items()},
        "verdict": dataclasses.asdict(judge(pairs, accuracy, samples, verification.silent)),
    }


def _registers(use: RegisterUse) -> dict[str, Any]:
    return {
        **dataclasses.asdict(use),
        "u_share": use.u_peak / use.limit,
        "v_share": use.v_peak / use.limit,
    }
