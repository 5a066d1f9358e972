"""Recipes: which passes, in which order, with which options; one object in TOML and in Python."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    InstanceOf,
    ModelWrapValidatorHandler,
    ValidationError,
    model_validator,
)

from . import toml
from .errors import RecipeError, did_you_mean
from .files import Unreadable, read_text
from .passes.base import Pass
from .passes.guard.back_off import MAX_DIVERGENCE, Guard
from .passes.registry import pass_class
from .passes.runner import check_order


class _Strict(BaseModel):
    """Unknown keys are refused, nothing is coerced."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class CalibrationOptions(_Strict):
    """Which samples data-driven passes see.

    The first ``samples`` of the calibration set are used, and the first ``steps`` of each (0: all).
    A share of them, ``aside``, is fitted to by no pass: those that choose when to stop look at it.
    Where there are fewer than ``fill``, made-up ones follow them: samples moved in time (and, where
    inputs are maps, by up to ``shift`` pixels, and turned, stretched and slanted, the more the larger
    ``warp`` is), thinned, and one begun as another ends.
    """

    samples: int = Field(default=256, ge=1)
    steps: int = Field(default=0, ge=0)
    aside: float = Field(default=0.0, ge=0, le=0.5)
    fill: int = Field(default=0, ge=0)
    shift: int = Field(default=1, ge=0)
    warp: float = Field(default=1.0, ge=0, le=4)


class Recipe(_Strict):
    """An ordered list of passes with all their options, and the seed of everything random.

    A recipe measures what it does to the answers, on calibration samples that no pass sees (labels
    are not needed); see `run_guarded`.

    Attributes:
        name: short name, for reports.
        description: what it is for.
        seed: root of every random stream.
        guard: what happens where the compressed network no longer answers like the trained one:
            ``"warn"``, ``"back-off"`` (give back sparsity, bits or kernels, layer by layer, until it
            does), ``"search"`` (for the most compression at which it does), or ``"off"``.
        max_divergence: how far answers may be from those of the trained network: mean
            Kullback-Leibler divergence of softened answers with its standard error, nats per sample.
        blind: without samples, run passes that look at some in their nearest form that does not
            (False: they refuse).
        calibration: what data-driven passes look at.
        passes: run in this order, which obeys the order law.

    Raises:
        RecipeError: a field is unknown or wrong, or the order law is violated.
    """

    name: str = "unnamed"
    description: str = ""
    seed: int = Field(default=0, ge=0)
    guard: Guard = "warn"
    max_divergence: float = Field(default=MAX_DIVERGENCE, ge=0)
    blind: bool = False
    calibration: CalibrationOptions = Field(default_factory=CalibrationOptions)
    passes: tuple[InstanceOf[Pass], ...] = ()

    @model_validator(mode="wrap")
    @classmethod
    def _checked(cls, data: Any, build: ModelWrapValidatorHandler[Recipe]) -> Recipe:
        try:
            recipe = build(data)
        except ValidationError as error:
            raise _in_our_words(error) from error
        check_order(recipe.passes)
        return recipe

    def with_max_memory(self, mebibytes: int) -> Recipe:
        """The same with this bound in every pass that takes one."""
        passes = [
            dataclasses.replace(p, max_memory=mebibytes) if "max_memory" in p.options() else p  # type: ignore[call-arg]
            for p in self.passes
        ]
        return Recipe(**{**dict(self), "passes": tuple(passes)})

    def guarded(self, guard: Guard | None, max_divergence: float | None) -> Recipe:
        """The same with another guard or limit (None: as it is).

        Raises:
            RecipeError: the guard or the limit is not one.
        """
        new = {"guard": guard, "max_divergence": max_divergence}
        given = {key: value for key, value in new.items() if value is not None}
        return Recipe(**{**dict(self), **given}) if given else self

    @classmethod
    def from_toml(cls, source: str | Path) -> Recipe:
        """Read a recipe.

        Args:
            source: TOML text (a string with a line break or a ``=``), or else the path of a file.

        Raises:
            RecipeError: unreadable, not TOML, or an unknown key or wrong value, with
                ``file:key`` of the first one.
        """
        if isinstance(source, str) and ("\n" in source or "=" in source):
            return _parsed(source, "recipe")
        path = Path(source)
        try:
            text = read_text(path)
        except Unreadable as error:
            raise RecipeError(
                "recipe-unreadable",
                f"the recipe cannot be read: {error}",
                where=str(source),
                hint="give the path of a .toml file, or one of the shipped recipes by name",
            ) from error
        return _parsed(text, str(source))

    def to_toml(self) -> str:
        """The recipe with every default spelled out; ``from_toml`` gives an equal one back."""
        head = self.model_dump(exclude={"passes"})
        steps = [{"name": p.name, **_plain(p.options())} for p in self.passes]
        return toml.dumps({**head, "pass": steps})


