"""A module that remembers something in plain Python: its network is told not to be all of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from snndeploy.live.states import _value
from tests.support.toy_framework import Fires, read


class Remembers(nn.Module):
    """Its answers change after so many calls as nobody compares."""

    def __init__(
        self, start: Any, step: Callable[[Any, Tensor], Any], late: Callable[[Any], bool]
    ) -> None:
        super().__init__()
        self.lif, self.held, self.step, self.late = Fires(), start, step, late

    def forward(self, x: Tensor) -> Any:
        self.held = self.step(self.held, x)
        return self.lif(4 * x if self.late(self.held) else 2 * x)


def told(module: nn.Module) -> list[tuple[str, str]]:
    return [(f.code, f.severity) for f in read(module, torch.ones(1, 3)).findings]


@pytest.mark.parametrize(
    ("start", "step", "late"),
    [
        (0, lambda n, x: n + 1, lambda n: n > 100),
        (False, lambda on, x: not on, lambda on: False),
        (torch.tensor(0), lambda n, x: n + 1, lambda n: bool(n > 100)),
        ([], lambda seen, x: [*seen, x], lambda seen: len(seen) > 100),
        ({"calls": 0}, lambda d, x: {"calls": d["calls"] + 1}, lambda d: d["calls"] > 100),
        ("", lambda text, x: text + "x", lambda text: len(text) > 100),
    ],
    ids=["number", "flag", "tensor", "list", "dict", "text"],
)
def test_what_counts_is_told(start: Any, step: Any, late: Any) -> None:
    assert told(Remembers(start, step, late)) == [("live-counts", "warning")]


def test_the_message_names_the_attribute_and_the_steps() -> None:
    inner = Remembers(0, lambda n, x: n + 1, lambda n: n > 100)
    (found,) = read(nn.Sequential(nn.Identity(), inner), torch.ones(1, 3)).findings
    assert "remembers '1.held' from call to call" in found.message
    assert "compared for 16 steps" in found.message


@pytest.mark.parametrize(
    ("start", "step"),
    [
        (0, lambda n, x: len(x)),  # the same after every call
        (None, lambda held, x: x.shape),
        (None, lambda held, x: x * 1.0),  # real numbers may be states, and the trace follows them
        (None, lambda held, x: object()),
    ],
    ids=["length", "shape", "signal", "object"],
)
def test_what_does_not_count_is_not(start: Any, step: Any) -> None:
    assert told(Remembers(start, step, lambda held: False)) == []


def test_values_are_compared_as_deep_as_is_said() -> None:
    assert _value([1, (2, [3, [4]])]) == (2, 1, (2, 2, (2, 3, None)))
    assert _value(list(range(100)))[0] == 100  # type: ignore[index]
