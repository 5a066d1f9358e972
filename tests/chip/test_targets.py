"""Target files: shipped ones load and give sources, broken ones say where and what."""

from __future__ import annotations

from pathlib import Path

import pytest

from snndeploy.chip import (
    Target,
    dump_target,
    load_target,
    parse_target,
    target_folder,
    target_names,
    weakest,
)
from snndeploy.errors import TargetError, UsageError


def test_shipped_targets() -> None:
    assert target_names() == [
        "loihi1",
        "loihi2",
        "loihi2-spec",
        "tiny",
        "xylo-a2",
        "xylo-a3",
        "xylo-imu",
    ]
    assert (target_folder() / "loihi2.toml").is_file()


@pytest.mark.parametrize("name", target_names())
def test_every_limit_has_a_source(name: str) -> None:
    def walk(value: object) -> None:
        if isinstance(value, dict):
            if "source" in value:
                assert value["source"], value
                assert value["certainty"], value
            for inner in value.values():
                walk(inner)

    target = load_target(name)
    assert target.name == name
    assert set(target.core) == set(target.resources)
    walk(target.model_dump())


def test_published_bounds_are_wider_than_the_compilers() -> None:
    fitted, published = load_target("loihi2"), load_target("loihi2-spec")
    assert published.inherits == "loihi2"
    assert published.synapse == fitted.synapse
    assert all(published.core[k].limit >= v.limit for k, v in fitted.core.items())
    assert fitted.core["pool_words"].limit == 20000
    assert published.core["pool_words"].certainty == "spec"


@pytest.mark.parametrize(
    ("name", "board", "chips"),
    [
        ("loihi1", None, 2),
        ("loihi1", "nahuku-32", 32),
        ("loihi1", "pohoiki-springs", 768),
        ("loihi2", None, 1),
        ("loihi2", "kapoho-point", 8),
        ("loihi2-spec", "hala-point", 1152),
    ],
)
def test_boards(name: str, board: str | None, chips: int) -> None:
    assert load_target(name).chips(board) == chips


def test_unknown_board() -> None:
    with pytest.raises(UsageError) as caught:
        load_target("loihi2").chips("kapoho-piont")
    assert caught.value.code == "board-unknown"
    assert str(caught.value) == (
        "target loihi2 has no board 'kapoho-piont'\n  next: did you mean 'kapoho-point'?"
    )


@pytest.mark.parametrize("name", target_names())
def test_dumped_and_parsed_again(name: str) -> None:
    target = load_target(name)
    again = parse_target(dump_target(target), "target.toml")
    assert again == target.model_copy(update={"inherits": None})


def test_weakest_certainty() -> None:
    assert weakest(["spec", "fit", "tool"]) == "fit"
    assert weakest([]) == "spec"


SCHEMA_HINT = "\n  next: see docs/reference/targets.md for the keys of a target file"
LIMIT = 'unit = "words", source = "test", certainty = "fictional"'


