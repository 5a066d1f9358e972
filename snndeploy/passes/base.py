"""What a pass is: options as fields, a pure ``run``, and promises checked before and after it."""

from __future__ import annotations

import dataclasses
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Protocol, get_type_hints

import numpy as np

from ..errors import PassRefused, RecipeError, SnnDeployError
from ..ir.arrays import Array
from ..ir.finding import Finding
from ..ir.network import Network
from ..progress import silent
from .metrics import NetworkMetrics

if TYPE_CHECKING:
    from ..calibrate.fidelity import Reference
    from ..chip import Target

PassStage = Literal["any", "remove-kernels", "prune", "quantize"]

ORDER: tuple[PassStage, ...] = ("remove-kernels", "prune", "quantize")
"""The order law: each kind of compression works on what the ones before it left."""


class Calibration(Protocol):
    """Samples that data-driven passes look at.

    ``inputs`` holds one array ``(steps, samples, *shape)`` per input population, ``labels`` the
    classes of the samples, or of their steps, where they are known; see `snndeploy.data.Samples`.
    """

    @property
    def inputs(self) -> Mapping[str, Array]:
        """Spikes (or values) fed to each input population."""

    @property
    def labels(self) -> Array | None:
        """One class per sample, or per step."""

    @property
    def window(self) -> int:
        """Over how many steps answers per step are smoothed."""


def answers_window(samples: Calibration) -> int:
    """Over how many steps answers are smoothed where each step has one; 0 for an answer per sample."""
    return samples.window if samples.labels is not None and samples.labels.ndim > 1 else 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Training:
    """What training passes train on, and where they keep what they have done so far.

    Args:
        samples: labelled samples to learn from.
        validation: samples to judge by; those learnt from where there are none.
        folder: for a checkpoint after each epoch (None: none are kept).
        resume: go on from the checkpoints in ``folder``.
        device: where torch computes (``"cpu"``, ``"cuda"``, …).
        aware: name of a target whose rounding all training passes include ("": as each one says).
    """

    samples: Calibration
    validation: Calibration | None = None
    folder: Path | None = None
    resume: bool = False
    device: str = "cpu"
    aware: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class PassEvent:
    """What an observer is told.

    ``start`` and ``end`` come once per pass (``network`` is the one before it, then the one after
    it), ``progress`` whenever a pass has something to say: ``done`` of ``of`` units of ``what``, and
    in ``status`` how it goes; an ``end`` has one where an earlier run had kept the result.
    ``index`` counts passes from 1; 0 is a pass that runs on its own.
    """

    kind: Literal["start", "progress", "end"]
    name: str
    index: int = 0
    total: int = 0
    network: Network | None = None
    metrics: NetworkMetrics | None = None
    what: str = ""
    done: int = 0
    of: int = 0
    status: str = ""

    @property
    def label(self) -> str:
        """A file name stem that sorts in running order, e.g. ``002-prune``."""
        return f"{self.index:03d}-{self.name}"


Observer = Callable[[PassEvent], None]


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

    @abstractmethod
    def run(self, net: Network, ctx: PassContext) -> PassResult:
        """Return the compressed network. Pure: no state, no printing, arrays are read-only."""

    @property
    def looks(self) -> bool:
        """Whether its result depends on calibration samples."""
        return True

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
        """Run the pass with everything around it checked: order law, `requires`, result, `ensures`.

        Raises:
            PassRefused: the pass cannot run on this network.
            SnnDeployError: the pass broke a promise.
        """
        refuse_wrong_side(self, net)
        self.requires(net)
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


def stage_of(net: Network) -> PassStage:
    """The furthest kind of compression whose marks the network carries."""
    weights = [p.weight for p in net.projections]
    if any(w.quantized for w in weights):
        return "quantize"
    return "prune" if any(w.mask is not None for w in weights) else "any"


def out_of_order(earlier: PassStage, later: PassStage) -> bool:
    """Whether ``later`` may no longer run once ``earlier`` has."""
    if "any" in (earlier, later):
        return False
    return ORDER.index(later) < ORDER.index(earlier)


def refuse_wrong_side(step: Pass, net: Network) -> None:
    """Apply the order law to a pass and the network it is to run on.

    Raises:
        PassRefused: the network has already been through a later kind of compression.
    """
    reached = stage_of(net)
    if out_of_order(reached, step.stages[0]):
        done = {"prune": "pruned", "quantize": "quantized"}[reached]
        raise PassRefused(
            "order-law",
            f"{step.name!r} cannot run on a network that is already {done}",
            hint=f"the order is {' → '.join(ORDER)}; start from the network as it was ingested",
        )


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
