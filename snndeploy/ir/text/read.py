"""Networks from the text that `full_text` writes: for tests and small examples."""

from __future__ import annotations

import re
from ast import literal_eval
from collections.abc import Callable, Sequence
from typing import Any, cast, get_args

import numpy as np

from ...errors import InputError
from ..arrays import Array, Shape, frozen
from ..network import Network, Population, Projection, Role, Source
from ..neurons import PARAMETERS, Neuron
from ..ops import Conv, Dense, Op, Pointwise, Reshape, SumPool, weighted_index
from ..weights import Levels, Weight

_SHAPE = r"\((?:\d+(?:, ?\d+)*,?)?\)"
_POPULATION = re.compile(rf"(\S+) +(\S+) ({_SHAPE})(?:  (.*))?")
_PROJECTION = re.compile(r"(\S+): (.+) -> (\S+)  (.+)  \[(.+)\]")
_SOURCE = re.compile(r"(\S+?)(?:\[t-(.+)\])?")
_LEVELS = "|".join(get_args(Levels))
_COMMA = re.compile(r", (?![^(]*\))")
"""Between words, but not within a shape."""


def read_network(text: str) -> Network:
    """Read a network in the form of `full_text`.

    Lines that begin with ``#`` and empty ones say nothing. ``alive`` and ``delayed bias`` in the head of
    a projection are for people: dots and the line ``bias`` are what counts. Codes are 32-bit integers.

    Raises:
        InputError: a line is in no such form (with its number), or the network is not sound.
    """
    populations: list[Population] = []
    heads: list[tuple[int, re.Match[str], list[tuple[int, str]]]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        if line.startswith(" ") and heads:
            heads[-1][2].append((number, line.strip()))
        elif found := _PROJECTION.fullmatch(line):
            heads.append((number, found, []))
        elif found := _POPULATION.fullmatch(line):
            populations.append(_at(number, _population, found))
        else:
            raise _refusal(number, f"{line.strip()!r} is no population, projection or weights")
    shapes = {p.name: p.shape for p in populations}
    projections = [_at(n, _projection, head, rows, shapes) for n, head, rows in heads]
    return Network(tuple(populations), tuple(projections)).verify()


def _refusal(line: int, message: str) -> InputError:
    return InputError("network-text", message, where=f"line {line}")


def _at(line: int, read: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return read(*arguments)
    except (ValueError, SyntaxError) as error:
        raise _refusal(line, str(error)) from error


def _population(found: re.Match[str]) -> Population:
    role, name, shape_text, words = found.groups()
    if role not in get_args(Role):
        raise ValueError(f"{role!r} is no role: {', '.join(get_args(Role))}")
    shape: Shape = literal_eval(shape_text)
    if words is None:
        return Population(name, shape, None, role)  # type: ignore[arg-type]
    fields: dict[str, Any] = {}
    for word in words.split(", "):
        fields.update(_neuron_word(word, shape))
    return Population(name, shape, Neuron.create(shape, **fields), role)  # type: ignore[arg-type]


def _neuron_word(word: str, shape: Shape) -> dict[str, Any]:
    key, _, value = word.partition(" ")
    if key in PARAMETERS:
        return {key: _numbers(value, shape)}
    if key == "fires":
        return {"compare": value}
    if key == "reset":
        reset, _, timing = value.partition(" ")
        return {"reset": reset, "reset_timing": timing.strip("()") or "immediate"}
    if word == "many spikes per step":
        return {"spikes_per_step": "many"}
    if word.startswith("at most "):
        return {"max_spikes": int(word.removeprefix("at most "))}
    raise ValueError(f"{word!r} says nothing about a neuron")


def _numbers(text: str, shape: Shape) -> Array:
    """One number, or ``[…]``: one for each channel, or for each neuron."""
    values = np.array([float(v) for v in text.strip("[]").split()])
    if not text.startswith("["):
        return values.reshape(())
    if values.size == shape[0]:
        return values.reshape(-1, *(1,) * (len(shape) - 1))
    return values.reshape(shape)


def _projection(
    found: re.Match[str], rows: Sequence[tuple[int, str]], shapes: dict[str, Shape]
) -> Projection:
    name, source_text, target, chain, kind = found.groups()
    sources = []
    shape: Shape = ()
    for part in source_text.split(" + "):
        match = _SOURCE.fullmatch(part)
        if match is None or match[1] not in shapes:
            raise ValueError(f"{part!r} is no population")
        shape = shapes[match[1]]
        delay = _numbers(match[2] or "0", shape)
        sources.append(Source(match[1], frozen(delay, np.int64)))
    ops: list[Op] = []
    for word in _COMMA.split(chain):
        ops.append(_op(word, shape))
        shape = ops[-1].out_shape(shape)
    weighted: Any = ops[weighted_index(ops)]
    bias = None
    lines = list(rows)
    if lines and lines[-1][1].startswith("bias "):
        bias = _at(lines[-1][0], _bias, lines.pop()[1])
    weight = _weight(kind, [line for _, line in lines], weighted.weight_shape)
    return Projection(name, tuple(sources), target, tuple(ops), weight, bias)


def _op(word: str, shape: Shape) -> Op:
    key, _, rest = word.partition(" ")
    if key == "dense":
        inputs, outputs = _arrow(rest)
        return Dense(outputs, inputs)
    if key == "one-to-one":
        return Pointwise(shape, literal_eval(rest))
    if key == "reshape":
        return Reshape(literal_eval(rest))
    axes = len(shape) - 1
    if key == "sumpool":
        given = _settings(rest.split())
        kernel, stride = _pair(given["k"], axes), _pair(given.get("s", given["k"]), axes)
        return SumPool(kernel, stride, _pair(given.get("p", "0"), axes))  # type: ignore[arg-type]
    if key == "conv":
        channels, *words = rest.split()
        inputs, outputs = _arrow(channels)
        given = _settings(words)
        pads = [tuple(map(int, (p.split(":") * 2)[:2])) for p in _each(given.get("p", "0"), axes)]
        return Conv(
            outputs,
            inputs,
            _pair(given["k"], axes),
            _pair(given.get("s", "1"), axes),
            tuple(pads),  # type: ignore[arg-type]
            _pair(given.get("d", "1"), axes),
            int(given.get("g", "1")),
        )
    raise ValueError(f"{word!r} is no operator")


def _arrow(text: str) -> tuple[int, int]:
    left, _, right = text.partition("->")
    return int(left), int(right)


def _settings(words: Sequence[str]) -> dict[str, str]:
    given = {word[:1]: word[1:] for word in words}
    if "k" not in given:
        raise ValueError(f"{' '.join(words)!r} has no kernel (k3)")
    return given


def _each(text: str, axes: int) -> list[str]:
    parts = text.split("x")
    return parts * axes if len(parts) == 1 else parts


def _pair(text: str, axes: int) -> Shape:
    return tuple(int(v) for v in _each(text, axes))


def _bias(line: str) -> Array:
    found = re.fullmatch(rf"bias ({_SHAPE}) (.*)", line)
    if found is None:
        raise ValueError(f"{line!r} is no bias: its shape, then its values")
    return frozen(np.array([float(v) for v in found[2].split()]).reshape(literal_eval(found[1])))


def _weight(kind: str, rows: Sequence[str], shape: Shape) -> Weight:
    first = kind.split(", ")[0]
    coded = re.fullmatch(rf"(\d+) bit(?: ({_LEVELS}))?(?: × (\S+))?", first)
    cells = [row.partition(" × ")[0].split() for row in rows]
    flat = [cell for row in cells for cell in row]
    if len(flat) != int(np.prod(shape)):
        raise ValueError(f"{len(flat)} weights where {int(np.prod(shape))} belong {shape}")
    values = np.array([0.0 if cell == "." else float(cell) for cell in flat]).reshape(shape)
    alive = np.array([cell != "." for cell in flat]).reshape(shape)
    mask = None if alive.all() and "alive" not in kind else alive
    if coded is None:
        if first not in ("float32", "float64"):
            raise ValueError(f"{first!r} is no kind of weight: float32, float64 or 4 bit")
        return Weight(values.astype(first), mask=mask)
    levels = cast("Levels | None", coded[2])
    if coded[3] is not None:
        scale = np.array(float(coded[3]))
    else:
        each = [float(row.partition(" × ")[2] or "nan") for row in rows]
        if np.isnan(each).any():
            raise ValueError("codes need a scale: [4 bit × 0.5], or × 0.5 behind each row")
        scale = np.array(each).reshape(-1, *(1,) * (len(shape) - 1))
    codes = values.astype(np.int32)
    return Weight(codes, scale=scale, bits=int(coded[1]), mask=mask, levels=levels)
