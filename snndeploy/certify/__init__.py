"""A separate checker of bundles: it proves again, from the files alone, what a compiler says of them.

It imports NumPy and the standard library, and nothing of the compiler. Read it in this order: `files`
and `form` (what a bundle may be), `rounding` (the integers are the network's), `linear` and `engine`
(what they compute), `bounds` (how large states become), `placed` and `counting` (where it all is), and
`checks`, which puts these together.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from . import checks
from .files import Contradiction, read
from .form import BundleRefused

__all__ = ["BundleRefused", "Contradiction", "certify"]

NOT_CHECKED = (
    "what compression did to the trained network (its accuracy): run `snndeploy verify` with data",
    "whether the chip is what target.toml says; each number there has its source and certainty",
    "estimates of time and energy",
)


def certify(folder: str | Path) -> dict[str, Any]:
    """Check a bundle.

    Returns:
        ``certified``; ``proved``, ``not_proved`` and ``not_checked`` as sentences; ``bounds`` of every
        group; and ``contradiction`` (file, where, what, stated, found), None where there is none.

    Raises:
        BundleRefused: this is no bundle that can be read, or one that is larger than what is checked.
    """
    told: dict[str, Any] = {"certified": False, "contradiction": None, "proved": []}
    told.update(not_proved=[], not_checked=list(NOT_CHECKED), bounds={})
    try:
        with np.errstate(all="ignore"):
            checks.check(read(folder), told)
        told["certified"] = True
    except Contradiction as found:
        told["contradiction"] = found.record
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise BundleRefused(f"does not have the form of a bundle ({error!r})"[:300]) from None
    except (MemoryError, RecursionError):
        raise BundleRefused("is larger than this machine can check") from None
    return told
