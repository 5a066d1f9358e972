"""What exporters are known to lose, as far as the graph lets one see it.

An importer cannot bring back what is not in the file, but it can say what is missing. Each rule
looks at the graph: some losses leave a trace of their own (an input that nobody made), others only
the trace of an exporter that is known to drop things, and then the finding says *may*.

Measured with snntorch 1.0.0, norse 1.1.0, sinabs 3.1.3 and rockpool 3.1.0.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator

from ...errors import UsageError, did_you_mean
from ...ir.finding import Finding
from ..readers.raw import RawGraph
from .profiles import SemanticsProfile
from .traces import NORSE_BUG_TAU, NORSE_DT_SQUARED, recurrent

ABOUT_EXPORTERS = (
    "lost-edge",
    "maybe-lost-recurrence",
    "maybe-lost-bias",
    "maybe-lost-tau-syn",
    "maybe-lost-v-reset",
    "maybe-lost-padding",
    "norse-tau",
)
"""Codes of what is told here: it holds for files, and not where the module itself is at hand."""
POSSIBLE = tuple(code for code in ABOUT_EXPORTERS if code.startswith("maybe-"))
_INVENTED = "input_"


def known_losses(raw: RawGraph, profile: SemanticsProfile | None) -> tuple[Finding, ...]:
    """Findings about information that ``raw`` lacks or may lack, in a fixed order.

    Args:
        raw: flat and checked.
        profile: how the file is read; None where that is undecided (rules about one framework
            are then left out).
    """
    found = list(_lost_edges(raw, profile))
    if profile is not None and profile.name in _RULES:
        found += _RULES[profile.name](raw)
    return tuple(found)


def unaccepted(found: Iterable[Finding], accept: Collection[str]) -> tuple[Finding, ...]:
    """Findings but for the possible losses that the user knows not to have happened.

    Raises:
        UsageError: ``accept`` names something that is no possible loss.
    """
    for code in accept:
        if code not in POSSIBLE:
            raise UsageError(
                "accept-unknown",
                f"there is no possible loss {code!r}",
                where="accept",
                hint=did_you_mean(code, POSSIBLE),
            )
    return tuple(f for f in found if f.code not in accept)


def _warning(code: str, where: str, message: str) -> Finding:
    if code in POSSIBLE:
        message = f"{message}; if not, say so: --accept {code}"
    return Finding(code=code, severity="warning", where=where, message=message, certainty="code")


def _lost_edges(raw: RawGraph, profile: SemanticsProfile | None) -> Iterator[Finding]:
    """Inputs that nir invents for nodes nothing leads into: their edges were lost."""
    inputs = [n.name for n in raw.nodes.values() if n.kind == "Input"]
    known = profile is None or profile.name == "snntorch"
    habit = "; snnTorch does that to residual additions" if known else ""
    for name in inputs:
        fed = raw.after(name)
        if len(inputs) > 1 and name.startswith(_INVENTED) and fed == (name[len(_INVENTED) :],):
            extra = _branches_to_output(raw)
            also = f", and {extra} lead to the output at once" if extra else ""
            yield _warning(
                "lost-edge",
                raw.where(name),
                f"nir invented this input for {fed[0]!r}, because the exporter lost the edges into "
                f"it{also}{habit}",
            )


def _branches_to_output(raw: RawGraph) -> str:
    outputs = [n.name for n in raw.nodes.values() if n.kind == "Output"]
    before = [b for name in outputs for b in raw.before(name)]
    return " and ".join(map(repr, before)) if len(before) > len(outputs) else ""


def _rockpool(raw: RawGraph) -> Iterator[Finding]:
    names = [n.name for n in raw.nodes.values() if n.kind in ("LIF", "CubaLIF")]
    if names and not recurrent(raw):  # its exporter would have dropped the loop, too
        yield _warning(
            "maybe-lost-recurrence",
            raw.source,
            f"Rockpool's exporter drops recurrent weights (w_rec): if {_listed(names)} had any "
            "(LIFTorch(has_rec=True)), they are lost and the network answers differently; add a Linear "
            "node from each such neuron to itself",
        )
        yield _warning(
            "maybe-lost-bias",
            raw.source,
            f"Rockpool's exporter drops the bias of its neurons: if {_listed(names)} had one, it is "
            "lost and the network answers differently; write it into the Affine in front",
        )


def _sinabs(raw: RawGraph) -> Iterator[Finding]:
    names = [n.name for n in raw.nodes.values() if n.kind in ("LIF", "LI")]
    if names:
        yield _warning(
            "maybe-lost-tau-syn",
            raw.source,
            f"Sinabs' exporter drops tau_syn: if {_listed(names)} had a synaptic time constant, it "
            "is lost; replace the node by a CubaLIF with that tau_syn",
        )


def _norse(raw: RawGraph) -> Iterator[Finding]:
    for node in raw.nodes.values():
        if node.kind == "LIF" and (node.array("tau") <= NORSE_BUG_TAU).all():
            tau = float(node.array("tau").flat[0])
            yield _warning(
                "norse-tau",
                raw.where(node.name),
                f"tau is {tau:.3g}: Norse's exporter multiplies tau by dt (norse issue 411); it is "
                f"read with the squared dt, which undoes it (--dt {NORSE_DT_SQUARED:g} where dt was "
                "1e-3)",
            )
    names = [
        n.name
        for n in raw.neurons()
        if n.has("v_threshold") and not (n.has("v_reset") and n.array("v_reset").any())
    ]
    if names:
        yield _warning(
            "maybe-lost-v-reset",
            raw.source,
            f"Norse's exporter drops v_reset: if that of {_listed(names)} was not 0, it is lost; write "
            "it into the node",
        )


def _snntorch(raw: RawGraph) -> Iterator[Finding]:
    names = [n.name for n in raw.nodes.values() if n.kind == "AvgPool2d"]
    if names:
        yield _warning(
            "maybe-lost-padding",
            raw.source,
            f"snnTorch's exporter writes padding 0 for every average pool: if {_listed(names)} had "
            "padding, it is lost; write it into the node",
        )


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:4])
    return shown if len(names) <= 4 else f"{shown} and {len(names) - 4} more"


_RULES: dict[str, Callable[[RawGraph], Iterator[Finding]]] = {
    "rockpool": _rockpool,
    "sinabs": _sinabs,
    "norse": _norse,
    "snntorch": _snntorch,
}
