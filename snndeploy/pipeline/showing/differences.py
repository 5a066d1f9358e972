"""Two bundles on the same inputs: how many spikes and answers are still the same."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...bundle import Bundle
from ...simulate.integer.engine import run_integer
from ...simulate.recording import Recording, units_of
from ...verify.compare import compare


def same_inputs_record(a: Bundle, b: Bundle) -> dict[str, Any] | None:
    """Run B on the golden inputs of A, beside what A gave for them.

    Returns:
        ``samples`` and how many have the same answer (``alike``), and of every layer that both have
        the share of spikes that are the same (``match``). None where the inputs of one are not those
        of the other.
    """
    inputs = {g.name: g for g in a.program.groups if g.kind == "input"}
    others = {g.name: g for g in b.program.groups if g.kind == "input"}
    if {n: g.shape for n, g in inputs.items()} != {n: g.shape for n, g in others.items()}:
        return None
    if any(float(g.scale) != float(others[n].scale) for n, g in inputs.items()):
        return None
    messages = {name: a.golden[f"input.{name}"] for name in inputs}
    for name, group in others.items():
        if group.message_bits == 0 and np.any(messages[name] > 1):
            return None
    given = {g.name: a.golden[f"spikes.{g.name}"] for g in a.program.on_chip}
    one = Recording(engine="A", spikes=given, units=units_of(a.program))
    other = run_integer(b.program, messages)
    answers = [_answers(run, bundle) for run, bundle in ((one, a), (other, b))]
    compared = compare(one, other)
    return {
        "samples": len(answers[0]),
        "alike": int(np.count_nonzero(answers[0] == answers[1])),
        "match": {name: round(share, 6) for name, share in compared.match.items() if name in given},
    }


def _answers(run: Recording, bundle: Bundle) -> Any:
    output = next(g.name for g in bundle.program.groups if g.role == "output")
    return run.predictions(output)