def recipe_folder() -> Path:
    """The folder of the shipped recipes."""
    return Path(__file__).parent / "recipes"


def recipe_names() -> list[str]:
    """Names of the shipped recipes."""
    return sorted(p.stem for p in recipe_folder().glob("*.toml"))


def load_recipe(name: str | Path) -> Recipe:
    """Load a shipped recipe by name, or a recipe file by path (``….toml``).

    Raises:
        RecipeError: there is no such recipe, or it is malformed.
    """
    if isinstance(name, Path) or name.endswith(".toml"):
        return Recipe.from_toml(Path(name))
    if name not in recipe_names():
        near = did_you_mean(name, recipe_names())
        every = f" There are {', '.join(recipe_names())}" if near.endswith("?") else ""
        raise RecipeError(
            "recipe-unknown",
            f"there is no recipe {name!r}",
            hint=f"{near}{every} (snndeploy recipes says what for), "
            "or give the path of a .toml file",
        )
    return Recipe.from_toml(recipe_folder() / f"{name}.toml")


def _parsed(text: str, where: str) -> Recipe:
    try:
        raw = toml.loads(text)
    except toml.TOMLDecodeError as error:
        raise RecipeError("recipe-syntax", str(error), where=where) from error
    # In the file each pass is a [[pass]]; the field, and every message, has the plural.
    keys = [key if key != "passes" else "pass" for key in Recipe.model_fields]
    for key in raw:
        if key not in keys:
            raise RecipeError(
                "recipe-unknown-key",
                f"there is no key {key!r}",
                where=f"{where}:{key}",
                hint=did_you_mean(key, keys),
            )
    steps = raw.pop("pass", [])
    try:
        if not isinstance(steps, list) or not all(isinstance(s, dict) for s in steps):
            raise RecipeError(
                "recipe-value",
                "a pass is a table",
                where="passes",
                hint="write [[pass]] with double brackets",
            )
        passes = tuple(_pass(step, f"passes[{i}]") for i, step in enumerate(steps))
        return Recipe(**raw, passes=passes)
    except RecipeError as error:
        place = f"{where}:{error.where}" if error.where else where
        raise RecipeError(error.code, error.message, where=place, hint=error.hint) from error


def _pass(raw: Mapping[str, Any], where: str) -> Pass:
    options = dict(raw)
    name = options.pop("name", None)
    if not isinstance(name, str):
        raise RecipeError(
            "recipe-value",
            "a pass needs its name, a string",
            where=f"{where}.name",
            hint='e.g. name = "prune"',
        )
    try:
        cls = pass_class(name)
    except RecipeError as error:
        place = f"{where}.name"
        raise RecipeError(error.code, error.message, where=place, hint=error.hint) from error
    fields = {f.name: f for f in dataclasses.fields(cls)}
    for key in options:
        if key not in fields:
            raise RecipeError(
                "recipe-unknown-key",
                f"the pass {name!r} has no option {key!r}",
                where=f"{where}.{key}",
                hint=did_you_mean(key, fields),
            )
    for key, field in fields.items():
        missing = (field.default, field.default_factory) == (dataclasses.MISSING,) * 2
        if missing and key not in options:
            raise RecipeError(
                "recipe-missing-key", f"the pass {name!r} needs {key!r}", where=f"{where}.{key}"
            )
    try:
        return cls(**options)
    except RecipeError as error:
        # The pass says "prune.sparsity"; in a file the place of the pass says more than its name.
        place = where + error.where.removeprefix(name)
        raise RecipeError(error.code, error.message, where=place, hint=error.hint) from error


def _in_our_words(error: ValidationError) -> RecipeError:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        key = str(first["loc"][-1])
        model = CalibrationOptions if len(first["loc"]) > 1 else Recipe
        return RecipeError(
            "recipe-unknown-key",
            f"there is no key {key!r}",
            where=where,
            hint=did_you_mean(key, model.model_fields),
        )
    message = f"{first['msg'][0].lower()}{first['msg'][1:]}, not {first['input']!r:.80}"
    return RecipeError("recipe-value", message, where=where)


def _plain(value: Any) -> Any:
    """TOML has lists and tables only."""
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    return value
