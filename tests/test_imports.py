"""What may import what: the floors of the package, and what its front door must not load."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import networkx as nx
import pytest

PACKAGE = Path(__file__).parents[1] / "snndeploy"
WORKER = PACKAGE / "simulate" / "lava" / "lava_worker"
FILES = sorted(PACKAGE.rglob("*.py"))

FLOORS = (
    {"cli"},
    {"demo"},
    {"pipeline"},
    {"recipe"},
    {"passes", "report"},
    {"calibrate", "verify", "live", "measure"},
    {"ingest", "lower", "mapping", "simulate", "bundle", "export", "data", "workers"},
    {"chip"},
    {"ir"},
    {"files", "npz", "toml"},
    {"brief", "certify", "errors", "lazy", "limits", "plain", "progress"},
)
"""From the top down. A room imports from the floors below its own, and from itself."""

OWNERS = {"click": "cli", "rich": "cli", "nir": "ingest", "distributed": "workers"}
"""Libraries that one room alone talks to."""

FRONT_DOOR = {"__init__", "__main__"}
"""Modules of the package itself; they hand out names from every floor."""

LEVEL = {room: len(FLOORS) - floor for floor, rooms in enumerate(FLOORS) for room in rooms}


def room_of(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(file: Path) -> Iterator[str]:
    """The absolute dotted names that a file imports, anywhere in it, type-only ones too."""
    package = file.relative_to(PACKAGE.parent).parent.parts
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else ()
            stem = ".".join((*base, *filter(None, [node.module])))
            yield from (f"{stem}.{alias.name}" for alias in node.names)


def module_of(file: Path) -> str:
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(file): file for file in FILES}


def circles() -> list[set[str]]:
    """Groups of modules that import each other, within functions and for types included."""
    graph: nx.DiGraph[str] = nx.DiGraph()
    for module, file in MODULES.items():
        for name in imports(file):
            other = name if name in MODULES else name.rpartition(".")[0]
            if other in MODULES and other != module:
                graph.add_edge(module, other)
    return [group for group in nx.strongly_connected_components(graph) if len(group) > 1]


def tangles(folder: str) -> list[set[str]]:
    """Groups of files and rooms of one folder that import each other."""
    graph: nx.DiGraph[str] = nx.DiGraph()
    for module, file in MODULES.items():
        if not module.startswith(f"{folder}."):
            continue
        own = module.removeprefix(f"{folder}.").partition(".")[0]
        for name in imports(file):
            other = name.removeprefix(f"{folder}.").partition(".")[0]
            if name.startswith(f"{folder}.") and other != own and f"{folder}.{other}" in MODULES:
                graph.add_edge(own, other)
    return [group for group in nx.strongly_connected_components(graph) if len(group) > 1]


def is_allowed(room: str, other: str) -> bool:
    return room in FRONT_DOOR or room == other or LEVEL[other] < LEVEL[room]


def test_every_room_has_a_floor() -> None:
    assert {room_of(file) for file in FILES} - FRONT_DOOR <= LEVEL.keys()


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_imports_go_downwards_only(file: Path) -> None:
    names = [name.split(".") for name in imports(file) if name.startswith("snndeploy.")]
    rooms = {parts[1] for parts in names if parts[1] in LEVEL}
    assert {other for other in rooms if not is_allowed(room_of(file), other)} == set()


def test_no_modules_import_each_other() -> None:
    assert circles() == []


def test_no_rooms_import_each_other() -> None:
    """Within a folder, too, files and rooms have an order."""
    tangled = {
        folder: found
        for folder in {name.rpartition(".")[0] for name in MODULES} - {""}
        if (found := tangles(folder))
    }
    assert tangled == {}


def test_libraries_stay_with_their_room() -> None:
    strays = [
        (str(file.relative_to(PACKAGE)), library)
        for file in FILES
        for library in {name.partition(".")[0] for name in imports(file)} & OWNERS.keys()
        if room_of(file) != OWNERS[library]
    ]
    assert strays == []


def test_lava_stays_in_its_worker_and_the_worker_by_itself() -> None:
    libraries = {*sys.stdlib_module_names, "numpy", "scipy", "lava"}
    for file in FILES:
        names = set(imports(file))
        if file.is_relative_to(WORKER):
            names = {
                name
                for name in names
                if not name.startswith("snndeploy.simulate.lava.lava_worker.")
            }
            assert {name.partition(".")[0] for name in names} <= libraries, file
        else:
            assert "lava" not in {name.partition(".")[0] for name in names}, file


@pytest.mark.parametrize("arguments", [("-c", "import snndeploy"), ("-m", "snndeploy", "--help")])
def test_the_front_door_loads_no_heavy_library(arguments: tuple[str, ...]) -> None:
    if "-m" in arguments and not (PACKAGE / "cli").exists():
        pytest.skip("there is no command line yet")
    command = [sys.executable, "-X", "importtime", *arguments]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    loaded = {line.rpartition("|")[2].strip() for line in run.stderr.splitlines()}
    assert "snndeploy" in loaded
    assert loaded & {"torch", "nir", "h5py", "lava", "matplotlib", "numpy", "networkx"} == set()


@pytest.mark.parametrize("room", ["pipeline", "report"])
def test_rooms_hand_out_their_names_one_by_one(room: str) -> None:
    """What only looks loads nothing that compiles; every name is there when it is asked for."""
    code = (
        f"import sys, snndeploy.{room} as room\n"
        "loaded = [m for m in sys.modules if m.startswith(room.__name__ + '.')]\n"
        "assert loaded == [], loaded\n"
        "assert dir(room) == sorted(room.__all__)\n"
        "assert [n for n in room.__all__ if getattr(room, n) is None] == []\n"
        "assert not hasattr(room, 'nothing')\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
