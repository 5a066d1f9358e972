"""Commands about the installation: targets, passes, recipes, lava, doctor."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import json_option
from .show.help import command
from .show.telling import aside, say

if TYPE_CHECKING:
    from ..simulate.lava.env import LavaEnv
    from ..simulate.xylo.env import XyloEnv

_EXTRAS = (
    ("fast", "numba", "compiled neuron loops: engines several times faster"),
    ("train", "sklearn", "the digits that the examples train on"),
    ("partition", "mtkahypar", "a partitioner for place_program(…, effort='high')"),
    ("report", "vl_convert", "pictures in the pages of --html, and report --plot"),
    ("tonic", "tonic", "public event data by name: --data tonic:NMNIST"),
    ("tune", "optuna", "snndeploy tune, which searches recipes"),
    ("cluster", "distributed", "--cluster, which computes in several processes or machines"),
    (
        "lava",
        "lava",
        "Lava in this very environment (Python 3.10); `snndeploy lava install` is as good",
    ),
)
"""What an installation may leave out: the extra, a module that shows it, and what it is good for."""


@command(example="snndeploy targets loihi2")
@click.argument("name", required=False)
@json_option
def targets(name: str | None, as_json: bool) -> None:
    """List the targets, or show every limit of one with its source and certainty."""
    from ..chip import load_target, target_names
    from .show.render import console, print_json, table

    if name is None:
        loaded = [load_target(n) for n in target_names()]
        if as_json:
            print_json(
                [{"name": t.name, "title": t.title, "boards": list(t.boards)} for t in loaded]
            )
            return
        rows = [(t.name, t.title, ", ".join(t.boards)) for t in loaded]
        console().print(table("targets", ("name", "what", "boards"), rows))
        return
    target = load_target(name)
    if as_json:
        print_json(target.model_dump())
        return
    columns = ("limit", "value", "unit", "certainty", "source")
    limits = list(_limits(target.model_dump(exclude_none=True)))
    console().print(table(f"{target.name}: {target.title}", columns, limits))


def _limits(data: dict[str, Any], path: str = "") -> Iterator[tuple[str, str, str, str, str]]:
    """Rows of every entry that names its source, in the file's order."""
    if "source" in data:
        values = [
            f"{k} {v}" if k not in ("limit", "pj", "ns", "widths") else str(v)
            for k, v in data.items()
            if k not in ("unit", "source", "certainty")
        ]
        unit = data.get("unit", "pJ" if "pj" in data else "ns" if "ns" in data else "")
        yield path, ", ".join(values), unit, data["certainty"], data["source"]
        return
    for key, value in data.items():
        if isinstance(value, dict):
            yield from _limits(value, f"{path}.{key}" if path else key)


@command(example="snndeploy passes prune")
@click.argument("name", required=False)
@json_option
def passes(name: str | None, as_json: bool) -> None:
    """List the compression passes, or the options of one: type, values, default and meaning."""
    from dataclasses import asdict

    from ..passes.describe import describe
    from ..passes.registry import pass_class, pass_names
    from .show.render import console, print_json, table

    if name is None:
        summaries = {n: describe(pass_class(n)).summary for n in pass_names()}
        if as_json:
            print_json(summaries)
        else:
            console().print(table("passes", ("name", "what"), list(summaries.items())))
        return
    described = describe(pass_class(name))
    if as_json:
        print_json(asdict(described))
        return
    say(f"{described.name} (stage: {described.stage})\n\n{described.summary}\n")
    if described.details:
        say(f"{described.details}\n")
    for option in described.options:
        allowed = f", {option.allowed}" if option.allowed else ""
        default = "required" if option.required else f"default {option.default_text}"
        say(f"{option.name}: {option.type}{allowed}; {default}")
        say(click.wrap_text(option.meaning, 96, "    ", "    "))


@command(example="snndeploy recipes sbc-plus")
@click.argument("name", required=False)
@json_option
def recipes(name: str | None, as_json: bool) -> None:
    """List the shipped recipes, or print one as the file to start one's own from."""
    from .. import toml
    from ..recipe import load_recipe, recipe_folder, recipe_names
    from .show.render import console, print_json, table

    if name is None:
        loaded = {n: load_recipe(n) for n in recipe_names()}
        rows = [
            (n, ", ".join(p.name for p in r.passes), r.guard, r.description)
            for n, r in loaded.items()
        ]
        columns = ("name", "passes", "guard", "what it is for")
        if as_json:
            print_json([dict(zip(columns, row, strict=True)) for row in rows])
        else:
            console().print(table("recipes", columns, rows))
        return
    recipe = load_recipe(name)
    if as_json:
        print_json(toml.loads(recipe.to_toml()))
    elif name in recipe_names():
        click.echo((recipe_folder() / f"{name}.toml").read_text(encoding="utf-8"), nl=False)
    else:
        click.echo(recipe.to_toml(), nl=False)


