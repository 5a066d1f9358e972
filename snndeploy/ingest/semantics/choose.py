"""Choose a semantics profile: asked for, written in the file, or recognised by its parameters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from ...errors import InputError
from ..readers.raw import RawGraph
from .profiles import PRESETS, SemanticsProfile, preset
from .traces import SPIKINGJELLY_DT, Candidate, fingerprint, ratio_dt, told_dt

_METADATA_RESETS = {
    "subtract": "subtract",
    "soft": "subtract",
    "zero": "zero",
    "value": "zero",
    "hard": "zero",
    "none": "none",
}


def choose_profile(
    raw: RawGraph, frontend: str | None = None, overrides: Mapping[str, object] | None = None
) -> tuple[SemanticsProfile, str]:
    """The profile to read ``raw`` with, and why it was chosen.

    Order: the frontend asked for, the file's metadata (``frontend``, ``reset_mechanism`` or any
    field of the profile), the fingerprint of its parameters. ``overrides`` always win.

    Raises:
        InputError: the file fits no frontend or several, or its time step is unknown.
        UsageError: an unknown frontend or override.
    """
    written = _from_metadata(raw.metadata)
    options = {**{k: v for k, v in written.items() if k != "frontend"}, **(overrides or {})}
    candidates = fingerprint(raw)
    if frontend is not None:
        name, why = frontend, "asked for"
    elif "frontend" in written:
        name, why = str(written["frontend"]), "written in the file's metadata"
    elif not any(n.kind != "Threshold" for n in raw.neurons()):
        name, why = "nir", "no neuron of the file depends on it"
    elif len(candidates) == 1:
        name, why = candidates[0].frontend, candidates[0].why
    else:
        raise _ambiguous(raw, candidates)
    profile = preset(name, **options)
    told = [
        f"{k} from the file's metadata"
        for k in written
        if k != "frontend" and k not in (overrides or {})
    ]
    why = "; ".join([why, *told])
    if profile.dt is None and _needs_dt(raw, profile):
        profile, why = _with_dt(raw, profile, candidates, why, overrides or {})
    return profile, why


def _with_dt(
    raw: RawGraph,
    profile: SemanticsProfile,
    candidates: Iterable[Candidate],
    why: str,
    overrides: Mapping[str, object],
) -> tuple[SemanticsProfile, str]:
    """Fill in the time step that the file implies for this frontend."""
    same = [c for c in candidates if c.frontend == profile.name]
    dt = same[0].dt if same else None
    if dt is None and profile.name in ("nir", "spikingjelly"):
        dt = ratio_dt(raw) or (SPIKINGJELLY_DT if profile.name == "spikingjelly" else None)
    if dt is None or overrides.get("dt", dt) is None:
        raise InputError(
            "dt-unknown",
            f"the file does not say its time step, and {profile.name} has none",
            where=raw.source,
            hint="give it in the file's unit of time: --dt 1e-3",
        )
    filled = preset(profile.name, **{**_non_defaults(profile), "dt": dt})
    found = "from its parameters" if told_dt(raw, profile.name) is not None else "assumed"
    return filled, f"{why}; dt {dt:g} {found}"


def _non_defaults(profile: SemanticsProfile) -> dict[str, object]:
    base = PRESETS[profile.name]
    return {k: v for k, v in vars(profile).items() if v != getattr(base, k)}


def _needs_dt(raw: RawGraph, profile: SemanticsProfile) -> bool:
    timed = {"LI", "LIF", "CubaLI", "CubaLIF"}
    timed |= {"I", "IF"} if profile.if_gain == "dt" else set()
    return any(n.kind in timed or n.kind == "Delay" for n in raw.nodes.values())


def told_by_nodes(raw: RawGraph) -> dict[str, dict[str, object]]:
    """Profile fields that single nodes' metadata hold, by name of the node."""
    told = {n.name: _from_metadata(n.metadata) for n in raw.neurons()}
    return {
        name: {k: v for k, v in fields.items() if k != "frontend"}
        for name, fields in told.items()
        if fields.keys() - {"frontend"}
    }


def told_by_file(raw: RawGraph) -> frozenset[str]:
    """Profile fields that the graph's metadata hold."""
    return frozenset(_from_metadata(raw.metadata)) - {"frontend"}


def _from_metadata(metadata: Mapping[str, object]) -> dict[str, object]:
    """Profile fields that a graph's or a node's metadata hold; anything else there is not ours."""
    found: dict[str, object] = {}
    for key, value in metadata.items():
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        if isinstance(value, np.generic):
            value = value.item()
        if key in ("reset", "reset_mechanism") and str(value) in _METADATA_RESETS:
            found["reset"] = _METADATA_RESETS[str(value)]
        elif key in ("frontend", "framework") and str(value).lower() in PRESETS:
            found["frontend"] = str(value).lower()
        elif key in vars(PRESETS["nir"]) and key not in ("name", "source"):
            found[key] = value
    return found


def _ambiguous(raw: RawGraph, candidates: tuple[Candidate, ...]) -> InputError:
    names = [c.frontend for c in candidates] or [
        "nir",
        "snntorch",
        "norse",
        "sinabs",
        "spikingjelly",
    ]
    fits = f"fits {' and '.join(names)}" if candidates else "fits none that is known"
    choices = "".join(f"\n    --frontend {name}: {PRESETS[name].describe()}" for name in names)
    return InputError(
        "semantics-ambiguous",
        f"the file does not say which framework it is from, and it {fits}; each gives other spikes",
        where=raw.source,
        hint=f"say which one it was trained with:{choices}",
    )
