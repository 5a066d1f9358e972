"""The script: which processes it builds, as one statement each."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ....ir.arrays import Array
from ....ir.program import CompartmentGroup, Program
from ....ir.step import NeuronRule
from ..plan import LavaPlan, gated_groups, plan_lava, silent_before
from . import own

_SKELETON = Path(__file__).with_name("skeleton.txt")
_LAVA = {
    "Conv": "from lava.proc.conv.process import Conv",
    "DelayDense": "from lava.proc.dense.process import DelayDense",
    "DelaySparse": "from lava.proc.sparse.process import DelaySparse",
    "Dense": "from lava.proc.dense.process import Dense",
    "LIF": "from lava.proc.lif.process import LIF",
    "LIFReset": "from lava.proc.lif.process import LIFReset",
    "Sparse": "from lava.proc.sparse.process import Sparse",
}
_ALWAYS = (
    "from lava.magma.core.run_conditions import RunSteps",
    "from lava.magma.core.run_configs import Loihi2HwCfg, Loihi2SimCfg",
    "from lava.proc.io.sink import RingBuffer as Sink",
    "from lava.proc.io.source import RingBuffer as Source",
    "from lava.utils import loihi",
)
_SIGNS = "from lava.utils.weightutils import SignMode"
_CSR = "from scipy.sparse import csr_matrix"
_MATRIX = '''

def matrix(a, name, shape, values="weights"):
    """A sparse matrix (targets, sources) of the arrays that begin with ``name``."""
    return csr_matrix((a[f"{name}_{values}"], (a[f"{name}_rows"], a[f"{name}_cols"])), shape=shape)
'''


@dataclass
class Script:
    """What is gathered while statements are written: arrays by name, and what they need.

    ``names`` are the processes of the layers, ``reasons`` why some of them run on no board.
    """

    program: Program
    plan: LavaPlan
    together: bool
    arrays: dict[str, Array] = field(default_factory=dict)
    imports: set[str] = field(default_factory=lambda: set(_ALWAYS))
    rules: dict[tuple[NeuronRule, bool], str] = field(default_factory=dict)
    processes: set[str] = field(default_factory=set)
    reasons: dict[str, str] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    taken: set[str] = field(default_factory=set)
    matrices: bool = False

    def name(self, *parts: str) -> str:
        """A new beginning for names of arrays, of letters, digits and lines."""
        name = re.sub(r"\W+", "_", "_to_".join(parts), flags=re.ASCII).strip("_") or "layer"
        if name in self.taken:
            name = f"{name}_{len(self.taken)}"
        self.taken.add(name)
        return name

    def uses(self, process: str) -> str:
        """Import or define a process."""
        if process in _LAVA:
            self.imports.add(_LAVA[process])
        else:
            self.imports.update(own.IMPORTS[process])
            self.processes.add(process)
        return process


def script_of(program: Program, samples: int) -> Script:
    """Write the statements for ``program``; `text_of` makes the script of them."""
    delayed = gated_groups(program, samples=2)
    plan = plan_lava(program, 1, 1 if delayed else samples)
    script = Script(program=program, plan=plan, together=not delayed)
    quiet = silent_before(program) if delayed else set()
    for spec in plan.neurons:
        _neurons(script, spec, quiet)
    for spec in plan.connections:
        _connection(script, spec)
    return script


def text_of(script: Script, *, title: str, lava: str) -> str:
    """The whole script."""
    program = script.program
    kinds: dict[str, list[str]] = {}
    for group in program.groups:
        kinds.setdefault(group.kind, []).append(group.name)
    programs = own.programs(script.rules) if script.rules else ""
    extra = [own.SOURCES[name] for name in sorted(script.processes) if name in own.SOURCES]
    processes = "\n".join([programs, *extra]).rstrip()
    delayed = sorted(gated_groups(program, samples=2))
    filled = {
        "TITLE": _plain(title),
        "LAVA": lava,
        "IMPORTS": "\n".join(_sorted(script.imports)),
        "DEPTH": _table({g.name: g.depth for g in program.groups}),
        "SHAPE": _table({g.name: g.shape for g in program.groups}),
        "INPUTS": _list(kinds.get("input", [])),
        "CONSTANTS": _list(kinds.get("constant", [])),
        "SPIKING": _list([n for kind in ("lif", "custom", "delta") for n in kinds.get(kind, [])]),
        "READOUTS": _list(kinds.get("readout", [])),
        "OUTPUTS": _list([g.name for g in program.groups if g.role == "output"]),
        "PARTS": ascii(script.plan.parts),
        "TOGETHER": repr(script.together),
        "WHY": _plain(
            f"what {', '.join(delayed)} sent in one sample would reach the next"
            if delayed
            else "what was sent in one sample would reach the next"
        ),
        "OWN": _table(script.reasons),
        "PROCESSES": f"\n{processes}\n" if processes else "",
        "BUILD": "\n".join(f"    {line}" if line else "" for line in script.lines),
        "HELPERS": _MATRIX if script.matrices else "",
    }
    text = _SKELETON.read_text(encoding="utf-8")
    return re.sub(r"@@(\w+)@@", lambda found: filled[found[1]], text)


def _plain(text: str) -> str:
    """Text for a comment or a docstring: on one line, and nothing that ends either."""
    return re.sub(r"[^\w .,:;()<>=+\-/]", "_", text, flags=re.ASCII)


def _quoted(name: str) -> str:
    return ascii(name)


def _list(names: list[str]) -> str:
    return f"[{', '.join(_quoted(name) for name in names)}]"


def _table(values: Mapping[str, Any]) -> str:
    def value(x: Any) -> str:
        return _quoted(x) if isinstance(x, str) else repr(x)

    if not values:
        return "{}"
    rows = "\n".join(f"    {_quoted(name)}: {value(x)}," for name, x in values.items())
    return f"{{\n{rows}\n}}"


def _sorted(imports: set[str]) -> list[str]:
    """Imports with one line per module."""
    modules: dict[str, set[str]] = {}
    for line in imports:
        _, module, _, names = line.split(" ", 3)
        modules.setdefault(module, set()).update(names.split(", "))
    return [
        f"from {module} import {', '.join(sorted(names))}"
        for module, names in sorted(modules.items())
    ]


def _call(process: str, options: Mapping[str, str]) -> list[str]:
    """A call with one argument per line."""
    return [f"{process}(", *(f"    {key}={value}," for key, value in options.items()), ")"]


def _neurons(script: Script, spec: Mapping[str, Any], quiet: set[str]) -> None:
    group = script.program.group(spec["name"])
    name = script.name(group.name)

    def value(key: str, x: Any) -> str:
        if isinstance(x, dict):
            script.arrays[f"{name}_{key}"] = script.plan.arrays[x["array"]]
            return f'a["{name}_{key}"]'
        return repr(x)

    options = {"shape": repr((spec["size"],))}
    begins = f"DEPTH[{_quoted(group.name)}] + 1"
    if spec["process"] == "NeuronProgram":
        rule, floor = NeuronRule.of(group), group.v_floor is not None
        step = script.rules.setdefault((rule, floor), f"step{len(script.rules) + 1}")
        script.reasons[group.name] = own.why_program(rule, floor=floor)
        held = {k: v for k, v in spec["parameters"]["parameters"].items() if v is not None}
        told = ", ".join(f"{key}={value(key, x)}" for key, x in held.items())
        options |= {
            "step": f'"{step}"',
            "begins": begins,
            "interval": "interval",
            "parameters": f"dict({told})",
        }
        process = "NeuronProgram"
    elif spec["process"] in own.STARTED:
        process = own.STARTED[spec["process"]]
        script.reasons.setdefault(group.name, own.WHY[process])
        options |= {key: value(key, x) for key, x in spec["parameters"].items()}
        if "act_mode" in options:
            script.imports.add("from lava.proc.sdn.process import ActivationMode")
            options["act_mode"] = f"ActivationMode.{spec['parameters']['act_mode'].upper()}"
        options |= {"begins": begins, "interval": "interval"}
    else:
        options |= {key: value(key, x) for key, x in spec["parameters"].items()}
        process = "LIF"
        if spec["process"] == "WindowedLIFReset":
            process = "GatedLIFReset"
            script.reasons.setdefault(group.name, own.WHY[process])
            options["begins"] = begins
        if process != "LIF" or not _at_rest(script.program, group, quiet):
            process = "LIFReset" if process == "LIF" else process
            options |= {"reset_interval": "interval", "reset_offset": begins}
    script.names[group.name] = process
    call = _call(script.uses(process), options)
    script.lines += ["", f"p[{_quoted(group.name)}] = {call[0]}", *call[1:]]
    script.lines.append(f"out[{_quoted(group.name)}] = p[{_quoted(group.name)}].s_out")


def _at_rest(program: Program, group: CompartmentGroup, quiet: set[str]) -> bool:
    """Whether u and v are zero when a run's only sample reaches a group, so that nothing is cleared."""
    fed = all(o.group in quiet for s in program.incoming(group.name) for o in s.sources)
    return bool(quiet) and fed and not group.bias.any()


