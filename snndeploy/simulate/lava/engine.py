"""The Lava engine: a `Program` as real Lava processes, run by the interpreter that has lava."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import InputError
from ...files import scratch
from ...ir.arrays import Array, size
from ...ir.program import CompartmentGroup, Program
from ...limits import current
from ..recording import Recording, units_of
from .env import LavaEnv, require_lava
from .plan import LavaPlan, plan_lava
from .process import SCRATCH, run_worker
from .synapses import ConvRoute

if TYPE_CHECKING:
    from ..integer.engine import Inputs

_CHUNK_BYTES = 256 * 2**20
"""Most that the files of one run may hold; longer runs are cut into chunks of samples."""
_STEPS_PER_REPORT = 64
"""Chip steps after which Lava says how far it is; its time limit is for so many."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LavaRecording(Recording):
    """A recording, and the Lava process of every group and synapse group by name.

    ``seconds`` adds up the time in steps, without starting Lava.
    """

    processes: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0


def run_lava(
    program: Program,
    inputs: Inputs,
    *,
    record_states: Collection[str] = (),
    timeout_s: float | None = None,
    lava: LavaEnv | None = None,
    conv: ConvRoute = "auto",
    progress: Callable[[int, int], None] | None = None,
) -> LavaRecording:
    """Run ``program`` on lava-nc's fixed-point processes.

    Args:
        program: what to run.
        inputs: ``(steps, samples, *input shape)`` integers, or one such array per input group.
        record_states: groups whose u and v are recorded at every step (int64, after the reset).
        timeout_s: longest wait for Lava to finish the next steps, its start included (None: that of
            the limits in force).
        lava: the interpreter to run; found by `require_lava` if None.
        conv: how convolutions run; see `plan_lava`.
        progress: called with (samples done, samples).

    Returns:
        The same recording as `run_integer`: spikes of every group (v of readouts), in sample time.

    Raises:
        BackendMissing: ``lava-arithmetic`` (see `plan_lava`), ``lava-missing``, ``lava-timeout`` or
            ``lava-failed``.
        InputError: an input is missing, has the wrong shape, or is not integer.
        UsageError: see `plan_lava`.
    """
    from ..integer.engine import program_inputs

    data = program_inputs(program, inputs)
    steps, samples = _extent(data)
    peaks = {name: int(np.abs(array).max(initial=0)) for name, array in data.items()}
    plan = plan_lava(program, steps, samples, peaks=peaks, record_states=record_states, conv=conv)
    lava = lava or require_lava()
    chunk = _samples_per_chunk(program, plan, samples)
    timeout_s = current().lava_s if timeout_s is None else timeout_s
    traces = _Traces(program, plan, record_states)
    seconds = 0.0
    for first in range(0, samples, chunk):
        part = {name: array[:, first : first + chunk] for name, array in data.items()}
        count = min(chunk, samples - first)

        def report(chip_steps: int, first: int = first, count: int = count) -> None:
            if progress:
                progress(first + min(chip_steps // plan.timing.interval, count), samples)

        with scratch(SCRATCH) as folder:
            write_job(folder, program, plan, part, count)
            facts = run_worker(folder, lava, timeout_s=timeout_s, progress=report)
            traces.collect(folder, part, count)
        seconds += float(facts["run_s"])
        if progress:
            progress(first + count, samples)
    return LavaRecording(
        engine="lava",
        spikes=traces.joined("spikes"),
        u=traces.joined("u"),
        v=traces.joined("v"),
        units=units_of(program),
        processes=plan.processes,
        seconds=seconds,
    )


def write_job(
    folder: Path, program: Program, plan: LavaPlan, data: Mapping[str, Array], samples: int
) -> None:
    """Write ``job.json`` and ``arrays.npz`` for one stream of ``samples``."""
    total = plan.timing.total(samples)
    arrays = dict(plan.arrays)
    sources: list[dict[str, str]] = []
    for group in program.groups:
        if group.kind in ("input", "constant"):
            arrays[f"s{len(sources)}"] = _stream(group, plan, data.get(group.name), samples)
            sources.append({"name": group.name, "data": f"s{len(sources)}"})
    job: dict[str, Any] = {
        "steps": total,
        "slice": _STEPS_PER_REPORT,
        "sources": sources,
        "neurons": plan.neurons,
        "connections": plan.connections,
        "parts": plan.parts,
    }
    (folder / "job.json").write_text(json.dumps(job))
    np.savez(folder / "arrays.npz", **arrays)  # type: ignore[arg-type]


def _stream(group: CompartmentGroup, plan: LavaPlan, data: Array | None, samples: int) -> Array:
    """What a source sends at each chip step, ``(neurons, steps)`` int32; zero between samples."""
    stream = np.zeros((size(group.shape), plan.timing.total(samples)), np.int32)
    rows = plan.timing.rows(group, samples)
    if data is None:
        stream[:, rows] = 1
        return stream
    if np.abs(data).max(initial=0) > np.iinfo(np.int32).max:
        raise InputError("input-range", "data exceeds 32 bit", where=f"input {group.name}")
    stream[:, rows] = np.moveaxis(data.reshape(*data.shape[:2], -1), -1, 0)
    return stream


def _extent(data: Mapping[str, Array]) -> tuple[int, int]:
    """Steps and samples, the same for all inputs."""
    extents = {array.shape[:2] for array in data.values()}
    if len(extents) != 1 or 0 in (extent := extents.pop()):
        raise InputError(
            "input-shape", "inputs must share their steps and samples, at least one of each"
        )
    return int(extent[0]), int(extent[1])


def _samples_per_chunk(program: Program, plan: LavaPlan, samples: int) -> int:
    values = sum(size(g.shape) for g in program.groups)  # one row of spikes or inputs each
    values += sum(2 * int(spec["size"]) for spec in plan.neurons if spec["states"])
    sample_bytes = 4 * plan.timing.interval * max(values, 1)
    return max(1, min(samples, _CHUNK_BYTES // sample_bytes))


class _Traces:
    """What the chunks of a run recorded, in sample time."""

    def __init__(self, program: Program, plan: LavaPlan, record_states: Collection[str]) -> None:
        self._program, self._plan, self._states = program, plan, record_states
        self._parts: dict[str, dict[str, list[Array]]] = {"spikes": {}, "u": {}, "v": {}}

    def collect(self, folder: Path, data: Mapping[str, Array], samples: int) -> None:
        specs = {spec["name"]: spec for spec in self._plan.neurons}
        for group in self._program.groups:
            if group.kind == "input":
                self._add("spikes", group, data[group.name])
            elif group.kind == "constant":
                shape = (self._plan.timing.steps, samples, *group.shape)
                self._add("spikes", group, np.ones(shape, np.int64))
            else:
                self._collect_neurons(folder, group, specs[group.name], samples)

    def _collect_neurons(
        self, folder: Path, group: CompartmentGroup, spec: Mapping[str, Any], samples: int
    ) -> None:
        if spec["spikes"]:
            spikes = self._read(folder / spec["spikes"], group, samples)[0]
            self._add("spikes", group, spikes)
        if spec["states"]:
            u, v = self._read(folder / spec["states"], group, samples)
            if group.kind == "readout":
                self._add("spikes", group, v)
            if group.name in self._states:
                self._add("u", group, u)
                self._add("v", group, v)

    def _read(self, path: Path, group: CompartmentGroup, samples: int) -> Array:
        """Rows of a log inside the group's windows: ``(logs, steps, samples, *shape)``."""
        log = np.load(path, mmap_mode="r", allow_pickle=False)
        inside = log[:, self._plan.timing.rows(group, samples)].astype(np.int64)
        shaped: Array = inside.reshape(*inside.shape[:3], *group.shape)
        return shaped

    def _add(self, kind: str, group: CompartmentGroup, values: Array) -> None:
        self._parts[kind].setdefault(group.name, []).append(values)

    def joined(self, kind: str) -> dict[str, Array]:
        return {name: np.concatenate(p, axis=1) for name, p in self._parts[kind].items()}
