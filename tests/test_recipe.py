"""Recipes: the same object in TOML and in Python, and errors that say where."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snndeploy.errors import RecipeError
from snndeploy.passes.base import Pass, PassContext
from snndeploy.passes.kernels.remove_kernels import RemoveKernels
from snndeploy.passes.prune import Prune
from snndeploy.passes.quantization.quantize import Quantize
from snndeploy.passes.runner import run_passes
from snndeploy.recipe import CalibrationOptions, Recipe, load_recipe, recipe_names
from tests.support.builders import conv_net

names = st.text(st.characters(codec="utf-8"), max_size=8)
patterns = st.lists(names, max_size=3).map(tuple)
ratios = st.floats(0, 0.999)

removals = st.builds(
    RemoveKernels,
    ratio=ratios,
    keep=st.dictionaries(names, st.integers(1, 99), max_size=3),
    round_to=st.integers(1, 8),
    kinds=st.sampled_from([("conv",), ("dense",), ("conv", "dense")]),
    layers=patterns,
    ignore=patterns,
)
prunings = st.builds(
    Prune,
    sparsity=ratios,
    scope=st.sampled_from(["layer", "global"]),
    layers=patterns,
    layer_sparsity=st.dictionaries(names, ratios, max_size=2),
)
quantisations = st.builds(
    Quantize,
    bits=st.integers(1, 16),
    per=st.sampled_from(["layer", "channel"]),
    clip=st.sampled_from(["max", "mse"]),
    share=st.sampled_from(["none", "target"]),
    ignore=patterns,
    layer_bits=st.dictionaries(names, st.integers(1, 16), max_size=2),
)


@st.composite
def recipes(draw: st.DrawFn) -> Recipe:
    groups = (removals, prunings, quantisations)
    steps: list[Pass] = [p for g in groups for p in draw(st.lists(g, max_size=2))]
    calibration = CalibrationOptions(
        samples=draw(st.integers(1, 9999)),
        steps=draw(st.integers(0, 9)),
        aside=draw(st.floats(0, 0.5)),
        fill=draw(st.integers(0, 99)),
        shift=draw(st.integers(0, 3)),
        warp=draw(st.floats(0, 4)),
    )
    return Recipe(
        name=draw(names),
        description=draw(names),
        seed=draw(st.integers(0, 2**40)),
        guard=draw(st.sampled_from(["off", "warn", "back-off", "search"])),
        max_divergence=draw(st.floats(0, 9)),
        calibration=calibration,
        passes=tuple(steps),
    )


@given(recipes())
@settings(max_examples=50, deadline=None)
def test_toml_and_back(recipe: Recipe) -> None:
    text = recipe.to_toml()
    assert Recipe.from_toml(text) == recipe
    assert Recipe.from_toml(text).to_toml() == text


def test_every_default_is_spelled_out() -> None:
    text = Recipe(name="x", passes=(Prune(sparsity=0.5),)).to_toml()
    assert text == (
        'name = "x"\n'
        'description = ""\n'
        "seed = 0\n"
        'guard = "warn"\n'
        "max_divergence = 0.05\n"
        "blind = false\n"
        "\n[calibration]\n"
        "samples = 256\n"
        "steps = 0\n"
        "aside = 0.0\n"
        "fill = 0\n"
        "shift = 1\n"
        "warp = 1.0\n"
        "\n[[pass]]\n"
        'name = "prune"\n'
        'layers = [\n    "*",\n]\n'
        "ignore = []\n"
        "kernels = []\n"
        "asymmetry = [\n    0.0,\n]\n"
        'choose = "layer"\n'
        "sequential = false\n"
        "thresholds = false\n"
        "damp = 0.01\n"
        "positions = 32\n"
        "max_memory = 1024\n"
        "sparsity = 0.5\n"
        'scope = "layer"\n'
        "lamp_power = 2.0\n"
        'search = "greedy"\n'
        "rounds = 8\n"
        'pattern = ""\n'
        'method = "magnitude"\n'
        'count = "weights"\n'
        "cores = 0\n"
        "words = 0\n"
        "\n[pass.layer_sparsity]\n"
    )


def test_a_recipe_from_text_and_from_a_file(tmp_path: Path) -> None:
    text = '[[pass]]\nname = "prune"\nsparsity = 0.5\nlayers = ["conv*"]\n'
    expected = Recipe(passes=(Prune(sparsity=0.5, layers=("conv*",)),))
    assert Recipe.from_toml(text) == expected
    (tmp_path / "mine.toml").write_text(text)
    assert Recipe.from_toml(tmp_path / "mine.toml") == expected
    assert load_recipe(str(tmp_path / "mine.toml")) == expected


def test_shipped_recipes_load_and_run() -> None:
    assert recipe_names() == [
        "admm",
        "auto",
        "best",
        "default",
        "digits",
        "osbc",
        "qp-snn",
        "retrain",
        "sbc",
        "sbc-plus",
        "spatio-temporal",
    ]
    rng = np.random.default_rng(0)
    spikes = (rng.random((8, 12, 2, 8, 8)) < 0.3).astype(np.float32)
    labelled = SimpleNamespace(
        inputs={"input": spikes}, labels=rng.integers(0, 5, 12), window=1, targets=None
    )
    for name in recipe_names():
        recipe = load_recipe(name)
        assert recipe.name == name
        assert recipe.description
        run_passes(conv_net(), recipe.passes, PassContext(seed=recipe.seed, calibration=labelled))
    assert load_recipe("default").passes == (Quantize(bits=8, per="layer", clip="mse"),)
    assert load_recipe("digits").passes == (
        RemoveKernels(ratio=0.25, fold="weights", optional=True),
        Prune(sparsity=0.5),
        Quantize(bits=4, method="sbc", per="channel", clip="hessian", grid="loihi"),
    )


ONE = '[[pass]]\nname = "remove-kernels"\n'
ERRORS = {
    "recipe-unknown-key": [
        ("sed = 3", "recipe.toml:sed: there is no key 'sed'\n  next: did you mean 'seed'?"),
        (
            "passes = []",
            "recipe.toml:passes: there is no key 'passes'\n  next: did you mean 'pass'?",
        ),
        (
            "[calibration]\nsample = 3",
            "recipe.toml:calibration.sample: there is no key 'sample'\n"
            "  next: did you mean 'samples'?",
        ),
        (
            ONE + '[[pass]]\nname = "quantize"\nbitz = 4',
            "recipe.toml:passes[1].bitz: the pass 'quantize' has no option 'bitz'\n"
            "  next: did you mean 'bits'?",
        ),
    ],
    "recipe-missing-key": [
        (
            '[[pass]]\nname = "prune"',
            "recipe.toml:passes[0].sparsity: the pass 'prune' needs 'sparsity'",
        )
    ],
    "option-value": [
        (
            '[[pass]]\nname = "quantize"\nbits = true',
            "recipe.toml:passes[0].bits: input should be a valid integer, not True",
        ),
        (
            '[[pass]]\nname = "quantize"\nbits = 17',
            "recipe.toml:passes[0].bits: input should be less than or equal to 16, not 17",
        ),
        (
            '[[pass]]\nname = "quantize"\nbits = 4.0',
            "recipe.toml:passes[0].bits: input should be a valid integer, not 4.0",
        ),
        (
            '[[pass]]\nname = "quantize"\nclip = "min"',
            "recipe.toml:passes[0].clip: input should be 'max', 'mse', 'minmax' or 'hessian', not 'min'",
        ),
        (
            '[[pass]]\nname = "prune"\nsparsity = 1.0',
            "recipe.toml:passes[0].sparsity: input should be less than 1, not 1.0",
        ),
        (
            '[[pass]]\nname = "prune"\nsparsity = -0.5',
            "recipe.toml:passes[0].sparsity: input should be greater than or equal to 0, not -0.5",
        ),
        (
            '[[pass]]\nname = "prune"\nsparsity = 0.1\nlayers = "conv*"',
            "recipe.toml:passes[0].layers: input should be a valid tuple, not 'conv*'",
        ),
        (
            ONE + "keep = { conv1 = 0 }",
            "recipe.toml:passes[0].keep['conv1']: input should be greater than or equal to 1, "
            "not 0",
        ),
    ],
    "recipe-value": [
        ("seed = true", "recipe.toml:seed: input should be a valid integer, not True"),
        ("seed = -1", "recipe.toml:seed: input should be greater than or equal to 0, not -1"),
        ("name = 3", "recipe.toml:name: input should be a valid string, not 3"),
        (
            "[calibration]\nsteps = true",
            "recipe.toml:calibration.steps: input should be a valid integer, not True",
        ),
        (
            '[pass]\nname = "prune"',
            "recipe.toml:passes: a pass is a table\n  next: write [[pass]] with double brackets",
        ),
        (
            "[[pass]]\nsparsity = 0.5",
            "recipe.toml:passes[0].name: a pass needs its name, a string\n"
            '  next: e.g. name = "prune"',
        ),
    ],
    "pass-unknown": [
        (
            '[[pass]]\nname = "prunes"',
            "recipe.toml:passes[0].name: there is no pass 'prunes'\n  next: did you mean 'prune'?",
        )
    ],
    "order-law": [
        (
            '[[pass]]\nname = "quantize"\n' + ONE,
            "recipe.toml:passes[1]: 'remove-kernels' comes after 'quantize'\n"
            "  next: the order is remove-kernels → prune → quantize",
        )
    ],
    "recipe-syntax": [("seed = = 3", "recipe.toml: Invalid value (at line 1, column 8)")],
}


@pytest.mark.parametrize(
    ("code", "text", "message"), [(code, *case) for code, cases in ERRORS.items() for case in cases]
)
def test_errors_say_what_where_and_what_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, text: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("recipe.toml").write_text(text)
    with pytest.raises(RecipeError) as caught:
        Recipe.from_toml("recipe.toml")
    assert caught.value.code == code
    assert str(caught.value) == message
    assert caught.value.exit_code == 3


def test_python_is_as_strict() -> None:
    with pytest.raises(RecipeError, match="seed: input should be a valid integer, not '1'"):
        Recipe(seed="1")  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match=r"passes\.0: input should be an instance of Pass"):
        Recipe(passes=("prune",))  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match="'prune' comes after 'quantize'"):
        Recipe(passes=(Quantize(), Prune(sparsity=0.5)))
    unknown: dict[str, Any] = {"sed": 1}
    with pytest.raises(RecipeError, match="there is no key 'sed'"):
        Recipe(**unknown)


def test_unknown_recipes_are_corrected() -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe("digit")
    assert caught.value.code == "recipe-unknown"
    assert str(caught.value) == (
        "there is no recipe 'digit'\n"
        "  next: did you mean 'digits'? There are admm, auto, best, default, digits, osbc, qp-snn, "
        "retrain, sbc, sbc-plus, spatio-temporal (snndeploy recipes says what for), or give the path "
        "of a .toml file"
    )


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe("nowhere.toml")
    assert caught.value.code == "recipe-unreadable"
    assert str(caught.value) == (
        "nowhere.toml: the recipe cannot be read: No such file or directory\n"
        "  next: give the path of a .toml file, or one of the shipped recipes by name"
    )
    (tmp_path / "latin.toml").write_bytes(b'name = "\xe4"\n')
    with pytest.raises(RecipeError, match="cannot be read: 'utf-8' codec"):
        load_recipe(tmp_path / "latin.toml")
