"""What `describe` reads out of a pass, and that every built-in pass says what its options mean."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

import pytest
from pydantic import Field

from snndeploy.ir.network import Network
from snndeploy.passes.base import Pass, PassContext, PassResult, PassStage
from snndeploy.passes.describe import Option, describe
from snndeploy.passes.registry import BUILT_IN, pass_class
from tests.support.commands import check, printed, run


@dataclass(frozen=True, kw_only=True)
class Parent(Pass):
    strength: Annotated[float, Field(gt=0, le=1)] = 1.0
    """How ``much``."""
    mode: Literal["a", "b"] = "a"
    """Which."""


@dataclass(frozen=True, kw_only=True)
class Child(Parent):
    """One
    summary.

    Some ``details``,
    in lines.
    """

    name: ClassVar[str] = "child"
    """Not an option."""
    stage: ClassVar[PassStage] = "prune"

    mode: Literal["a", "b"] = "b"
    bits: Annotated[int, Field(ge=1)]
    """Width, in
    bits."""
    names: tuple[str, ...] = ("x",)
    keep: Mapping[str, Annotated[int, Field(lt=9)]] = field(default_factory=dict, hash=False)
    """What stays."""

    def run(self, net: Network, ctx: PassContext) -> PassResult:
        raise NotImplementedError


def option(name: str, kind: str, default: object, meaning: str, **rest: object) -> Option:
    fields = {"choices": (), "bounds": (), "required": False, **rest}
    return Option(name=name, type=kind, default=default, meaning=meaning, **fields)  # type: ignore[arg-type]


def test_a_pass_is_described_by_what_stands_in_it_and_in_its_bases() -> None:
    described = describe(Child)
    assert (described.name, described.stage) == ("child", "prune")
    assert (described.summary, described.details) == ("One summary.", "Some `details`,\nin lines.")
    strength, mode, bits, names, keep = described.options
    assert strength == option("strength", "number", 1.0, "How `much`.", bounds=("> 0", "≤ 1"))
    assert mode == option("mode", "text", "b", "Which.", choices=("a", "b"))
    assert bits == option(
        "bits", "integer", None, "Width, in bits.", bounds=("≥ 1",), required=True
    )
    assert names == option("names", "list of text", ("x",), "")
    assert keep == option("keep", "table of integer", {}, "What stays.", bounds=("< 9",))
    assert [o.allowed for o in described.options] == [
        "> 0 and ≤ 1",
        'one of "a", "b"',
        "≥ 1",
        "",
        "< 9",
    ]
    assert [o.default_text for o in described.options] == ["1.0", '"b"', "required", '["x"]', "{}"]


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_option_of_a_built_in_pass_has_a_meaning(name: str) -> None:
    described = describe(pass_class(name))
    assert described.summary
    assert [o.name for o in described.options if not o.meaning] == []
    numbers = [o for o in described.options if o.type.endswith(("integer", "number"))]
    assert [o.name for o in numbers if not o.bounds] == []


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_command_prints_every_option(name: str) -> None:
    text = check(run("passes", name), 0)
    data = json.loads(printed(run("passes", name, "--json")))
    described = describe(pass_class(name))
    assert [o["name"] for o in data["options"]] == [o.name for o in described.options]
    for o, saved in zip(described.options, data["options"], strict=True):
        assert saved["meaning"] == o.meaning
        assert saved["required"] == o.required
        allowed = f", {o.allowed}" if o.allowed else ""
        default = "required" if o.required else f"default {o.default_text}"
        assert f"\n{o.name}: {o.type}{allowed}; {default}\n    {o.meaning[:20]}" in text
