"""What a pass is: options as fields, a pure ``run``, and promises checked before and after it."""

from __future__ import annotations

import dataclasses
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, get_type_hints

import numpy as np

from ..errors import PassRefused, RecipeError, SnnDeployError
from ..ir.arrays import Array
from ..ir.finding import Finding
from ..ir.network import Network
from ..progress import silent
from ..workers import HERE, Workers
from .given import Calibration, Observer, PassEvent, Training
from .order import ORDER, PassStage, out_of_order, refuse_wrong_side, stage_of

if TYPE_CHECKING:
    from ..calibrate.fidelity import Reference
    from ..chip import Target

__all__ = [
    "ORDER",
    "Calibration",
    "Keeper",
    "Observer",
    "Pass",
    "PassContext",
    "PassEvent",
    "PassResult",
    "PassRun",
    "PassStage",
    "Training",
    "out_of_order",
    "ports",
    "stage_of",
]
"""What a pass is written with, and what runs it, is here from one place."""


class Keeper(Protocol):
    """Keeps results of passes, and has those of earlier runs (`snndeploy.passes.kept`)."""

    def result(
        self, step: Pass, net: Network, ctx: PassContext, run: Callable[[], PassRun]
    ) -> PassRun:
        """What a pass makes of a network: as it is kept, or by ``run``."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PassContext:
    """Everything a pass may use besides the network; there are no globals.

    Args:
        seed: root of every random stream.
        target: the chip compiled for, for passes that ask about its limits.
        calibration: samples for data-driven passes.
        aside: samples to choose or to stop by, which none of them fits anything to (None: there are
            none).
        source: the network before the first pass; None where a pass runs on its own.
        training: samples for training passes (None: they train on labelled calibration samples).
        observer: is told about starts, progress and ends.
        watch: what the network as it was trained answers to samples that no pass sees; the runner
            compares every pass's network with it (None: nothing is measured).
        kept: results of passes that an earlier run has finished, and where new ones go.
        workers: who goes through calibration samples; results do not depend on it.
        scope: the running pass: its name, numbered from its second use on (``prune``, ``prune#2``).
        index: position of the running pass, from 1.
        total: number of passes.
    """

    seed: int = 0
    target: Target | None = None
    calibration: Calibration | None = None
    aside: Calibration | None = None
    source: Network | None = None
    training: Training | None = None
    observer: Observer = field(default=silent)
    watch: Reference | None = None
    kept: Keeper | None = None
    workers: Workers = HERE
    scope: str = ""
    index: int = 0
    total: int = 0

    def stream(self, name: str = "") -> np.random.Generator:
        """A random stream of its own for each (seed, pass, name).

        It is derived by name, not by drawing from a shared generator, so adding a pass, or a draw
        to one pass, moves no other draw.
        """
        key = hashlib.sha256(f"{self.scope}/{name}".encode()).digest()
        words = np.frombuffer(key, dtype="<u4").tolist()
        return np.random.default_rng(np.random.SeedSequence([self.seed, *words]))

    def samples(self, who: str) -> Mapping[str, Array]:
        """Inputs of the calibration samples, which ``who`` looks at.

        Raises:
            PassRefused: there are none.
        """
        if self.calibration is None:
            raise PassRefused(
                "calibration-missing",
                f"{who} looks at samples, and there are none",
                hint="give some (--data or --calib), or use a method or score that needs none",
            )
        return self.calibration.inputs

    def progress(self, what: str, done: int, of: int, status: str = "") -> None:
        """Tell the observer that ``done`` of ``of`` units of ``what`` are finished."""
        self.observer(
            PassEvent(
                kind="progress",
                name=self.scope,
                index=self.index,
                total=self.total,
                what=what,
                done=done,
                of=of,
                status=status,
            )
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class PassResult:
    """The new network, whether it differs, and what the pass has to say about each projection."""

    network: Network
    modified: bool
    metrics: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()


class PassRun(NamedTuple):
    """A result, the seconds that computing it took, and whether that was in an earlier run."""

    result: PassResult
    seconds: float
    taken: bool = False


@dataclass(frozen=True, kw_only=True)
class Pass(ABC):
    """One step of compression. Its fields are its options, its ``name`` is its key in a recipe.

    Options are checked when a pass is built, in Python as from TOML: nothing is coerced
    (``bits=True`` is not 1), ranges come from `Annotated` types. Every option needs a TOML form, so
    there is no None, and sequences are tuples (a list is taken for one).

    Below each option stands a string that says what it means. `describe` reads it for people, so an
    option is explained once, where it is declared; one that only changes a default inherits it.

    Raises:
        RecipeError: an option has the wrong type or is out of range.
    """

    name: ClassVar[str]
    """Its key in a recipe, and in `registry.BUILT_IN`."""
    stage: ClassVar[PassStage]
    """Where it stands in the order law, i.e. what it does to the weights that are stored.

    ``"remove-kernels"`` makes arrays smaller, ``"prune"`` adds to masks, ``"quantize"`` turns real
    weights into codes, and each must leave alone what a later one has done. ``"any"`` is for a pass
    that does none of these: it trains, corrects biases or thresholds, or renames, keeps shapes, masks
    and codes as it found them, and may stand anywhere.
    """

    def __post_init__(self) -> None:
        for option, value in self.options().items():
            object.__setattr__(self, option, _checked(type(self), option, value))

    @property
    def stages(self) -> tuple[PassStage, ...]:
        """The kinds of compression this pass does, in order; a joint pass has several."""
        return (self.stage,)

    def options(self) -> dict[str, Any]:
        """Every option with its value, defaults included."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}

    def requires(self, net: Network) -> None:
        """Raise `PassRefused`, with the reason and a hint, where the pass cannot run on ``net``."""
        del net

    def accepts(self, net: Network, ctx: PassContext) -> None:
        """Raise `PassRefused` where the samples are none that the pass can work on.

        Asked before the first pass runs, with the network as it was given: only what no pass changes
        counts, such as its outputs.
        """
        del net, ctx

    @abstractmethod
    def run(self, net: Network, ctx: PassContext) -> PassResult:
        """Return the compressed network. Pure: no state, no printing, arrays are read-only."""

    @property
    def looks(self) -> bool:
        """Whether its result depends on calibration samples."""
        return True

    @property
    def needed(self) -> bool:
        """Whether the target has no form of the network without it: a guard never gives it back."""
        return False

    def expect(self, net: Network) -> Network:
        """A stand-in for what the pass will leave of ``net``: its shapes, and which layers have codes.

        It costs next to nothing and looks at no samples; passes that come later are asked with it
        whether they can run.
        """
        return net

    def eased(
        self, before: Network, after: Network, relief: Mapping[str, float]
    ) -> tuple[Pass, ...]:
        """Passes in place of this one that give back some of what it takes.

        Args:
            before: what the pass was given.
            after: what it made of it.
            relief: per projection, from 0 (as it was) to 1 (nothing is taken from it).
        """
        del before, after, relief
        return (self,)

    def blind(self) -> Pass:
        """The nearest pass that looks at no samples, where there is one; else itself."""
        return self

    def closer(self) -> Pass:
        """A pass that takes as much and, looking at samples, keeps closer to the answers; or itself."""
        return self

    def quick(self) -> Pass:
        """A pass that takes as much in less time, to try amounts with."""
        return self

    def ensures(self, before: Network, after: Network) -> None:
        """Raise through `promise` what the pass guarantees about its result and does not hold."""
        del before, after

    def promise(self, kept: bool, text: str) -> None:
        """Raise the error for a broken guarantee (a bug in the pass, not in its input)."""
        if not kept:
            raise SnnDeployError(
                "pass-broke-promise",
                f"the pass {self.name!r} broke its promise: {text}",
                hint="this is a bug of the pass; report it with the recipe and the network",
            )

    def apply(self, net: Network, ctx: PassContext) -> PassResult:
        """Run the pass, with all around it checked: order law, `requires`, `accepts`, result, `ensures`.

        Raises:
            PassRefused: the pass cannot run on this network.
            SnnDeployError: the pass broke a promise.
        """
        refuse_wrong_side(self.name, self.stages[0], net)
        self.requires(net)
        self.accepts(net, ctx)
        result = self.run(net, ctx)
        after = result.network
        self.promise(
            result.modified == (after is not net),
            "an unmodified network is returned as it came, and a modified one is another",
        )
        if result.modified:
            after.verify()
            self.promise(ports(net) == ports(after), "inputs and outputs stay as they are")
            self.ensures(net, after)
        return result


def ports(net: Network) -> list[tuple[str, str, tuple[int, ...]]]:
    """What a network shows to the outside, which no pass changes."""
    return [(p.name, p.role, p.shape) for p in net.populations if p.role != "hidden"]


@lru_cache
def _adapters(cls: type[Pass]) -> dict[str, Any]:
    from pydantic import TypeAdapter

    hints = get_type_hints(cls, include_extras=True)
    return {f.name: TypeAdapter(hints[f.name]) for f in dataclasses.fields(cls)}


def _checked(cls: type[Pass], option: str, value: object) -> Any:
    from pydantic import ValidationError

    try:
        return _adapters(cls)[option].validate_python(_tuples(value), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        inner = "".join(f"[{part!r}]" for part in first["loc"])
        raise RecipeError(
            "option-value",
            f"{first['msg'][0].lower()}{first['msg'][1:]}, not {first['input']!r}",
            where=f"{cls.name}.{option}{inner}",
        ) from error


def _tuples(value: object) -> object:
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value
