"""What a layer takes while its second moments are summed and solved with, before any of it is done."""

from __future__ import annotations

from collections.abc import Iterable

from ...calibrate.sums import Block, matrices_of
from ...errors import PassRefused
from ...ir.network import Network
from ...limits import current

_SOLVER = 4
"""Matrices that a solver holds at most beside a Hessian and its inverse: measured."""
_PER_WEIGHT = 16
"""Numbers that are held for each weight meanwhile: orders, costs, masks, steps and values; measured."""
_FOLD = 7
"""Matrices while a layer makes up for removed units: moments of two parts, their pool, a system."""


def solving_bytes(net: Network, block: Block, *, compares: bool, several: bool) -> int:
    """Bytes that one block takes at most, with what it is solved by.

    Args:
        net: has the block's target.
        block: projections whose columns stand side by side.
        compares: whether moments with what arrives in a reference are summed, too.
        several: whether several problems are made of the same moments, which are kept meanwhile.
    """
    many, columns = matrices_of(net.population(block[0].target), block)
    kinds = 2 if compares else 1
    summed = 2 * kinds * many
    posed = kinds * many + 2 * (many - 1) + 3 + 2 * (kinds - 1)
    solved = many * (2 + (kinds if several else 0)) + _SOLVER
    weights = block[0].op.weight_rows * columns
    return 8 * (max(summed, posed, solved) * columns**2 + _PER_WEIGHT * weights)


def moment_bytes(net: Network, block: Block) -> int:
    """Bytes of the moments of one block while they are summed."""
    many, columns = matrices_of(net.population(block[0].target), block)
    return 8 * 2 * many * columns**2


def folding_bytes(net: Network, block: Block) -> int:
    """Bytes that one block takes at most while it makes up for units that are removed."""
    many, columns = matrices_of(net.population(block[0].target), block)
    return 8 * _FOLD * many * columns**2


def refuse_beyond_room(needs: Iterable[tuple[Block, int]]) -> None:
    """Where a block takes more memory than there is, say so before anything is computed.

    Raises:
        PassRefused: the worst of them, with what it takes and what is there.
    """
    room = current().room()
    worst = max(needs, key=lambda one: one[1], default=None)
    if room is None or worst is None or worst[1] <= room:
        return
    block, needed = worst
    names = ", ".join(p.name for p in block)
    inputs = sum(p.weight.data[0].size for p in block)
    raise PassRefused(
        "moments-beyond-memory",
        f"second moments of {inputs:,} inputs, and solving with them, take {needed >> 20:,} MiB at "
        f"once; {room >> 20:,} MiB are allowed",
        where=names,
        hint="give it more (snndeploy --max-memory MIB), leave the layer out (ignore), or take a "
        "method that looks at no samples",
    )