@click.group()
def lava() -> None:
    """Install or look for the interpreter that runs Lava."""


@lava.command()
@click.option("--dir", "directory", type=click.Path(path_type=Path), help="Where to put it.")
@click.option("--python", type=click.Path(path_type=Path), help="Interpreter to build it on.")
@json_option
def install(directory: Path | None, python: Path | None, as_json: bool) -> None:
    """Create a private environment with lava-nc (does nothing where there is one)."""
    from ..simulate.lava.install import install_lava

    env = install_lava(directory, python, progress=aside)
    if as_json:
        _print_facts(_lava_facts(env), as_json)
        return
    say(f"lava-nc {env.lava_version} on Python {_dotted(env.version)}: {env.python}")


@lava.command()
@json_option
def status(as_json: bool) -> None:
    """Say which interpreter runs Lava; exit 7 where there is none."""
    from ..simulate.lava.env import require_lava

    _print_facts(_lava_facts(require_lava()), as_json)


def _lava_facts(env: LavaEnv) -> dict[str, Any]:
    return {
        "python": str(env.python),
        "version": _dotted(env.version),
        "lava": env.lava_version,
        "patched": env.patched,
        "origin": env.origin,
    }


@click.group()
def xylo() -> None:
    """Install or look for the interpreter that runs xylosim, the vendor's simulator of Xylo."""


@xylo.command("install")
@click.option("--dir", "directory", type=click.Path(path_type=Path), help="Where to put it.")
@click.option("--python", type=click.Path(path_type=Path), help="Interpreter to build it on.")
@json_option
def install_xylo(directory: Path | None, python: Path | None, as_json: bool) -> None:
    """Create a private environment with xylosim (does nothing where there is one).

    xylosim states no licence; it is fetched from where its vendor publishes it.
    """
    from ..simulate.xylo.env import install_xylosim

    env = install_xylosim(directory, python, progress=aside)
    if as_json:
        _print_facts(_xylo_facts(env), as_json)
        return
    say(f"xylosim {env.xylosim} on Python {_dotted(env.version)}: {env.python}")


@xylo.command("status")
@json_option
def status_of_xylo(as_json: bool) -> None:
    """Say which interpreter runs xylosim; exit 7 where there is none."""
    from ..simulate.xylo.env import require_xylosim

    _print_facts(_xylo_facts(require_xylosim()), as_json)


def _xylo_facts(env: XyloEnv) -> dict[str, Any]:
    return {
        "python": str(env.python),
        "version": _dotted(env.version),
        "xylosim": env.xylosim,
        "origin": env.origin,
    }


@command(example="snndeploy doctor")
@json_option
def doctor(as_json: bool) -> None:
    """Report versions, simulators from outside and plug-ins, with what to do about each problem."""
    import platform
    from importlib.metadata import PackageNotFoundError, version
    from importlib.util import find_spec

    from ..chip import target_names
    from ..passes.registry import broken
    from ..simulate.lava.env import find_lava
    from ..simulate.xylo.env import find_xylosim

    def installed(package: str) -> str:
        try:
            return version(package)
        except PackageNotFoundError:
            return "missing"

    env, xylosim = find_lava(), find_xylosim()
    extras = {
        f"[{extra}]": "installed" if find_spec(module) else f"missing; it would bring {what}"
        for extra, module, what in _EXTRAS
    }
    facts: dict[str, Any] = {
        "snndeploy": installed("snndeploy"),
        "python": platform.python_version(),
        **{p: installed(p) for p in ("numpy", "nir", "h5py", "torch", "networkx", "pydantic")},
        "lava": "missing; run: snndeploy lava install"
        if env is None
        else f"lava-nc {env.lava_version}, Python {_dotted(env.version)}"
        + (", patched at import" if env.patched else "")
        + f" ({env.origin})",
        "xylosim": "missing; run: snndeploy xylo install"
        if xylosim is None
        else f"{xylosim.xylosim}, Python {_dotted(xylosim.version)} ({xylosim.origin})",
        **extras,
        "targets": ", ".join(target_names()),
        "broken plug-ins": [str(b) for b in broken()] or "none",
    }
    _print_facts(facts, as_json, width=16)


def _print_facts(facts: dict[str, Any], as_json: bool, width: int = 8) -> None:
    from .show.render import print_json

    if as_json:
        print_json(facts)
        return
    for key, value in facts.items():
        say(f"{key:{width}} {value}")


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