def _connection(script: Script, spec: Mapping[str, Any]) -> None:
    source, target = spec["source"], spec["target"]
    name = script.name(source, target)
    for key in ("weights", "rows", "cols"):
        if key in spec:
            script.arrays[f"{name}_{key}"] = script.plan.arrays[spec[key]]
    port = f"out[{_quoted(source)}]"
    if spec["process"] == "Conv":
        _conv(script, spec, name, port)
        return
    options = {
        "weight_exp": repr(spec["exponent"]),
        "num_weight_bits": repr(spec["weight_bits"]),
        "sign_mode": f"SignMode.{spec['sign_mode'].upper()}",
        "num_message_bits": repr(spec["message_bits"]),
    }
    process = script.uses(spec["process"])
    script.imports.add(_SIGNS)
    delays = script.plan.arrays[spec["delays"]] if "delays" in spec else None
    if "rows" in spec:
        script.imports.add(_CSR)
        script.matrices = True
        shape = tuple(spec["shape"])
        weights = f'matrix(a, "{name}", {shape})'
        if delays is not None:
            script.arrays[f"{name}_delays"] = delays
            options["delays"] = f'matrix(a, "{name}", {shape}, "delays")'
            options["max_delay"] = repr(int(script.arrays[f"{name}_delays"].max(initial=0)))
    else:
        weights = f'a["{name}_weights"]'
        if delays is not None:
            script.arrays[f"{name}_delays"] = delays
            options["delays"] = f'np.broadcast_to(a["{name}_delays"], {weights}.shape)'
    if process in own.WHY:
        script.reasons.setdefault(target, own.WHY[process])
    call = _call(process, {"weights": weights, **options})
    lines = [f"{port},", *call[:-1], "),", f"p[{_quoted(target)}],"]
    script.lines += ["", "connect(", *(f"    {line}" for line in lines), ")"]


def _conv(script: Script, spec: Mapping[str, Any], name: str, port: str) -> None:
    channels, height, width = spec["in_shape"]
    weights = script.arrays[f"{name}_weights"][:, :, ::-1, ::-1].transpose(0, 3, 2, 1)
    script.arrays[f"{name}_weights"] = weights
    options = {
        "weight": f'a["{name}_weights"]',
        "input_shape": repr((width, height, channels)),
        "padding": repr(tuple(spec["padding"][::-1])),
        "stride": repr(tuple(spec["stride"][::-1])),
        "dilation": repr(tuple(spec["dilation"][::-1])),
        "groups": repr(spec["groups"]),
        "num_message_bits": repr(spec["message_bits"]),
    }
    call = _call(script.uses("Conv"), options)
    shape = repr((channels, height, width))
    script.lines += [
        "",
        "# Lava convolves (its kernels are flipped) and orders axes x, y, channel.",
        f"conv = {call[0]}",
        *call[1:],
        f"{port}.reshape({shape}).transpose((2, 1, 0)).connect(conv.s_in)",
        f"conv.a_out.transpose((2, 1, 0)).flatten().connect(p[{_quoted(spec['target'])}].a_in)",
    ]