def child(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(f'inherits = "tiny"\nname = "mine"\n{text}', encoding="utf-8")
    return path


def loaded(folder: Path, text: str) -> Target:
    return load_target(child(folder, text))


@pytest.mark.parametrize(
    ("text", "where", "message"),
    [
        (
            "[core.neurons]\nlimt = 3",
            "core.neurons.limt",
            "unknown key 'limt'; did you mean 'limit'?",
        ),
        (
            "[synapse]\nexponents = 3",
            "synapse.exponents",
            "unknown key 'exponents'; did you mean 'exponent'?",
        ),
        ("[energy]\nhop_z = 3", "energy.hop_z", "unknown key 'hop_z'; did you mean 'hop_y'?"),
        ("titel = 'x'", "titel", "unknown key 'titel'; did you mean 'title'?"),
        (
            "[core]\nneurons = { limit = true, " + LIMIT + " }",
            "core.neurons.limit",
            "input should be a valid integer",
        ),
        (
            "[synapse.weight]\nwidths = [4.0]",
            "synapse.weight.widths.0",
            "input should be a valid integer",
        ),
        (
            "[core]\nneurnos = { limit = 3, " + LIMIT + " }",
            "core",
            "core.neurnos is not a resource; did you mean 'neurons'?",
        ),
        (
            "family = 'loihi1'\n[core]",
            "core",
            "core.pool_words is not a resource; did you mean 'axon_words'?",
        ),
        (
            "default_board = 'onne'",
            "",
            "default_board 'onne' is not in boards; did you mean 'one'?",
        ),
        ("[chip]\nmesh = [1, 2]", "", "a 1x2 mesh does not reach 4 cores"),
    ],
)
def test_schema_errors(tmp_path: Path, text: str, where: str, message: str) -> None:
    with pytest.raises(TargetError) as caught:
        loaded(tmp_path, text)
    assert caught.value.code == "target-schema"
    place = f"{tmp_path / 'mine.toml'}:{where}".removesuffix(":")
    assert str(caught.value) == f"{place}: {message}{SCHEMA_HINT}"


def test_a_bare_number_is_no_limit(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match=r"chip\.cores: '64' is no table") as caught:
        loaded(tmp_path, "[chip]\ncores = 64")
    form = 'cores = { limit = …, unit = "…", source = "…", certainty = "…" }: see docs/'
    assert str(caught.value.hint).startswith(form)


def test_missing_limits() -> None:
    text = dump_target(load_target("tiny"))
    without = text.replace("[core.axon_mem]", "[boards.three]")
    with pytest.raises(TargetError) as caught:
        parse_target(without, "t.toml")
    assert caught.value.message == "a loihi2 target also needs core.axon_mem"


def test_unknown_target() -> None:
    with pytest.raises(TargetError) as caught:
        load_target("lohi2")
    assert caught.value.code == "target-unknown"
    assert str(caught.value) == (
        "there is no target 'lohi2'\n"
        "  next: did you mean 'loihi2'? (or give the path of a .toml file)"
    )


def test_not_toml(tmp_path: Path) -> None:
    with pytest.raises(TargetError) as caught:
        loaded(tmp_path, "title = ")
    assert caught.value.code == "target-syntax"
    assert caught.value.where == str(tmp_path / "mine.toml")


def test_unreadable(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(TargetError) as caught:
        load_target(tmp_path / "mine.toml")
    assert caught.value.code == "target-unreadable"


def test_inheritance_in_a_circle(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('inherits = "b.toml"', encoding="utf-8")
    (tmp_path / "b.toml").write_text('inherits = "a.toml"', encoding="utf-8")
    with pytest.raises(TargetError) as caught:
        load_target(tmp_path / "a.toml")
    assert caught.value.code == "target-cycle"
    assert str(caught.value) == "a.toml:inherits: targets inherit in a circle: a -> b -> a"


def test_inherited_from_a_file_beside(tmp_path: Path) -> None:
    child(tmp_path, "[core.neurons]\nlimit = 7")
    (tmp_path / "grand.toml").write_text(
        'inherits = "mine.toml"\nname = "grand"\n[core.groups]\nlimit = 1', encoding="utf-8"
    )
    target = load_target(tmp_path / "grand.toml")
    assert (target.core["neurons"].limit, target.core["groups"].limit) == (7, 1)
    assert target.core["neurons"].unit == "neurons"


@pytest.mark.parametrize(("given", "chips", "name"), [("3", 3, "3 chips"), ("1", 1, "1 chip")])
def test_a_board_may_be_a_number_of_chips(given: str, chips: int, name: str) -> None:
    target = load_target("loihi2")
    assert (target.chips(given), target.board(given)) == (chips, name)
    assert target.chips(target.board(given)) == chips  # as bundles and reports keep it
    with pytest.raises(UsageError, match="has no board '0'"):
        target.chips("0")


def test_run_length_lists_only_where_their_format_is_public() -> None:
    def skips(name: str) -> bool:
        return getattr(load_target(name).synapse, "skip", None) is not None

    assert [n for n in target_names() if skips(n)] == ["loihi1"]
