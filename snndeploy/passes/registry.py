"""Passes by name: the built-in ones and those that installed packages add.

Nothing is imported to list names. A package adds passes by entry points in the group
``snndeploy.passes``, each named like the pass it points to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points

from ..errors import RecipeError, did_you_mean
from .base import Pass

GROUP = "snndeploy.passes"


BUILT_IN = {
    "adapt": "adapt:Adapt",
    "prune": "prune:Prune",
    "quantize": "quantization.quantize:Quantize",
    "prune-quantize": "quantization.prune_quantize:PruneQuantize",
    "correct-bias": "correct.correct_bias:CorrectBias",
    "correct-threshold": "correct.correct_threshold:CorrectThreshold",
    "adapt-gains": "correct.adapt_gains:AdaptGains",
    "remove-kernels": "kernels.remove_kernels:RemoveKernels",
    "finetune": "training.finetune:FineTune",
    "distil": "training.distil:Distil",
    "admm": "training.admm:Admm",
    "train-steps": "training.train_steps:TrainSteps",
    "rescaw": "quantization.rescaw:ReScaW",
}
"""The passes of this package: name, and ``module:Class`` below ``snndeploy.passes``.

This is the only list of them. Commands, the reference page and tests read it.
"""


@dataclass(frozen=True)
class PassInfo:
    """A pass that can be asked for: ``owner`` is ``snndeploy`` or the package that adds it."""

    name: str
    owner: str
    load: Callable[[], object]


@dataclass(frozen=True)
class BrokenPass:
    """A plug-in that is installed and cannot be used, with the reason."""

    name: str
    owner: str
    reason: str


def known_passes() -> dict[str, PassInfo]:
    """Every pass by name, built-in first, without importing any of them.

    Raises:
        RecipeError: two owners claim one name; both are told.
    """
    known = {
        name: PassInfo(name, "snndeploy", EntryPoint(name, f"{__package__}.{value}", GROUP).load)
        for name, value in BUILT_IN.items()
    }
    for point in _plug_ins():
        owner = _owner(point)
        if point.name in known:
            raise RecipeError(
                "pass-duplicate",
                f"two packages provide a pass named {point.name!r}: "
                f"{known[point.name].owner} and {owner}",
                hint="uninstall one of them, or rename its pass",
            )
        known[point.name] = PassInfo(point.name, owner, point.load)
    return known


def pass_names() -> list[str]:
    """Names of all passes, built-in first."""
    return list(known_passes())


def pass_class(name: str) -> type[Pass]:
    """Import a pass by name.

    Raises:
        RecipeError: there is no such pass, or the plug-in that provides it is broken.
    """
    known = known_passes()
    if name not in known:
        raise RecipeError(
            "pass-unknown", f"there is no pass {name!r}", hint=did_you_mean(name, known)
        )
    loaded = _loaded(known[name])
    if isinstance(loaded, BrokenPass):
        raise RecipeError(
            "pass-broken",
            f"the pass {name!r} of {loaded.owner} cannot be used: {loaded.reason}",
            hint=f"repair or uninstall {loaded.owner}",
        )
    return loaded


def broken() -> tuple[BrokenPass, ...]:
    """Plug-ins that are installed and do not work (this imports all of them)."""
    loaded = (_loaded(info) for info in known_passes().values() if info.owner != "snndeploy")
    return tuple(p for p in loaded if isinstance(p, BrokenPass))


def _plug_ins() -> Iterable[EntryPoint]:
    return sorted(entry_points(group=GROUP), key=lambda p: (p.name, p.value))


def _owner(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else point.value


def _loaded(info: PassInfo) -> type[Pass] | BrokenPass:
    try:
        found = info.load()
    except Exception as error:  # a plug-in can fail in any way; it must not take the rest with it
        return BrokenPass(info.name, info.owner, f"{type(error).__name__}: {error}")
    if not (isinstance(found, type) and issubclass(found, Pass)):
        return BrokenPass(info.name, info.owner, f"{found!r} is not a subclass of Pass")
    claimed = getattr(found, "name", None)
    if claimed != info.name:
        return BrokenPass(info.name, info.owner, f"its pass calls itself {claimed!r}")
    return found
