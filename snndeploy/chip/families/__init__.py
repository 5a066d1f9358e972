"""Families of chips by name: the built-in ones and those that installed packages add.

Nothing is imported to list names. A package adds families by entry points in the group
``snndeploy.families``, each named like the family it points to.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points

from ...errors import TargetError, did_you_mean
from ..family import Family
from ..schema import Target

GROUP = "snndeploy.families"

_BUILT_IN = {
    "loihi1": f"{__name__}.loihi1:Loihi1",
    "loihi2": f"{__name__}.loihi2:Loihi2",
    "xylo": f"{__name__}.xylo:Xylo",
}


def built_in_families() -> tuple[type[Family], ...]:
    """The families of this package."""
    return tuple(family_class(name) for name in _BUILT_IN)


def family_names() -> list[str]:
    """Names of all families, built-in first.

    Raises:
        TargetError: two packages claim one name; both are told.
    """
    return list(_known())


def family_class(name: str) -> type[Family]:
    """Import a family by name.

    Raises:
        TargetError: there is no such family, or the package that provides it is broken.
    """
    point = EntryPoint(name, _BUILT_IN[name], GROUP) if name in _BUILT_IN else _known().get(name)
    if point is None:
        raise TargetError(
            "family-unknown",
            f"there is no family of chips {name!r}",
            hint=did_you_mean(name, family_names()),
        )
    try:
        found = point.load()
    except Exception as error:  # a plug-in can fail in any way; say which one it was
        raise _broken(point, f"{type(error).__name__}: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Family)):
        raise _broken(point, f"{found!r} is not a subclass of Family")
    if found.name != name:
        raise _broken(point, f"it calls itself {found.name!r}")
    return found


def family_of(target: Target) -> Family:
    """The family of a target, which answers for that chip."""
    return family_class(target.family)(target)


def _known() -> dict[str, EntryPoint]:
    known = {name: EntryPoint(name, path, GROUP) for name, path in _BUILT_IN.items()}
    for point in sorted(entry_points(group=GROUP), key=lambda p: (p.name, p.value)):
        if point.name in known:
            raise TargetError(
                "family-duplicate",
                f"two packages provide a family of chips named {point.name!r}: "
                f"{known[point.name].value} and {point.value}",
                hint="uninstall one of them, or rename its family",
            )
        known[point.name] = point
    return known


def _broken(point: EntryPoint, why: str) -> TargetError:
    owner = f"{point.dist.name} {point.dist.version}" if point.dist else point.value
    return TargetError(
        "family-broken",
        f"the family of chips {point.name!r} of {owner} cannot be used: {why}",
        hint=f"repair or uninstall {owner}",
    )
