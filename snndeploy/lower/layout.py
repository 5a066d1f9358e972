"""What a program must be held in: the chip's fields, or those of a file format that is poorer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from ..chip import Family
from ..errors import UsageError

LayoutName = Literal["chip", "netx"]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Limits on scales and exponents.

    Attributes:
        exponent_low: the smallest exponent of weights.
        exponent_high: the largest.
        bias_exponent_low: the smallest exponent of biases.
        one_scale: whether all neurons of a population share a scale, and so a threshold.
        largest: whether scales are as large as they may be: what an exponent cannot take up again is
            lost from weights.
    """

    exponent_low: int
    exponent_high: int
    bias_exponent_low: int = 0
    one_scale: bool = False
    largest: bool = False


def layout_of(name: LayoutName, family: Family) -> Layout:
    """The layout called ``name`` on a chip.

    A ``.net`` file of lava-dl has whole weights without exponents, one threshold per layer, and biases
    in steps of 2**6 (``lava/lib/dl/netx/hdf5.py``).

    Raises:
        UsageError: there is none of that name.
    """
    if name not in get_args(LayoutName):
        raise UsageError(
            "layout-unknown",
            f"there is no layout {name!r} to lower to",
            hint=f"known: {', '.join(get_args(LayoutName))}",
        )
    exponent = family.target.synapse.exponent
    chip = Layout(exponent_low=exponent.low, exponent_high=exponent.high)
    netx = Layout(
        exponent_low=0, exponent_high=0, bias_exponent_low=6, one_scale=True, largest=True
    )
    return {"chip": chip, "netx": netx}[name]
