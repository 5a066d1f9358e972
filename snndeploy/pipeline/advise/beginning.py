"""What to do first with a model: a recipe with its layers in the comments, and the commands in order."""

from __future__ import annotations

import shlex
from pathlib import Path

from ... import toml
from ...ir.network import Network
from ...ir.ops import Conv
from ...passes.metrics import measure
from ...plain import one_line
from ...recipe import recipe_folder

_START = "auto"
"""The shipped recipe to begin with."""


def first_recipe(network: Network, model: Path) -> str:
    """The text of a recipe to start from: the shipped ``auto``, and what its patterns can name.

    Args:
        network: what the model holds.
        model: its file.

    Returns:
        TOML with comments, which `load_recipe` reads.
    """
    counts = {one_line(name): layer for name, layer in measure(network).layers.items()}
    widest = max(map(len, counts), default=0)
    rows = [
        f"#   {name:<{widest}}  {layer.weights:>11,} weights  {layer.synapses:>13,} synapses"
        for name, layer in counts.items()
    ]
    kernels = any(isinstance(op, Conv) for p in network.projections for op in p.ops)
    more = (
        [
            "# A convolution can lose whole kernels too, in front of the others:",
            '#   [[pass]]\n#   name = "remove-kernels"\n#   ratio = 0.25\n#   fold = true',
        ]
        if kernels
        else []
    )
    text = (recipe_folder() / f"{_START}.toml").read_text(encoding="utf-8")
    return "\n".join(
        [
            f"# A recipe for {one_line(model.name)}. Every pass has the options `layers` and `ignore`,",
            "# lists of names or patterns of these (by default all of them, and none):",
            *rows,
            "#",
            *more,
            "# `snndeploy passes` lists the passes, `snndeploy passes NAME` their options;",
            "# `snndeploy recipes` lists the recipes to learn from.",
            "",
            text.replace(f'name = "{_START}"', toml.dumps({"name": model.stem}).strip(), 1),
        ]
    )


def next_commands(model: Path, recipe: Path, options: str = "") -> list[tuple[str, str]]:
    """What to run, in order, each with what it answers.

    Args:
        model: the model's file.
        recipe: the recipe's.
        options: how the model has to be read, as it was given: ``--frontend norse``.
    """
    read = f"{shlex.quote(str(model))}{' ' + options if options else ''}"
    bundle = shlex.quote(str(model.with_suffix(".snnb")))
    return [
        (f"snndeploy check {read} -t loihi2 -r none", "does it fit as it is?"),
        (f"snndeploy sensitivity {read} -d val.npz", "what can each layer lose?"),
        (
            f"snndeploy compile {read} -t loihi2 -r {shlex.quote(str(recipe))} -d val.npz",
            "compress, lower, place and certify",
        ),
        (f"snndeploy verify {bundle} -d val.npz --max-drop 1", "does it still answer?"),
        (f"snndeploy report {bundle} --html {shlex.quote(model.stem + '.html')}", "show it"),
    ]
