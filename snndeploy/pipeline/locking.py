"""Locks: everything that a program follows from, to make it again and to say what is different."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args

import numpy as np

from .. import toml
from ..chip import Target, dump_target, load_target
from ..data import Samples
from ..errors import InputError, UsageError, VerificationFailed
from ..files import Unreadable, is_regular, read_text
from ..ir.digest.samples import SampleDigest
from ..limits import current
from ..lower import InputCoding, LayoutName
from ..lower.coding import Coding
from ..recipe import Recipe
from .compiled import Compiled, Objective, Scale

_TARGET = "target.toml"
_LARGEST_PEAK = 2.0**31
"""Values of data; no message is larger."""


@dataclass(frozen=True, kw_only=True)
class Lock:
    """What a ``lock.toml`` says.

    ``read`` holds the options that the model was read with, ``data`` what it was compiled with (empty
    for none), ``program`` the digest of what came out.
    """

    where: str
    network: str
    target: Target
    board: str
    scale: Scale
    layout: LayoutName
    objective: Objective
    inputs: InputCoding | None
    recipe: Recipe
    program: str
    read: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    trained: bool = False

    @property
    def settled(self) -> Recipe:
        """The recipe, whose passes are what its guard came to: they run as they are, once."""
        return self.recipe if self.recipe.guard == "off" else self.recipe.guarded("warn", None)


def lock_text(compiled: Compiled) -> str:
    """What was asked for, every default spelled out, as TOML."""
    coding = compiled.inputs
    return toml.dumps(
        {
            "network": {"digest": compiled.source.digest, **compiled.source.notes},
            "read": {key: _told(value) for key, value in compiled.read.items()},
            "compile": {
                "target": compiled.target.name,
                "target_digest": target_digest(compiled.target),
                "board": compiled.board,
                "scale": compiled.scale,
                "layout": compiled.layout,
                "objective": compiled.objective,
                **(
                    {} if coding is None else {"coding": {"kind": coding.kind, "peak": coding.peak}}
                ),
                "inputs": {
                    g.name: {"message_bits": g.message_bits, "scale": float(g.scale)}
                    for g in compiled.program.groups
                    if g.kind == "input"
                },
            },
            **({"data": compiled.data} if compiled.data else {}),
            "recipe": toml.loads(compiled.recipe.to_toml()),
            "program": {"digest": compiled.program.digest},
            "versions": versions(),
            **({"training": compiled.training} if compiled.training else {}),
        }
    )


def read_as(frontend: str | None, semantics: Mapping[str, Any]) -> dict[str, Any]:
    """The options that a model is read with, as `Compiled` keeps them."""
    return {**({} if frontend is None else {"frontend": frontend}), **semantics}


def versions() -> dict[str, str]:
    """What computes here."""
    return {
        "snndeploy": version("snndeploy"),
        "python": platform.python_version(),
        "numpy": np.__version__,
    }


def target_digest(target: Target) -> str:
    """SHA-256 of a whole target."""
    return hashlib.sha256(dump_target(target).encode()).hexdigest()


def data_record(samples: Samples | None, used: int | None) -> dict[str, Any]:
    """What compiling depends on of samples: their number, their length, and a digest of those used.

    Args:
        samples: what calibrates, if anything does.
        used: how many of them are looked at (None: all).
    """
    if samples is None:
        return {}
    digest, looked_at = SampleDigest(), samples.first(used)
    for part in looked_at.batches():
        digest.add(part.inputs, part.labels, part.window, part.targets)
    return {
        "digest": digest.hex(),
        "digest_of": len(looked_at),
        "samples": len(samples),
        "steps": samples.steps,
    }


def read_lock(path: str | Path) -> Lock:
    """Read a lock; a ``target.toml`` beside it, as in a bundle, is the target that it means.

    Raises:
        InputError: it cannot be read, or lacks what reproducing a program takes.
    """
    path = Path(path)
    try:
        raw = toml.loads(read_text(path, current().text))
        compiling = {"layout": "chip", "objective": "speed", **raw["compile"]}  # before these were
        beside = path.parent / _TARGET
        target = load_target(beside if is_regular(beside) else str(compiling["target"]))
        for name, kind in (("scale", Scale), ("layout", LayoutName), ("objective", Objective)):
            if compiling[name] not in get_args(kind):
                raise ValueError(f"{name} = {compiling[name]!r}")
        return Lock(
            where=str(path),
            network=str(raw["network"]["digest"]),
            target=target,
            board=str(compiling["board"]),
            scale=compiling["scale"],
            layout=compiling["layout"],
            objective=compiling["objective"],
            inputs=_coding(compiling.get("coding")),
            recipe=Recipe.from_toml(toml.dumps(raw["recipe"])),
            program=str(raw["program"]["digest"]),
            read=_read(raw["read"]),
            data=_data(raw.get("data", {})),
            versions={str(k): str(v) for k, v in raw.get("versions", {}).items()},
            trained="training" in raw,
        )
    except Unreadable as error:
        raise InputError("lock-unreadable", str(error), where=str(path)) from error
    except (toml.TOMLDecodeError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            "lock-unreadable",
            f"it is no lock of this version ({type(error).__name__}: {error})",
            where=str(path),
            hint="give the lock.toml of a bundle",
        ) from error


def _coding(raw: Mapping[str, Any] | None) -> InputCoding | None:
    if raw is None:
        return None
    kind, peak = raw["kind"], float(raw["peak"])
    if kind not in get_args(Coding) or not 0 <= peak < _LARGEST_PEAK:
        raise ValueError(f"coding = {raw!r}")
    return InputCoding(kind=kind, peak=peak)


def _read(raw: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(raw.get("frontend", ""), str):
        raise ValueError(f"frontend = {raw['frontend']!r}")
    return {str(key): value for key, value in raw.items()}


def _data(raw: Mapping[str, Any]) -> dict[str, Any]:
    numbers = {key: int(raw[key]) for key in ("digest_of", "samples", "steps") if raw}
    return {"digest": str(raw["digest"]), **numbers} if raw else {}


def refuse_unlike(lock: Lock, network: str, samples: Samples | None) -> None:
    """Refuse, before long work, what cannot lead to the locked program.

    Args:
        lock: what was locked.
        network: digest of the network that was read.
        samples: what would calibrate.

    Raises:
        UsageError: the lock was made with data, and there are none, or the other way round.
        VerificationFailed: the network is another one.
    """
    if bool(lock.data) != (samples is not None):
        wanted = "with data" if lock.data else "without data"
        raise UsageError(
            "lock-data",
            f"the locked program was compiled {wanted}",
            where=lock.where,
            hint=f"give the same {lock.data['samples']} samples with --data"
            if lock.data
            else "leave --data out",
        )
    if network != lock.network:
        raise _differs(lock, ["the network: another file, or another version reads it otherwise"])


def check_locked(lock: Lock, compiled: Compiled) -> None:
    """Check that a program is the locked one.

    Raises:
        VerificationFailed: it is not; with everything it follows from that is different.
    """
    if compiled.program.digest == lock.program:
        return
    found = []
    if compiled.data != lock.data:
        found.append(f"the data: locked {_listed(lock.data)}, here {_listed(compiled.data)}")
    here = versions()
    for name in sorted(here.keys() | lock.versions.keys()):
        then, now = lock.versions.get(name, "unknown"), here.get(name, "unknown")
        if then != now:
            found.append(f"{name}: locked {then}, here {now}")
    if lock.trained:
        found.append("training, which takes the samples of `snndeploy finetune`")
    raise _differs(
        lock,
        found
        or ["nothing that the lock records: it was edited, or this machine computes otherwise"],
    )


def _differs(lock: Lock, found: list[str]) -> VerificationFailed:
    return VerificationFailed(
        "lock-differs",
        f"this does not give the locked program; different are {'; '.join(found)}",
        where=lock.where,
        hint="compile without --locked to see what it gives now",
    )


def _listed(record: Mapping[str, Any]) -> str:
    if not record:
        return "none"
    samples, steps, digest = (record.get(key) for key in ("samples", "steps", "digest"))
    return f"{samples} samples of {steps} steps ({str(digest)[:12]})"


def _told(value: object) -> object:
    """TOML has no None."""
    if isinstance(value, Mapping):
        return {key: _told(part) for key, part in value.items()}
    return "none" if value is None else value


def untold(value: Any) -> Any:
    """Options as they were before `lock_text`: "none" is None, but as a reset."""
    if not isinstance(value, Mapping):
        return value
    return {
        key: None if part == "none" and key != "reset" else untold(part)
        for key, part in value.items()
    }
