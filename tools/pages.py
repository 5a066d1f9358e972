"""Write the generated reference pages: python tools/pages.py (or make pages).

Each page says what stands in the code already; a test compares those that are kept.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from snndeploy.mapping.rules.rules import PROGRAM_RULES, Rule, all_core_rules
from snndeploy.passes.base import ORDER
from snndeploy.passes.describe import PassDescription, describe
from snndeploy.passes.registry import BUILT_IN, pass_class
from snndeploy.recipe import load_recipe, recipe_names

sys.path.insert(0, str(Path(__file__).parent))

from catalogue import CommandEntry, commands, entries
from operators import neuron_rows, operator_rows, targets

FOLDER = Path(__file__).parents[1] / "docs" / "reference"

_NOTE = "<!-- Written by tools/pages.py. Change what it reads, then run: make pages -->\n\n"

_RULES = """\
# Rules of `check`

Written from the rules themselves: the sentence of a rule is what `check` prints, and what must hold.
Limits, with their sources and certainties, are in the target's file (`snndeploy targets loihi2`). An
error means that the program does not fit; a warning does not.

"""

_PASSES = """\
# Passes

Written from the passes themselves; `snndeploy passes NAME` prints the same, and `--json` gives it as
data. A pass whose stage is `any` may stand anywhere in a recipe; the others come in the order
{order}. An option without a default must be given.

"""

_RECIPES = """\
# Shipped recipes

Written from the files in `snndeploy/recipes`: `--recipe NAME` uses one, and a copy of its file is the
start of [one of your own](recipes.md). The guard is what happens where the answers
[are no longer the trained network's](recipes.md#answers-are-kept).

"""

_OPERATORS = """\
# Operators and neurons, by target

Asked of the families themselves, for every shipped target. What a network needs and a chip lacks is a
finding of `check`, all at once; whether a network *fits* is another question, which `check` answers too.
How networks of several frameworks come out is in [networks and chips](networks.md).

## Neurons

*native*: the chip's own neuron. *program*: exact on every engine here, and on a board a neuron program,
which `--native` refuses. *two compartments*: one more compartment per neuron. –: the chip has no form of
it; `--adapt` gives the nearest that it has, and says what that changes.

"""

_STORED = """
## Operators

How synapses can be stored; the mapping takes what leaves most room. *dense*: a list per source with its
zeros, *sparse*: without, *run-length*: with the distance to the next, *conv*: one kernel that all
positions share, *list*: one synapse after another. Every operator is exact on every engine; pools and
views cost nothing by themselves, they are part of the synapses.

"""

_ERRORS = """\
# Errors

Written from the code: every error that a command or a function can leave with. The code is stable, and
stands in `error[code]`, in `--json` and in `SnnDeployError.code`. A `…` stands for what the text names.
What to do about the common ones is in [troubleshooting](../troubleshooting.md). Exit codes: 2 usage,
3 bad input, 4 a pass or the lowering refuses, 5 does not fit, 6 verification failed, 7 a backend is
missing.

"""

_COMMANDS = """\
# Commands

Written from the commands themselves; `snndeploy COMMAND --help` says the same. Results go to standard
output, everything else to standard error. Exit codes: 0 ok, 1 a bug of ours, 2 usage, 3 bad input,
4 a pass or the lowering refuses, 5 does not fit, 6 verification failed, 7 a backend is missing.

"""


def pages() -> dict[Path, str]:
    """Every generated page: its path and its text."""
    texts = {"rules.md": rules_page(), "passes.md": passes_page(), "shipped.md": recipes_page()}
    texts["operators.md"] = operators_page()
    return {FOLDER / name: _NOTE + text for name, text in texts.items()}


def built_pages() -> dict[Path, str]:
    """Pages that change with every option and every error: written for the docs, and not kept."""
    texts = {"commands.md": commands_page(), "errors.md": errors_page()}
    return {FOLDER / name: _NOTE + text for name, text in texts.items()}


def rules_page() -> str:
    """The rules of the mapping, in two tables."""
    return (
        f"{_RULES}## Neurons, weights and numbers\n\n{_rules(PROGRAM_RULES)}\n"
        f"## Cores and boards\n\n{_rules(all_core_rules())}"
    )


def passes_page() -> str:
    """Every built-in pass with its options."""
    described = [describe(pass_class(name)) for name in BUILT_IN]
    order = ", ".join(f"`{stage}`" for stage in ORDER)
    summaries = [(f"[`{d.name}`](#{d.name})", d.stage, d.summary) for d in described]
    head = _PASSES.format(order=order) + _table(("pass", "stage", "what it does"), summaries)
    return head + "".join(_pass(d) for d in described)


def recipes_page() -> str:
    """Every shipped recipe, with its passes in order."""
    rows = [
        (
            f"`{name}`",
            ", ".join(f"`{p.name}`" for p in recipe.passes),
            f"`{recipe.guard}`",
            recipe.description,
        )
        for name, recipe in ((n, load_recipe(n)) for n in recipe_names())
    ]
    return _RECIPES + _table(("recipe", "passes", "guard", "what it is for"), rows)


def operators_page() -> str:
    """Neurons and operators, each with what the shipped targets make of it."""
    names = tuple(f"`{target.name}`" for target in targets())
    neurons = _table(("neuron", *names), list(neuron_rows()))
    operators = _table(("NIR", *names), list(operator_rows()))
    return f"{_OPERATORS}{neurons}{_STORED}{operators}"


def commands_page() -> str:
    """Every command with its options."""
    return _COMMANDS + "\n".join(map(_command, commands()))


def _command(entry: CommandEntry) -> str:
    example = f"\n```sh\n{entry.example}\n```\n" if entry.example else ""
    rows = [(f"`{names.replace('|', ', ')}`", text) for names, text in entry.options]
    options = f"\n{_table(('option', 'meaning'), rows)}" if rows else ""
    return f"## `{entry.name}`\n\n`{entry.usage}`\n\n{entry.text}\n{example}{options}"


def errors_page() -> str:
    """Every error: its code, exit code, text and what it says to do next."""
    rows = [(f"`{e.code}`", str(e.exit_code), e.message, e.hint) for e in entries()]
    return _ERRORS + _table(("code", "exit", "says", "next"), rows)


def _pass(described: PassDescription) -> str:
    rows = [
        (
            f"`{o.name}`",
            f"{o.type}: {o.allowed}" if o.allowed else o.type,
            "" if o.required else f"`{o.default_text}`",
            o.meaning,
        )
        for o in described.options
    ]
    text = "\n\n".join(filter(None, [described.summary, described.details]))
    columns = ("option", "values", "default", "meaning")
    return f"\n## `{described.name}`\n\n{text}\n\n{_table(columns, rows)}"


def _rules(rules: Sequence[Rule]) -> str:
    rows = [(f"`{r.code}`", r.severity, r.sentence) for r in rules]
    return _table(("rule", "severity", "what must hold"), rows)


def _table(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    cells = [columns, ("---",) * len(columns), *rows]
    return "".join(f"| {' | '.join(map(_cell, row))} |\n" for row in cells)


def _cell(text: str) -> str:
    return re.sub("<(?=[A-Za-z/!])", "&lt;", " ".join(text.split()).replace("|", "&#124;"))


if __name__ == "__main__":
    for page, content in {**pages(), **built_pages()}.items():
        page.write_text(content, encoding="utf-8")
