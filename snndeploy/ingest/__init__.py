"""Ingest: a NIR file or graph becomes a verified `Network`, under explicit semantics."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from .normalise import normalise
from .profile import choose_profile
from .reader import read_raw
from .semantics import PRESETS, SemanticsProfile, preset
from .traces import Candidate, fingerprint

if TYPE_CHECKING:
    from ..ir.network import Network

__all__ = [
    "PRESETS",
    "Candidate",
    "SemanticsProfile",
    "choose_profile",
    "fingerprint",
    "normalise",
    "preset",
    "read_network",
    "read_raw",
]


def read_network(
    model: str | os.PathLike[str] | Any, frontend: str | None = None, **overrides: object
) -> Network:
    """Read a NIR model as a `Network` with exact step semantics.

    Args:
        model: path of a ``.nir`` file, or a `nir.NIRGraph`.
        frontend: framework it was trained with (see `PRESETS`); None: find out, or refuse.
        **overrides: fields of `SemanticsProfile` that differ from the frontend's defaults, such as
            ``reset="zero"`` or ``dt=1e-3``.

    Returns:
        A verified network; its notes tell the profile, why it was chosen, and what was changed.

    Raises:
        InputError: the model cannot be read, or its semantics are ambiguous.
        UsageError: an unknown frontend or override.
    """
    raw = read_raw(model)
    profile, why = choose_profile(raw, frontend, overrides)
    return normalise(raw, profile, why)
