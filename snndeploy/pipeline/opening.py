"""The one way in: what a path or an object holds, which commands take it, and what they can obey.

`kind_of` looks at the thing itself, `admit` at what is wanted of it. Every command of the command line
and every function of the Python interface that takes a model asks here first, so a thing is the same
thing everywhere, and an option that could only be ignored is refused.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

from ..bundle import Bundle, read_bundle
from ..errors import InputError, UsageError
from ..files import nearest
from ..ingest import Reading, read_model, read_netx
from ..ingest.readers.foreign import described, foreign_file, foreign_object, is_hdf5
from ..ir.network import Network
from ..ir.program import Program
from ..ir.step import Compare
from ..ir.told.deltas import Starts
from .compiled import Compiled, Loaded

ModelKind = Literal["nir", "network", "netx", "program", "bundle", "compiled", "placed"]
Model: TypeAlias = "str | os.PathLike[str] | Network | Any"
"""A path of a NIR file, a ``nir.NIRGraph``, or a `Network`."""

NAMES: Mapping[ModelKind, str] = MappingProxyType(
    {
        "nir": "a NIR model",
        "network": "a network that was read already",
        "netx": "a .net file (Loihi's integers)",
        "program": "an integer program",
        "bundle": "a bundle",
        "compiled": "a compiled network",
        "placed": "a placed program",
    }
)

SEMANTICS = frozenset(
    (
        "frontend",
        "dt",
        "reset",
        "reset_timing",
        "compare",
        "spikes_per_step",
        "integrator",
        "v_floor",
        "recurrent_delay",
        "semantics",
        "strict",
        "accept",
        "answers",
    )
)
"""Options about what a file means by its numbers."""
_LOWERING = frozenset(
    (
        "recipe",
        "guard",
        "max_divergence",
        "coding",
        "input_peak",
        "scale",
        "layout",
        "adapt",
        "native",
        "split_signs",
    )
)
_PLACE = frozenset(("target", "board"))
_NETX = _PLACE | {"compare", "starts"}
LOCKED = SEMANTICS | _LOWERING | _PLACE | {"objective"}
"""Options whose values a lock holds."""
_DATA = frozenset(
    (
        "data",
        "encode",
        "steps",
        "bin_ms",
        "frames",
        "time_from",
        "time_unit",
        "sensor",
        "delta_threshold",
        "samples",
        "skip",
        "unlabelled",
        "window",
    )
)
_KEEPING = frozenset(("checkpoints", "resume"))
_NIR = (
    SEMANTICS
    | _LOWERING
    | _PLACE
    | _DATA
    | _KEEPING
    | {"groups", "fix_path", "locked", "try_seconds"}
)
_ALL = _NIR | {"starts"}
_NETWORKS: Mapping[ModelKind, frozenset[str]] = {"nir": _NIR, "network": _NIR - SEMANTICS}

OBEYS: Mapping[str, Mapping[ModelKind, frozenset[str]]] = MappingProxyType(
    {
        "init": {"nir": _NIR},
        "inspect": {"nir": _NIR, "netx": frozenset(), "bundle": frozenset()},
        "compile": {**_NETWORKS, "netx": _NETX | _DATA, "program": _PLACE | _DATA},
        "check": {"nir": _NIR, "netx": _NETX, "bundle": _PLACE | {"fix_path"}},
        "simulate": {"nir": _NIR, "netx": _NETX | _DATA, "bundle": _DATA},
        "verify": {"bundle": _DATA},
        "report": {"bundle": frozenset()},
        "explain": {"bundle": _DATA},
        "certify": {"bundle": frozenset()},
        "compress": _NETWORKS,
        "finetune": _NETWORKS,
        "sensitivity": _NETWORKS,
        "tune": _NETWORKS,
        "reduce-timesteps": _NETWORKS,
        "export": {"nir": _NIR, "netx": frozenset(("target",)), "bundle": frozenset()},
        "probe": {"nir": _NIR},
        "compare": _NETWORKS,
    }
)
"""What each command takes, and the options among `_ALL` that it can obey for it.

