"""Write the reference page of the rules from their docstrings: python tools/rules_page.py."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from snndeploy.mapping.rules.rules import PROGRAM_RULES, Rule, all_core_rules

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "rules.md"

_HEAD = """\
# Rules of `check`

Written from the rules themselves (`python tools/rules_page.py`): the sentence of a rule is what `check`
prints, and what must hold. Limits, with their sources and certainties, are in the target's file
(`snndeploy targets loihi2`). An error means that the program does not fit; a warning does not.

"""


def page() -> str:
    """The whole page."""
    return (
        f"{_HEAD}## Neurons, weights and numbers\n\n{_table(PROGRAM_RULES)}\n"
        f"## Cores and boards\n\n{_table(all_core_rules())}"
    )


def _table(rules: Iterable[Rule]) -> str:
    rows = "".join(f"| `{r.code}` | {r.severity} | {r.sentence} |\n" for r in rules)
    return f"| rule | severity | what must hold |\n|---|---|---|\n{rows}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
