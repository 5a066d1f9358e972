"""What a module remembers beside its neurons, in plain Python: nothing that is read follows it.

A module is recorded for a few steps and compared for a few more. Whatever counts calls may do something
else after these, and no run tells; but that it counts shows from one call to the next.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..ir.finding import Finding
from .layers import Framework

if TYPE_CHECKING:
    from torch import nn

_CALLS = 3
_DEEPEST = 3
_LONGEST = 64
"""Entries of a list that are looked at; beyond, its length counts."""


def remembered(
    framework: Framework, module: nn.Module, call: Callable[[], object], steps: int
) -> tuple[Finding, ...]:
    """Attributes of the user's own layers that the same call leaves with other values each time.

    Args:
        framework: whose layers have states that are known.
        module: what is called.
        call: calls it, always from the start.
        steps: for which module and network were compared.
    """
    seen = []
    for _ in range(_CALLS):
        call()
        seen.append(_plain(framework, module))
    changing = sorted(n for n in seen[-1] if len({s.get(n) for s in seen}) > 1)
    if not changing:
        return ()
    names = ", ".join(repr(n) for n in changing[:_DEEPEST])
    more = f" and {len(changing) - _DEEPEST} more" if len(changing) > _DEEPEST else ""
    return (
        Finding(
            code="live-counts",
            severity="warning",
            where=framework.where,
            message=f"the module remembers {names}{more} from call to call, which no network does: it "
            f"was compared for {steps} steps, and what it does later is not known. Let what depends on "
            "time be an input, or a state of neurons",
        ),
    )


def _plain(framework: Framework, module: nn.Module) -> dict[str, object]:
    """Values of attributes that are no tensors of real numbers, by the name that the user knows."""
    from torch import nn

    usual = vars(nn.Module()).keys()
    found: dict[str, object] = {}
    for name, layer in module.named_modules():
        if isinstance(layer, framework.neurons) or type(layer).__module__.startswith("torch."):
            continue
        held = {**vars(layer), **layer._buffers}
        for key, value in held.items():
            if key not in usual:
                found[f"{name}.{key}" if name else key] = _value(value)
    return found


def _value(value: Any, depth: int = 0) -> object:
    """Something that can be compared; the same for all values whose kind does not count."""
    import torch

    if isinstance(value, torch.Tensor):
        counts = value.numel() == 1 and not value.is_floating_point()
        return value.item() if counts else None
    if isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, dict):
        value = [item for pair in value.items() for item in pair]
    if not isinstance(value, (list, tuple)) or depth == _DEEPEST:
        return None
    return (len(value), *(_value(item, depth + 1) for item in value[:_LONGEST]))