Options that are not among `_ALL` (``--json``, ``-o``) hold for everything that a command takes.
"""

_BECAUSE: Mapping[ModelKind, str] = {
    "nir": "it is a trained network",
    "network": "its semantics are settled",
    "netx": "it holds finished integers",
    "program": "it holds finished integers",
    "bundle": "it is compiled already",
    "compiled": "it is compiled already",
    "placed": "it is compiled already",
}

_TURN: Mapping[ModelKind, str] = {
    "nir": "make a bundle of it: snndeploy compile {where} -o NAME.snnb",
    "network": "compile it, and give what bundle_of makes of that",
    "netx": "a .net file goes to: {takers}; in Python, to snndeploy.pipeline.place_file",
    "program": "snndeploy.pipeline.place_file places it, loaded_bundle makes a bundle of that",
    "bundle": "give the .nir file that it was compiled from; a bundle goes to: {takers}",
    "compiled": "bundle_of makes a bundle of it; .source and .network are its networks",
    "placed": "loaded_bundle makes a bundle of it; .program is what it runs",
}


def kind_of(thing: object) -> ModelKind:
    """What a path or an object is.

    Args:
        thing: a path, or anything that the Python interface might be handed.

    Returns:
        Its kind. HDF5 files are NIR unless their names end in ``.net``; what they hold is for their
        readers to check.

    Raises:
        InputError: ``file-not-found``; ``model-foreign`` for a file or module of another tool, with
            what makes a model of it; ``model-unknown`` for everything else.
    """
    if isinstance(thing, (str, os.PathLike)):
        return _kind_of_path(Path(thing))
    for cls, kind in _CLASSES.items():
        if isinstance(thing, cls):
            return kind
    if type(thing).__name__ == "NIRGraph":
        return "nir"
    if (lines := foreign_object(thing)) is not None:
        raise InputError("model-foreign", "a torch module is no model yet", hint=_lines(lines))
    raise InputError(
        "model-unknown",
        f"a {type(thing).__name__} is no model: accepted are {_accepted()}, and their objects "
        "(nir.NIRGraph, Network, Program, Bundle)",
    )


_CLASSES: Mapping[type, ModelKind] = {
    Network: "network",
    Program: "program",
    Bundle: "bundle",
    Compiled: "compiled",
    Loaded: "placed",
}


def _kind_of_path(path: Path) -> ModelKind:
    if not os.path.exists(path):  # which is no error for names that no file can have
        raise InputError(
            "file-not-found",
            "there is no such file or folder",
            where=str(path)[:200],
            hint=nearest(path),
        )
    if (path / "manifest.json").is_file():
        return "bundle"
    if (other := foreign_file(path)) is not None:
        raise InputError(
            "model-foreign",
            f"this is {other.what}, and no model yet",
            where=str(path),
            hint=_lines(other.lines),
        )
    if path.is_file() and is_hdf5(path):
        return "netx" if path.suffix.lower() == ".net" else "nir"
    raise InputError(
        "model-unknown",
        f"this is {described(path)}: accepted are {_accepted()}",
        where=str(path),
        hint="check the path, or that the download or copy is complete",
    )


def _accepted() -> str:
    return "a NIR file (.nir), a lava-dl file (.net) and a bundle (a folder with manifest.json)"


def _lines(lines: tuple[str, ...]) -> str:
    return "\n".join(("make one of it:", *(f"    {line}" for line in lines)))


def admit(
    command: str, thing: object, given: Mapping[str, str] = MappingProxyType({})
) -> ModelKind:
    """Let a thing in to a command, or say why not.

    Args:
        command: a key of `OBEYS`.
        thing: see `kind_of`.
        given: the options that the user really gave, each with the word they gave it by.

    Returns:
        What the thing is.

    Raises:
        InputError: as `kind_of`; ``model-kind`` where the command does not take it.
        UsageError: ``option-not-obeyed``: some of the options could only be ignored.
    """
    kind, takes = kind_of(thing), OBEYS[command]
    if kind not in takes:
        raise wrong_kind(command, thing, kind, tuple(takes))
    idle = [word for name, word in given.items() if name in _ALL - takes[kind]]
    if idle:
        raise UsageError(
            "option-not-obeyed",
            f"{command} cannot obey {', '.join(idle)} for {NAMES[kind]}: {_BECAUSE[kind]}",
            where=_where(thing),
            hint=f"leave {', '.join(idle)} out",
        )
    return kind


def wrong_kind(
    command: str, thing: object, kind: ModelKind, wanted: Sequence[ModelKind]
) -> InputError:
    """The error of a thing that a command, or its function in Python, does not take."""
    takers = ", ".join(name for name, takes in OBEYS.items() if kind in takes)
    return InputError(
        "model-kind",
        f"this is {NAMES[kind]}, and {command} takes {' or '.join(NAMES[k] for k in wanted)}",
        where=_where(thing),
        hint=_TURN[kind].format(where=_where(thing), takers=takers),
    )


def _where(thing: object) -> str:
    return os.fspath(thing) if isinstance(thing, (str, os.PathLike)) else ""


def open_network(
    command: str,
    model: Model,
    frontend: str | None = None,
    semantics: Mapping[str, Any] | None = None,
) -> Network:
    """The network that a NIR model holds, or that was read already.

    Raises:
        SnnDeployError: as `admit`, or the model cannot be read.
    """
    opened = open_reading(command, model, frontend, semantics)
    return opened if isinstance(opened, Network) else opened.network


def open_reading(
    command: str,
    model: Model,
    frontend: str | None = None,
    semantics: Mapping[str, Any] | None = None,
) -> Network | Reading:
    """A NIR model as it was read, with what that assumed; a network that was read already as it is.

    Raises:
        SnnDeployError: as `admit`, or the model cannot be read.
    """
    options = {"frontend": frontend, "semantics": semantics}
    kind = admit(command, model, {k: f"{k}=" for k, v in options.items() if v})
    if isinstance(model, Network):
        return model
    if kind != "nir":
        raise wrong_kind(command, model, kind, ("nir", "network"))
    return read_model(model, frontend, **semantics or {})


def open_bundle(command: str, bundle: str | os.PathLike[str] | Bundle) -> Bundle:
    """A bundle from its place, or as it is.

    Raises:
        SnnDeployError: as `admit`, or the bundle cannot be read.
    """
    kind = admit(command, bundle)
    if isinstance(bundle, Bundle):
        return bundle
    if kind != "bundle":
        raise wrong_kind(command, bundle, kind, ("bundle",))
    return read_bundle(Path(bundle))


def open_program(
    command: str,
    program: str | os.PathLike[str] | Program,
    target: str = "loihi2",
    compare: Compare | None = None,
    starts: Starts = "chip",
) -> Program:
    """The program that a ``.net`` file holds, or as it is.

    Raises:
        SnnDeployError: as `admit`, or the file cannot be read.
    """
    kind = admit(command, program)
    if isinstance(program, Program):
        return program
    if kind != "netx":
        raise wrong_kind(command, program, kind, ("netx", "program"))
    return read_netx(program, target, compare, starts=starts)
