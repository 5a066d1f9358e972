"""Which samples passes get, and which they do not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from snndeploy.data import Samples
from snndeploy.ir.network import Network
from snndeploy.passes.base import Pass, PassContext, PassResult, PassStage
from snndeploy.pipeline import compress
from snndeploy.recipe import CalibrationOptions, Recipe
from tests.support.builders import chain_net

NET = chain_net([np.eye(3, 4, dtype=np.float32)])
SEEN: list[PassContext] = []


@dataclass(frozen=True, kw_only=True)
class Watcher(Pass):
    """Keeps what it was given."""

    name: ClassVar[str] = "watcher"
    stage: ClassVar[PassStage] = "any"
    level: Annotated[int, Field(ge=0)] = 0
    """Nothing."""

    def run(self, net: Network, ctx: PassContext) -> PassResult:
        SEEN.append(ctx)
        return PassResult(network=net, modified=False)


def given(count: int, *, labels: bool = True, **options: float) -> PassContext:
    """The context of a pass, for samples that fire as often as their number says."""
    x = np.zeros((64, count, 4), np.uint8)
    for i in range(count):
        x[:i, i] = 1
    recipe = Recipe(
        guard="off",
        seed=3,
        calibration=CalibrationOptions(**options),  # type: ignore[arg-type]
        passes=(Watcher(),),
    )
    samples = Samples(x, np.zeros(count, np.int64) if labels else None)
    compress(NET, recipe=recipe, calibration=samples)
    return SEEN.pop()


def numbers(part: object) -> list[int]:
    (x,) = part.inputs.values()  # type: ignore[attr-defined]
    return [int(n) for n in x[:, :, 0].sum(0)]


def test_every_fifth_sample_is_put_aside() -> None:
    ctx = given(12, aside=0.2, samples=11)
    assert numbers(ctx.aside) == [4, 9]
    assert numbers(ctx.calibration) == [0, 1, 2, 3, 5, 6, 7, 8, 10]


def test_too_few_to_put_any_aside() -> None:
    ctx = given(4, aside=0.2)
    assert ctx.aside is None
    assert numbers(ctx.calibration) == [0, 1, 2, 3]
    assert given(12).aside is None


def test_made_up_samples_follow_where_there_are_few() -> None:
    ctx = given(6, aside=0.5, fill=8)
    assert numbers(ctx.aside) == [1, 3, 5]  # real ones
    assert numbers(ctx.calibration)[:3] == [0, 2, 4]
    assert len(numbers(ctx.calibration)) == 8
    assert ctx.calibration.labels is None  # type: ignore[union-attr]
    again = given(6, aside=0.5, fill=8)
    assert numbers(again.calibration) == numbers(ctx.calibration)
    enough = given(8, fill=8)
    assert numbers(enough.calibration) == list(range(8))
    assert enough.calibration.labels is not None  # type: ignore[union-attr]
